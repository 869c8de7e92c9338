"""Makes models that were built for images of one size accept images of any size."""

import keras

from ..layers._keras import get_all_layers
from .cloning import copy_layer, rebuild

CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
POOLINGS = (keras.layers.AveragePooling2D, keras.layers.MaxPooling2D)


def allow_any_size(model, outputs=None, name=None, explicit_padding=False):
    """A copy of a convolutional model with its weights, whose input may have any height and width.

    A layer of the copy is trainable if the layer of `model` is trainable.

    With ``same`` padding, the position of a strided convolution's units depends on the size of the image. If the side
    of the image, divided by the stride, leaves a remainder of 1, Keras pads one pixel more in front than if it leaves
    no remainder. With `explicit_padding`, the position no longer depends on the size: a `keras.layers.ZeroPadding2D`
    named ``…_padding`` always pads as for a remainder of 1. If the kernel is odd, the units then lie at multiples of
    the stride. For images whose sides leave a remainder of 1, the copy computes exactly what `model` computes. If the
    model has a pooling with the same problem, `explicit_padding` has no effect.

    Args:
        model: A Functional or Sequential model on images ``(H, W, C)``. Models nested in it are also copied.
        outputs: Tensors of `model` that become the outputs of the copy; by default the model's own outputs.
        name: Name of the copy; by default the model's.
        explicit_padding: Whether strided convolutions pad explicitly.

    Returns:
        A Functional model on ``(batch, None, None, C)``.

    Example:

    >>> model = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(96, 96, 3))
    >>> allow_any_size(model).input_shape
    (None, None, None, 3)
    """
    part = keras.Model(model.inputs[0], model.outputs if outputs is None else outputs, name=name or model.name)
    moving = [layer for layer in get_all_layers(part) if places_units_by_size(layer)]
    explicit_padding = explicit_padding and all(isinstance(layer, CONVOLUTIONS) for layer in moving)
    margins = {}

    def copy(layer):
        if isinstance(layer, keras.Model):
            return allow_any_size(layer, explicit_padding=explicit_padding)
        if not (explicit_padding and places_units_by_size(layer)):
            return copy_layer(layer)
        margin = [(reach // 2, reach - reach // 2) for reach in _compute_reaches(layer)]
        margins[layer.name] = keras.layers.ZeroPadding2D(margin, name=f"{layer.name}_padding", dtype=layer.dtype_policy)
        return copy_layer(layer, padding="valid")

    return rebuild(part, copy, margins)


def places_units_by_size(layer):
    """Whether the position of a layer's units depends on the size of its input, as with strides and ``same`` padding.

    Args:
        layer: A Keras layer.

    Example:

    >>> same = {"strides": 2, "padding": "same"}
    >>> [places_units_by_size(keras.layers.Conv2D(4, kernel, **same)) for kernel in (1, 2, 3)]
    [False, False, True]
    """
    if not isinstance(layer, (*CONVOLUTIONS, *POOLINGS)) or layer.padding != "same":
        return False
    return any(r // 2 != max(r + 1 - s, 0) // 2 for r, s in zip(_compute_reaches(layer), layer.strides, strict=True))


def _compute_reaches(layer):
    """The distance from the first to the last unit under a kernel or pool, along rows and columns."""
    sizes = layer.pool_size if isinstance(layer, POOLINGS) else layer.kernel_size
    rates = getattr(layer, "dilation_rate", (1, 1))
    return [rate * (size - 1) for size, rate in zip(sizes, rates, strict=True)]
