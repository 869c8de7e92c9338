"""Copies layers and their weights, to make new models from trained ones.

A new net often starts from a trained one: FCN-16s starts from FCN-32s, and a dilated network from the original. To copy
weights from one model to another, this package always uses `copy_weights`. It either copies every weight, or raises an
error that names the weights that do not fit.
"""

import warnings

import keras
import numpy as np

from ..layers._keras import get_functional
from ..layers.depthwise import BilinearDepthwiseConv2DTranspose
from ..layers.upsampling import BilinearConv2DTranspose, BilinearUpsampling2D, is_bilinear

LEARNED = (BilinearConv2DTranspose, BilinearDepthwiseConv2DTranspose)
UPSAMPLING = (*LEARNED, BilinearUpsampling2D)


def rebuild(model, copy, margins=None, channels=None, fit=None):
    """Copies the layers of a model, and builds a model from the copies that takes images of any size.

    Args:
        model: A Functional model with one image input ``(H, W, C)``.
        copy: Function from a layer to its copy.
        margins: Dict from a layer's name to a layer that is applied to its input first; `copy` may fill it.
        channels: Number of channels of the new model's images; by default that of `model`.
        fit: As in `copy_weights`.

    Returns:
        A Functional model on ``(batch, None, None, C)``, with the weights of `model`.

    Raises:
        ValueError: If the weights of a layer do not fit its copy.

    Example:

    >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv")])
    >>> rebuild(model, copy_layer).output_shape
    (None, None, None, 4)
    """
    image = keras.Input((None, None, channels or model.inputs[0].shape[-1]), dtype=model.inputs[0].dtype, name="image")
    part = keras.Model(model.inputs[0], require_functional(model).output, name=model.name)

    def call(layer, *args, **kwargs):
        if margins and layer.name in margins:
            args = (margins[layer.name](args[0]), *args[1:])
        return layer(*args, **kwargs)

    clone = keras.models.clone_model(part, input_tensors=image, clone_function=copy, call_function=call)
    copy_weights(part, clone, fit=fit)
    return clone


def copy_layer(layer, **changes):
    """A copy of a layer without its weights.

    Args:
        layer: A Keras layer, or an operator of a Functional model such as ``x + y``.
        changes: Entries of the configuration to change.

    Example:

    >>> copy_layer(keras.layers.Conv2D(4, 3, name="conv"), padding="same").padding
    'same'
    """
    return type(layer).from_config({**layer.get_config(), **changes})


def require_functional(model):
    """The Functional model inside a Sequential model. A Functional model is returned unchanged.

    Args:
        model: A built Functional or Sequential model.

    Raises:
        ValueError: If the model is neither Functional nor Sequential, or if it has not been built.

    Example:

    >>> type(require_functional(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.ReLU()]))).__name__
    'Functional'
    """
    functional = get_functional(model)
    if not isinstance(functional, keras.Model) or not hasattr(functional, "operations"):
        raise ValueError(
            f"Found model {getattr(model, 'name', model)!r} of type {type(model).__name__}: expected a Functional or "
            "Sequential Keras model that is built."
        )
    return functional


def copy_weights(source, target, skip=(), replaced=(), fit=None):
    """Copies every weight of a model to the layers of the same names in another model.

    If the name of a layer of `target` does not occur in `source`, the layer keeps its weights. An upsampling layer may
    have a different class in `target`, if that class can represent its kernel. If any weight does not fit, no weight
    is copied.

    Args:
        source: A Functional or Sequential model.
        target: A model. Models nested in it are not changed, because they were copied when `target` was made.
        skip: Names of layers of `source` whose weights the caller copies in a different way.
        replaced: Names of upsampling layers of `source` that are replaced by other layers in `target`.
        fit: Function from two layers to weights, instead of `fit_weights`.

    Raises:
        ValueError: If a weight of `source` has no place in `target`. The message names the layers.

    Warns:
        UserWarning: If a replaced layer is no longer bilinear, because it has been trained.

    Example:

    >>> trained, fresh = (keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="out")]) for _ in range(2))
    >>> copy_weights(trained, fresh)
    """
    ours = {layer.name: layer for layer in target.layers}
    theirs = [layer for layer in source.layers if layer.weights and not isinstance(layer, keras.Model)]
    theirs = [layer for layer in theirs if layer.name not in {*skip, *replaced}]
    found = [(layer, ours.get(layer.name)) for layer in theirs]
    values = [(fit or fit_weights)(layer, twin) for layer, twin in found]
    lost = [_describe(*pair) for pair, value in zip(found, values, strict=True) if value is None]
    if lost:
        raise ValueError(
            f"Weights of model {source.name!r} have no place in model {target.name!r}: {'; '.join(lost)}. "
            "Fix: make the new model with the arguments of the first."
        )
    for (_, twin), value in zip(found, values, strict=True):
        twin.set_weights(value)
        if isinstance(twin, keras.layers.Normalization):
            twin.finalize_state()  # this layer does not use its weights directly, but copies of them
    _warn_of_replaced(source, target, replaced)


def fit_weights(layer, twin):
    """The weights of a layer in the form that its twin needs, or None if something would be lost.

    Args:
        layer: A layer with weights.
        twin: A layer of another model, or None.

    Example:

    >>> layer, twin = (keras.layers.Dense(units, name="out") for units in (2, 3))
    >>> layer.build((None, 4)), twin.build((None, 4)), fit_weights(layer, twin)
    (None, None, None)
    """
    weights = layer.get_weights()
    if isinstance(layer, LEARNED) and isinstance(twin, UPSAMPLING) and type(twin) is not type(layer):
        weights = _convert_kernel(layer, twin)
    fits = twin is not None and weights is not None
    return weights if fits and [w.shape for w in weights] == [tuple(w.shape) for w in twin.weights] else None


def _convert_kernel(layer, twin):
    """The kernel of a learned upsampling layer, converted for a dense, depthwise or fixed layer (without a kernel)."""
    (kernel,) = layer.get_weights()
    if isinstance(twin, BilinearUpsampling2D):
        same_size = kernel.shape[:2] == twin.kernel_size
        return [] if same_size and is_bilinear(layer) else None
    identity = np.eye(kernel.shape[2], dtype=kernel.dtype)
    if isinstance(twin, BilinearConv2DTranspose):
        return [kernel[..., None] * identity]
    diagonal = np.diagonal(kernel, axis1=2, axis2=3)
    square = kernel.shape[2] == kernel.shape[3]
    return [diagonal] if square and np.array_equal(kernel, diagonal[..., None] * identity) else None


def _describe(layer, twin):
    shapes = ", ".join(str(tuple(weight.shape)) for weight in layer.weights)
    if twin is None:
        return f"layer {layer.name!r} {shapes} does not exist there"
    expected = ", ".join(str(tuple(weight.shape)) for weight in twin.weights) or "no weights"
    return f"layer {layer.name!r} {shapes} is a {type(twin).__name__} with {expected} there"


def _warn_of_replaced(source, target, replaced):
    learned = [name for name in replaced if not is_bilinear(source.get_layer(name), square=False)]
    if learned:
        warnings.warn(
            f"Model {source.name!r} has learned the kernel of {', '.join(map(repr, learned))}. Model {target.name!r} "
            "has no such layer: other upsampling layers replace it and start bilinear. Therefore its first predictions "
            f"differ from those of {source.name!r}. Training can learn the difference again.",
            stacklevel=3,
        )
