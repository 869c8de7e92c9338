"""RoIAlign: resamples the part of a feature map inside a box to a fixed size, without rounding.

`fcn_keras.geometry` knows where the units of a map lie on the image, for every backbone and every padding. So nothing
is rounded, and a map may start anywhere, not only in the corner of the image.

Reference: He, Gkioxari, Dollár & Girshick (ICCV 2017), §3, "RoIAlign", Figure 3.
"""

import math

from keras import ops

from .boxes import batched_gather


def roi_align(maps, geometries, boxes, size, samples=2, levels=None):
    """Resamples the maps inside boxes to ``size × size`` cells for each box.

    Each cell averages ``samples × samples`` points. The value of a point is interpolated bilinearly between the four
    units around it. A point outside the centres of the outermost units gets the value of the nearest of them.

    Args:
        maps: Tensors ``(batch, h, w, C)``, one for each level of a pyramid.
        geometries: The `fcn_keras.geometry.Geometry` of each map.
        boxes: Tensor ``(batch, R, 4)``, as `fcn_keras.instances.boxes` describes them.
        size: Cells along each side of a box.
        samples: Points along each side of a cell.
        levels: Integer tensor ``(batch, R)``: from which map each box is read; by default from the first.

    Returns:
        Tensor ``(batch, R, size, size, C)``.

    Example:

    >>> from fcn_keras.geometry import Geometry
    >>> ramp = ops.reshape(ops.arange(16, dtype="float32"), (1, 1, 16, 1))  # unit i lies on pixel i, i + 0.5 in boxes
    >>> roi_align([ramp], [Geometry()], ops.array([[[0.0, 3, 1, 7]]]), size=2)[0, 0, 0, :, 0].numpy()
    array([3.5, 5.5], dtype=float32)

    Reference: He et al. (ICCV 2017), §3. Equal to ``torchvision.ops.roi_align(…, aligned=True)`` for boxes inside the
    image.
    """
    if levels is None:
        levels = ops.zeros_like(boxes[..., 0], dtype="int32")
    units, starts = _flatten_levels(maps)
    heights, widths = ([ops.shape(x)[axis] for x in maps] for axis in (1, 2))
    rows, columns = (
        _Points(boxes[..., axis], boxes[..., axis + 2], geometries, sides, levels, size * samples)
        for axis, sides in enumerate((heights, widths))
    )
    width, start = (_take_level(values, levels)[..., None, None] for values in (widths, starts))
    total = 0.0
    for row, row_share in rows.neighbours:
        for column, column_share in columns.neighbours:
            index = start + row[..., :, None] * width + column[..., None, :]
            share = row_share[..., :, None] * column_share[..., None, :]
            total = total + batched_gather(units, index) * ops.cast(share, units.dtype)[..., None]
    batch, count = ops.shape(boxes)[:2]
    cells = ops.reshape(total, (batch, count, size, samples, size, samples, units.shape[-1]))
    return ops.mean(cells, axis=(3, 5))


def assign_levels(boxes, count, canonical=224.0):
    """Chooses the level of the pyramid from which each box is read. Larger boxes are read from coarser levels.

    Args:
        boxes: Tensor ``(…, 4)``.
        count: Number of levels, from stride 4 on.
        canonical: Side, in pixels, of a box that is read at stride 16. It is 224 for backbones trained on 224 × 224.

    Returns:
        int32 tensor ``(…)`` in ``[0, count)``.

    Example:

    >>> assign_levels(ops.array([[0.0, 0, 224, 224], [0, 0, 20, 20], [0, 0, 900, 900]]), count=4).numpy()
    array([2, 0, 3], dtype=int32)

    Reference: Lin et al. (CVPR 2017), equation 1.
    """
    sides = ops.maximum(boxes[..., 2:] - boxes[..., :2], 1e-6)
    octaves = ops.log(ops.prod(sides, axis=-1)) / (2 * math.log(2)) - math.log2(canonical / 4)
    return ops.cast(ops.clip(ops.floor(octaves + 1e-6), 0, count - 1), "int32")


class _Points:
    """Points along one side of each box: the two units next to each point, and their shares in its value."""

    def __init__(self, low, high, geometries, sides, levels, count):
        offsets, strides = [g.offset for g in geometries], [g.stride for g in geometries]
        offset, stride, side = (_take_level(values, levels)[..., None] for values in (offsets, strides, sides))
        steps = (ops.arange(count, dtype="float32") + 0.5) / count
        pixels = low[..., None] + (high - low)[..., None] * steps - 0.5  # from edges to centres
        last = ops.cast(side - 1, "float32")
        place = ops.clip((pixels - ops.cast(offset, "float32")) / ops.cast(stride, "float32"), 0.0, last)
        first = ops.cast(place, "int32")
        second = ops.minimum(first + 1, ops.cast(last, "int32"))
        share = place - ops.cast(first, "float32")
        self.neighbours = (first, 1 - share), (second, share)


def _take_level(values, levels):
    return ops.take(ops.stack([ops.convert_to_tensor(value) for value in values]), levels)


def _flatten_levels(maps):
    """Returns the units of all maps in one row, ``(batch, units, C)``, and the position where each map starts."""
    flat, starts, start = [], [], 0
    for x in maps:
        batch, height, width = ops.shape(x)[:3]
        flat.append(ops.reshape(x, (batch, -1, x.shape[-1])))
        starts.append(start)
        start = start + height * width
    return ops.concatenate(flat, axis=1), starts
