"""Crops the upsampled scores to the size of the image.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4.1. The authors' nets crop by 19 pixels (FCN-32s), 27 (FCN-16s) and
31 (FCN-8s).
"""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="fcn_keras")
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

    def compute_geometry(self, incoming):
        """Geometry of the output, for `fcn_keras.geometry.trace`."""
        return incoming[0].shift(self.offset)

    def get_config(self):
        return {**super().get_config(), "offset": self.offset, "factor": self.factor}
