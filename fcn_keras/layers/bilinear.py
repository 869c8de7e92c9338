"""The bilinear kernel, and the initializer that puts it into a transposed convolution.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §3.3 and §4.3.
"""

import keras
import numpy as np
from keras import ops


def linear_kernel(size):
    """The kernel of linear interpolation along one axis, ``(size,)``; `bilinear_kernel` is its outer product.

    Example:

    >>> linear_kernel(3), linear_kernel(4)
    (array([0.5, 1. , 0.5]), array([0.25, 0.75, 0.75, 0.25]))
    """
    return 1 - np.abs(np.arange(size) - (size - 1) / 2) / ((size + 1) // 2)


def bilinear_kernel(size):
    """The kernel that makes a transposed convolution interpolate bilinearly.

    Args:
        size: Side of the kernel, in pixels. To upsample by a factor ``f``, use ``2 * f`` or ``2 * f - 1``. The peak of
            an even kernel lies between two pixels, and the peak of an odd kernel lies on a pixel.

    Returns:
        float32 array ``(size, size)``.

    Raises:
        ValueError: If the size is below 1.

    Example:

    >>> bilinear_kernel(4)[0]
    array([0.0625, 0.1875, 0.1875, 0.0625], dtype=float32)

    Reference: the ``bilinear`` filler of the authors' Caffe nets; Long et al. (CVPR 2015), §3.3.
    """
    if size < 1:
        raise ValueError(f"Found a bilinear kernel of size {size}: expected 1 or more.")
    return np.outer(linear_kernel(size), linear_kernel(size)).astype("float32")


@keras.saving.register_keras_serializable(package="fcn_keras")
class Bilinear(keras.initializers.Initializer):
    """Initializer that makes a transposed convolution start as bilinear interpolation of each channel.

    It makes kernels of two shapes:

    - ``(size, size, filters, inputs)`` for `keras.layers.Conv2DTranspose`. Output channel ``c`` gets the bilinear
      kernel for input channel ``c`` and zeros for all other inputs.
    - ``(size, size, channels)`` for `BilinearDepthwiseConv2DTranspose`. Every channel gets the bilinear kernel.

    Raises:
        ValueError: The call raises it if the kernel is not square, or if it has more filters than inputs.

    Example:

    >>> layer = keras.layers.Conv2DTranspose(21, 64, strides=32, use_bias=False, kernel_initializer=Bilinear())

    Reference: Long et al. (CVPR 2015), §3.3 and §4.3 ("bilinear upsampling, initialised and then learned").
    """

    def __call__(self, shape, dtype=None):
        height, width, outputs, *inputs = shape
        if height != width or (inputs and outputs > inputs[0]):
            raise ValueError(
                f"Found a bilinear kernel of shape {tuple(shape)}: expected (size, size, filters, inputs), with at "
                "least as many inputs as filters. Fix: make it square, with no more filters than inputs."
            )
        return ops.convert_to_tensor(self.array(shape), dtype=dtype)

    def array(self, shape):
        """The kernel of this shape, as a float32 NumPy array."""
        size, _, outputs, *inputs = shape
        channels = np.eye(outputs, *inputs) if inputs else np.ones(outputs)
        return np.multiply.outer(bilinear_kernel(size), channels).astype("float32")

    def get_config(self):
        return {}
