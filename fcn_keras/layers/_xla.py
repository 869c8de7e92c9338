"""Compiles losses and metrics with XLA, even if the model itself is not compiled with XLA.

Keras compiles a model with XLA as a whole or not at all. With ``jit_compile="auto"`` and TensorFlow, it uses XLA on a
GPU but not on a CPU. On a CPU, XLA makes convolutions slower, and dense transposed convolutions many times slower. But
losses and metrics become faster with XLA, on a CPU as well: they do only a few operations on each number, and XLA does
all of them in one pass over the memory.
"""

import functools

import keras


def compile_with_xla(function):
    """Compiles a function of masks and logits with XLA, so that it makes one pass over the logits.

    This happens with TensorFlow on a CPU, inside a graph, if the size of the logits is known. XLA compiles the function
    again for every new size, which takes 70 ms. In all other cases the function runs unchanged. With JAX, or with
    TensorFlow on a GPU, Keras compiles the whole training step, which includes this function.

    Args:
        function: Function of masks ``(batch, H, W)``, logits ``(batch, H, W, C)`` and further Python values.

    Returns:
        A function of the same arguments.

    Example:

    >>> @compile_with_xla
    ... def hits(masks, logits):
    ...     return keras.ops.sum(keras.ops.argmax(logits, -1) == masks)
    >>> int(hits(np.zeros((1, 2, 2)), np.ones((1, 2, 2, 3))))
    4
    """

    @functools.cache
    def compiled():
        import tensorflow as tf

        return tf.function(function, jit_compile=True, autograph=False)

    @functools.wraps(function)
    def call(masks, logits, *others):
        return (compiled() if _pays(logits) else function)(masks, logits, *others)

    return call


def _pays(logits):
    if keras.backend.backend() != "tensorflow" or None in logits.shape[1:]:
        return False
    import tensorflow as tf

    return not tf.executing_eagerly() and not tf.config.list_physical_devices("GPU")
