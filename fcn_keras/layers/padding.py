"""Layers for images of any size: they pad an image to a multiple of the stride, and crop the result to the image.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4.1. The authors' nets pad by 100 pixels and crop by 19 (FCN-32s), 27
(FCN-16s) and 31 (FCN-8s).
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
        margins = [[self.before, self._padded(side) - side - self.before] for side in (height, width)]
        return ops.pad(images - color, [[0, 0], *margins, [0, 0]]) + color

    def _padded(self, side):
        larger = max if isinstance(side, int) else ops.maximum
        padded = side + self.before
        for stride, after, spare in zip(*map(_as_list, (self.stride, self.after, self.spare)), strict=True):
            units = larger((side + self.before + after + stride - 1) // stride, 1)
            padded = larger(padded, units * stride - spare)
        return padded

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        return (batch, *(None if side is None else self._padded(side) for side in sides), channels)

    def geometry(self, incoming):
        """Geometry of the output, for `fcn_keras.geometry.trace`."""
        return incoming[0].shifted(-self.before)

    def get_config(self):
        own = {"stride": self.stride, "before": self.before, "after": self.after, "color": self.color}
        return {**super().get_config(), **own, "spare": self.spare}


def _as_list(value):
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

    def geometry(self, incoming):
        """Geometry of the output, for `fcn_keras.geometry.trace`."""
        return incoming[0].shifted(-self.margin)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


@register
class CropLike(keras.layers.Layer):
    """Crops a map to the height and width of a reference: ``[offset : offset + size]`` along both axes.

    The layer takes a pair ``(map, reference)``, both ``(batch, height, width, channels)``.

    Args:
        offset: Rows and columns that are cut off at the top and left.
        factor: Height of the result, divided by the height of the reference. It is above 1 if the map is finer than
            the image.
        **kwargs: Arguments of `keras.layers.Layer`, such as ``name``.

    Example:

    >>> scores, image = keras.ops.ones((1, 288, 288, 21)), keras.ops.ones((1, 224, 224, 3))
    >>> CropLike(offset=19)([scores, image]).shape
    TensorShape([1, 224, 224, 21])

    Reference: the ``Crop`` layers of the authors' nets. The crop is not centred: its offset follows from the geometry.
    """

    def __init__(self, offset=0, factor=1, **kwargs):
        super().__init__(**kwargs)
        self.offset, self.factor = offset, factor

    def call(self, inputs):
        scores, reference = inputs
        height, width = (self.factor * side for side in ops.shape(reference)[1:3])
        return scores[:, self.offset : self.offset + height, self.offset : self.offset + width]

    def compute_output_shape(self, input_shape):
        scores, reference = input_shape
        return (scores[0], *(None if side is None else self.factor * side for side in reference[1:3]), scores[3])

    def geometry(self, incoming):
        """Geometry of the output, for `fcn_keras.geometry.trace`."""
        return incoming[0].shifted(self.offset)

    def get_config(self):
        return {**super().get_config(), "offset": self.offset, "factor": self.factor}
