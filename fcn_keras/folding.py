"""Transposed convolutions that have stayed bilinear, folded into the fast separable upsampling: for export.

A dense bilinear kernel is as wasteful in an exported graph as in training, and not every runtime has transposed
convolutions. What they compute, products with one small matrix compute as well.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §3.3: upsampling layers may be fixed to bilinear interpolation.
"""

import keras
import numpy as np

from .convolutionalize import as_functional, copy_weights
from .upsampling import BilinearUpsampling2D, bilinear_kernel


def fold_bilinear(model, name=None):
    """A copy of a model in which every transposed convolution that is bilinear is a `BilinearUpsampling2D`.

    Bilinear is a `keras.layers.Conv2DTranspose`, perhaps a `fcn_keras.upsampling.BilinearConv2DTranspose`, of factor
    ``f`` whose kernel, of size ``2 * f`` or ``2 * f - 1``, is the tent on its diagonal and zero elsewhere, to 1e-6 of
    the tent's peak, without bias (or with a bias of zero) and activation. One that has learned something else stays as
    it is. Where it pads with ``same``, a `Cropping2D` named ``…_same`` cuts the canvas.

    Args:
        model: A built Functional or Sequential model; models nested in it are folded likewise.
        name: Name of the copy; by default the model's.

    Returns:
        A Functional model with the same weights and layer names, less the bilinear kernels. It is not compiled.

    Raises:
        ValueError: If the model is neither Functional nor Sequential.

    Example:

    >>> trained = fcn_keras.FCN8s(21, "mini_vgg", weights=None, upsampling="learned")
    >>> [type(trained.get_layer(name)).__name__ for name in ("upscore2", "upscore8")]
    ['BilinearConv2DTranspose', 'BilinearConv2DTranspose']
    >>> [type(fold_bilinear(trained).get_layer(name)).__name__ for name in ("upscore2", "upscore8")]
    ['BilinearUpsampling2D', 'BilinearUpsampling2D']

    Reference: Long et al. (CVPR 2015), §3.3.
    """
    functional = as_functional(model)
    part, crops = keras.Model(functional.input, functional.output, name=name or model.name), {}

    def copy(layer):
        if isinstance(layer, keras.Model):
            return fold_bilinear(layer)
        if isinstance(layer, keras.layers.Conv2DTranspose) and is_bilinear(layer):
            if layer.padding == "same":
                crops[layer.name] = _crop(layer)
            factor, size = layer.strides[0], layer.kernel_size[0]
            return BilinearUpsampling2D(factor, size, name=layer.name, dtype=layer.dtype_policy)
        return type(layer).from_config(layer.get_config())

    def call(layer, *args, **kwargs):
        x = layer(*args, **kwargs)
        return crops[layer.name](x) if layer.name in crops else x

    clone = keras.models.clone_model(part, clone_function=copy, call_function=call)
    copy_weights(part, clone)
    return clone


def is_bilinear(layer):
    """Whether a transposed convolution interpolates bilinearly, each channel alone; see `fold_bilinear`.

    Args:
        layer: A built `keras.layers.Conv2DTranspose`.

    Returns:
        True or False.

    Example:

    >>> layer = keras.layers.Conv2DTranspose(2, 4, strides=2, kernel_initializer=fcn_keras.upsampling.Bilinear())
    >>> layer.build((None, None, None, 2))
    >>> is_bilinear(layer)
    True
    """
    factor, size = layer.strides[0], layer.kernel_size[0]
    plain = layer.data_format == "channels_last" and layer.output_padding is None and layer.dilation_rate == (1, 1)
    linear = layer.activation is keras.activations.linear
    square = layer.strides == (factor, factor) and layer.kernel_size == (size, size)
    if not (plain and linear and square) or size not in (2 * factor - 1, 2 * factor):
        return False
    kernel, *bias = layer.get_weights()
    if kernel.shape[2] != kernel.shape[3] or np.any(bias):
        return False
    tent = bilinear_kernel(size)
    expected = tent[:, :, None, None] * np.eye(kernel.shape[2])
    return bool(np.abs(kernel - expected).max() <= 1e-6 * tent.max())


def _crop(layer):
    """What ``same`` padding leaves off the canvas: ``kernel - factor`` pixels, the odd one behind."""
    excess = layer.kernel_size[0] - layer.strides[0]
    sides = (excess // 2, excess - excess // 2)
    return keras.layers.Cropping2D((sides, sides), name=f"{layer.name}_same", dtype=layer.dtype_policy)
