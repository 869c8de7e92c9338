"""A model as a function of one image, compiled once: its logits, their softmax, or their argmax.

The softmax or argmax runs on the device of the model, so that only the result is copied back.
"""

import functools
import os

import keras

from ..layers.labels import VOID, argmax_labels, two_class_logits
from ..models.channels import get_ranges
from .tiling import Tiling

OUTPUTS = {
    "argmax": lambda logits: keras.ops.cast(argmax_labels(logits), choose_id_type(logits.shape[-1])),
    "logits": lambda logits: keras.ops.cast(logits, "float32"),
    "probabilities": lambda logits: keras.ops.softmax(keras.ops.cast(logits, "float32"), axis=-1),
}


def get_predictor(model):
    """Returns the `Predictor` of a model. The model keeps it until its layers gain or lose variables.

    Args:
        model: Keras model from images ``(batch, H, W, 3)`` to logits ``(batch, H, W, C)``. A model with one logit
            has two classes, see `fcn_keras.layers.labels`.

    Returns:
        A `Predictor`.

    Raises:
        ValueError: If `model` is not a Keras model, or has other inputs or outputs.

    Example:

    >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(21, 1)])
    >>> get_predictor(model) is get_predictor(model), get_predictor(model).classes
    (True, 21)
    """
    if not isinstance(model, keras.Model):
        fix = f" Fix: fcn_keras.load_model({str(model)!r})." if isinstance(model, str | os.PathLike) else ""
        raise ValueError(f"Found model={model!r}: expected a Keras model from images to logits.{fix}")
    predictor = getattr(model, "_predictor", None)
    if predictor is None or not predictor.is_current(model):
        predictor = model._predictor = Predictor(model)
    return predictor


class Predictor:
    """A model followed by one of `OUTPUTS`, each compiled when it is first used. See `get_predictor`.

    Args:
        model: Keras model from images ``(batch, H, W, 3)`` to logits ``(batch, H, W, C)``.

    Raises:
        ValueError: If the model has other inputs or outputs.

    Example:

    >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(21, 1)])
    >>> Predictor(model)("argmax", np.zeros((1, 5, 7, 3), "float32")).shape
    TensorShape([1, 5, 7])
    """

    def __init__(self, model):
        self.variables = _list_variables(model)
        shape = getattr(model, "input_shape", None) if model.built else None
        if shape is not None and (not isinstance(shape, tuple) or len(shape) != 4):
            raise ValueError(f"{model.name} takes inputs of shape {shape}: expected one input (batch, H, W, channels).")
        self.ranges = get_ranges(model) if shape else None
        self.input_size = shape[1:3] if shape else (None, None)
        self.images = keras.Input(batch_shape=shape or (None, None, None, 3))
        logits = model(self.images)
        self.logits = logits[0] if isinstance(logits, list | tuple) and len(logits) == 1 else logits
        self.name = model.name
        self._check_logits()
        self.logits = two_class_logits(self.logits)
        self.classes = self.logits.shape[-1]
        self.functions, self.tilings = {}, {}

    def is_current(self, model):
        """Returns False after layers gained or lost variables, as in `quantize` or `enable_lora`."""
        return self.variables == _list_variables(model)

    def __call__(self, output, pixels):
        """Runs the model on one image or window.

        Args:
            output: A key of `OUTPUTS`.
            pixels: Float32 array ``(1, H, W, channels)``.

        Returns:
            Tensor ``(1, H, W)`` for ``"argmax"``, else ``(1, H, W, C)``.

        Raises:
            ValueError: If the output has another size than the image, or if the memory of the device is too small.
        """
        size = pixels.shape[1:3]
        if output not in self.functions:
            self.functions[output] = _compile(keras.Model(self.images, OUTPUTS[output](self.logits)))
        try:
            values = self.functions[output](pixels)
        except Exception as error:  # each backend has its own
            if not _is_out_of_memory(error):
                raise
            raise ValueError(
                f"{self.name} needs more memory than there is for {_spell(size)} pixels at once. Fix: "
                "tile=1024, or less."
            ) from error
        if tuple(values.shape[1:3]) != size:
            raise ValueError(
                f"{self.name} returns maps of {_spell(values.shape[1:3])} for an image of {_spell(size)}. Fix: add an "
                "upsampling to the size of its input at its end, as FCN32s, FCN16s and FCN8s have."
            )
        return values

    def get_tiling(self, model, tile):
        """Returns ``Tiling.for_model(model, tile)``, computed once for each `tile`: for a deep model it takes 0.1 s."""
        if repr(tile) not in self.tilings:
            self.tilings[repr(tile)] = Tiling.for_model(model, tile)
        return self.tilings[repr(tile)]

    def require_size(self, size, what):
        """Raises a ValueError if the model only takes images of another size.

        Args:
            size: ``(height, width)``.
            what: The words before `size` in the error message, such as ``"this one is"``.
        """
        if any(fixed not in (None, n) for fixed, n in zip(self.input_size, size, strict=True)):
            raise ValueError(
                f"{self.name} takes images of {_spell(self.input_size)} only, {what} {_spell(size)}. Fix: build the "
                "model with input shape (None, None, channels), as fcn_keras.models.allow_any_size does, or resize the "
                "image."
            )

    def _check_logits(self):
        shape = getattr(self.logits, "shape", None)
        if shape is None or len(shape) != 4 or shape[-1] is None:
            found = "several outputs" if shape is None else f"an output of shape {tuple(shape)}"
            raise ValueError(f"{self.name} returns {found}: expected logits (batch, H, W, classes).")


def _compile(model):
    """Turns the model into a function of a batch. TensorFlow traces this function once, for images of every size.

    `predict_on_batch` would trace it for the first two sizes, and on a GPU compile it with XLA for each size.
    """
    if keras.backend.backend() != "tensorflow":
        return model.predict_on_batch
    import tensorflow as tf

    call = functools.partial(model, training=False)
    any_size = tf.function(call, input_signature=[tf.TensorSpec(model.input_shape, "float32")])
    try:
        any_size.get_concrete_function()
    except Exception:  # some layers must know the size, such as UpSampling2D("bilinear") in Keras 3.15
        return tf.function(call)
    return any_size


def _is_out_of_memory(error):
    """Returns whether TensorFlow, JAX or PyTorch reports that the memory of the device is full."""
    text = f"{type(error).__name__} {error}".lower()
    return any(word in text for word in ("resourceexhausted", "resource_exhausted", "out of memory", "outofmemory"))


def choose_id_type(classes):
    """Returns the smallest type that can hold every class: ``uint8``, where 255 is void, or ``int32``.

    Args:
        classes: Number of classes.

    Example:

    >>> choose_id_type(21), choose_id_type(256)
    ('uint8', 'int32')
    """
    return "uint8" if classes <= VOID else "int32"


def _list_variables(model):
    return [id(variable) for variable in model.variables]


def _spell(size):
    return " x ".join("any" if n is None else str(n) for n in size)
