"""What each box is to learn: which object it belongs to, and which boxes a step learns from.

Shapes are static: every image has as many boxes and as many rows of objects, rows without an object have class 0, and
crowds class −1. What is not learned from has weight 0.

Reference: Ren et al. (NIPS 2015), §3.1.2; He et al. (ICCV 2017), §3.1.
"""

from keras import ops

from .boxes import area, covered, iou

CROWD = -1


def match(boxes, objects, classes, low, high, best_too=False):
    """Assigns boxes to objects by their overlap.

    Args:
        boxes: Tensor ``(batch, N, 4)``.
        objects: Tensor ``(batch, M, 4)``.
        classes: Integer tensor ``(batch, M)``: above 0 an object, 0 an empty row, −1 a crowd, which is no object and
            nothing is held against a box that lies in it.
        low, high: A box is background below `low` and its object's from `high` on; in between it is ignored.
        best_too: Whether the boxes that overlap an object most are its own, however little that is.

    Returns:
        ``(labels, owners)``, int32 ``(batch, N)``: 1 an object's, 0 background, −1 ignored; and the object's row.

    Example:

    >>> boxes = ops.array([[[0.0, 0, 4, 4], [0, 0, 4, 8], [9, 9, 10, 10]]])
    >>> labels, owners = match(boxes, boxes[:, :1], ops.array([[3]]), low=0.3, high=0.7)
    >>> labels.numpy().tolist()  # the second overlaps by a half
    [[1, -1, 0]]
    """
    is_object = ops.logical_and(classes > 0, area(objects) > 0)
    overlaps = ops.where(is_object[:, None, :], iou(boxes, objects), 0.0)
    most, owners = ops.max(overlaps, axis=-1), ops.cast(ops.argmax(overlaps, axis=-1), "int32")
    in_crowd = covered(boxes, ops.where((classes == CROWD)[..., None], objects, 0.0)) >= 0.5
    labels = ops.where(most >= high, 1, ops.where(ops.logical_or(most >= low, in_crowd), -1, 0))
    if best_too:
        best = ops.max(overlaps, axis=1, keepdims=True)
        is_best = ops.logical_and(overlaps >= best - 1e-6, best > 0)  # ties: all of them
        own = ops.where(is_best, overlaps, 0.0)
        labels = ops.where(ops.any(is_best, axis=-1), 1, labels)
        owners = ops.where(ops.any(is_best, axis=-1), ops.cast(ops.argmax(own, axis=-1), "int32"), owners)
    return ops.cast(labels, "int32"), owners


def sample(labels, count, positive_share, random):
    """Draws boxes to learn from: at most a share of objects', background for the rest.

    Args:
        labels: int32 ``(batch, N)``, as from `match`; N at least `count`.
        count: Boxes to draw from each image.
        positive_share: The most that may be objects', as a share.
        random: Tensor ``(batch, N)`` of random numbers in ``[0, 1)``, which decide.

    Returns:
        ``(indices, weights)``, ``(batch, count)``: objects' boxes first. Weight 0: there were not enough.

    Example:

    >>> indices, weights = sample(ops.array([[0, 1, 0, -1]]), count=3, positive_share=0.5, random=ops.zeros((1, 4)))
    >>> sorted(indices.numpy()[0][:2].tolist()), weights.numpy().tolist()
    ([0, 1], [[1.0, 1.0, 1.0]])
    """
    most = int(count * positive_share)
    is_object = labels == 1
    rank = ops.where(is_object, 1.0 + random, 0.0)
    allowed, _ = ops.top_k(rank, max(most, 1))
    keeps = ops.logical_and(is_object, ops.logical_and(rank >= allowed[:, -1:], most > 0))
    rank = ops.where(keeps, 2.0 + random, ops.where(labels == 0, 1.0 + random, -1.0))
    chosen, indices = ops.top_k(rank, count)
    return ops.cast(indices, "int32"), ops.cast(chosen >= 0, "float32")


def batched_gather(values, indices):
    """``values[b, indices[b]]`` for each image ``b``: ``(batch, N, …)`` and ``(batch, R)`` to ``(batch, R, …)``.

    Example:

    >>> batched_gather(ops.array([[10, 20, 30]]), ops.array([[2, 0]])).numpy().tolist()
    [[30, 10]]
    """
    batch, count = ops.shape(values)[:2]
    flat = ops.reshape(values, (batch * count, *ops.shape(values)[2:]))
    return ops.take(flat, indices + ops.arange(batch)[:, None] * count, axis=0)
