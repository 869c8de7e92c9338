"""Models that leave Python: SavedModel, ONNX, OpenVINO and LiteRT, preprocessing inside, the mask outside if wanted.

The exporters are Keras' own. What is added is what a segmentation net needs of them: any image size, an argmax at the
end, bilinear layers folded to the fast ones, int8 with calibration, and files
that are whole or not there.

=============  ====================================================  ===============================  ================
format         for                                                   any size                         int8
=============  ====================================================  ===============================  ================
`saved_model`  TensorFlow Serving, C++, another TensorFlow process   yes                              no
`onnx`         ONNX Runtime on servers and desktops, many languages  yes                              yes
`openvino`     Intel CPUs, GPUs and NPUs                             yes                              no
`litert`       phones and small boards (TensorFlow Lite of old)      yes; accelerators want one size  yes, of one size
=============  ====================================================  ===============================  ================

Each takes RGB images ``(batch, H, W, 3)``, float32, 0–255, and returns logits ``(batch, H, W, C)`` or, with
``labels=True``, masks ``(batch, H, W)``. They are Keras' logits to 1e-4 of the largest. OpenVINO alone must be asked
to: where the CPU can, it computes in bfloat16, some hundredths off, unless it compiles with
``{"INFERENCE_PRECISION_HINT": "f32"}``.
"""

import functools
import importlib
import numbers
import os
import pathlib
import shutil
import tempfile
import warnings

import keras
import numpy as np
from PIL import Image, ImageOps

from .._files import user_path
from ..inference import predictor
from ..visualization.colors import rgb
from .folding import fold_bilinear

SUFFIXES = {".onnx": "onnx", ".xml": "openvino", ".tflite": "litert", "": "saved_model"}
LONGEST = 1024  # pixels of a calibration image where the size is free: photographs of phones would fill the memory
NEEDS = {"onnx": ("tf2onnx", "onnx"), "openvino": ("openvino",), "litert": (), "saved_model": ()}


def export_model(model, path, format=None, size=None, labels=False, calibration=None):
    """Writes a model for a runtime that needs neither Keras nor this package.

    Args:
        model: Keras model from images ``(batch, H, W, 3)``, 0–255, to logits ``(batch, H, W, C)``. It is left as it is.
        path: File to write; ``….onnx``, ``….xml`` (weights beside it, in ``….bin``) or ``….tflite``; for a SavedModel
            a folder that does not exist or is a SavedModel, which is replaced.
        format: ``"saved_model"``, ``"onnx"``, ``"openvino"`` or ``"litert"``; by default what the name of `path` says.
        size: ``(height, width)`` of the only images that it will take, one at a time: accelerators plan ahead. None:
            any size, any batch.
        labels: Whether it returns masks, `uint8` (`int32` for more than 255 classes), instead of logits: the argmax
            runs inside, and what crosses over is C · 4 times smaller.
        calibration: Some images like those that the model will see, a list of paths and arrays as
            `fcn_keras.segment` takes them: weights and activations become int8 in the ranges that occur in them. A few
            dozen are enough. With `size`, images of other sizes are scaled until they cover it, and what sticks out
            is cut off on both sides. Without it, images with a side of more than 1024 pixels are scaled down.
            ``"onnx"`` and ``"litert"`` only.

    Returns:
        `path`, as a `pathlib.Path`.

    Raises:
        ValueError: If there is no such format, the name does not fit it, the model does not give logits for each pixel,
            int8 was asked where it cannot be had, a calibration image cannot be read, or the backend is not TensorFlow.
        ImportError: If the format needs a package that is not installed; the message has the line for pip.

    Example:

    >>> model = fcn_keras.FCN8s(21, "mini_vgg", weights=None)
    >>> export_model(model, "fcn8s.tflite", labels=True).stat().st_size < 4e6
    True
    """
    path = user_path(path)
    format = _format(path, format, size, calibration)
    _require(format, calibration)
    exported = _with_ending(fold_bilinear(model), size, labels)
    images = None if calibration is None else _calibration_images(calibration, exported.inputs[0].shape[1:3])
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="partial-", dir=path.parent) as folder:
        beside = pathlib.Path(folder) / path.name
        try:
            WRITERS[format](exported, beside, images)
        except (OSError, ImportError, MemoryError):
            raise
        except Exception as error:  # each converter has its own
            told = str(error).strip().partition("\n")[0]
            raise ValueError(
                f"{model.name} cannot be written as {format}: {type(error).__name__}: {told} "
                f"Fix: another of the formats {', '.join(WRITERS)}, or no layer of your own."
            ) from error
        _move(beside, path)
    return path


def _format(path, format, size, calibration):
    expected = {name: suffix for suffix, name in SUFFIXES.items()}
    format = format or SUFFIXES.get(path.suffix)
    if format not in expected or (expected[format] and path.suffix != expected[format]):
        raise ValueError(
            f"Found path {str(path)!r} and format {format!r}: expected {', '.join(expected)}, whose names end in "
            f"{', '.join(suffix for suffix in SUFFIXES if suffix)}, and a folder for saved_model."
        )
    if format == "saved_model" and path.exists() and not (path / "saved_model.pb").is_file():
        raise ValueError(f"{path} is there and is no SavedModel, which would be replaced. Fix: another name.")
    if not (calibration is None or isinstance(calibration, list | tuple) or getattr(calibration, "ndim", 0) == 4):
        found = type(calibration).__name__
        raise ValueError(f"Found calibration of type {found}: expected a list of images, paths or arrays (H, W, 3).")
    if size is not None and not (
        np.shape(size) == (2,) and all(isinstance(n, numbers.Integral) and n > 0 for n in size)
    ):
        raise ValueError(f"Found size={size}: expected (height, width) in pixels, each at least 1.")
    if calibration is not None and format not in ("onnx", "litert"):
        raise ValueError(f"Found calibration for {format}: int8 is made for onnx and litert only.")
    if calibration is not None and format == "litert" and size is None:
        raise ValueError("Found calibration for litert without a size. Fix: size=(height, width) of the images.")
    return format


