"""Starts a net from a trained one that has other classes."""

import os

from ..layers._keras import get_all_layers
from ..layers.preprocessing import BGR
from .channels import repeat_weights
from .cloning import fit_weights
from .loading import load_model


def start_from(model, trained, class_names=None):
    """Copies the weights of a trained net to a new net, which may have other classes.

    The whole backbone is copied. If the trained net takes RGB images, and the new net takes more channels, the first
    kernel is repeated, as `fcn_keras.models.channels` describes. The layers after the backbone, such as ``score_fr``,
    are copied if both nets have the same classes in the same order. Otherwise they stay as they are in the new net,
    where scores start at zero.

    Args:
        model: The new net, such as `fcn_keras.FCN8s` makes. Its weights change.
        trained: The trained net: a model, or what `fcn_keras.load_model` takes.
        class_names: Names of the classes of `model`. By default those that it holds. If a net has no names, only the
            number of its classes counts.

    Returns:
        A text that says which layers were copied and which were not.

    Raises:
        ValueError: If a net has no backbone, or if the backbones, their preprocessing or their channels differ.

    Example:

    >>> trained = fcn_keras.FCN8s(2, "mini_vgg", weights=None)
    >>> print(start_from(fcn_keras.FCN32s(3, "mini_vgg", weights=None), trained))
    Starts from 'fcn8s': its backbone. Not from its score_fr: the classes differ (2 there, 3 here).
    """
    trained = load_model(trained, compile=False) if isinstance(trained, str | os.PathLike) else trained
    for each in (trained, model):
        if "backbone" not in [layer.name for layer in each.layers]:
            raise ValueError(
                f"Found model {each.name!r} without a layer named 'backbone': expected an FCN of this package."
            )
    known = {layer.name: layer for layer in _get_leaves(trained)}
    inside = {layer.name for layer in _get_leaves(model.get_layer("backbone"))}
    reason, found = _compare_classes(trained, model, class_names), {}
    modes = [[layer.mode for layer in each.layers if layer.name == "preprocessing"] for each in (trained, model)]
    for layer in _get_leaves(model):
        if layer.name in inside:
            found[layer] = repeat_weights(known.get(layer.name), layer, modes[1][0] in BGR)
        elif layer.name in known and not reason:
            found[layer] = fit_weights(known[layer.name], layer)
    left = [layer.name for layer in _get_leaves(model) if found.get(layer) is None]
    if modes[0] != modes[1] or inside.intersection(left):
        raise ValueError(
            f"Cannot start from {trained.name!r}: it has another backbone or other channels. Fix: make the new net "
            "with the same backbone, head and channels."
        )
    found = {layer: weights for layer, weights in found.items() if weights is not None}
    for layer, weights in found.items():
        layer.set_weights(weights)
    copied = ", ".join(["its backbone", *(layer.name for layer in found if layer.name not in inside)])
    told = f" Not from its {', '.join(left)}: {reason or 'they do not fit'}." if left else ""
    return f"Starts from {trained.name!r}: {copied}.{told}"


def _get_leaves(model):
    return [layer for layer in get_all_layers(model) if layer.weights and not hasattr(layer, "layers")]


def _compare_classes(trained, model, class_names):
    """Why the layers after the backbone cannot be copied; an empty text if the classes are the same."""
    there, here = trained.output.shape[-1], model.output.shape[-1]
    theirs, ours = getattr(trained, "class_names", None), class_names or getattr(model, "class_names", None)
    if there == here and (None in (theirs, ours) or list(theirs) == list(ours)):
        return ""
    told = f"{', '.join(theirs)} there" if there == here else f"{there} there, {here} here"
    return f"the classes differ ({told})"
