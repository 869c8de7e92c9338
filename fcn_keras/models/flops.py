"""Counts the multiply-accumulate operations (MACs) of a network, layer by layer.

For an image of 500 × 500 pixels, the authors' FCN-32s on VGG16 needs 180.9 G operations. Without its padding of 100
pixels it would need 107.8 G. `fcn_keras.FCN32s` pads the image to 512 × 512 pixels and needs 110.8 G.
"""

import collections
import math

import keras

from ..layers._keras import get_calls
from ..layers.depthwise import BilinearDepthwiseConv2DTranspose
from ..layers.upsampling import BilinearUpsampling2D


def count_macs(model, height, width):
    """Counts the multiply-accumulate operations of the forward pass of one image, for each layer.

    The function counts convolutions (including transposed and depthwise ones), dense layers, and the bilinear
    upsampling of this package. It does not count pooling, activations and additions, because they cost almost nothing
    in comparison. The cost of a grouped convolution is divided by the number of groups.

    Args:
        model: A Functional or Sequential model on images ``(batch, H, W, channels)``. Models nested in it are counted
            as well.
        height, width: Size of the image in pixels.

    Returns:
        A dict from layer name to MACs, in the order of the model. For a layer of a nested model, the key is the name of
        the model, a slash, and the name of the layer.

    Example:

    >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(8, 3, padding="same", name="conv")])
    >>> count_macs(model, 10, 20)  # 9 · 3 · 8 for each of 200 pixels
    {'conv': 43200}
    """
    nodes = get_calls(model)
    tensors = {id(tensor): tensor for node in nodes for tensor in [*node.input_tensors, *node.output_tensors]}
    sizes = keras.Model(model.inputs, list(tensors.values())).compute_output_shape(
        (1, height, width, model.inputs[0].shape[-1])
    )
    shapes = dict(zip(tensors, sizes, strict=True))
    found = collections.Counter()
    for node in (node for node in nodes if node.input_tensors):
        layer, taken, given = node.operation, shapes[id(node.input_tensors[0])], shapes[id(node.output_tensors[0])]
        if isinstance(layer, keras.Model):
            found.update({f"{layer.name}/{name}": count for name, count in count_macs(layer, *taken[1:3]).items()})
        elif count := _count_call(layer, taken, given):
            found[layer.name] += count  # a shared layer is called more than once
    return dict(found)


def _count_call(layer, taken, given):
    units_in, units_out = math.prod(taken[1:-1]), math.prod(given[1:-1])
    if isinstance(layer, keras.layers.Conv2DTranspose | BilinearDepthwiseConv2DTranspose):
        return units_in * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.SeparableConv2D):
        return units_out * (math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape))
    if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Dense):
        return units_out * math.prod(layer.kernel.shape)
    if isinstance(layer, BilinearUpsampling2D):  # two units for each pixel, along the columns, then along the rows
        return 2 * given[2] * given[3] * (taken[1] + given[1])
    return 0
