"""Bilinear upsampling that learns one kernel for each channel.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §3.3 and §4.3.
"""

import keras
from keras import ops

from .bilinear import Bilinear
from .upsampling import _PerChannel


@keras.saving.register_keras_serializable(package="fcn_keras")
class BilinearDepthwiseConv2DTranspose(_PerChannel):
    """Depthwise transposed convolution that starts as bilinear interpolation and learns.

    The layer takes ``(batch, h, w, channels)`` and returns ``(batch, H, W, channels)``, where H and W are the same as
    for `BilinearConv2DTranspose`. It upsamples each channel separately, so channels cannot learn to mix. Its
    ``kernel_size² · channels`` weights are the diagonal of the kernel of `BilinearConv2DTranspose`, with the same
    values and gradients. Keras has no such layer. In Caffe it is a ``Deconvolution`` with as many groups as channels.

    Four units contribute to each block of ``strides²`` pixels. The layer computes all blocks of a channel as a product
    of two matrices. One matrix holds the four units of each block, and the other holds the kernel, cut into four parts.
    This product does not multiply any zeros. XLA compiles it well, but it does not compile the gradients of strided
    depthwise convolutions well. The layer needs memory for one more copy of its output.

    Args:
        strides: Upsampling factor, an integer.
        kernel_size: ``2 * strides`` (default) or ``2 * strides - 1``; see `bilinear_kernel`.
        padding: ``"valid"`` or ``"same"``, as in `keras.layers.Conv2DTranspose`.
        kernel_initializer: Initializer of the kernel; by default `Bilinear`.
        kernel_regularizer: Regularizer of the kernel.
        kernel_constraint: Constraint of the kernel.
        **kwargs: Arguments of `keras.layers.Layer`, such as ``name`` and ``dtype``.

    Raises:
        ValueError: If the kernel size does not fit the strides.

    Example:

    >>> layer = BilinearDepthwiseConv2DTranspose(strides=32)
    >>> layer(keras.ops.ones((1, 7, 7, 21))).shape, layer.kernel.shape
    (TensorShape([1, 256, 256, 21]), TensorShape([64, 64, 21]))

    Reference: Long et al. (CVPR 2015), §3.3 and §4.3. The computation follows Shi et al. (CVPR 2016), §3: they convolve
    at low resolution and then rearrange channels into pixels.
    """

    def __init__(self, strides, kernel_size=None, padding="valid", kernel_initializer=None, kernel_regularizer=None,
                 kernel_constraint=None, **kwargs):  # fmt: skip
        super().__init__(strides, kernel_size, padding, **kwargs)
        self.kernel_initializer = keras.initializers.get(kernel_initializer or Bilinear())
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)

    def build(self, input_shape):
        self.kernel = self.add_weight(
            shape=(*self.kernel_size, input_shape[-1]),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )

    def call(self, x):
        batch, height, width, channels = ops.shape(x)
        factor, crop = self.strides[0], self._crop()
        x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        corners = [x[:, a : a + height + 1, b : b + width + 1] for a in (0, 1) for b in (0, 1)]
        corners = ops.transpose(ops.stack(corners, axis=-1), (3, 0, 1, 2, 4))
        blocks = ops.matmul(ops.reshape(corners, (channels, -1, 4)), self._split_kernel())
        blocks = ops.reshape(blocks, (channels, batch, height + 1, width + 1, factor, factor))
        canvas = ops.transpose(blocks, (1, 2, 4, 3, 5, 0))
        canvas = ops.reshape(canvas, (batch, (height + 1) * factor, (width + 1) * factor, channels))
        return canvas[:, crop : crop + self._pixels(height), crop : crop + self._pixels(width)]

    def _split_kernel(self):
        """The kernel as ``(channels, 4, strides²)``: the part that each of the four units adds to a block."""
        factor = self.strides[0]
        odd = 2 * factor - self.kernel_size[0]
        kernel = ops.pad(self.kernel, ((0, odd), (0, odd), (0, 0)))
        parts = ops.reshape(kernel, (2, factor, 2, factor, -1))
        parts = ops.flip(ops.flip(parts, axis=0), axis=2)  # the unit before a block adds the second half of its kernel
        return ops.reshape(ops.transpose(parts, (4, 0, 2, 1, 3)), (-1, 4, factor**2))

    def get_config(self):
        own = {
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }
        return {**super().get_config(), **own}
