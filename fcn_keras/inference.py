"""An image of any size in, a mask of the same size out."""

import functools
import os

import keras
import numpy as np
from PIL import Image, ImageOps

VOID = 255


def to_numpy(x):
    """A NumPy array from a TensorFlow, JAX, PyTorch or NumPy one, whatever the Keras backend.

    Args:
        x: Tensor or array of any rank, or nested lists of numbers; on any device.

    Returns:
        NumPy array of the same shape and type.

    Example:
        >>> to_numpy(keras.ops.ones((2, 3))).shape
        (2, 3)
    """
    if hasattr(x, "detach"):  # PyTorch: leave the gradient tape and the GPU
        x = x.detach().cpu().numpy()
    return x if isinstance(x, np.ndarray) else keras.ops.convert_to_numpy(x)


def read_image(source):
    """Reads one RGB image, from a file or from an array, and checks it.

    A file is turned upright (EXIF orientation) and converted to RGB: palettes are looked up, grey
    is repeated, transparent pixels show white.

    Args:
        source: Path of an image file, or array or tensor `(H, W, 3)`, RGB, 0-255.

    Returns:
        Array `(H, W, 3)`: `uint8` from files and integers, `float32` from floats.

    Raises:
        ValueError: The file is missing or not an image, or the array is not one RGB image in 0-255.

    Example:
        >>> read_image(np.zeros((5, 7, 3), "uint8")).shape
        (5, 7, 3)
    """
    if isinstance(source, (str, os.PathLike)):
        return _read_file(source)
    image = to_numpy(source)
    _check_shape(image.shape)
    _check_range(image)
    return image.astype("uint8" if np.issubdtype(image.dtype, np.integer) else "float32")


def segment(model, image):
    """Labels every pixel of one image: the class with the largest logit.

    The model runs with an argmax at its end, on the model's device, so that only the mask comes
    back. That function is kept on the model. On TensorFlow one trace serves images of every size,
    unless a layer must know the size beforehand; JAX compiles once for each new size.

    Args:
        model: Keras model from `(B, H, W, 3)` images, 0-255, to logits `(B, H, W, C)`, C > 1.
        image: Path of an image file, or array or tensor `(H, W, 3)`, RGB, 0-255, of any size.

    Returns:
        Array `(H, W)` of class ids in `[0, C)`, at the size of the image: `uint8`, or `int32` when
        C > 255.

    Raises:
        ValueError: `image` is not one RGB image in 0-255, or the model does not return one logit
            per class for each of its pixels.

    Example:
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(21, 1)])
        >>> segment(model, np.zeros((5, 7, 3), "uint8")).shape
        (5, 7)

    Reference:
        Long, Shelhamer & Darrell, CVPR 2015, section 3: a net of convolutions only takes an input
        of any size and returns an output of corresponding size.
    """
    image = read_image(image)
    segmenter = getattr(model, "_segmenter", None)
    if segmenter is None or not segmenter.is_current(model):
        segmenter = model._segmenter = _Segmenter(model)
    return segmenter(image)


class _Segmenter:
    """A model with argmax at its end, compiled once."""

    def __init__(self, model):
        self.variables = _variable_ids(model)
        shape = getattr(model, "input_shape", None) if model.built else None
        if shape is not None and (not isinstance(shape, tuple) or len(shape) != 4):
            raise ValueError(f"{model.name} takes inputs of shape {shape}; expected one input (B, H, W, 3).")
        self.input_size = shape[1:3] if shape else (None, None)
        images = keras.Input(batch_shape=shape or (None, None, None, 3))
        logits = model(images)
        self.name = model.name
        self._check_logits(logits)
        ids = "uint8" if logits.shape[-1] <= VOID else "int32"
        labels = keras.ops.cast(keras.ops.argmax(logits, axis=-1), ids)
        self.run = _compiled(keras.Model(images, labels))

    def is_current(self, model):
        """False once layers gained or lost variables, as in `quantize` or `enable_lora`."""
        return self.variables == _variable_ids(model)

    def __call__(self, image):
        size = image.shape[:2]
        if any(fixed not in (None, n) for fixed, n in zip(self.input_size, size, strict=True)):
            raise ValueError(
                f"{self.name} takes images of {_by(self.input_size)} only, this one is {_by(size)}."
                " Build the model with input shape (None, None, 3), or resize the image."
            )
        mask = to_numpy(self.run(image[None].astype("float32")))[0]
        if mask.shape != size:
            raise ValueError(
                f"{self.name} returns maps of {_by(mask.shape)} for an image of {_by(size)}. End it"
                " with an upsampling to the size of its input, as FCN32s, FCN16s and FCN8s do."
            )
        return mask

    def _check_logits(self, logits):
        shape = getattr(logits, "shape", None)
        if shape is None or len(shape) != 4 or shape[-1] is None:
            found = "several outputs" if shape is None else f"an output of shape {tuple(shape)}"
            raise ValueError(f"{self.name} returns {found}; expected logits (B, H, W, classes).")
        if shape[-1] == 1:
            raise ValueError(
                f"{self.name} returns one channel, so that argmax is 0 everywhere. Give background"
                " and object a channel each: num_classes=2."
            )


