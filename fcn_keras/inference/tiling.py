"""Tiling without seams: the logits of a large image, computed piece by piece, equal those of the whole image.

The logits of a pixel depend only on the pixels in its receptive field. So the model sees each *tile* of the image
inside a *window*, which is larger on every side by the reach of the receptive field, the *halo*. Only the logits of the
tile are kept. They equal the logits of the whole image, because

- windows start at multiples of the total stride, so the units have the same positions as in the whole image;
- the side of a window and the side of the image leave the same remainder when divided by the stride, so ``same``
  padding adds the same number of pixels;
- at the border of the image a window ends where the image ends, so zero padding starts at the same place.

All windows of an image have the same shape, so a backend that compiles for each shape compiles only once.

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
        tile: Largest height and width of a tile in pixels, or None for the whole image. A tile at the border of the
            image may be larger by one halo.
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
            tile: Largest side of a tile in pixels, or ``(height, width)``; at least the total stride. With None,
                which every model allows, each image is one tile.

        Returns:
            A `Tiling`.

        Raises:
            ValueError: If `tile` is something else, if a layer of the model needs the whole image, as
                squeeze-and-excitation and global pooling do, or if `fcn_keras.geometry` cannot follow the model.

        Example:

        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 5, padding="same")])
        >>> Tiling.for_model(model, 64)
        Tiling(tile=(64, 64), stride=(1, 1), halo=(2, 2))
        """
        if tile is None:
            return cls()
        tile = _require_pair(tile)
        try:
            strides, halos = zip(*(_find_stride_and_halo(model, axis) for axis in (0, 1)), strict=True)
        except ValueError as error:
            advice = "Or segment the image in one run: tile=None."
            raise ValueError(f"Cannot tile model {model.name!r}: {error} {advice}") from error
        if any(side < stride for side, stride in zip(tile, strides, strict=True)):
            raise ValueError(
                f"Found tile={tile}: expected at least the total stride of model {model.name!r}, {strides}. Fix: "
                f"tile=512 or more. Tiles much smaller than the halo, {halos} pixels on each side, are slow."
            )
        return cls(tile, strides, halos)

    def cut(self, side, axis=0):
        """Cuts an axis into tiles.

        The windows of the first and the last tile need no halo at the border of the image. So these tiles are longer by
        one halo.

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
        inner = (
            side - side % stride - 2 * halo
        ) // stride  # in strides: the part that the longer tiles at the border do not cover
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
    """Returns the total stride of a model along an axis, and the reach of a pixel's logits, in whole strides."""
    calls = list(_list_calls(model, axis))
    for layer, _, after in calls:
        if after is not None and (after.is_global or _mixes_positions(layer)):
            raise ValueError(
                f"layer {layer.name!r} ({type(layer).__name__}) needs the whole image, so the logits of a tile are not "
                "those of the image. Fix: use a model without global pooling, squeeze-and-excitation and "
                "normalization over positions, such as an FCN on mobilenet_v2, resnet50 or vgg16."
            )
    (logits, *_) = geometry.trace_outputs(model, axis)
    if logits is None:
        raise ValueError("its output is not a map.")
    stride = math.lcm(*(Fraction(after.stride).limit_denominator().numerator for _, _, after in calls if after))
    reach = (logits.receptive_field - 1) / 2 + abs(logits.offset) + sum(_compute_slack(*call, axis) for call in calls)
    return stride, math.ceil(int(reach) / stride) * stride  # int: half a pixel is not reached


def _list_calls(model, axis, incoming=None):
    """Yields every layer with the `Geometry` before and after it. For a nested model, it yields the layers inside."""
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
    """Returns whether a layer that `geometry` treats as pointwise works along other axes than the channels."""
    if not isinstance(layer, keras.layers.LayerNormalization | keras.layers.Softmax):
        return False
    axes = layer.axis if isinstance(layer.axis, tuple | list) else [layer.axis]
    return any(axis not in (-1, 3) for axis in axes)


def _compute_slack(layer, before, after, axis):
    """Computes how many pixels a layer may reach beyond the window that `geometry` puts around a unit's centre."""
    if before is None or after is None:
        return 0
    if after.stride < before.stride:
        return _compute_upsampling_slack(layer, before, after, axis)
    if isinstance(layer, keras.layers.Cropping2D):  # padding after it would lie inside the window
        return before.stride * max(layer.cropping[axis])
    if getattr(layer, "padding", None) == "same" and after.stride > before.stride:
        return before.stride * _compute_extra_padding(layer, axis)
    return 0


def _compute_upsampling_slack(layer, before, after, axis):
    """Computes how far a pixel can lie from the middle of the units that contribute to it."""
    kernel = getattr(layer, "kernel_size", None)
    if kernel is None:
        return (before.stride - after.stride) / 2  # the most, for any kernel
    units = math.ceil(kernel[axis] * after.stride / before.stride)
    return (kernel[axis] - 1) / 2 * after.stride - (units - 1) / 2 * before.stride


def _compute_extra_padding(layer, axis):
    """Computes how many more units ``same`` padding may add at the start than for a multiple of the stride."""
    kernel = (getattr(layer, "kernel_size", None) or layer.pool_size)[axis]
    reach = getattr(layer, "dilation_rate", (1, 1))[axis] * (kernel - 1)
    return reach // 2 - max(reach + 1 - layer.strides[axis], 0) // 2
