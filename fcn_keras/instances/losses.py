"""The five losses of Mask R-CNN. Each compares predictions with the truth. Weights say which of them count.

Reference: Ren et al. (NIPS 2015), equation 1: the two of the region proposal network (RPN). He et al. (ICCV 2017), §3:
``L = L_cls + L_box + L_mask``.
"""

import keras
from keras import ops


def objectness_loss(logits, labels, weights):
    """Binary cross-entropy of the anchors that were drawn: is there an object?

    Args:
        logits: Tensor ``(batch, R)``.
        labels: Tensor ``(batch, R)``: 1 for an object, 0 for background.
        weights: Tensor ``(batch, R)``: 1 for anchors that were drawn, else 0.

    Returns:
        Scalar tensor: the mean over the anchors that were drawn.

    Example:

    >>> float(objectness_loss(ops.zeros((1, 2)), ops.array([[1.0, 0.0]]), ops.array([[1.0, 0.0]])))  # ln 2
    0.6931471824645996
    """
    return _mean(_binary_crossentropy(logits, labels), weights)


def class_loss(logits, labels, weights):
    """Cross-entropy of the regions that were drawn: which class is it?

    Args:
        logits: Tensor ``(batch, R, C)``.
        labels: Integer tensor ``(batch, R)``.
        weights: Tensor ``(batch, R)``: 1 for regions that were drawn, else 0.

    Returns:
        Scalar tensor: the mean over the regions that were drawn.

    Example:

    >>> round(float(class_loss(ops.zeros((1, 1, 4)), ops.array([[3]]), ops.ones((1, 1)))), 4)  # ln 4
    1.3863
    """
    return _mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True), weights)


def box_loss(offsets, targets, positive, weights, beta=1.0):
    """Smooth L1 loss of the boxes that belong to objects: where exactly is it?

    The loss is summed over the four offsets and divided by the number of all boxes that were drawn, background
    included. So each box of an object has the same weight, however many there are.

    Args:
        offsets: Tensor ``(batch, R, 4)``.
        targets: Tensor ``(batch, R, 4)``.
        positive: Tensor ``(batch, R)``: 1 for boxes that belong to objects, else 0.
        weights: Tensor ``(batch, R)``: 1 for boxes that were drawn, else 0.
        beta: Distance at which the parabola becomes a straight line.

    Returns:
        Scalar tensor.

    Example:

    >>> one = ops.ones((1, 1))
    >>> float(box_loss(ops.array([[[0.5, 0.0, 0.0, 3.0]]]), ops.zeros((1, 1, 4)), one, one))  # 0.125 + 2.5
    2.625

    Reference: Girshick (ICCV 2015), equation 3.
    """
    distance = ops.abs(offsets - targets)
    losses = ops.where(distance < beta, 0.5 * distance**2 / beta, distance - 0.5 * beta)
    return ops.sum(ops.sum(losses, axis=-1) * positive) / ops.maximum(ops.sum(weights), 1.0)


def mask_loss(logits, targets, weights):
    """Binary cross-entropy of the masks of objects: which pixels belong to it?

    The logits are those of the object's own class. The masks of the other classes add nothing, so the classes do
    not compete for pixels.

    Args:
        logits: Tensor ``(batch, R, m, m)``.
        targets: Tensor ``(batch, R, m, m)`` of 0 and 1.
        weights: Tensor ``(batch, R)``: 1 for boxes that belong to objects, else 0.

    Returns:
        Scalar tensor: the mean over the pixels of those masks.

    Example:

    >>> float(mask_loss(ops.zeros((1, 1, 2, 2)), ops.ones((1, 1, 2, 2)), ops.ones((1, 1))))
    0.6931471824645996

    Reference: He et al. (ICCV 2017), §3.
    """
    return _mean(ops.mean(_binary_crossentropy(logits, targets), axis=(2, 3)), weights)


def _binary_crossentropy(logits, labels):
    return ops.softplus(logits) - logits * ops.cast(labels, logits.dtype)


def _mean(losses, weights):
    return ops.sum(losses * weights) / ops.maximum(ops.sum(weights), 1.0)
