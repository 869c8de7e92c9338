"""Any image size in, that size out: pad the image until the strides fit, crop the result back onto it.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4.1; the authors' nets pad by 100 and crop by 19 (32s), 27 (16s),
31 (8s).
"""

import keras
from keras import ops

register = keras.saving.register_keras_serializable(package="fcn_keras")


@register
class PadToStride(keras.layers.Layer):
    """Pads an image so that its sides are multiples of the network's total stride.

    Takes ``(batch, H, W, channels)``. Each side grows by ``before`` pixels in front and by at least ``after`` pixels
    behind.

    Args:
        stride: Total stride of the network that follows, in pixels.
        before: Pixels added at the top and left.
        after: Fewest pixels added at the bottom and right.
        colour: Value of the added pixels, one per channel; by default 0.

    Example:

    >>> PadToStride(32)(keras.ops.ones((1, 1, 500, 3))).shape
    TensorShape([1, 32, 512, 3])
    """

    def __init__(self, stride, before=0, after=0, colour=(0, 0, 0), **kwargs):
        super().__init__(**kwargs)
        self.stride, self.before, self.after, self.colour = stride, before, after, tuple(colour)

    def call(self, images):
        _, height, width, _ = ops.shape(images)
        colour = ops.convert_to_tensor(self.colour, dtype=images.dtype)
        margins = [[self.before, self._padded(side) - side - self.before] for side in (height, width)]
        return ops.pad(images - colour, [[0, 0], *margins, [0, 0]]) + colour

    def _padded(self, side):
        return (side + self.before + self.after + self.stride - 1) // self.stride * self.stride

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        return (batch, *(None if side is None else self._padded(side) for side in sides), channels)

    def geometry(self, incoming):
        """Geometry of the output, for `fcn_keras.geometry.trace`."""
        return incoming[0].shifted(-self.before)

    def get_config(self):
        own = {"stride": self.stride, "before": self.before, "after": self.after, "colour": self.colour}
        return {**super().get_config(), **own}


@register
class CropLike(keras.layers.Layer):
    """Crops a map to the height and width of a reference: ``[offset : offset + size]`` on both axes.

    Called on a pair ``(map, reference)``, both ``(batch, height, width, channels)``.

    Args:
        offset: Rows and columns cut off at the top and left.

    Example:

    >>> scores, image = keras.ops.ones((1, 288, 288, 21)), keras.ops.ones((1, 224, 224, 3))
    >>> CropLike(offset=19)([scores, image]).shape
    TensorShape([1, 224, 224, 21])

    Reference: the ``Crop`` layers of the authors' nets: the offset is given by the geometry, the crop is not centred.
    """

    def __init__(self, offset=0, **kwargs):
        super().__init__(**kwargs)
        self.offset = offset

    def call(self, inputs):
        scores, reference = inputs
        _, height, width, _ = ops.shape(reference)
        return scores[:, self.offset : self.offset + height, self.offset : self.offset + width]

    def compute_output_shape(self, input_shape):
        scores, reference = input_shape
        return (scores[0], *reference[1:3], scores[3])

    def geometry(self, incoming):
        """Geometry of the output, for `fcn_keras.geometry.trace`."""
        return incoming[0].shifted(self.offset)

    def get_config(self):
        return {**super().get_config(), "offset": self.offset}
