"""Pads images: up to the size that a network needs, or with copies of their outermost pixels.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4.1. The authors' nets pad by 100 pixels on each side.
"""

from typing import ClassVar

import keras
from keras import ops

from .arguments import Renamed

register = keras.saving.register_keras_serializable(package="fcn_keras")


@register
class PadToStride(Renamed, keras.layers.Layer):
    """Pads images so that the maps of the next network get all the units that they need.

    The layer takes images ``(batch, H, W, channels)``. It adds ``before`` pixels at the top and left, and as few pixels
    as possible at the bottom and right. Each side must then have at least ``stride * n - spare`` pixels, where ``n`` is
    the smallest positive integer for which ``stride * n >= side + before + after``. If ``spare`` and ``after`` are 0,
    the padded side is a multiple of the stride.

    Args:
        stride: Stride of the map in pixels. For several maps, a list: each map must get its units.
        before: Pixels that are added at the top and left.
        after: Number of pixels by which the units must reach beyond the end of the image; may be negative. Or a list,
            with one number for each stride.
        color: Colour of the added pixels, one number for each channel; by default 0.
        spare: Number of pixels that the last unit of the map does not need; or a list, with one number for each stride.
        **kwargs: Arguments of `keras.layers.Layer`, such as ``name``.

    Example:

    >>> PadToStride(32)(keras.ops.ones((1, 1, 500, 3))).shape
    TensorShape([1, 32, 512, 3])

    The units of this map lie on pixels 0, 32, 64, …. Each side needs a unit within 16 pixels of its last pixel.

    >>> PadToStride(32, after=15, spare=31)(keras.ops.ones((1, 241, 242, 3))).shape
    TensorShape([1, 241, 257, 3])
    """

    RENAMED: ClassVar = {"colour": "color"}

    def __init__(self, stride, before=0, after=0, color=(0, 0, 0), spare=0, **kwargs):
        super().__init__(**kwargs)
        self.stride, self.before, self.after = stride, before, after
        self.color, self.spare = tuple(color), spare

    def call(self, images):
        _, height, width, _ = ops.shape(images)
        color = ops.convert_to_tensor(self.color, dtype=images.dtype)
        margins = [[self.before, self._pad_side(side) - side - self.before] for side in (height, width)]
        return ops.pad(images - color, [[0, 0], *margins, [0, 0]]) + color

    def _pad_side(self, side):
        larger = max if isinstance(side, int) else ops.maximum
        padded = side + self.before
        for stride, after, spare in zip(*map(_to_list, (self.stride, self.after, self.spare)), strict=True):
            units = larger((side + self.before + after + stride - 1) // stride, 1)
            padded = larger(padded, units * stride - spare)
        return padded

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        return (batch, *(None if side is None else self._pad_side(side) for side in sides), channels)

    def compute_geometry(self, incoming):
        """Geometry of the output, for `fcn_keras.geometry.trace`."""
        return incoming[0].shift(-self.before)

    def get_config(self):
        own = {"stride": self.stride, "before": self.before, "after": self.after, "color": self.color}
        return {**super().get_config(), **own, "spare": self.spare}


def _to_list(value):
    return value if isinstance(value, list | tuple) else [value]


@register
class PadEdges(keras.layers.Layer):
    """Pads images on all four sides with copies of their outermost pixels.

    The layer takes ``(batch, H, W, channels)``. At the border, a convolution then sees the colour of the border instead
    of black.

    Args:
        margin: Pixels that are added on each side.
        **kwargs: Arguments of `keras.layers.Layer`, such as ``name``.

    Example:

    >>> row = keras.ops.reshape([1.0, 2.0, 3.0], (1, 1, 3, 1))
    >>> PadEdges(2)(row)[0, 0, :, 0].numpy()
    array([1., 1., 1., 2., 3., 3., 3.], dtype=float32)
    """

    def __init__(self, margin, **kwargs):
        super().__init__(**kwargs)
        self.margin = margin

    def call(self, images):
        for axis in (1, 2):
            place = (slice(None),) * axis
            first, last = images[(*place, slice(0, 1))], images[(*place, slice(-1, None))]
            before, after = (ops.repeat(line, self.margin, axis=axis) for line in (first, last))
            images = ops.concatenate([before, images, after], axis=axis)
        return images

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        return (batch, *(None if side is None else side + 2 * self.margin for side in sides), channels)

    def compute_geometry(self, incoming):
        """Geometry of the output, for `fcn_keras.geometry.trace`."""
        return incoming[0].shift(-self.margin)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}
