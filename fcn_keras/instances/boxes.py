"""Boxes: their overlap, and their offsets from other boxes.

In all of `fcn_keras.instances` a box is ``(top, left, bottom, right)`` in pixels of the image. The numbers are edges,
not centres: pixel ``p`` reaches from ``p`` to ``p + 1``, so a box around one pixel is one pixel high.
`fcn_keras.geometry` counts centres, so its coordinate 0 is 0.5 here. The arithmetic is that of
`keras.utils.bounding_boxes`, which calls this order ``"yxyx"``.
"""

import math

import keras
from keras import ops

FORMAT = "yxyx"
LARGEST_LOG_SIZE = math.log(1000 / 16)  # a box may be at most this many times as large as its anchor


def iou(boxes, others):
    """Computes the intersection over union of each box with each other box.

    Args:
        boxes: Tensor ``(…, N, 4)``.
        others: Tensor ``(…, M, 4)``.

    Returns:
        Tensor ``(…, N, M)`` in 0–1. It is 0 where a box has no area.

    Example:

    >>> iou([[0.0, 0.0, 2.0, 2.0]], [[0.0, 1.0, 2.0, 3.0], [5.0, 5.0, 5.0, 5.0]]).numpy().round(3).tolist()
    [[0.3330000042915344, 0.0]]
    """
    return keras.utils.bounding_boxes.compute_iou(boxes, others, FORMAT)


def intersection_over_area(boxes, others):
    """Computes the share of each box that each other box covers.

    Args:
        boxes: Tensor ``(…, N, 4)``.
        others: Tensor ``(…, M, 4)``.

    Returns:
        Tensor ``(…, N, M)`` in 0–1.

    Example:

    >>> intersection_over_area(ops.array([[0.0, 0.0, 2.0, 2.0]]), ops.array([[0.0, 1.0, 9.0, 9.0]])).numpy().tolist()
    [[0.5]]
    """
    low = ops.maximum(boxes[..., :, None, :2], others[..., None, :, :2])
    high = ops.minimum(boxes[..., :, None, 2:], others[..., None, :, 2:])
    intersection = ops.prod(ops.maximum(high - low, 0.0), axis=-1)
    return intersection / ops.maximum(area(boxes)[..., None], 1e-6)


def area(boxes):
    """Computes the areas of boxes.

    Args:
        boxes: Tensor ``(…, 4)``.

    Returns:
        Tensor ``(…)``, in square pixels. It is 0 where the bottom is above the top, or the right edge left of the left.

    Example:

    >>> float(area(ops.array([0.0, 0.0, 3.0, 2.0])))
    6.0
    """
    return ops.prod(ops.maximum(boxes[..., 2:] - boxes[..., :2], 0.0), axis=-1)


def encode(boxes, anchors, scale):
    """Describes boxes by their offsets from anchors: the numbers that the network learns to predict.

    The first two are the distance between the centres, divided by the height and width of the anchor. The last two are
    the logarithms of how many times higher and wider the box is.

    Args:
        boxes: Tensor ``(…, 4)``.
        anchors: Tensor ``(…, 4)``, one anchor for each box.
        scale: Four numbers that the offsets ``(y, x, height, width)`` are divided by, so that all are about 1.

    Returns:
        Tensor ``(…, 4)``.

    Example:

    >>> encode(ops.array([[1.0, 0.0, 3.0, 2.0]]), ops.array([[0.0, 0.0, 2.0, 2.0]]), (1, 1, 1, 1)).numpy().tolist()
    [[0.5, 0.0, 0.0, 0.0]]

    Reference: Girshick et al. (CVPR 2014), appendix C; Ren et al. (NIPS 2015), equation 2.
    """
    return keras.utils.bounding_boxes.encode_box_to_deltas(anchors, boxes, FORMAT, FORMAT, variance=scale)


def decode(offsets, anchors, scale):
    """Computes the boxes that lie at the given offsets from anchors: the inverse of `encode`.

    Sizes are limited before the exponential, so that it cannot overflow.

    Args:
        offsets: Tensor ``(…, 4)``, as from `encode`.
        anchors: Tensor ``(…, 4)``, one anchor for each offset.
        scale: As in `encode`.

    Returns:
        Tensor ``(…, 4)`` of boxes.

    Example:

    >>> decode(ops.array([[0.5, 0.0, 0.0, 0.0]]), ops.array([[0.0, 0.0, 2.0, 2.0]]), (1, 1, 1, 1)).numpy().tolist()
    [[1.0, 0.0, 3.0, 2.0]]
    """
    offsets = offsets * ops.convert_to_tensor(scale, dtype=offsets.dtype)
    offsets = ops.concatenate([offsets[..., :2], ops.minimum(offsets[..., 2:], LARGEST_LOG_SIZE)], axis=-1)
    return keras.utils.bounding_boxes.decode_deltas_to_boxes(anchors, offsets, FORMAT, FORMAT)


def clip(boxes, height, width):
    """Cuts boxes at the borders of an image.

    Args:
        boxes: Tensor ``(…, 4)``.
        height: Height of the image in pixels.
        width: Width of the image in pixels.

    Returns:
        Tensor ``(…, 4)``.

    Example:

    >>> clip(ops.array([[-3.0, 1.0, 9.0, 2.0]]), 4, 4).numpy().tolist()
    [[0.0, 1.0, 4.0, 2.0]]
    """
    limits = ops.cast(ops.stack([height, width, height, width]), boxes.dtype)
    return ops.minimum(ops.maximum(boxes, 0.0), limits)


def batched_gather(values, indices):
    """Takes rows of each image of a batch: ``values[b, indices[b]]`` for each ``b``.

    Args:
        values: Tensor ``(batch, N, …)``.
        indices: Integer tensor ``(batch, …)`` of row numbers in ``[0, N)``.

    Returns:
        Tensor of the shape of `indices`, followed by the shape of a row.

    Example:

    >>> batched_gather(ops.array([[10, 20, 30]]), ops.array([[2, 0]])).numpy().tolist()
    [[30, 10]]
    """
    batch, count = ops.shape(values)[:2]
    first = ops.reshape(ops.arange(batch) * count, (-1,) + (1,) * (len(indices.shape) - 1))
    return ops.take(ops.reshape(values, (batch * count, *ops.shape(values)[2:])), indices + first, axis=0)
