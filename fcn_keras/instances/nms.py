"""Non-maximum suppression (NMS) with static shapes: if boxes overlap, it keeps the best one."""

from keras import ops

from .boxes import iou


def non_max_suppression(boxes, threshold, groups=None):
    """Decides which boxes to keep. A box is dropped if a better box that is kept overlaps it too much.

    Whether a box is kept depends on which better boxes are kept. The usual algorithm therefore goes from the best box
    to the worst, one box at a time, and cannot be batched. Here the rule is applied to all boxes at the same time:
    first as if every box were kept, then with the result, and so on until nothing changes. After ``n`` rounds the
    decision about the first ``n`` boxes is final, so the result equals that of the usual algorithm. In practice a few
    rounds are enough, because chains of boxes that suppress one another are short.

    Args:
        boxes: Tensor ``(batch, N, 4)``, best first.
        threshold: Largest intersection over union of two boxes that are both kept.
        groups: Tensor ``(batch, N)``. Boxes of different groups, such as classes, do not suppress one another.

    Returns:
        Boolean tensor ``(batch, N)``, True for boxes that are kept.

    Example:

    >>> boxes = ops.array([[[0.0, 0, 4, 4], [0, 1, 4, 5], [0, 2, 4, 6]]])  # each overlaps the next by 0.6
    >>> non_max_suppression(boxes, threshold=0.5).numpy().tolist()  # the second is dropped, so the third stays
    [[True, False, True]]
    """
    count = boxes.shape[1]
    better = ops.arange(count)[:, None] > ops.arange(count)[None, :]  # row: the box, column: a better one
    suppresses = ops.logical_and(iou(boxes, boxes) > threshold, better)
    if groups is not None:
        suppresses = ops.logical_and(suppresses, groups[:, :, None] == groups[:, None, :])
    suppresses = ops.cast(suppresses, "float32")

    def apply_rule(kept):
        return 1.0 - ops.minimum(ops.matmul(suppresses, kept[..., None])[..., 0], 1.0)

    everything = ops.ones_like(boxes[..., 0], dtype="float32")
    _, kept = ops.while_loop(
        lambda before, after: ops.any(before != after),
        lambda before, after: (after, apply_rule(after)),
        (everything, apply_rule(everything)),
    )
    return kept > 0.5
