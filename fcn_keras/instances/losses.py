"""The five losses of Mask R-CNN, each from what is said, what is true, and what counts.

Reference: Ren et al. (NIPS 2015), equation 1, the region proposal network's two; He et al. (ICCV 2017), §3:
``L = L_cls + L_box + L_mask``.
"""

import keras
from keras import ops


def objectness_loss(logits, labels, weights):
    """Binary cross-entropy of the anchors that were drawn, their mean.

    Args:
        logits, labels, weights: Tensors ``(batch, R)``; labels are 0 or 1, and weight 0 leaves an anchor out.

    Example:

    >>> float(objectness_loss(ops.zeros((1, 2)), ops.array([[1.0, 0.0]]), ops.array([[1.0, 0.0]])))  # ln 2
    0.6931471824645996
    """
    losses = ops.softplus(logits) - logits * ops.cast(labels, logits.dtype)
    return _mean(losses, weights)


def class_loss(logits, labels, weights):
    """Cross-entropy of the proposals that were drawn, their mean; `logits` ``(batch, R, C)``.

    Example:

    >>> round(float(class_loss(ops.zeros((1, 1, 4)), ops.array([[3]]), ops.ones((1, 1)))), 4)  # ln 4
    1.3863
    """
    return _mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True), weights)


def box_loss(offsets, targets, positive, weights, beta=1.0):
    """Smooth L1 of objects' boxes, summed over the four offsets, by the number of all boxes that were drawn.

    By the number of all, not of objects' boxes: so each counts the same, however few there are, and the loss keeps its
    place beside that of the classes.

    Args:
        offsets, targets: Tensors ``(batch, R, 4)``.
        positive: Tensor ``(batch, R)``: 1 for objects' boxes.
        weights: Tensor ``(batch, R)``: 1 for boxes that were drawn.
        beta: Where the parabola ends and the straight line begins.

    Example:

    >>> one = ops.ones((1, 1))
    >>> float(box_loss(ops.array([[[0.5, 0.0, 0.0, 3.0]]]), ops.zeros((1, 1, 4)), one, one))  # 0.125 + 2.5
    2.625

    Reference: Girshick (ICCV 2015), equation 3.
    """
    away = ops.abs(offsets - targets)
    losses = ops.where(away < beta, 0.5 * away**2 / beta, away - 0.5 * beta)
    return ops.sum(ops.sum(losses, axis=-1) * positive) / ops.maximum(ops.sum(weights), 1.0)


def mask_loss(logits, targets, weights):
    """Binary cross-entropy of the masks of objects' boxes, each of its own class: the mean over their pixels.

    Args:
        logits, targets: Tensors ``(batch, R, m, m)``.
        weights: Tensor ``(batch, R)``: 1 for boxes that have an object.

    Example:

    >>> float(mask_loss(ops.zeros((1, 1, 2, 2)), ops.ones((1, 1, 2, 2)), ops.ones((1, 1))))
    0.6931471824645996

    Reference: He et al. (ICCV 2017), §3: the loss of the other classes' masks is not there, so classes do not compete.
    """
    losses = ops.softplus(logits) - logits * ops.cast(targets, logits.dtype)
    return _mean(ops.mean(losses, axis=(2, 3)), weights)


def _mean(losses, weights):
    return ops.sum(losses * weights) / ops.maximum(ops.sum(weights), 1.0)
