"""Fingerprints of nets, optimizers, files and labels. A run compares them with those that it was begun with.

A name such as ``"vgg16"`` needs no fingerprint. An object or a file does. Equal ones have the same fingerprint in every
process.
"""

import hashlib
import json
import pathlib

import keras
import numpy as np
import tensorflow as tf

from ..models import backbones

LENGTH = 16  # hexadecimal digits
# Keras numbers the names of layers, inputs and optimizers anew in each process. Their settings have one of these keys.
NUMBERED = {"trainable", "batch_shape", "learning_rate", "inner_optimizer"}


def of_model(model, weights=False):
    """Fingerprint of a net: its layers and all their settings. The numbers in the names of layers do not count.

    Args:
        model: Keras model. If it has no ``get_config``, only its class and the shapes of its weights count.
        weights: Whether the values of the weights count.

    Returns:
        Hexadecimal digits.

    Example:

    >>> nets = [keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]) for _ in range(2)]
    >>> of_model(nets[0]) == of_model(nets[1]), of_model(nets[0], weights=True) == of_model(nets[1], weights=True)
    (True, False)
    """
    content = [type(model).__name__, [list(each.shape) for each in model.weights], _config(model.get_config)]
    arrays = [keras.ops.convert_to_numpy(each) for each in model.weights] if weights else []
    return _hash(json.dumps(content, default=_plain), *arrays)


def of_optimizer(optimizer):
    """Fingerprint of the settings of an optimizer, including its schedule.

    Args:
        optimizer: Keras optimizer.

    Returns:
        Hexadecimal digits.

    Example:

    >>> of_optimizer(keras.optimizers.SGD(0.1)) == of_optimizer(keras.optimizers.SGD(0.2))
    False
    """
    content = [type(optimizer).__name__, _config(lambda: keras.saving.serialize_keras_object(optimizer))]
    return _hash(json.dumps(content, default=_plain))


def of_labels(dataset):
    """Fingerprint of the integers in the first batch, such as masks. Every machine decodes these to the same values.

    Args:
        dataset: A `tf.data.Dataset` of batches.

    Returns:
        Hexadecimal digits, or None if the dataset is empty.

    Example:

    >>> of_labels(tf.data.Dataset.from_tensors(([0.5], [1]))) == of_labels(tf.data.Dataset.from_tensors(([0.7], [1])))
    True
    """
    for batch in dataset.take(1):
        arrays = [np.asarray(part) for part in tf.nest.flatten(batch)]
        return _hash(*(array for array in arrays if array.dtype.kind in "iu"))
    return None


def of_file(path):
    """Fingerprint of the bytes of a file.

    Args:
        path: Path of the file.

    Returns:
        Hexadecimal digits.

    Example:

    >>> _ = pathlib.Path("a.txt").write_text("same"), pathlib.Path("b.txt").write_text("same")
    >>> of_file("a.txt") == of_file("b.txt")
    True
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:LENGTH]


def described(backbone, weights):
    """Describes a backbone and its weights for the settings of a run.

    Args:
        backbone, weights: As in `fcn_keras.FCN32s`. A `fcn_keras.models.backbones.Backbone` is built once for this,
            under a fixed seed, because only its function knows which network and which weights it gives.

    Returns:
        Dict of ``backbone`` and ``weights``, for JSON.

    Example:

    >>> described("vgg16", "pretrained")
    {'backbone': 'vgg16', 'weights': 'pretrained'}
    """
    if isinstance(backbone, keras.Model):
        backbone = {"model": of_model(backbone, weights=True)}
    elif isinstance(backbone, backbones.Backbone):
        keras.utils.set_random_seed(0)
        network = backbone.build(backbone.pretrained if weights == "pretrained" else weights)
        backbone = {**vars(backbone), "build": of_model(network, weights=True)}
    if weights is not None and pathlib.Path(weights).is_file():
        weights = {"file": of_file(weights)}
    return {"backbone": backbone, "weights": weights}


def _config(get):
    try:
        config = get()
    except NotImplementedError:  # a class of the caller's that has no `get_config`
        return None
    names = {}
    _collect(config, names)
    return _renamed(config, names)


def _collect(config, names):
    """Numbers layers by the order in which their names appear."""
    if isinstance(config, dict):
        if "name" in config and NUMBERED & config.keys():
            names.setdefault(config["name"], f"layer {len(names)}")
        config = list(config.values())
    if isinstance(config, list | tuple):
        for part in config:
            _collect(part, names)


def _renamed(config, names):
    if isinstance(config, dict):
        return {str(key): _renamed(value, names) for key, value in sorted(config.items(), key=str)}
    if isinstance(config, list | tuple):
        return [_renamed(part, names) for part in config]
    return names.get(config, config) if isinstance(config, str) else config


def _plain(value):
    """Objects that JSON does not know, without the address in memory that their `repr` may hold."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return getattr(value, "__qualname__", type(value).__name__)


def _hash(*parts):
    found = hashlib.sha256()
    for part in parts:
        found.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part).tobytes())
    return found.hexdigest()[:LENGTH]
