"""Bilinear upsampling as a transposed convolution (전치 합성곱), and its fast twin.

A transposed convolution of stride ``f`` paints one copy of its kernel, scaled by the unit's value, ``f`` pixels
further for each unit. Painted with a tent-shaped kernel, neighbouring copies add up to straight lines between units:
that is bilinear interpolation. `BilinearConv2DTranspose` starts so and can learn another kernel;
`BilinearDepthwiseConv2DTranspose` learns one for each channel alone; `BilinearUpsampling2D` computes the same numbers
without weights.

All give the whole painted canvas, ``factor * (n - 1) + kernel_size`` pixels for ``n`` units: where the image lies on
it follows from the geometry, and `fcn_keras.layers.padding.CropLike` cuts it out.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §3.3 and footnote on initialisation; *Hands-On Machine Learning*,
Figure 14-27.
"""

import keras
import numpy as np
from keras import ops

register = keras.saving.register_keras_serializable(package="fcn_keras")


def bilinear_kernel(size):
    """The tent that interpolates bilinearly.

    Args:
        size: Side of the kernel. ``2 * f`` or ``2 * f - 1`` for a factor ``f``: the even one has its peak between two
            pixels, the odd one on a pixel.

    Returns:
        float32 array ``(size, size)``.

    Example:

    >>> bilinear_kernel(4)[0]
    array([0.0625, 0.1875, 0.1875, 0.0625], dtype=float32)

    Reference: the ``bilinear`` filler of the authors' Caffe nets; Long et al. (CVPR 2015), §3.3.
    """
    if size < 1:
        raise ValueError(f"A bilinear kernel of size {size} was asked for: expected 1 or more.")
    return np.outer(_tent(size), _tent(size)).astype("float32")


def _tent(size):
    return 1 - np.abs(np.arange(size) - (size - 1) / 2) / ((size + 1) // 2)


@register
class Bilinear(keras.initializers.Initializer):
    """Initializer of a bilinear `keras.layers.Conv2DTranspose`: each channel is interpolated alone.

    Returns, when called, a kernel ``(size, size, outputs, inputs)`` with the tent on its diagonal and zero elsewhere:
    output channel ``c`` starts as input channel ``c``, and inputs beyond the outputs start without a say.

    Raises:
        ValueError: If the kernel is not square, or has fewer inputs than outputs.

    Example:

    >>> layer = keras.layers.Conv2DTranspose(21, 64, strides=32, use_bias=False, kernel_initializer=Bilinear())

    Reference: Long et al. (CVPR 2015), §3.3 and §4.3 ("bilinear upsampling, initialised and then learned").
    """

    def __call__(self, shape, dtype=None):
        height, width, outputs, inputs = shape
        if height != width or outputs > inputs:
            raise ValueError(
                f"A bilinear kernel of shape {tuple(shape)} was asked for: expected (size, size, outputs, inputs) with "
                "at least as many inputs as outputs. Fix: no more filters than the input has channels, and a square "
                "kernel."
            )
        kernel = bilinear_kernel(height)[:, :, None, None] * np.eye(outputs, inputs, dtype="float32")
        return ops.convert_to_tensor(kernel, dtype=dtype)

    def get_config(self):
        return {}


def _check(factor, kernel_size):
    """Factor and kernel size of a bilinear layer, the latter by default the even one."""
    kernel_size = 2 * factor if kernel_size is None else kernel_size
    if factor < 1 or kernel_size not in (2 * factor - 1, 2 * factor):
        raise ValueError(
            f"Found factor={factor}, kernel_size={kernel_size}: expected a factor of 1 or more, and kernel_size "
            f"2 * factor (units between pixels) or 2 * factor - 1 (units on pixels) for bilinear interpolation."
        )
    return factor, kernel_size


@register
class BilinearConv2DTranspose(keras.layers.Conv2DTranspose):
    """Transposed convolution that starts as bilinear interpolation and learns from there.

    Takes ``(batch, h, w, channels)``, gives ``(batch, factor * (h - 1) + kernel_size, …, channels)``: no bias, no
    padding. The kernel is dense, ``kernel_size² · channels²`` weights, as in the paper. An input with more channels
    is taken too: the first `channels` are interpolated, the others start with zero weights and may be learned from.

    Args:
        channels: Number of channels that come out; at least as many must come in.
        factor: Upsampling factor, the stride of the transposed convolution.
        kernel_size: ``2 * factor`` (default) or ``2 * factor - 1``; see `bilinear_kernel`.

    Raises:
        ValueError: If the kernel size does not fit the factor, or the input has fewer channels.

    Example:

    >>> BilinearConv2DTranspose(channels=21, factor=32)(keras.ops.ones((1, 7, 7, 21))).shape
    TensorShape([1, 256, 256, 21])

    Reference: Long et al. (CVPR 2015), §3.3 and §4.3.
    """

    def __init__(self, channels, factor, kernel_size=None, **kwargs):
        self.factor, kernel_size = _check(factor, kernel_size)
        super().__init__(
            channels, kernel_size, factor, "valid", use_bias=False, kernel_initializer=Bilinear(), **kwargs
        )

    def call(self, x):
        if self.filters > 1 or keras.backend.backend() != "tensorflow":
            return super().call(x)
        # TensorFlow 2.21 on a CPU aborts the process in the gradient of a large transposed convolution to one channel,
        # from a batch of two on (oneDNN: "uint8 expected, got float"). To two channels it does not.
        kernel = ops.pad(self.kernel, ((0, 0), (0, 0), (0, 1), (0, 0)))
        return ops.conv_transpose(x, kernel, self.strides, "valid", data_format=self.data_format)[..., :1]

    def geometry(self, incoming):
        """Geometry of the output, for `fcn_keras.geometry.trace`."""
        return incoming[0].upsampled(self.factor, self.kernel_size[0])

    def get_config(self):
        own = {"channels": self.filters, "factor": self.factor, "kernel_size": self.kernel_size[0]}
        return {**keras.layers.Layer.get_config(self), **own}


class _Painting(keras.layers.Layer):
    """What painting each channel alone has in common: the size of the canvas, and where it lies."""

    def __init__(self, factor, kernel_size=None, **kwargs):
        super().__init__(**kwargs)
        self.factor, self.kernel_size = _check(factor, kernel_size)

    def _painted(self, units):
        return self.factor * (units - 1) + self.kernel_size

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        painted = (None if n is None else self._painted(n) for n in (height, width))
        return (batch, *painted, channels)

    def geometry(self, incoming):
        """Geometry of the output, for `fcn_keras.geometry.trace`."""
        return incoming[0].upsampled(self.factor, self.kernel_size)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor, "kernel_size": self.kernel_size}


