"""A model as a function of one image, compiled once: its logits, their softmax, or their argmax.

What comes last, argmax above all, runs on the model's device, so that only the result comes back.
"""

import functools
import os

import keras

from ..layers.labels import VOID, argmax_labels, two_class_logits
from .tiling import Tiling

ENDINGS = {
    "labels": lambda x: keras.ops.cast(argmax_labels(x), id_type(x.shape[-1])),
    "logits": lambda x: keras.ops.cast(x, "float32"),
    "probabilities": lambda x: keras.ops.softmax(keras.ops.cast(x, "float32"), axis=-1),
}


def of(model):
    """The `Predictor` of a model, which is kept on the model until its variables change.

    Args:
        model: Keras model from `(B, H, W, 3)` images to logits `(B, H, W, C)`; one logit is two classes, see
            `fcn_keras.layers.labels`.

    Raises:
        ValueError: The model is of another kind.

    Example:
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(21, 1)])
        >>> of(model) is of(model), of(model).classes
        (True, 21)
    """
    if not isinstance(model, keras.Model):
        fix = f" Fix: fcn_keras.load_model({str(model)!r})." if isinstance(model, str | os.PathLike) else ""
        raise ValueError(f"Found model={model!r}: expected a Keras model from images to logits.{fix}")
    runner = getattr(model, "_runner", None)
    if runner is None or not runner.is_current(model):
        runner = model._runner = Predictor(model)
    return runner


class Predictor:
    """A model with argmax, softmax or nothing at its end, each compiled once, when first wanted; see `of`.

    Args:
        model: As in `of`.

    Example:
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(21, 1)])
        >>> Predictor(model)("labels", np.zeros((1, 5, 7, 3), "float32")).shape
        TensorShape([1, 5, 7])
    """

    def __init__(self, model):
        self.variables = _variable_ids(model)
        shape = getattr(model, "input_shape", None) if model.built else None
        if shape is not None and (not isinstance(shape, tuple) or len(shape) != 4 or shape[3] not in (3, None)):
            raise ValueError(f"{model.name} takes inputs of shape {shape}; expected one input (B, H, W, 3).")
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
        """False once layers gained or lost variables, as in `quantize` or `enable_lora`."""
        return self.variables == _variable_ids(model)

    def __call__(self, ending, pixels):
        """Values ``(1, H, W, …)`` of a batch of one image or window."""
        size = pixels.shape[1:3]
        if ending not in self.functions:
            self.functions[ending] = _compiled(keras.Model(self.images, ENDINGS[ending](self.logits)))
        try:
            values = self.functions[ending](pixels)
        except Exception as error:  # each backend has its own
            if not _is_out_of_memory(error):
                raise
            raise ValueError(
                f"{self.name} needs more memory than there is for {_by(size)} pixels at once. Fix: tile=1024, or less."
            ) from error
        if tuple(values.shape[1:3]) != size:
            raise ValueError(
                f"{self.name} returns maps of {_by(values.shape[1:3])} for an image of {_by(size)}. End it"
                " with an upsampling to the size of its input, as FCN32s, FCN16s and FCN8s do."
            )
        return values

    def tiling(self, model, tile):
        """`Tiling.of` the model; following a deep model takes a tenth of a second, so once for each tile."""
        if repr(tile) not in self.tilings:
            self.tilings[repr(tile)] = Tiling.of(model, tile)
        return self.tilings[repr(tile)]

    def require_size(self, size, what):
        """Raises a ValueError if the model was built for images of another size; `what` has this one."""
        if any(fixed not in (None, n) for fixed, n in zip(self.input_size, size, strict=True)):
            raise ValueError(
                f"{self.name} takes images of {_by(self.input_size)} only, {what} {_by(size)}. Build the model with"
                " input shape (None, None, 3), as any_size does, or resize the image."
            )

    def _check_logits(self):
        shape = getattr(self.logits, "shape", None)
        if shape is None or len(shape) != 4 or shape[-1] is None:
            found = "several outputs" if shape is None else f"an output of shape {tuple(shape)}"
            raise ValueError(f"{self.name} returns {found}; expected logits (B, H, W, classes).")


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


def _is_out_of_memory(error):
    """Whether TensorFlow, JAX or PyTorch says that the memory of the device is full."""
    words = f"{type(error).__name__} {error}".lower()
    return any(word in words for word in ("resourceexhausted", "resource_exhausted", "out of memory", "outofmemory"))


def id_type(classes):
    """The type of a mask that holds every class: `uint8`, whose 255 is void, or `int32`.

    Example:
        >>> id_type(21), id_type(256)
        ('uint8', 'int32')
    """
    return "uint8" if classes <= VOID else "int32"


def _variable_ids(model):
    return [id(variable) for variable in model.variables]


def _by(size):
    return " x ".join("any" if n is None else str(n) for n in size)
