"""Checks labels, and computes them from logits.

A net for two classes may have only one logit, the logit of the object. The logit of its background is 0. The softmax of
``(0, z)`` gives the object the probability ``sigmoid(z)``, so the prediction is the object if ``z`` is positive.
Losses, metrics and inference call `two_class_logits` first. After that they treat such a net like any other.
"""

import keras
import numpy as np
from keras import ops

VOID = 255


def two_class_logits(logits):
    """Adds the logit of the background to the logits of a net that only has one logit.

    Args:
        logits: Tensor ``(…, C)``.

    Returns:
        If ``C`` is 1, a tensor ``(…, 2)`` whose first channel is 0; otherwise `logits` themselves.

    Example:

    >>> two_class_logits(keras.ops.convert_to_tensor([[3.0], [-2.0]])).numpy().tolist()
    [[0.0, 3.0], [0.0, -2.0]]
    """
    if logits.shape[-1] != 1:
        return logits
    return ops.concatenate([ops.zeros_like(logits), logits], axis=-1)


def argmax_labels(logits):
    """The class with the largest logit. If several logits are equally large, it is the first of these classes.

    Args:
        logits: Tensor ``(…, C)``. If there is one channel, a positive logit means class 1, any other means class 0.

    Returns:
        int32 tensor ``(…)``.

    Example:

    >>> argmax_labels(keras.ops.convert_to_tensor([[3.0, 5.0, 1.0], [2.0, 0.0, 2.0]])).numpy().tolist()
    [1, 0]
    """
    return _Labels()(two_class_logits(logits))


class _Labels(keras.Operation):
    """TensorFlow's argmax. Keras' own takes twice as long on TensorFlow, and uses an operation that ONNX lacks."""

    def call(self, logits):
        if keras.backend.backend() != "tensorflow":
            return ops.argmax(logits, axis=-1)
        import tensorflow as tf

        return tf.argmax(logits, axis=-1, output_type="int32")

    def compute_output_spec(self, logits):
        return keras.KerasTensor(logits.shape[:-1], "int32")


def to_numpy(x):
    """Turns a tensor into a NumPy array. The tensor may belong to any backend, not only to the one that Keras uses.

    Args:
        x: Tensor of TensorFlow, JAX or PyTorch on any device, array, or nested lists of numbers.

    Returns:
        NumPy array of the same shape and type.

    Example:

    >>> to_numpy(keras.ops.ones((2, 3))).shape
    (2, 3)
    """
    if hasattr(x, "detach"):  # a PyTorch tensor, which may have a gradient or be on a GPU
        x = x.detach().cpu().numpy()
    return x if isinstance(x, np.ndarray) else keras.ops.convert_to_numpy(x)


def to_class_ids(masks, num_classes, ignore_class=None):
    """Turns labels into class ids. The label to ignore becomes -1, and everything else that is not a class becomes -2.

    A class is a whole number from 0 to ``num_classes - 1``. Fractions and NaN are not classes. Numbers such as
    ``2**32``, which a cast to 32 bits would turn into a class, are not classes either.

    Args:
        masks: Tensor or array of numbers, any type and shape.
        num_classes: Number of classes ``C``.
        ignore_class: Label to ignore; it may be one of the classes. With None, no label is ignored.

    Returns:
        int32 tensor of the shape of `masks`.

    Example:

    >>> to_class_ids([0.0, 2.0, 255.0, 1.5, float("nan")], num_classes=3, ignore_class=255).numpy().tolist()
    [0, 2, -1, -2, -2]
    """
    masks = _to_comparable(masks)
    known = ops.logical_and(masks >= 0, masks < num_classes)
    if keras.backend.is_float_dtype(masks.dtype):
        known = ops.logical_and(known, masks == ops.floor(masks))
    ids = ops.where(known, ops.cast(masks, "int32"), -2)
    return ids if ignore_class is None else ops.where(masks == ignore_class, -1, ids)


def _to_comparable(masks):
    """The same numbers in a type that holds negative numbers and every class id."""
    masks = ops.convert_to_tensor(masks)
    dtype = keras.backend.standardize_dtype(masks.dtype)
    if keras.backend.is_float_dtype(dtype):
        return masks
    wide = dtype in ("int64", "uint32", "uint64") and keras.backend.backend() != "jax"  # JAX has 32 bits
    return ops.cast(masks, "int64" if wide else "int32")


def match_masks(masks, logits):
    """Checks that masks have the same size as logits, and removes the masks' channel axis.

    Args:
        masks: Tensor ``(batch, H, W)`` or ``(batch, H, W, 1)``.
        logits: Tensor ``(batch, H, W, C)``.

    Returns:
        Tensor ``(batch, H, W)``.

    Raises:
        ValueError: If the sizes differ. Broadcasting would give some pixels the labels of others.

    Example:

    >>> match_masks(keras.ops.zeros((2, 5, 7, 1)), keras.ops.zeros((2, 5, 7, 21))).shape
    TensorShape([2, 5, 7])
    """
    found, pixels = tuple(masks.shape), tuple(logits.shape[:-1])
    if len(found) == len(pixels) + 1 and found[-1] in (1, None):
        masks = ops.squeeze(masks, axis=-1)
    sides = zip(masks.shape, pixels, strict=False)
    if len(masks.shape) != len(pixels) or any(a != b and None not in (a, b) for a, b in sides):
        raise ValueError(
            f"Found masks of shape {found} for logits of shape {tuple(logits.shape)}: expected masks of shape "
            f"{pixels}, with a class id for each pixel. Fix: resize the masks; turn one-hot vectors into ids."
        )
    return masks


def require(known, values, message):
    """Raises an error if a value of a tensor is wrong.

    This works in eager code and in graphs of TensorFlow. In code that XLA or JAX has compiled it does nothing, because
    such code cannot raise errors. It also does nothing for a JAX array that is spread over several processes.

    Args:
        known: Boolean tensor, False where a value is wrong.
        values: Tensor of the same shape.
        message: What was expected. The error adds the first values that are wrong.

    Returns:
        `known`. The code that follows must use this tensor, because TensorFlow removes everything from a graph that the
        output does not depend on.

    Raises:
        ValueError: In eager code, if a value is wrong.
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

        if isinstance(known, jax.core.Tracer) or not getattr(known, "is_fully_addressable", True):
            return known
    correct = ops.convert_to_numpy(known)
    if not correct.all():
        wrong = ops.convert_to_numpy(values)[~correct]
        raise ValueError(f"{message} Found: {', '.join(f'{value:g}' for value in wrong[:5])}")
    return known
