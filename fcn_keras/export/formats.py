"""Models for runtimes without Python: SavedModel, ONNX, OpenVINO and LiteRT.

Keras' own exporters write the files. This module adds what a segmentation net also needs: images of any size, an argmax
at the end, fast bilinear layers instead of transposed convolutions, int8 with calibration, and atomic writing. The
preprocessing is inside the model.

===============  ====================================================  ===============================  ================
format           for                                                   any size                         int8
===============  ====================================================  ===============================  ================
``saved_model``  TensorFlow Serving, C++, another TensorFlow process   yes                              no
``onnx``         ONNX Runtime on servers and desktops, many languages  yes                              yes
``openvino``     Intel CPUs, GPUs and NPUs                             yes                              no
``litert``       phones and small boards (formerly TensorFlow Lite)    yes; accelerators need one size  yes, of one size
===============  ====================================================  ===============================  ================

Each file takes images as the model does, such as RGB ``(batch, H, W, 3)``, float32, 0–255. It returns logits
``(batch, H, W, C)`` or, with ``labels=True``, masks ``(batch, H, W)``. Its logits differ from those of Keras by at most
1e-4 of the largest logit. OpenVINO computes in bfloat16 if the CPU can. Then its logits differ by some hundredths,
unless it compiles the model with ``{"INFERENCE_PRECISION_HINT": "f32"}``.
"""

import functools
import importlib
import numbers
import os
import tempfile
import warnings
from pathlib import Path

import keras
import numpy as np

from .._files import atomic_write, user_path
from ..inference.predictor import OUTPUTS, get_predictor
from .folding import fold_bilinear
from .int8 import make_litert_options, quantize_onnx, read_calibration_images, require_images

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "litert": ".tflite", "saved_model": ""}
NEEDS = {"onnx": ("tf2onnx", "onnx"), "openvino": ("openvino",), "litert": (), "saved_model": ()}