def _require(format, calibration):
    """Raises a clear error where Keras' would come late, or from the depth."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Models are exported on TensorFlow, the backend here is {keras.backend.backend()}. Fix: save the "
            "model as a .keras file, and load it in a process with KERAS_BACKEND=tensorflow."
        )
    packages = [*NEEDS[format], *(["onnxruntime"] if format == "onnx" and calibration is not None else [])]
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ImportError(
                f'{format} needs {package}, which could not be imported: {error}. Fix: pip install "fcn-keras[export]"'
            ) from error


def _with_ending(model, size, labels):
    """The model with logits or an argmax at its end, for images of one size or of any that it takes."""
    run = predictor.of(model)
    ended = keras.Model(run.images, predictor.ENDINGS["labels" if labels else "logits"](run.logits))
    if size is not None:
        run.require_size(size, "the size to export for is")
    shape = (None, *run.input_size, 3) if size is None else (1, *size, 3)
    image = keras.Input(batch_shape=shape, name="image")
    return keras.Model(image, ended(image), name=model.name)


def _signature(model):
    (image,) = model.inputs
    return [keras.InputSpec(shape=image.shape, dtype=image.dtype, name="image")]


def _write_saved_model(model, path, images):
    model.export(path, format="tf_saved_model", verbose=False, input_signature=_signature(model))


def _result_name(model):
    return "logits" if len(model.output.shape) == 4 else "mask"


def _write_onnx(model, path, images):
    with warnings.catch_warnings():  # Keras' way to bring tf2onnx and NumPy 2 together
        warnings.filterwarnings("ignore", message="In the future `np.object`", category=FutureWarning)
        model.export(path, format="onnx", verbose=False, input_signature=_signature(model))
    _name_ends(path, _result_name(model))
    if images is not None:
        _quantize_onnx(path, images)


def _name_ends(path, name):
    """Gives the result a name, and its open dimensions, where tf2onnx says Identity:0 and unk__995."""
    import onnx

    model = onnx.load(path)
    (image,), (result,) = model.graph.input, model.graph.output
    for node in model.graph.node:
        for ends in (node.input, node.output):
            ends[:] = [name if end == result.name else end for end in ends]
    result.name = name
    for end in (image, result):
        for dimension, word in zip(end.type.tensor_type.shape.dim, ("batch", "height", "width"), strict=False):
            if not dimension.HasField("dim_value"):
                dimension.dim_param = word
    onnx.save(model, path)


def _quantize_onnx(path, images):
    """Replaces the file by its int8 twin: scales measured on the images, weights channel by channel."""
    from onnxruntime import quantization

    class Images(quantization.CalibrationDataReader):
        def __init__(self):
            self.batches = ({"image": image.astype("float32")} for image in images)

        def get_next(self):
            return next(self.batches, None)

    whole = path.with_name("float32.onnx")
    os.replace(path, whole)
    prepared = path.with_name("prepared.onnx")
    quantization.quant_pre_process(whole, prepared, skip_symbolic_shape=True)
    quantization.quantize_static(
        prepared, path, Images(), op_types_to_quantize=["Conv"], per_channel=True, reduce_range=False
    )


def _write_openvino(model, path, images):
    import openvino

    whole = path.with_name("whole.xml")
    model.export(str(whole), format="openvino", verbose=False, input_signature=_signature(model))
    read = openvino.Core().read_model(whole)
    result = max(read.outputs, key=lambda output: output.partial_shape.rank.get_length())  # others are sizes of images
    result.tensor.set_names({_result_name(model)})
    openvino.serialize(openvino.Model([result.get_node()], read.get_parameters(), model.name), path)


def _write_litert(model, path, images):
    options = {}
    if images is not None:
        import tensorflow as tf

        options = {
            "optimizations": [tf.lite.Optimize.DEFAULT],
            "representative_dataset": functools.partial(map, lambda image: [image.astype("float32")], images),
        }
    model.export(path, format="litert", verbose=False, input_signature=_signature(model), **options)


def _calibration_images(images, size):
    """Arrays ``(1, H, W, 3)`` of `uint8`, of one size where the model takes one only."""
    found = []
    for image in images:
        picture = Image.fromarray(rgb(image))
        if None in size:
            picture.thumbnail((LONGEST, LONGEST), Image.Resampling.BILINEAR)
        else:
            picture = ImageOps.fit(picture, size[::-1], Image.Resampling.BILINEAR)
        found.append(np.asarray(picture)[None])
    if not found:
        raise ValueError("Found no image to calibrate with: expected some like those that the model will see.")
    return found


def _move(beside, path):
    """Gives a finished export its name; the weights of OpenVINO first, as its .xml asks for them."""
    if beside.is_dir() and path.exists():
        os.replace(path, beside.with_name("replaced"))
    weights = beside.with_suffix(".bin")
    if path.suffix == ".xml":
        shutil.move(weights, path.with_suffix(".bin"))
    os.replace(beside, path)


WRITERS = {
    "saved_model": _write_saved_model,
    "onnx": _write_onnx,
    "openvino": _write_openvino,
    "litert": _write_litert,
}
