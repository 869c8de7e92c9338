"""Tiling without seams: the logits of a large image, computed piece by piece, equal those of the whole image.

The logits of a pixel depend only on the pixels in its receptive field. So the model sees each *tile* of the image
inside a *window* that is larger on every side by the reach of the receptive field, the *halo*, and only the tile is
kept. In its window, a tile gets the logits that it has in the whole image, since

- windows start at multiples of the total stride, so that the units have the positions that they have in the whole
  image;
- the side of a window and the side of the image leave the same remainder modulo the stride, so that ``same`` padding
  adds the same number of pixels;
- at the border of the image a window ends where the image ends, so that zero padding comes at the same place.

All windows of an image have the same shape: a backend that compiles for each shape compiles once.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §3: a unit depends on the input only within its receptive field.
"""

import dataclasses
import math
import numbers
from fractions import Fraction

import keras

from .. import geometry
from ..layers import _keras
from ..models.cloning import require_functional


@dataclasses.dataclass(frozen=True)
class Tiling:
    """How images are cut into tiles for a model; see `Tiling.for_model`. Without arguments, each image is one tile.

    Args:
        tile: Largest height and width of a tile in pixels, or None for the whole image. At the border of the image, a
            tile may be larger by one halo.
        stride: Total stride of the model along rows and columns, in pixels.
        halo: Pixels between a tile and the edges of its window, along rows and columns.

    Example:

    >>> model = fcn_keras.FCN8s(21, "mini_vgg", weights=None)
    >>> tiling = Tiling.for_model(model, 200)
    >>> tiling
    Tiling(tile=(200, 200), stride=(32, 32), halo=(160, 160))
    >>> tiles = tiling.cut(1000)
    >>> tiles, tiling.find_windows(tiles, 1000)
    ([(0, 352), (352, 544), (544, 736), (736, 1000)], [(0, 520), (192, 712), (384, 904), (480, 1000)])
    """

    tile: tuple[int, int] | None = None
    stride: tuple[int, int] = (1, 1)
    halo: tuple[int, int] = (0, 0)

    @classmethod
    def for_model(cls, model, tile):
        """Returns the tiling with which a model gives the same logits as for the whole image.

        Args:
            model: A Functional or Sequential model from images ``(batch, H, W, 3)`` to logits of their size.
            tile: Largest side of a tile in pixels, or ``(height, width)``; at least the total stride. None for the
                whole image, which is possible for every model.

        Returns:
            A `Tiling`.

        Raises:
            ValueError: If `tile` is none of these, if a layer of the model takes in the whole image, as
                squeeze-and-excitation and global pooling do, or if `fcn_keras.geometry` cannot follow the model.

        Example:

        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 5, padding="same")])
        >>> Tiling.for_model(model, 64)
        Tiling(tile=(64, 64), stride=(1, 1), halo=(2, 2))
        """
        if tile is None:
            return cls()
        tile = _require_pair(tile)
        strides, halos = zip(*(_find_stride_and_halo(model, axis) for axis in (0, 1)), strict=True)
        if any(side < stride for side, stride in zip(tile, strides, strict=True)):
            raise ValueError(
                f"Found tile={tile}: expected at least the total stride of model {model.name!r}, {strides}. Fix: "
                f"tile=512 or more. Tiles much smaller than the halo, {halos} pixels on each side, are slow."
            )
        return cls(tile, strides, halos)

    def cut(self, side, axis=0):
        """Cuts an axis into tiles.

        The windows of the first and the last tile need no halo at the border of the image. These tiles are longer by
        it.

        Args:
            side: Pixels of the image along the axis.
            axis: 0 for rows, 1 for columns.

        Returns:
            List of ``(start, stop)``, without gaps.

        Example:

        >>> tiling = Tiling(tile=(64, 64), stride=(32, 32), halo=(96, 96))
        >>> tiling.cut(300), tiling.cut(256)
        ([(0, 160), (160, 300)], [(0, 256)])
        """
        if self.tile is None:
            return [(0, side)]
        stride, halo = self.stride[axis], self.halo[axis]
        inner = (side - side % stride - 2 * halo) // stride  # in strides: what the longer tiles at the border leave
        count = max(1, math.ceil(inner / (self.tile[axis] // stride)))
        length = math.ceil(inner / count) * stride  # as even as whole strides allow
        cuts = [halo + k * length for k in range(1, count)]
        return list(zip([0, *cuts], [*cuts, side], strict=True))

    def find_windows(self, spans, side, axis=0):
        """Returns the windows in which the model must see spans of an axis.

        Args:
            spans: List of ``(start, stop)``: the tiles, or the parts of a resized image that they need.
            side: Pixels of the image along the axis.
            axis: 0 for rows, 1 for columns.

        Returns:
            List of ``(start, stop)``, all of the same length.

        Example:

        >>> tiling = Tiling(tile=(64, 64), stride=(32, 32), halo=(96, 96))
        >>> tiling.find_windows(tiling.cut(300), 300)
        [(0, 268), (32, 300)]
        """
        stride, halo = self.stride[axis], self.halo[axis]
        starts = [max(0, start - halo) // stride * stride for start, _ in spans]
        stops = [side - max(0, side - stop - halo) // stride * stride for _, stop in spans]
        length = max(stop - start for start, stop in zip(starts, stops, strict=True))
        starts = [min(start, side - length) for start in starts]
        return [(start, start + length) for start in starts]


def _require_pair(tile):
    sides = tuple(tile) if isinstance(tile, tuple | list) else (tile, tile)
    if len(sides) != 2 or not all(isinstance(n, numbers.Integral) and not isinstance(n, bool) for n in sides):
        raise ValueError(f"Found tile={tile!r}: expected a number of pixels, such as 1024, or (height, width).")
    if min(sides) < 1:
        raise ValueError(f"Found tile={tile!r}: expected at least one pixel along each side.")
    return tuple(int(n) for n in sides)


def _find_stride_and_halo(model, axis):
    """Total stride of a model along an axis, and the reach of a pixel's logits, in whole strides."""
    calls = _follow(model, axis)
    for layer, _, after in calls:
        if after is not None and (after.is_global or _mixes_positions(layer)):
            raise _make_error(
                model,
                f"layer {layer.name!r} ({type(layer).__name__}) takes in the whole image, so the logits of a tile are "
                "not those of the image. Fix: a model without global pooling, squeeze-and-excitation and "
                "normalization over positions, such as an FCN on mobilenet_v2, resnet50 or vgg16.",
            )
    (logits, *_) = geometry.trace_outputs(model, axis)
    if logits is None:
        raise _make_error(model, "its output is not a map.")
    stride = math.lcm(*(Fraction(after.stride).limit_denominator().numerator for _, _, after in calls if after))
    reach = (logits.receptive_field - 1) / 2 + abs(logits.offset) + sum(_compute_slack(*call, axis) for call in calls)
    return stride, math.ceil(int(reach) / stride) * stride  # int: half a pixel is not reached


def _make_error(model, reason):
    return ValueError(f"Cannot tile model {model.name!r}: {reason} Or segment the image in one run: tile=None.")


def _follow(model, axis):
    try:
        return list(_list_calls(model, axis))
    except ValueError as error:
        raise _make_error(model, str(error)) from error


def _list_calls(model, axis, incoming=None):
    """Every layer with the `Geometry` before and after it; nested models are replaced by their layers."""
    functional = require_functional(model)
    nodes = [node for node in _keras.get_calls(functional) if node.input_tensors]
    calls = [(node.operation, node.input_tensors[0], node.output_tensors[0]) for node in nodes]
    for layer, *_ in calls:
        if isinstance(layer, keras.Model):
            require_functional(layer)
    probe = keras.Model(functional.inputs, [tensor for _, *pair in calls for tensor in pair])
    geometries = geometry.trace_outputs(probe, axis, incoming)
    for (layer, *_), before, after in zip(calls, geometries[::2], geometries[1::2], strict=True):
        if isinstance(layer, keras.Model):
            yield from _list_calls(layer, axis, before)
        else:
            yield layer, before, after


def _mixes_positions(layer):
    """Whether a layer that `geometry` treats as pointwise works along other axes than the channels."""
    if not isinstance(layer, keras.layers.LayerNormalization | keras.layers.Softmax):
        return False
    axes = layer.axis if isinstance(layer.axis, tuple | list) else [layer.axis]
    return any(axis not in (-1, 3) for axis in axes)


def _compute_slack(layer, before, after, axis):
    """Pixels by which a layer may reach beyond the window that `geometry` puts around the centre of a unit."""
    if before is None or after is None:
        return 0
    if after.stride < before.stride:
        return _compute_upsampling_slack(layer, before, after, axis)
    if isinstance(layer, keras.layers.Cropping2D):  # padding that follows would lie inside the window
        return before.stride * max(layer.cropping[axis])
    if getattr(layer, "padding", None) == "same" and after.stride > before.stride:
        return before.stride * _compute_extra_padding(layer, axis)
    return 0


def _compute_upsampling_slack(layer, before, after, axis):
    """How far a pixel can lie from the middle of the units that contribute to it."""
    kernel = getattr(layer, "kernel_size", None)
    if kernel is None:
        return (before.stride - after.stride) / 2  # the most, for any kernel
    units = math.ceil(kernel[axis] * after.stride / before.stride)
    return (kernel[axis] - 1) / 2 * after.stride - (units - 1) / 2 * before.stride


def _compute_extra_padding(layer, axis):
    """Units that ``same`` padding may add at the start beyond those that it adds to a multiple of the stride."""
    kernel = (getattr(layer, "kernel_size", None) or layer.pool_size)[axis]
    reach = getattr(layer, "dilation_rate", (1, 1))[axis] * (kernel - 1)
    return reach // 2 - max(reach + 1 - layer.strides[axis], 0) // 2