def _compiled(model):
    """The model as a function of a batch, which on TensorFlow serves every size with one trace.

    `predict_on_batch` traces the first two sizes, and on a GPU compiles each size with XLA.
    """
    if keras.backend.backend() != "tensorflow":
        return model.predict_on_batch
    import tensorflow as tf

    call = functools.partial(model, training=False)
    any_size = tf.function(call, input_signature=[tf.TensorSpec(model.input_shape, "float32")])
    try:
        any_size.get_concrete_function()
    except Exception:  # a layer that must know its size, as UpSampling2D("bilinear") in Keras 3.15
        return tf.function(call)
    return any_size


def _variable_ids(model):
    return [id(variable) for variable in model.variables]


def _by(size):
    return " x ".join("any" if n is None else str(n) for n in size)


def _read_file(path):
    if not os.path.isfile(path):
        raise ValueError(f"No image file at {os.fspath(path)!r}. Check the path and its spelling.")
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{os.fspath(path)!r} cannot be read as an image: {error}") from error
    if image.mode == "F" or image.mode.startswith("I"):
        raise ValueError(
            f"{os.fspath(path)!r} holds grey levels of more than 8 bits (mode {image.mode!r}). Read"
            " it with PIL, scale it to 0-255 and pass the array (H, W, 3)."
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def _check_shape(shape):
    mend = ""
    if len(shape) == 2:
        mend = " A grey image: np.stack([image] * 3, axis=-1)."
    elif len(shape) == 4:
        mend = " A batch: pass its images one by one, image = batch[i]."
    elif len(shape) == 3 and shape[-1] == 1:
        mend = " A grey image: np.repeat(image, 3, axis=-1)."
    elif len(shape) == 3 and shape[-1] == 4:
        mend = " An image with alpha: image[..., :3]."
    elif len(shape) == 3 and shape[0] == 3:
        mend = " Channels come first: np.moveaxis(image, 0, -1)."
    if len(shape) != 3 or shape[-1] != 3:
        raise ValueError(f"The image has shape {shape}; expected (H, W, 3).{mend}")
    if 0 in shape:
        raise ValueError(f"The image is empty: shape {shape}; expected at least 1 x 1 pixels.")


def _check_range(image):
    is_float = np.issubdtype(image.dtype, np.floating)
    if not is_float and not np.issubdtype(image.dtype, np.integer):
        raise ValueError(f"The image is of type {image.dtype}; expected uint8, or floats in 0-255.")
    low, high = float(image.min()), float(image.max())
    if not np.isfinite(low + high):
        raise ValueError("The image holds NaN or infinite values; expected numbers in 0-255.")
    if low < 0 or high > 255:
        raise ValueError(
            f"The image runs from {low:g} to {high:g}; expected 0-255. Pass the image as it was"
            " before preprocessing: the model preprocesses by itself."
        )
    if is_float and 0 < high <= 1:
        raise ValueError(
            f"The image is of type {image.dtype} and runs from {low:g} to {high:g}; expected 0-255."
            " Pass 255 * image: the model preprocesses by itself."
        )
