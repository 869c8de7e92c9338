"""Anchors: boxes of a few forms around every unit of a pyramid, which the network corrects.

Reference: Ren, He, Girshick & Sun (NIPS 2015), §3.1; Lin et al. (CVPR 2017), §4.1: one size for each level.
"""

import numpy as np
from keras import ops


def anchors(places, sizes, scale=8.0, ratios=(0.5, 1.0, 2.0)):
    """The anchors of all levels, in the order of their units.

    Args:
        places: `fcn_keras.geometry.Geometry` of each level.
        sizes: ``(height, width)`` of each level in units; integers or scalar tensors.
        scale: Side of a square anchor in units of its level: 8, as in the paper, is 32 pixels at stride 4.
        ratios: Height over width, for anchors of the same area.

    Returns:
        Tensor ``(N, 4)``: levels, then rows, columns and ratios. Anchors may reach beyond the image.

    Example:

    >>> from fcn_keras.geometry import Geometry
    >>> anchors([Geometry(4, 4, 1.5)], [(1, 2)], scale=2, ratios=(1,)).numpy().tolist()
    [[-2.0, -2.0, 6.0, 6.0], [-2.0, 2.0, 6.0, 10.0]]
    """
    levels = []
    for place, size in zip(places, sizes, strict=True):
        rows, columns = (place.offset + 0.5 + place.stride * ops.arange(side, dtype="float32") for side in size)
        centres = ops.stack(ops.meshgrid(rows, columns, indexing="ij"), axis=-1)[..., None, :]
        halves = _halves(scale * place.stride, ratios)
        levels.append(ops.reshape(ops.concatenate([centres - halves, centres + halves], axis=-1), (-1, 4)))
    return ops.concatenate(levels, axis=0)


def _halves(side, ratios):
    """``(ratios, 2)``: half of the height and width of anchors of area ``side²``."""
    roots = np.sqrt(np.asarray(ratios, "float32"))
    return ops.convert_to_tensor(side / 2 * np.stack([roots, 1 / roots], axis=-1), dtype="float32")
