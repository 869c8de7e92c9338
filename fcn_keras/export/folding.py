"""Replaces layers by cheaper ones that compute the same, for inference and export.

A transposed convolution that interpolates bilinearly mostly multiplies by zero, and some runtimes have no transposed
convolutions. A product with one small matrix computes the same. A batch normalisation with fixed statistics is one
factor and one shift for each channel. If it follows a convolution, both can become part of its kernel and bias.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §3.3: upsampling layers may be fixed to bilinear interpolation.
"""

import collections

import keras
import numpy as np

from ..layers._keras import get_calls
from ..layers.upsampling import BilinearUpsampling2D, is_bilinear
from ..models.cloning import copy_weights, require_functional


def fold_bilinear(model, name=None):
    """Copies a model, and replaces each bilinear transposed convolution by a `BilinearUpsampling2D`.

    `fcn_keras.layers.upsampling.is_bilinear` decides which layers are bilinear. They may be dense or depthwise. A layer
    that has learned something else stays as it is.

    Args:
        model: A built Functional or Sequential model. Models nested in it are folded as well.
        name: Name of the copy; by default the name of the model.

    Returns:
        A Functional model with the same layer names and weights, except the bilinear kernels. It is not compiled.

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
    functional = require_functional(model)
    part, folded = keras.Model(functional.input, functional.output, name=name or model.name), set()

    def copy(layer):
        if isinstance(layer, keras.Model):
            return fold_bilinear(layer)
        if getattr(layer, "weights", None) and is_bilinear(layer):
            folded.add(layer.name)
            sizes = {name: getattr(layer, name) for name in ("strides", "kernel_size", "padding")}
            return BilinearUpsampling2D(**sizes, name=layer.name, dtype=layer.dtype_policy)
        return type(layer).from_config(layer.get_config())

    clone = keras.models.clone_model(part, clone_function=copy)
    copy_weights(part, clone, skip=folded)
    return clone


def fold_batch_norm(model, name=None):
    """Copies a model for inference, with the batch normalisations merged into the convolutions before them.

    In ``scale * (conv(x) - mean) / sqrt(variance + epsilon) + shift`` everything except ``conv(x)`` is constant. A
    convolution is folded if it has no activation and if only a batch normalisation uses its output. An `Identity`
    takes the place of the normalisation. An FCN on MobileNetV2 becomes a third faster on a CPU.

    Args:
        model: A built Functional or Sequential model. Models nested in it are folded as well.
        name: Name of the copy; by default the name of the model.

    Returns:
        A Functional model that computes the same with ``training=False``, up to float32 rounding. It is not for
        training.

    Raises:
        ValueError: If the model is neither Functional nor Sequential.

    Example:

    >>> model = fcn_keras.FCN8s(21, "mobilenet_v2", weights=None)
    >>> folded = fold_batch_norm(model)
    >>> inside = [net.get_layer("backbone").layers for net in (model, folded)]
    >>> [sum(isinstance(layer, keras.layers.BatchNormalization) for layer in layers) for layers in inside]
    [52, 0]

    Reference: Ioffe & Szegedy (ICML 2015), §3.1, on inference; Jacob et al. (CVPR 2018), §3.2, "batch normalization
    folding".
    """
    functional = require_functional(model)
    part = keras.Model(functional.input, functional.output, name=name or model.name)
    pairs = _find_pairs(part)
    norms = {norm.name for norm in pairs.values()}

    def copy(layer):
        if isinstance(layer, keras.Model):
            return fold_batch_norm(layer)
        if layer.name in norms:
            return keras.layers.Identity(name=layer.name, dtype=layer.dtype_policy.name)  # a policy is not saved
        bias = {"use_bias": True} if layer.name in pairs else {}
        return type(layer).from_config(layer.get_config() | bias)

    def call(layer, *args, **kwargs):
        return layer(*args) if layer.name in norms else layer(*args, **kwargs)  # Identity does not take training=

    clone = keras.models.clone_model(part, clone_function=copy, call_function=call)
    for layer in part.layers:
        if layer.name in pairs:
            clone.get_layer(layer.name).set_weights(_merge_norm(layer, pairs[layer.name]))
    copy_weights(part, clone, skip={*pairs, *norms})
    return clone


def _find_pairs(model):
    """Returns the batch normalisations that are the only user of a convolution, by the name of the convolution."""
    nodes = list(get_calls(model))
    uses = collections.Counter(id(node.operation) for node in nodes)
    takers = collections.defaultdict(list)
    for node in nodes:
        for tensor in node.input_tensors:
            takers[id(tensor)].append(node.operation)
    found = {}
    for node in nodes:
        layer, (output, *_) = node.operation, node.output_tensors
        once = isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D) and uses[id(layer)] == 1
        followers, ends = takers[id(output)], any(output is end for end in model.outputs)
        if once and not ends and layer.activation is keras.activations.linear and len(followers) == 1:
            (norm,) = followers
            if isinstance(norm, keras.layers.BatchNormalization) and norm.axis in (-1, 3) and uses[id(norm)] == 1:
                found[layer.name] = norm
    return found


def _merge_norm(layer, norm):
    """Computes kernel and bias of a convolution that includes the normalisation after it."""
    ones, zeros = np.ones(norm.moving_mean.shape, "float32"), np.zeros(norm.moving_mean.shape, "float32")
    gamma, beta = (default if x is None else np.asarray(x) for x, default in ((norm.gamma, ones), (norm.beta, zeros)))
    factor = gamma / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
    kernel, *bias = layer.get_weights()
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    by_output = factor.reshape(kernel.shape[2:]) if depthwise else factor
    return [kernel * by_output, beta + ((bias[0] if bias else zeros) - np.asarray(norm.moving_mean)) * factor]
