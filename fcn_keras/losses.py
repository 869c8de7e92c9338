"""The pixel loss that leaves void pixels out."""

import keras


@keras.saving.register_keras_serializable(package="fcn_keras")
class PixelCrossentropy(keras.losses.SparseCategoricalCrossentropy):
    """Softmax cross-entropy of every pixel that has a label, on logits.

    Takes integer masks ``(batch, H, W)`` or ``(batch, H, W, 1)`` and logits ``(batch, H, W, C)``. A batch without a
    single labelled pixel costs 0. On TensorFlow a label outside ``[0, C)`` that is not void stops the training with the
    label found; elsewhere `fcn_keras.datasets.load` is the guard.

    Args:
        void: Label of the pixels that do not count.
        reduction: ``"mean"`` over the labelled pixels of the batch, or ``"sum"`` over them: the authors' loss, whose
            gradient is about 187,500 times larger on a VOC image and needs their learning rate of 1e-10.
        name: Name of the loss.

    Raises:
        ValueError: If the reduction is neither of the two.

    Example:

    >>> loss = PixelCrossentropy()
    >>> float(loss([[[0, 255]]], [[[[0.0, 0.0], [9.0, -9.0]]]]))  # ln 2: one pixel counts
    0.6931471824645996

    Reference: Long et al. (CVPR 2015), §3.4 and §4.3: per-pixel multinomial logistic loss, ambiguous pixels ignored.
    """

    def __init__(self, void=255, reduction="mean", name="pixel_crossentropy", dtype=None):
        if reduction not in ("mean", "sum"):
            raise ValueError(f'Found reduction={reduction!r}: expected "mean" or "sum".')
        super().__init__(from_logits=True, ignore_class=void, reduction=reduction, name=name, dtype=dtype)
        self.void = void

    def call(self, y_true, y_pred):
        y_true, y_pred = keras.ops.convert_to_tensor(y_true), keras.ops.convert_to_tensor(y_pred)
        if keras.backend.backend() == "tensorflow":
            _require_labels(y_true, y_pred.shape[-1], self.void)
        return super().call(y_true, y_pred)

    def get_config(self):
        return {"void": self.void, "reduction": self.reduction, "name": self.name}


def _require_labels(masks, num_classes, void):
    """Stops inside a compiled TensorFlow graph too, where Python cannot look at values."""
    import tensorflow as tf

    known = tf.logical_or(tf.equal(masks, void), tf.logical_and(masks >= 0, masks < num_classes))
    tf.debugging.Assert(
        tf.reduce_all(known),
        [
            f"A mask holds labels outside [0, {num_classes}) that are not void ({void}): expected class ids from 0. "
            "Mend: map the ids, or set num_classes or void. Found:",
            tf.boolean_mask(masks, tf.logical_not(known)),
        ],
        summarize=5,
    )
