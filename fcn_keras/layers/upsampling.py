"""Bilinear upsampling: a transposed convolution (전치 합성곱) that can learn, and two faster layers.

A transposed convolution with strides ``f`` makes one copy of its kernel for each unit of its input. It multiplies the
copy by the value of the unit, places the copies ``f`` pixels apart, and adds them up. If the kernel is that of
`bilinear_kernel`, the sum is linear between two units. This is bilinear interpolation.

- `BilinearConv2DTranspose` starts with this kernel and learns. It can also learn to mix channels.
- `fcn_keras.layers.depthwise.BilinearDepthwiseConv2DTranspose` learns one kernel for each channel.
- `BilinearUpsampling2D` has no weights, so it cannot learn. It computes bilinear interpolation faster.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §3.3 and §4.3; *Hands-On Machine Learning*, Figure 14-27.
"""

from typing import ClassVar

import keras
import numpy as np
from keras import ops

from .arguments import Renamed, to_pair
from .bilinear import Bilinear, bilinear_kernel, linear_kernel

register = keras.saving.register_keras_serializable(package="fcn_keras")


def _bilinear_arguments(strides, kernel_size, padding):
    """Checks the arguments that the layers share. By default, the kernel size is even."""
    strides = to_pair(strides, "strides")
    kernel_size = to_pair(2 * strides[0] if kernel_size is None else kernel_size, "kernel_size")
    if kernel_size[0] not in (2 * strides[0] - 1, 2 * strides[0]):
        raise ValueError(
            f"Found strides={strides[0]}, kernel_size={kernel_size[0]}: expected kernel_size={2 * strides[0]} (units "
            f"lie between pixels) or {2 * strides[0] - 1} (units lie on pixels) for bilinear interpolation."
        )
    if padding not in ("valid", "same"):
        raise ValueError(f'Found padding={padding!r}: expected "valid" or "same".')
    return strides, kernel_size, padding


class _Bilinear(Renamed):
    """Mixin for the layers, with the geometry of their output."""

    RENAMED: ClassVar = {"channels": "filters", "factor": "strides"}

    def compute_geometry(self, incoming):
        """Geometry of the output, for `fcn_keras.geometry.trace`."""
        return incoming[0].upsample(self.strides[0], self.kernel_size[0], self._crop())

    def _crop(self):
        """Rows and columns that are cut off at the top and left."""
        return (self.kernel_size[0] - self.strides[0]) // 2 if self.padding == "same" else 0


@register
class BilinearConv2DTranspose(_Bilinear, keras.layers.Conv2DTranspose):
    """Transposed convolution that starts as bilinear interpolation and learns.

    It is `keras.layers.Conv2DTranspose` without bias and activation, with a kernel of ``kernel_size² · filters ·
    inputs`` weights, as in the paper. The layer takes ``(batch, h, w, inputs)`` and returns ``(batch, H, W, filters)``,
    with ``H = strides * (h - 1) + kernel_size`` for ``"valid"`` and ``H = strides * h`` for ``"same"``. If there are
    more inputs than filters, the layer interpolates the first inputs. The others start with zero weights.

    Args:
        filters: Number of channels of the output. The input must have at least as many.
        strides: Upsampling factor, an integer.
        kernel_size: ``2 * strides`` (default) or ``2 * strides - 1``; see `bilinear_kernel`.
        padding: ``"valid"`` or ``"same"``, as in `keras.layers.Conv2DTranspose`.
        kernel_initializer: Initializer of the kernel; by default `Bilinear`.
        **kwargs: Arguments of `keras.layers.Conv2DTranspose`: ``kernel_regularizer``, ``kernel_constraint``, ``name``
            and ``dtype``.

    Raises:
        ValueError: If the kernel size does not fit the strides. Building the layer raises it if the input has fewer
            channels than there are filters.

    Example:

    >>> BilinearConv2DTranspose(filters=21, strides=32)(keras.ops.ones((1, 7, 7, 21))).shape
    TensorShape([1, 256, 256, 21])

    Reference: Long et al. (CVPR 2015), §3.3 and §4.3.
    """

    def __init__(self, filters, strides, kernel_size=None, padding="valid", kernel_initializer=None, **kwargs):
        strides, kernel_size, padding = _bilinear_arguments(strides, kernel_size, padding)
        super().__init__(
            filters,
            kernel_size,
            strides,
            padding,
            data_format="channels_last",
            use_bias=False,
            kernel_initializer=kernel_initializer or Bilinear(),
            **kwargs,
        )

    def call(self, x):
        if self.filters > 1 or keras.backend.backend() != "tensorflow":
            return super().call(x)
        # On a CPU, TensorFlow 2.21 aborts the process when it computes the gradient of a large transposed convolution
        # with one output channel, if the batch holds two images or more (oneDNN: "uint8 expected, got float"). With two
        # output channels this does not happen, so we compute a second one and drop it.
        kernel = ops.pad(self.kernel, ((0, 0), (0, 0), (0, 1), (0, 0)))
        return ops.conv_transpose(x, kernel, self.strides, self.padding, data_format="channels_last")[..., :1]

    def get_config(self):
        config = super().get_config()
        fixed = ("activation", "bias_constraint", "bias_initializer", "bias_regularizer", "data_format",
                 "dilation_rate", "output_padding", "use_bias")  # fmt: skip
        return {key: value for key, value in config.items() if key not in fixed}