def export_model(model, path, format=None, size=None, labels=False, calibration=None):
    """Writes a model for a runtime that needs neither Keras nor this package.

    Args:
        model: Keras model from images ``(batch, H, W, 3)``, 0–255, to logits ``(batch, H, W, C)``. It is not changed.
        path: File to write: ``….onnx``, ``….xml`` (its weights go into ``….bin``) or ``….tflite``. For a SavedModel, a
            folder that does not exist, or that holds a SavedModel, which is replaced.
        format: ``"saved_model"``, ``"onnx"``, ``"openvino"`` or ``"litert"``; by default the one that belongs to the
            suffix of `path`.
        size: ``(height, width)`` of the images. The file then only takes images of this size, one at a time, as
            accelerators need. With None, it takes images of any size, in batches of any size.
        labels: Whether the file returns masks, ``uint8`` (``int32`` for more than 255 classes), instead of logits. The
            argmax runs inside, and the result is 4 C times smaller.
        calibration: List of images like those that the model will see: paths or arrays, as for `fcn_keras.segment`. A
            few dozen are enough. Weights and activations become int8, in the ranges that occur in these images. With
            `size`, images of other sizes are scaled until they cover it, and cut to it on both sides. Without `size`,
            images with a side of more than 1024 pixels are scaled down. Only for ``"onnx"`` and ``"litert"``.

    Returns:
        `path`, as a `pathlib.Path`.

    Raises:
        ValueError: If there is no such format, if the name does not fit it, if the model does not return logits for
            each pixel, if the format has no int8, if a calibration image cannot be read, if the converter of the format
            does not know a layer, or if the backend is not TensorFlow.
        ImportError: If the format needs a package that is not installed. The message contains the command that installs
            it.
        OSError: If the file cannot be written.

    Example:

    >>> model = fcn_keras.FCN8s(21, "mini_vgg", weights=None)
    >>> export_model(model, "fcn8s.tflite", labels=True).stat().st_size < 4e6
    True
    """
    path = user_path(path)
    format = _choose_format(path, format)
    _require_size(size)
    _require_int8(format, size, calibration)
    _require_packages(format, calibration)
    exported = _build_exported(fold_bilinear(model), size, labels)
    images = (
        None
        if calibration is None
        else read_calibration_images(calibration, exported.inputs[0].shape[1:3], get_predictor(model).ranges)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="partial-", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        try:
            WRITERS[format](exported, temporary, images)
        except (OSError, ImportError, MemoryError):
            raise
        except Exception as error:  # each converter has its own errors
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(
                f"{model.name} cannot be written as {format}: {type(error).__name__}: {reason} "
                f"Fix: choose another format ({', '.join(WRITERS)}), or replace layers that you wrote yourself."
            ) from error
        _move(temporary, path)
    return path


def _choose_format(path, format):
    format = format or next((name for name, suffix in SUFFIXES.items() if suffix == path.suffix), None)
    if format not in SUFFIXES or (SUFFIXES[format] and path.suffix != SUFFIXES[format]):
        raise ValueError(
            f"Found path {str(path)!r} and format {format!r}: expected one of {', '.join(SUFFIXES)}. The names of "
            f"files end in {', '.join(filter(None, SUFFIXES.values()))}; saved_model is a folder."
        )
    if format == "saved_model" and path.exists() and not (path / "saved_model.pb").is_file():
        raise ValueError(f"{path} exists and is not a SavedModel, so it is not replaced. Fix: choose another name.")
    return format


def _require_size(size):
    """Raises a ValueError unless `size` is None or a height and a width."""
    if size is None:
        return
    if np.shape(size) != (2,) or not all(isinstance(side, numbers.Integral) and side > 0 for side in size):
        raise ValueError(f"Found size={size}: expected (height, width) in pixels, each at least 1.")


def _require_int8(format, size, calibration):
    """Raises a ValueError if the caller wants int8 for a format that has no int8."""
    if calibration is None:
        return
    require_images(calibration)
    if format not in ("onnx", "litert"):
        raise ValueError(f"Found calibration for {format}: expected onnx or litert, which have int8.")
    if format == "litert" and size is None:
        raise ValueError("Found calibration for litert without a size. Fix: pass size=(height, width) of the images.")


def _require_packages(format, calibration):
    """Raises a clear error early. Keras would raise its own errors later, from deep inside."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Found the backend {keras.backend.backend()}: models are exported on TensorFlow. Fix: save the model as a "
            ".keras file, and load it in a process with KERAS_BACKEND=tensorflow."
        )
    packages = [*NEEDS[format], *(["onnxruntime"] if format == "onnx" and calibration is not None else [])]
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ImportError(
                f'{format} needs {package}, which could not be imported: {error}. Fix: pip install "fcn-keras[export]"'
            ) from error


def _build_exported(model, size, labels):
    """Returns the model with logits or an argmax at its end, for images of one size or of any size that it takes."""
    predictor = get_predictor(model)
    ended = keras.Model(predictor.images, OUTPUTS["argmax" if labels else "logits"](predictor.logits))
    if size is not None:
        predictor.require_size(size, "the size to export for is")
    channels = predictor.images.shape[-1]
    shape = (None, *predictor.input_size, channels) if size is None else (1, *size, channels)
    image = keras.Input(batch_shape=shape, name="image")
    return keras.Model(image, ended(image), name=model.name)


def _export(model, path, format, **options):
    (image,) = model.inputs
    signature = [keras.InputSpec(shape=image.shape, dtype=image.dtype, name="image")]
    model.export(str(path), format=format, verbose=False, input_signature=signature, **options)


def _name_result(model):
    return "logits" if len(model.output.shape) == 4 else "mask"


def _write_saved_model(model, path, images):
    _export(model, path, "tf_saved_model")


def _write_onnx(model, path, images):
    with warnings.catch_warnings():  # Keras makes tf2onnx work with NumPy 2 in a way that warns
        warnings.filterwarnings("ignore", message="In the future `np.object`", category=FutureWarning)
        _export(model, path, "onnx")
    _rename_result(path, _name_result(model))
    if images is not None:
        quantize_onnx(path, images)


def _rename_result(path, name):
    """Gives names to the result and the open dimensions, which tf2onnx calls Identity:0 and unk__995."""
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


def _write_openvino(model, path, images):
    import openvino

    whole = path.with_name("whole.xml")
    _export(model, whole, "openvino")
    read = openvino.Core().read_model(whole)
    result = max(
        read.outputs, key=lambda output: output.partial_shape.rank.get_length()
    )  # the other outputs are sizes of images
    result.tensor.set_names({_name_result(model)})
    openvino.serialize(openvino.Model([result.get_node()], read.get_parameters(), model.name), path)


def _write_litert(model, path, images):
    _export(model, path, "litert", **({} if images is None else make_litert_options(images)))


def _move(temporary, path):
    """Gives a finished export its name. OpenVINO's weights are first, because the .xml refers to them."""
    if temporary.is_dir():
        if path.exists():
            os.replace(path, temporary.with_name("replaced"))
        os.replace(temporary, path)
        return
    for suffix in [".bin", ".xml"] if path.suffix == ".xml" else [path.suffix]:
        atomic_write(path.with_suffix(suffix), functools.partial(os.replace, temporary.with_suffix(suffix)))


WRITERS = {
    "saved_model": _write_saved_model,
    "onnx": _write_onnx,
    "openvino": _write_openvino,
    "litert": _write_litert,
}