@register
class BilinearDepthwiseConv2DTranspose(_Painting):
    """Transposed convolution of each channel alone, which starts as bilinear interpolation and learns from there.

    Takes ``(batch, h, w, channels)``, gives ``(batch, factor * (h - 1) + kernel_size, …, channels)``: no bias, no
    padding. It has ``kernel_size² · channels`` weights, those on the diagonal of `BilinearConv2DTranspose`, with which
    it shares values and gradients there; channels cannot learn to mix. Neither Keras nor Caffe's nets have it by name
    (in Caffe: ``group: channels``).

    A block of ``factor²`` pixels sees four units. For each channel that is one product of a matrix of units, four wide,
    with one of kernels: no zeros are multiplied, and XLA compiles it well, which depthwise gradients of strided
    convolutions it does not. One copy of the output is held besides.

    Args:
        factor: Upsampling factor, the stride of the transposed convolution.
        kernel_size: ``2 * factor`` (default) or ``2 * factor - 1``; see `bilinear_kernel`.

    Raises:
        ValueError: If the kernel size does not fit the factor.

    Example:

    >>> layer = BilinearDepthwiseConv2DTranspose(factor=32)
    >>> layer(keras.ops.ones((1, 7, 7, 21))).shape, layer.kernel.shape
    (TensorShape([1, 256, 256, 21]), TensorShape([64, 64, 21]))

    Reference: Long et al. (CVPR 2015), §3.3 and §4.3; computed as in Shi et al. (CVPR 2016), §3: a convolution at low
    resolution, then a shuffle of its channels into pixels.
    """

    def build(self, input_shape):
        size, channels = self.kernel_size, input_shape[-1]
        tents = np.repeat(bilinear_kernel(size)[:, :, None], channels, axis=2)
        self.kernel = self.add_weight(
            shape=(size, size, channels),
            initializer=lambda shape, dtype: ops.convert_to_tensor(tents, dtype=dtype),
            name="kernel",
        )

    def call(self, x):
        batch, height, width, channels = ops.shape(x)
        factor = self.factor
        x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        corners = [x[:, a : a + height + 1, b : b + width + 1] for a in (0, 1) for b in (0, 1)]
        corners = ops.transpose(ops.stack(corners, axis=-1), (3, 0, 1, 2, 4))
        blocks = ops.matmul(ops.reshape(corners, (channels, -1, 4)), self._by_corner())
        blocks = ops.reshape(blocks, (channels, batch, height + 1, width + 1, factor, factor))
        canvas = ops.transpose(blocks, (1, 2, 4, 3, 5, 0))
        canvas = ops.reshape(canvas, (batch, (height + 1) * factor, (width + 1) * factor, channels))
        return canvas[:, : self._painted(height), : self._painted(width)]

    def _by_corner(self):
        """``(channels, 4, factor²)``: the part of the kernel that each of the four units paints into a block."""
        odd = 2 * self.factor - self.kernel_size
        kernel = ops.pad(self.kernel, ((0, odd), (0, odd), (0, 0)))
        parts = ops.reshape(kernel, (2, self.factor, 2, self.factor, -1))
        parts = ops.flip(ops.flip(parts, axis=0), axis=2)  # the unit before a block paints its kernel's second half
        return ops.reshape(ops.transpose(parts, (4, 0, 2, 1, 3)), (-1, 4, self.factor**2))


