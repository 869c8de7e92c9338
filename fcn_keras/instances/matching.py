"""Decides which object each box belongs to, and from which boxes a training step learns.

Shapes are static: every image has the same number of boxes and of rows for objects. A row without an object has class
0, a crowd has class −1, and boxes that do not count have weight 0.

Reference: Ren et al. (NIPS 2015), §3.1.2; He et al. (ICCV 2017), §3.1.
"""

from keras import ops

from .boxes import area, intersection_over_area, iou

CROWD = -1


def assign(boxes, objects, classes, low, high, keep_best=False):
    """Assigns boxes to objects by their intersection over union (IoU).

    Args:
        boxes: Tensor ``(batch, N, 4)``.
        objects: Tensor ``(batch, M, 4)``: the boxes of the objects.
        classes: Integer tensor ``(batch, M)``: the class of an object, from 1; 0 for an empty row; −1 for a crowd. A
            box that lies in a crowd is not counted as background, but ignored.
        low: A box whose IoU with every object is lower than this is background.
        high: A box whose IoU with an object is at least this belongs to it. Between `low` and `high` it is ignored.
        keep_best: Whether the boxes with the largest IoU with an object also belong to it, however small it is.

    Returns:
        Two int32 tensors ``(batch, N)``: the labels, 1 for a box that belongs to an object, 0 for background, −1 for an
        ignored box; and the row of the object that overlaps the box most.

    Example:

    >>> boxes = ops.array([[[0.0, 0, 4, 4], [0, 0, 4, 8], [9, 9, 10, 10]]])
    >>> labels, rows = assign(boxes, boxes[:, :1], ops.array([[3]]), low=0.3, high=0.7)
    >>> labels.numpy().tolist()  # the IoU of the second is 0.5
    [[1, -1, 0]]
    """
    is_object = ops.logical_and(classes > 0, area(objects) > 0)
    overlaps = ops.where(is_object[:, None, :], iou(boxes, objects), 0.0)
    most, rows = ops.max(overlaps, axis=-1), ops.cast(ops.argmax(overlaps, axis=-1), "int32")
    crowds = ops.where((classes == CROWD)[..., None], objects, 0.0)
    in_crowd = ops.max(intersection_over_area(boxes, crowds), axis=-1) >= 0.5
    labels = ops.where(most >= high, 1, ops.where(ops.logical_or(most >= low, in_crowd), -1, 0))
    if keep_best:
        best = ops.max(overlaps, axis=1, keepdims=True)
        is_best = ops.logical_and(overlaps >= best - 1e-6, best > 0)  # with equal overlaps, all of them
        best_rows = ops.cast(ops.argmax(ops.where(is_best, overlaps, 0.0), axis=-1), "int32")
        labels = ops.where(ops.any(is_best, axis=-1), 1, labels)
        rows = ops.where(ops.any(is_best, axis=-1), best_rows, rows)
    return ops.cast(labels, "int32"), rows


def subsample(labels, count, positive_share, random):
    """Draws the boxes from which a step learns: boxes of objects up to a share, and background for the rest.

    Args:
        labels: int32 tensor ``(batch, N)``, as from `assign`, with N at least `count`.
        count: Number of boxes to draw from each image.
        positive_share: Largest share of boxes of objects among them.
        random: Tensor ``(batch, N)`` of random numbers in ``[0, 1)``, which decide the draw.

    Returns:
        Indices and weights, int32 and float32 ``(batch, count)``. Boxes of objects come first. The weight is 1, or 0 if
        there were not enough boxes.

    Example:

    >>> indices, weights = subsample(ops.array([[0, 1, 0, -1]]), count=3, positive_share=0.5, random=ops.zeros((1, 4)))
    >>> sorted(indices.numpy()[0][:2].tolist()), weights.numpy().tolist()
    ([0, 1], [[1.0, 1.0, 1.0]])
    """
    most = int(count * positive_share)
    is_object = labels == 1
    rank = ops.where(is_object, 1.0 + random, 0.0)
    allowed, _ = ops.top_k(rank, max(most, 1))
    positive = ops.logical_and(is_object, ops.logical_and(rank >= allowed[:, -1:], most > 0))
    rank = ops.where(positive, 2.0 + random, ops.where(labels == 0, 1.0 + random, -1.0))
    drawn, indices = ops.top_k(rank, count)
    return ops.cast(indices, "int32"), ops.cast(drawn >= 0, "float32")
