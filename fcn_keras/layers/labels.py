"""From logits to labels: the class with the largest logit, and one logit for two classes.

A binary net says one thing of the object; its background is fixed at 0. The softmax of ``(0, z)`` is the sigmoid of
``z``, and which of the two is larger the sign of ``z`` tells. Losses, metrics and inference ask `two_class_logits` first,
and know nothing else of binary nets.
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