@register
class BilinearUpsampling2D(_Painting):
    """The frozen bilinear transposed convolution, computed from the two units on each side of a pixel.

    The tent is separable and treats every channel alike, so the dense kernel's ``kernel_size² · channels²`` products
    per unit, of which one in ``channels`` is not zero, shrink to two a pixel, first along the columns, then along the
    rows: products with one matrix ``(factor, 2)``. The output equals that of a fresh `BilinearConv2DTranspose`
    everywhere, border included, to float32 rounding.

    Args:
        factor: Upsampling factor.
        kernel_size: ``2 * factor`` (default) or ``2 * factor - 1``; see `bilinear_kernel`.

    Raises:
        ValueError: If the kernel size does not fit the factor.

    Example:

    >>> BilinearUpsampling2D(factor=32)(keras.ops.ones((1, 7, 7, 21))).shape
    TensorShape([1, 256, 256, 21])

    Reference: Long et al. (CVPR 2015), §3.3: "upsampling … with factor f is convolution with … stride of 1/f".
    """

    def call(self, x):
        batch, height, width, channels = ops.shape(x)
        columns = self._painted(width)
        x = self._paint(x, columns)
        x = self._paint(ops.reshape(x, (batch, height, columns * channels)), self._painted(height))
        return ops.reshape(x, (batch, -1, columns, channels))

    def _paint(self, x, pixels):
        """Lengthens the axis before the last: a block of pixels is a mix of the unit before and the one behind."""
        *lead, units, width = ops.shape(x)
        x = ops.pad(x, [(0, 0)] * len(lead) + [(1, 1), (0, 0)])
        pairs = ops.stack([x[..., :-1, :], x[..., 1:, :]], axis=-2)
        blocks = ops.matmul(ops.convert_to_tensor(self._mix(), dtype=x.dtype), pairs)
        return ops.reshape(blocks, (*lead, self.factor * (units + 1), width))[..., :pixels, :]

    def _mix(self):
        """``(factor, 2)``: the falling side of the tent for the unit before, the rising side for the one behind."""
        tent = np.pad(_tent(self.kernel_size), (0, 2 * self.factor - self.kernel_size))
        rising, falling = tent.reshape(2, self.factor)
        return np.stack([falling, rising], axis=1).astype("float32")


def is_bilinear(layer, square=True):
    """Whether an upsampling layer interpolates bilinearly, each channel alone.

    That is a transposed convolution of factor ``f`` whose kernel, of size ``2 * f`` or ``2 * f - 1``, is the tent for
    each channel and zero between channels, to 1e-6 of the tent's peak, without activation and with no bias but zero.

    Args:
        layer: A built `keras.layers.Conv2DTranspose`, or an upsampling layer of this module.
        square: Whether as many channels must come out as go in. With False, further inputs may have zero weights.

    Returns:
        True or False.

    Example:

    >>> layer = keras.layers.Conv2DTranspose(2, 4, strides=2, kernel_initializer=Bilinear())
    >>> layer.build((None, None, None, 2))
    >>> is_bilinear(layer)
    True
    """
    if isinstance(layer, BilinearUpsampling2D):
        return True
    if isinstance(layer, BilinearDepthwiseConv2DTranspose):
        tent = bilinear_kernel(layer.kernel_size)
        return _is_near(layer.get_weights()[0], tent[:, :, None], tent)
    if not isinstance(layer, keras.layers.Conv2DTranspose) or not _may_be_bilinear(layer):
        return False
    kernel, *bias = layer.get_weights()
    outputs, inputs = kernel.shape[2:]
    if outputs > inputs or (square and outputs < inputs) or np.any(bias):
        return False
    tent = bilinear_kernel(layer.kernel_size[0])
    return _is_near(kernel, tent[:, :, None, None] * np.eye(outputs, inputs), tent)


def _may_be_bilinear(layer):
    factor, size = layer.strides[0], layer.kernel_size[0]
    plain = layer.data_format == "channels_last" and layer.output_padding is None and layer.dilation_rate == (1, 1)
    linear = layer.activation is keras.activations.linear
    square = layer.strides == (factor, factor) and layer.kernel_size == (size, size)
    return plain and linear and square and size in (2 * factor - 1, 2 * factor)


def _is_near(kernel, expected, tent):
    return bool(np.abs(kernel - expected).max() <= 1e-6 * tent.max())
