"""XLA for work on every pixel, where it pays.

Keras compiles whole models by XLA, or none of it: its ``jit_compile="auto"`` is XLA on a GPU and off on a CPU under
TensorFlow, as XLA on a CPU is slower at convolutions, and at dense transposed ones by tens of times. Loss and metric
are another matter: few operations for each number, which XLA does in one pass over memory.
"""

import functools

import keras


def by_xla_where_it_pays(function):
    """Compiles a function of masks, logits and Python values: one pass over the logits instead of several.

    It pays on a CPU under TensorFlow, within a graph, for logits whose size is known: XLA compiles each size anew, in
    70 ms. Elsewhere the function runs as it is; JAX, and Keras on a GPU under TensorFlow, compile what surrounds it.

    Args:
        function: Function of masks ``(batch, H, W)``, logits ``(batch, H, W, C)`` and what else it needs.

    Returns:
        The function.

    Example:

    >>> @by_xla_where_it_pays
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
