"""The losses of `fcn_keras.losses` as means over all devices, for training on several of them."""

import keras
import tensorflow as tf

from ..losses import PixelCrossentropy, PixelFocalCrossentropy


class _Global:
    """A mixin for losses that are means over labelled pixels: the mean runs over the pixels of all replicas."""

    def total(self, weight):
        context = _get_replica_context()
        if context is None:
            return weight
        return context.all_reduce("SUM", weight) / context.num_replicas_in_sync  # by which Keras divides the loss


@keras.saving.register_keras_serializable(package="fcn_keras")
class GlobalPixelCrossentropy(_Global, PixelCrossentropy):
    """`fcn_keras.losses.PixelCrossentropy` over the labelled pixels of the whole global batch.

    Keras averages the losses of the replicas. If these have different numbers of labelled pixels, that is not the mean
    over all labelled pixels. Here the replicas of `tf.distribute` add up their numbers of labelled pixels (or the class
    weights of these pixels) in each step. On one device and on JAX the two losses are the same.

    Args:
        ignore_class, reduction, name, class_weights, label_smoothing: As in `fcn_keras.losses.PixelCrossentropy`.

    Example:

    >>> loss = GlobalPixelCrossentropy()
    >>> float(loss([[[0, 255]]], [[[[0.0, 0.0], [9.0, -9.0]]]]))  # ln 2, the loss of the first pixel
    0.6931471824645996
    """


@keras.saving.register_keras_serializable(package="fcn_keras")
class GlobalPixelFocalCrossentropy(_Global, PixelFocalCrossentropy):
    """`fcn_keras.losses.PixelFocalCrossentropy` over the labelled pixels of the whole global batch.

    Args:
        ignore_class, reduction, name, class_weights, label_smoothing, gamma, alpha: As in
            `fcn_keras.losses.PixelFocalCrossentropy`.

    Example:

    >>> GlobalPixelFocalCrossentropy().gamma
    2.0
    """


def make_global(loss):
    """The loss over the global batch that stands for a loss of `fcn_keras.losses`.

    Args:
        loss: A `fcn_keras.losses.PixelCrossentropy` or `PixelFocalCrossentropy`, or a loss that is already global.

    Raises:
        ValueError: If there is no such loss. The Dice of a batch is not a mean over the Dice of its parts.

    Example:

    >>> make_global(PixelCrossentropy(class_weights=[1, 2])).class_weights
    [1.0, 2.0]
    """
    if isinstance(loss, _Global):
        return loss
    known = {PixelCrossentropy: GlobalPixelCrossentropy, PixelFocalCrossentropy: GlobalPixelFocalCrossentropy}
    if type(loss) not in known:
        raise ValueError(
            f"Found the loss {type(loss).__name__} on several devices, which each see a part of the batch: expected "
            f"one of {', '.join(each.__name__ for each in known)}. Fix: take one of them, or one device."
        )
    return known[type(loss)].from_config(loss.get_config())


def _get_replica_context():
    """Returns the replica that computes now, if `tf.distribute` has several."""
    if keras.backend.backend() != "tensorflow":
        return None
    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None
