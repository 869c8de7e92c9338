"""RoIAlign: the part of a feature map below a box, resampled to a fixed size without rounding.

Where a unit of a map lies on the image is known from `fcn_keras.geometry`, for any backbone and any padding, so nothing
is rounded, and no map need start at the image's corner.

Reference: He, Gkioxari, Dollár & Girshick (ICCV 2017), §3, "RoIAlign", Figure 3.
"""

import math

from keras import ops


def roi_align(maps, places, boxes, size, samples=2, levels=None):
    """Resamples the maps below boxes to ``size × size`` units each.

    A box is divided into ``size × size`` cells; in each, ``samples × samples`` points are read by bilinear
    interpolation between the four units around them, and averaged. A point beyond the outermost units' centres has the
    value of the outermost.

    Args:
        maps: Tensors ``(batch, h, w, C)``, one for each level of a pyramid.
        places: The `fcn_keras.geometry.Geometry` of each.
        boxes: Tensor ``(batch, R, 4)``, pixels of the image; see `boxes`.
        size: Cells along each side of a box.
        samples: Points along each side of a cell.
        levels: Integer tensor ``(batch, R)``: which map a box is read from; by default the first.

    Returns:
        Tensor ``(batch, R, size, size, C)``.

    Example:

    >>> from fcn_keras.geometry import Geometry
    >>> ramp = ops.reshape(ops.arange(16, dtype="float32"), (1, 1, 16, 1))  # unit i lies on pixel i, 0.5 in boxes
    >>> roi_align([ramp], [Geometry()], ops.array([[[0.0, 3, 1, 7]]]), size=2)[0, 0, 0, :, 0].numpy()
    array([3.5, 5.5], dtype=float32)

    Reference: He et al. (ICCV 2017), §3; as ``torchvision.ops.roi_align(…, aligned=True)`` for boxes in the image.
    """
    if levels is None:
        levels = ops.zeros_like(boxes[..., 0], dtype="int32")
    units, starts = _side_by_side(maps)
    heights, widths = ([ops.shape(x)[axis] for x in maps] for axis in (1, 2))
    rows, columns = (
        _Line(boxes[..., axis], boxes[..., axis + 2], places, sides, levels, size * samples)
        for axis, sides in enumerate((heights, widths))
    )
    width, start = (_of_level(values, levels)[..., None, None] for values in (widths, starts))
    total = 0.0
    for row, row_share in ((rows.before, 1 - rows.share), (rows.behind, rows.share)):
        for column, column_share in ((columns.before, 1 - columns.share), (columns.behind, columns.share)):
            index = start + row[..., :, None] * width + column[..., None, :]
            share = row_share[..., :, None] * column_share[..., None, :]
            total = total + _gathered(units, index) * ops.cast(share, units.dtype)[..., None]
    batch, count = ops.shape(boxes)[:2]
    cells = ops.reshape(total, (batch, count, size, samples, size, samples, units.shape[-1]))
    return ops.mean(cells, axis=(3, 5))


def levels_of(boxes, count, first_stride=4, canonical=224.0):
    """The level of a pyramid that each box is read from: the larger, the coarser.

    Args:
        boxes: Tensor ``(…, 4)``.
        count: Number of levels.
        first_stride: Stride of the finest.
        canonical: Side in pixels of a box that belongs to stride 16: 224 where backbones learned on 224 × 224.

    Returns:
        int32 tensor ``(…)`` in ``[0, count)``.

    Example:

    >>> levels_of(ops.array([[0.0, 0, 224, 224], [0, 0, 20, 20], [0, 0, 900, 900]]), count=4).numpy()
    array([2, 0, 3], dtype=int32)

    Reference: Lin et al. (CVPR 2017), equation 1.
    """
    sides = ops.maximum(boxes[..., 2:] - boxes[..., :2], 1e-6)
    octaves = ops.log(ops.prod(sides, axis=-1)) / (2 * math.log(2)) - math.log2(canonical * first_stride / 16)
    return ops.cast(ops.clip(ops.floor(octaves + 1e-6), 0, count - 1), "int32")


class _Line:
    """Points along one side of each box: the units before and behind them, and how far they lie between the two."""

    def __init__(self, low, high, places, sides, levels, count):
        offset, stride, side = (
            _of_level(values, levels)[..., None]
            for values in ([place.offset for place in places], [place.stride for place in places], sides)
        )
        steps = (ops.arange(count, dtype="float32") + 0.5) / count
        pixels = low[..., None] + (high - low)[..., None] * steps - 0.5  # edges to centres
        last = ops.cast(side - 1, "float32")
        place = ops.clip((pixels - ops.cast(offset, "float32")) / ops.cast(stride, "float32"), 0.0, last)
        self.before = ops.cast(place, "int32")
        self.behind = ops.minimum(self.before + 1, ops.cast(last, "int32"))
        self.share = place - ops.cast(self.before, "float32")


def _of_level(values, levels):
    return ops.take(ops.stack([ops.convert_to_tensor(value) for value in values]), levels)


def _side_by_side(maps):
    """The units of all maps in one row, ``(batch, units, C)``, and where each map starts in it."""
    shapes = [ops.shape(x) for x in maps]
    row = ops.concatenate(
        [ops.reshape(x, (shape[0], -1, x.shape[-1])) for x, shape in zip(maps, shapes, strict=True)], 1
    )
    starts = [0]
    for shape in shapes[:-1]:
        starts.append(starts[-1] + shape[1] * shape[2])
    return row, starts


def _gathered(units, index):
    """``units[b, index[b]]`` for each image ``b`` of the batch."""
    batch, *others = ops.shape(index)
    count = ops.shape(units)[1]
    first = ops.reshape(ops.arange(batch) * count, (-1,) + (1,) * len(others))
    return ops.take(ops.reshape(units, (-1, units.shape[-1])), index + first, axis=0)