class _PerChannel(_Bilinear, keras.layers.Layer):
    """Base class of the layers that upsample each channel separately."""

    def __init__(self, strides, kernel_size=None, padding="valid", **kwargs):
        super().__init__(**kwargs)
        self.strides, self.kernel_size, self.padding = _bilinear_arguments(strides, kernel_size, padding)

    def _pixels(self, units):
        """Height or width of the output, from that of the input."""
        overlap = self.kernel_size[0] - self.strides[0]
        return self.strides[0] * units + (overlap if self.padding == "valid" else 0)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        sides = (None if units is None else self._pixels(units) for units in (height, width))
        return (batch, *sides, channels)

    def get_config(self):
        own = {"strides": self.strides, "kernel_size": self.kernel_size, "padding": self.padding}
        return {**super().get_config(), **own}


@register
class BilinearUpsampling2D(_PerChannel):
    """Bilinear transposed convolution without weights.

    The layer takes ``(batch, h, w, channels)``. Its output equals that of an untrained `BilinearConv2DTranspose` up to
    float32 rounding, also at the borders. But it needs far less work: `BilinearConv2DTranspose` multiplies each unit by
    ``kernel_size² · channels²`` numbers, of which only one in ``channels`` is not zero. This layer interpolates along
    the rows and then along the columns, with two products for each pixel and axis.

    Args:
        strides: Upsampling factor, an integer.
        kernel_size: ``2 * strides`` (default) or ``2 * strides - 1``; see `bilinear_kernel`.
        padding: ``"valid"`` or ``"same"``, as in `keras.layers.Conv2DTranspose`.
        **kwargs: Arguments of `keras.layers.Layer`, such as ``name`` and ``dtype``.

    Raises:
        ValueError: If the kernel size does not fit the strides.

    Example:

    >>> BilinearUpsampling2D(strides=32)(keras.ops.ones((1, 7, 7, 21))).shape
    TensorShape([1, 256, 256, 21])

    Reference: Long et al. (CVPR 2015), §3.3: "upsampling … with factor f is convolution with … stride of 1/f".
    """

    def call(self, x):
        batch, height, width, channels = ops.shape(x)
        columns = self._pixels(width)
        x = self._interpolate(x, columns)
        x = self._interpolate(ops.reshape(x, (batch, height, columns * channels)), self._pixels(height))
        return ops.reshape(x, (batch, -1, columns, channels))

    def _interpolate(self, x, pixels):
        """Upsamples the last axis but one. Each block of pixels is a mix of the units before and after it."""
        *lead, units, width = ops.shape(x)
        x = ops.pad(x, [(0, 0)] * len(lead) + [(1, 1), (0, 0)])
        pairs = ops.stack([x[..., :-1, :], x[..., 1:, :]], axis=-2)
        blocks = ops.matmul(ops.convert_to_tensor(self._mix(), dtype=x.dtype), pairs)
        line, crop = ops.reshape(blocks, (*lead, self.strides[0] * (units + 1), width)), self._crop()
        return line[..., crop : crop + pixels, :]

    def _mix(self):
        """The weights of the units before and after a block, ``(strides, 2)``: the two halves of the kernel."""
        size, factor = self.kernel_size[0], self.strides[0]
        rising, falling = np.pad(linear_kernel(size), (0, 2 * factor - size)).reshape(2, factor)
        return np.stack([falling, rising], axis=1).astype("float32")


def is_bilinear(layer, square=True):
    """Whether an upsampling layer interpolates each channel bilinearly.

    The kernel must be `bilinear_kernel` for each channel and zero between channels, up to 1e-6 of its peak. The layer
    must not have an activation, and if it has a bias, the bias must be zero.

    Args:
        layer: A built `keras.layers.Conv2DTranspose`, or an upsampling layer of this package.
        square: Whether the numbers of input and output channels must be equal. If False, there may be additional inputs
            with zero weights.

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
    if not isinstance(layer, _PerChannel) and not _may_be_bilinear(layer):
        return False
    kernel, *bias = layer.get_weights()
    inputs, outputs = kernel.shape[-1], kernel.shape[2]
    if outputs > inputs or (square and outputs < inputs) or np.any(bias):
        return False
    peak = bilinear_kernel(len(kernel)).max()
    return bool(np.abs(kernel - Bilinear().array(kernel.shape)).max() <= 1e-6 * peak)


def _may_be_bilinear(layer):
    if not isinstance(layer, keras.layers.Conv2DTranspose):
        return False
    factor, size = layer.strides[0], layer.kernel_size[0]
    plain = layer.data_format == "channels_last" and layer.output_padding is None and layer.dilation_rate == (1, 1)
    linear = layer.activation is keras.activations.linear
    square = layer.strides == (factor, factor) and layer.kernel_size == (size, size)
    return plain and linear and square and size in (2 * factor - 1, 2 * factor)
