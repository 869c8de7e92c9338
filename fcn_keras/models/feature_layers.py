"""Finds the feature layers of a network that is not in the table of backbones.

The feature layer at stride ``s`` is the last layer with that stride that lies on every path through the network. A
layer inside a residual block is not a feature layer, because the shortcut bypasses it.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4.2: a skip starts at the layer before each further downsampling.
"""

import keras

from .. import geometry
from ..layers._keras import get_calls, get_outputs

NO_MAPS = (keras.layers.InputLayer, keras.layers.ZeroPadding2D, keras.layers.Cropping2D)  # these compute no features
ENDS = (keras.layers.Flatten, *geometry.GLOBAL)


def find_feature_layers(model, strides=(8, 16, 32)):
    """The names of a network's feature layers, one for each stride.

    Args:
        model: A built Functional or Sequential model with one image input. A classifier's top is ignored.
        strides: Strides in pixels, from fine to coarse.

    Returns:
        A tuple of layer names, as long as `strides`.

    Raises:
        ValueError: If the model has no such map at one of the strides, or if `fcn_keras.geometry` cannot follow it.

    Example:

    >>> find_feature_layers(keras.applications.MobileNetV2(weights=None))
    ('block_6_expand_relu', 'block_13_expand_relu', 'out_relu')

    In VGG these are the layers before the poolings. The paper and the table of backbones use the poolings themselves.
    """
    geometries = geometry.trace(model)
    last = {}
    for layer in _find_bottlenecks(model):
        if isinstance(layer, ENDS):
            break
        if layer.name in geometries and not isinstance(layer, NO_MAPS):
            last[geometries[layer.name].stride] = layer.name
    missing = [stride for stride in strides if stride not in last]
    if missing:
        raise ValueError(
            f"Model {model.name!r} has no map at stride {', '.join(map(str, missing))} that all its paths go through: "
            f"found strides {sorted(last)}. Fix: pass a fcn_keras.Backbone that names the feature layers."
        )
    return tuple(last[stride] for stride in strides)


def add_stride_4(model):
    """The same network, with the map at stride 4 as an additional first output.

    Args:
        model: A network from images to maps, as `fcn_keras.Backbone.feature_extractor` returns it.

    Returns:
        A Functional model that shares its layers with `model`.

    Raises:
        ValueError: As in `find_feature_layers`.

    Example:

    >>> network = fcn_keras.models.BACKBONES["mini_vgg"].feature_extractor(weights=None)
    >>> [tensor.shape[-1] for tensor in add_stride_4(network).outputs]
    [64, 64, 96, 160]
    """
    (name,) = find_feature_layers(model, strides=(4,))
    finest = get_outputs(model.get_layer(name), model)[-1]
    return keras.Model(model.inputs, [finest, *model.outputs], name=model.name)


def _find_bottlenecks(model):
    """The layers that lie on every path from the image to the output, in order.

    A layer lies on every path if the number of paths into it, times the number of paths out of it, is the number of all
    paths.
    """
    nodes = get_calls(model)
    makers = {id(tensor): index for index, node in enumerate(nodes) for tensor in node.output_tensors}
    sources = [[makers[id(tensor)] for tensor in node.input_tensors] for node in nodes]
    into = [1] * len(nodes)
    for index, origins in enumerate(sources):
        if origins:
            into[index] = sum(into[origin] for origin in origins)
    end = makers[id(model.outputs[0])]
    out = [0] * len(nodes)
    out[end] = 1
    for index in reversed(range(len(nodes))):
        for origin in sources[index]:
            out[origin] += out[index]
    return [node.operation for node, i, o in zip(nodes, into, out, strict=True) if i * o == into[end]]
