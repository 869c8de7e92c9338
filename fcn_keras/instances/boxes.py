"""Boxes: overlap, and as offsets from other boxes, in the terms of the whole room.

A box is ``(top, left, bottom, right)`` in pixels of the image, edges and not centres: pixel ``p`` reaches from ``p`` to
``p + 1``, so a box around it alone is one pixel high. `fcn_keras.geometry` speaks of centres: its coordinate 0 is 0.5
here. The arithmetic is Keras' own, `keras.utils.bounding_boxes`, where boxes of this order are called ``"yxyx"``.
"""

import math

import keras
from keras import ops

FORMAT = "yxyx"
LARGEST = math.log(1000 / 16)  # of log sizes: a thousand pixels from the smallest anchor


def iou(boxes, others):
    """Intersection over union of each box with each other one.

    Args:
        boxes: Tensor ``(…, N, 4)``.
        others: Tensor ``(…, M, 4)``.

    Returns:
        Tensor ``(…, N, M)`` in 0–1; 0 where a box has no area.

    Example:

    >>> iou([[0.0, 0.0, 2.0, 2.0]], [[0.0, 1.0, 2.0, 3.0], [5.0, 5.0, 5.0, 5.0]]).numpy().round(3).tolist()
    [[0.3330000042915344, 0.0]]
    """
    return keras.utils.bounding_boxes.compute_iou(boxes, others, FORMAT)


def covered(boxes, others):
    """The largest share of each box that one of the others covers, ``(…, N)``: how deep it lies in a crowd.

    Example:

    >>> covered(ops.array([[0.0, 0.0, 2.0, 2.0]]), ops.array([[0.0, 1.0, 9.0, 9.0]])).numpy()
    array([0.5], dtype=float32)
    """
    low = ops.maximum(boxes[..., :, None, :2], others[..., None, :, :2])
    high = ops.minimum(boxes[..., :, None, 2:], others[..., None, :, 2:])
    shared = ops.prod(ops.maximum(high - low, 0.0), axis=-1)
    return ops.max(shared / ops.maximum(area(boxes)[..., None], 1e-6), axis=-1)


def area(boxes):
    """Areas ``(…)`` of boxes ``(…, 4)``, in square pixels; 0 where an edge lies before its opposite.

    Example:

    >>> float(area(ops.array([0.0, 0.0, 3.0, 2.0])))
    6.0
    """
    return ops.prod(ops.maximum(boxes[..., 2:] - boxes[..., :2], 0.0), axis=-1)


def encode(boxes, anchors, scale):
    """What a network is to say of a box: where it lies from an anchor's centre, in units of the anchor, and log sizes.

    Args:
        boxes, anchors: Tensors ``(…, 4)``, one for one.
        scale: Four numbers that the offsets ``(y, x, height, width)`` are divided by, so that all are about 1.

    Returns:
        Tensor ``(…, 4)``.

    Example:

    >>> encode(ops.array([[1.0, 0.0, 3.0, 2.0]]), ops.array([[0.0, 0.0, 2.0, 2.0]]), (1, 1, 1, 1)).numpy().tolist()
    [[0.5, 0.0, 0.0, 0.0]]

    Reference: Girshick et al. (CVPR 2014), appendix C; Ren et al. (NIPS 2015), equation 2.
    """
    return keras.utils.bounding_boxes.encode_box_to_deltas(anchors, boxes, FORMAT, FORMAT, variance=scale)


def decode(deltas, anchors, scale):
    """The boxes that `encode` would say so of; log sizes are cut before they overflow.

    Example:

    >>> decode(ops.array([[0.5, 0.0, 0.0, 0.0]]), ops.array([[0.0, 0.0, 2.0, 2.0]]), (1, 1, 1, 1)).numpy().tolist()
    [[1.0, 0.0, 3.0, 2.0]]
    """
    deltas = deltas * ops.convert_to_tensor(scale, dtype=deltas.dtype)
    deltas = ops.concatenate([deltas[..., :2], ops.minimum(deltas[..., 2:], LARGEST)], axis=-1)
    return keras.utils.bounding_boxes.decode_deltas_to_boxes(anchors, deltas, FORMAT, FORMAT)


def clip(boxes, height, width):
    """Boxes ``(…, 4)`` cut at the borders of an image.

    Example:

    >>> clip(ops.array([[-3.0, 1.0, 9.0, 2.0]]), 4, 4).numpy().tolist()
    [[0.0, 1.0, 4.0, 2.0]]
    """
    limits = ops.cast(ops.stack([height, width, height, width]), boxes.dtype)
    return ops.minimum(ops.maximum(boxes, 0.0), limits)
