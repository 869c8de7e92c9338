"""From logits to labels: the class with the largest logit, and one logit for two classes; which labels are classes.

A binary net has one logit, for the object; the logit of its background is fixed at 0. The softmax of ``(0, z)`` is the
sigmoid of ``z``, and the sign of ``z`` tells which of the two is larger. Losses, metrics and inference call
`two_class_logits` first, and know nothing else of binary nets.
"""

import keras
import numpy as np
from keras import ops

VOID = 255


def two_class_logits(logits):
    """The logits of background and object from those of the object alone.

    Args:
        logits: Tensor ``(…, C)``.

    Returns:
        Tensor ``(…, 2)`` with 0 in front if C is 1; otherwise `logits` as they are.

    Example:

    >>> two_class_logits(keras.ops.convert_to_tensor([[3.0], [-2.0]])).numpy().tolist()
    [[0.0, 3.0], [0.0, -2.0]]
    """
    if logits.shape[-1] != 1:
        return logits
    return ops.concatenate([ops.zeros_like(logits), logits], axis=-1)


def argmax_labels(logits):
    """The class with the largest logit, the first of several; of one logit its sign.

    Args:
        logits: Tensor ``(…, C)``.

    Returns:
        int32 tensor ``(…)``.

    Example:

    >>> argmax_labels(keras.ops.convert_to_tensor([[3.0, 5.0, 1.0], [2.0, 0.0, 2.0]])).numpy().tolist()
    [1, 0]
    """
    return _Labels()(two_class_logits(logits))


class _Labels(keras.Operation):
    """On TensorFlow its own argmax: Keras' also looks at bits, in twice the time, by an operation that ONNX lacks."""

    def call(self, logits):
        if keras.backend.backend() != "tensorflow":
            return ops.argmax(logits, axis=-1)
        import tensorflow as tf

        return tf.argmax(logits, axis=-1, output_type="int32")

    def compute_output_spec(self, logits):
        return keras.KerasTensor(logits.shape[:-1], "int32")


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


def class_ids(masks, num_classes, ignore_class=None):
    """Labels as class ids; -1 is void, and -2 is everything else.

    A class is a whole number from 0 up to ``num_classes - 1``. Fractions and NaN are no classes, and large numbers are
    compared before they are cast: the cast would turn ``2**32`` into class 0.

    Args:
        masks: Tensor or array of numbers, any type and shape.
        num_classes: Number of classes ``C``.
        ignore_class: The label that is void; it may be one of the classes. None: there is no such label.

    Returns:
        int32 tensor of the shape of `masks`.

    Example:

    >>> class_ids([0.0, 2.0, 255.0, 1.5, float("nan")], num_classes=3, ignore_class=255).numpy().tolist()
    [0, 2, -1, -2, -2]
    """
    masks = _comparable(masks)
    known = ops.logical_and(masks >= 0, masks < num_classes)
    if keras.backend.is_float_dtype(masks.dtype):
        known = ops.logical_and(known, masks == ops.floor(masks))
    ids = ops.where(known, ops.cast(masks, "int32"), -2)
    return ids if ignore_class is None else ops.where(masks == ignore_class, -1, ids)


def _comparable(masks):
    """The same numbers in a type that can be compared with every class id and with negative numbers."""
    masks = ops.convert_to_tensor(masks)
    dtype = keras.backend.standardize_dtype(masks.dtype)
    if keras.backend.is_float_dtype(dtype):
        return masks
    wide = dtype in ("int64", "uint32", "uint64") and keras.backend.backend() != "jax"  # JAX has 32 bits
    return ops.cast(masks, "int64" if wide else "int32")


def mask_of_logits(masks, logits):
    """Masks without their channel axis, of the height and width of the logits.

    Args:
        masks: Tensor ``(batch, H, W)`` or ``(batch, H, W, 1)``.
        logits: Tensor ``(batch, H, W, C)``.

    Returns:
        Tensor ``(batch, H, W)``.

    Raises:
        ValueError: If the sizes differ: broadcasting would give pixels the labels of others.

    Example:

    >>> mask_of_logits(keras.ops.zeros((2, 5, 7, 1)), keras.ops.zeros((2, 5, 7, 21))).shape
    TensorShape([2, 5, 7])
    """
    found, pixels = tuple(masks.shape), tuple(logits.shape[:-1])
    if len(found) == len(pixels) + 1 and found[-1] in (1, None):
        masks = ops.squeeze(masks, axis=-1)
    sides = zip(masks.shape, pixels, strict=False)
    if len(masks.shape) != len(pixels) or any(a != b and None not in (a, b) for a, b in sides):
        raise ValueError(
            f"Found masks of shape {found} for logits of shape {tuple(logits.shape)}: expected {pixels}, a class id "
            "for each pixel. Fix: resize the masks, or turn one-hot vectors into ids by argmax."
        )
    return masks


def require(known, values, message):
    """Stops where a value is wrong, and can be seen to be.

    That is so eagerly, and in graphs of TensorFlow. XLA and JAX do not look at values while they run: there everything
    passes.

    Args:
        known: Boolean tensor, False where a value is wrong.
        values: Tensor of the same shape.
        message: What was expected; the first wrong values are added.

    Returns:
        `known`, for what follows to depend on: a graph runs a check only if its output depends on it.

    Raises:
        ValueError: Eagerly, if a value is wrong.
        tf.errors.InvalidArgumentError: In a graph of TensorFlow, if a value is wrong.

    Example:

    >>> require(np.array([True, False]), np.array([3, 7]), "Expected ids below 5.")
    Traceback (most recent call last):
    ...
    ValueError: Expected ids below 5. Found: 7
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        if not tf.executing_eagerly():
            wrong = tf.boolean_mask(values, tf.logical_not(known))
            check = tf.debugging.Assert(tf.reduce_all(known), [f"{message} Found:", wrong], summarize=5)
            with tf.control_dependencies([check]):
                return tf.identity(known)
    if backend == "jax":
        import jax

        if isinstance(known, jax.core.Tracer):
            return known
    correct = ops.convert_to_numpy(known)
    if not correct.all():
        wrong = ops.convert_to_numpy(values)[~correct]
        raise ValueError(f"{message} Found: {', '.join(f'{value:g}' for value in wrong[:5])}")
    return known
