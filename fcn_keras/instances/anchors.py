"""Anchors: boxes of a few sizes and shapes around every unit of the pyramid. The network corrects them.

Reference: Ren, He, Girshick & Sun (NIPS 2015), §3.1; Lin et al. (CVPR 2017), §4.1: one size for each level.
"""

import numpy as np
from keras import ops


def make_anchors(geometries, sizes, scale=8.0, ratios=(0.5, 1.0, 2.0)):
    """Makes the anchors of all levels, in the order of the units.

    Args:
        geometries: The `fcn_keras.geometry.Geometry` of each level.
        sizes: ``(height, width)`` of each level in units, as integers or scalar tensors.
        scale: Side of a square anchor, in units of its level. The paper's 8 is 32 pixels at stride 4.
        ratios: Height divided by width. All anchors of a level have the same area.

    Returns:
        Float32 tensor ``(N, 4)`` of boxes, ordered by level, then by row, column and ratio. Anchors may reach beyond
        the image.

    Example:

    >>> from fcn_keras.geometry import Geometry
    >>> make_anchors([Geometry(4, 4, 1.5)], [(1, 2)], scale=2, ratios=(1,)).numpy().tolist()
    [[-2.0, -2.0, 6.0, 6.0], [-2.0, 2.0, 6.0, 10.0]]
    """
    levels = []
    for geometry, size in zip(geometries, sizes, strict=True):
        rows, columns = (geometry.offset + 0.5 + geometry.stride * ops.arange(side, dtype="float32") for side in size)
        centres = ops.stack(ops.meshgrid(rows, columns, indexing="ij"), axis=-1)[..., None, :]
        halves = _compute_half_sides(scale * geometry.stride, ratios)
        levels.append(ops.reshape(ops.concatenate([centres - halves, centres + halves], axis=-1), (-1, 4)))
    return ops.concatenate(levels, axis=0)


def _compute_half_sides(side, ratios):
    """Computes half of the height and width of anchors of area ``side²``, as a tensor ``(ratios, 2)``."""
    roots = np.sqrt(np.asarray(ratios, "float32"))
    return ops.convert_to_tensor(side / 2 * np.stack([roots, 1 / roots], axis=-1), dtype="float32")
