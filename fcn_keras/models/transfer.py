"""Starts a net from a trained one that has other classes."""

import os

from ..layers._keras import get_all_layers
from .cloning import fit_weights
from .loading import load_model


def start_from(model, trained, class_names=None):
    """Copies the weights of a trained net to a new net, which may have other classes.

    The whole backbone is copied. The layers after it, such as ``score_fr``, are copied if both nets have the same
    classes in the same order. Otherwise they stay as they are in the new net, where scores start at zero.

    Args:
        model: The new net, such as `fcn_keras.FCN8s` makes. Its weights change.
        trained: The trained net: a model, or what `fcn_keras.load_model` takes.
        class_names: Names of the classes of `model`. By default those that it holds. If a net has no names, only the
            number of its classes counts.

    Returns:
        A text that says which layers were copied and which were not.

    Raises:
        ValueError: If a net has no backbone, or if the backbones or their preprocessing differ.

    Example:

    >>> trained = fcn_keras.FCN8s(2, "mini_vgg", weights=None)
    >>> print(start_from(fcn_keras.FCN32s(3, "mini_vgg", weights=None), trained))
    Starts from 'fcn8s': its backbone. Not from its score_fr: the classes differ (2 there, 3 here).
    """
    trained = load_model(trained, compile=False) if isinstance(trained, str | os.PathLike) else trained
    theirs, ours = (_find_parts(each) for each in (trained, model))
    if theirs["preprocessing"] != ours["preprocessing"]:
        raise ValueError(
            f"Cannot start from {trained.name!r}: its backbone gets images in the form {theirs['preprocessing']!r}, "
            f"and that of the new net {ours['preprocessing']!r}. Fix: make the new net with the same backbone."
        )
    pairs = _pair_backbones(trained, theirs["backbone"], ours["backbone"])
    reason = _compare_classes(trained, model, class_names)
    after = [layer for layer in model.layers if layer.weights and layer is not ours["backbone"]]
    known = {layer.name: layer for layer in trained.layers}
    fits = [(layer, known.get(layer.name)) for layer in after]
    fits = [(layer, twin) for layer, twin in fits if not reason and twin and fit_weights(twin, layer) is not None]
    for layer, twin in [*pairs, *fits]:
        layer.set_weights(fit_weights(twin, layer))
    copied = ", ".join(["its backbone", *(layer.name for layer, _ in fits)])
    left = ", ".join(layer.name for layer in after if layer not in [layer for layer, _ in fits])
    told = f" Not from its {left}: {reason or 'they do not fit'}." if left else ""
    return f"Starts from {trained.name!r}: {copied}.{told}"


def _find_parts(model):
    layers = {layer.name: layer for layer in model.layers}
    if "backbone" not in layers:
        raise ValueError(
            f"Found model {model.name!r} without a layer named 'backbone': expected an FCN of this package."
        )
    return {"backbone": layers["backbone"], "preprocessing": getattr(layers.get("preprocessing"), "mode", None)}


def _pair_backbones(trained, theirs, ours):
    """The layers of a backbone that have weights, each with its twin."""
    known = {layer.name: layer for layer in _get_leaves(theirs)}
    pairs = [(layer, known.get(layer.name)) for layer in _get_leaves(ours)]
    missing = [layer.name for layer, twin in pairs if twin is None or fit_weights(twin, layer) is None]
    if missing:
        raise ValueError(
            f"Cannot start from {trained.name!r}: its backbone has no weights for {', '.join(missing[:3])}"
            f"{' …' if len(missing) > 3 else ''}. Fix: make the new net with the same backbone and head."
        )
    return pairs


def _get_leaves(model):
    return [layer for layer in get_all_layers(model) if layer.weights and not hasattr(layer, "layers")]


def _compare_classes(trained, model, class_names):
    """Why the layers after the backbone cannot be copied; an empty text if the classes are the same."""
    counts = trained.output.shape[-1], model.output.shape[-1]
    if counts[0] != counts[1]:
        return f"the classes differ ({counts[0]} there, {counts[1]} here)"
    names = getattr(trained, "class_names", None), class_names or getattr(model, "class_names", None)
    if None in names or list(names[0]) == list(names[1]):
        return ""
    return f"the classes differ ({', '.join(names[0])} there)"
