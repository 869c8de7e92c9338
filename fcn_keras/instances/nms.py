"""Non-maximum suppression with static shapes: of boxes that overlap, the best stays."""

from keras import ops

from .boxes import iou


def non_max_suppression(boxes, threshold, groups=None):
    """Which boxes stay: a box goes if a better one that stays overlaps it by more than the threshold.

    The usual loop from the best box down cannot be batched. That sentence is also an equation for "stays" on both of
    its sides; it has one solution, and to repeat it from "all stay" finds it: after ``n`` rounds the first ``n`` boxes
    are settled, and chains of boxes that suppress one another are a few boxes long, so a few rounds do.

    Args:
        boxes: Tensor ``(batch, N, 4)``, best first.
        threshold: Overlap, as intersection over union.
        groups: Tensor ``(batch, N)``; boxes of different groups, such as classes, let each other live.

    Returns:
        Boolean tensor ``(batch, N)``.

    Example:

    >>> boxes = ops.array([[[0.0, 0, 4, 4], [0, 1, 4, 5], [0, 2, 4, 6]]])  # each overlaps the next by 0.6
    >>> non_max_suppression(boxes, threshold=0.5).numpy().tolist()  # the third would be suppressed by one that is gone
    [[True, False, True]]
    """
    count = boxes.shape[1]
    better = ops.arange(count)[:, None] > ops.arange(count)[None, :]  # row: the box, column: a better one
    suppresses = ops.logical_and(iou(boxes, boxes) > threshold, better)
    if groups is not None:
        suppresses = ops.logical_and(suppresses, groups[:, :, None] == groups[:, None, :])
    suppresses = ops.cast(suppresses, "float32")

    def stay(before):
        return 1.0 - ops.minimum(ops.matmul(suppresses, before[..., None])[..., 0], 1.0)

    everything = ops.ones_like(boxes[..., 0], dtype="float32")
    _, stays = ops.while_loop(
        lambda before, after: ops.any(before != after),
        lambda before, after: (after, stay(after)),
        (everything, stay(everything)),
    )
    return stays > 0.5
