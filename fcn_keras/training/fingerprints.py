"""Short fingerprints of nets, optimizers, files and data, by which a run knows what it was begun with.

A name such as ``"vgg16"`` says what it stands for. An object or a file does not: its fingerprint does, and it is the
same in another process.
"""

import dataclasses
import hashlib
import json
import pathlib

import keras
import numpy as np
import tensorflow as tf

from ..models import backbones

LENGTH = 16  # hexadecimal digits
# What the settings of layers, inputs and optimizers hold, the objects that Keras numbers; others keep their names.
NUMBERED = {"trainable", "batch_shape", "learning_rate", "inner_optimizer"}


def of_model(model, weights=False):
    """Fingerprint of a net's layers with all their settings; of its weights also, if asked.

    Layers without a name of their own are numbered by Keras, anew in each process: their numbers do not count.

    Args:
        model: Keras model. One that cannot tell its configuration is known by its class and the shapes of its weights.
        weights: Whether other weights give another fingerprint.

    Example:

    >>> nets = [keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]) for _ in range(2)]
    >>> of_model(nets[0]) == of_model(nets[1]), of_model(nets[0], weights=True) == of_model(nets[1], weights=True)
    (True, False)
    """
    arrays = [keras.ops.convert_to_numpy(each) for each in model.weights]
    content = [type(model).__name__, [array.shape for array in arrays], _config(model.get_config)]
    return _hash(json.dumps(content, default=_plain), *(arrays if weights else ()))


def of_optimizer(optimizer):
    """Fingerprint of an optimizer's settings, its schedule included.

    Example:

    >>> of_optimizer(keras.optimizers.SGD(0.1)) == of_optimizer(keras.optimizers.SGD(0.2))
    False
    """
    content = [type(optimizer).__name__, _config(lambda: keras.saving.serialize_keras_object(optimizer))]
    return _hash(json.dumps(content, default=_plain))


def of_labels(dataset):
    """Fingerprint of the labels in the first batch: whole numbers, which every machine decodes alike.

    Example:

    >>> of_labels(tf.data.Dataset.from_tensors(([0.5], [1]))) == of_labels(tf.data.Dataset.from_tensors(([0.7], [1])))
    True
    """
    for batch in dataset.take(1):
        arrays = [np.asarray(part) for part in tf.nest.flatten(batch)]
        return _hash(*(array for array in arrays if array.dtype.kind in "iu"))
    return None


def of_file(path):
    """Fingerprint of a file's bytes.

    Example:

    >>> _ = pathlib.Path("a.txt").write_text("same"), pathlib.Path("b.txt").write_text("same")
    >>> of_file("a.txt") == of_file("b.txt")
    True
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:LENGTH]


def described(backbone, weights):
    """What a run's settings say of a backbone and of its weights: JSON that differs where the two do.

    Args:
        backbone, weights: As in `fcn_keras.FCN32s`. A `fcn_keras.models.backbones.Backbone` is built once for this,
            under a fixed seed, because only its function knows which network and which weights it gives.

    Returns:
        Dict of ``backbone`` and ``weights``.

    Example:

    >>> described("vgg16", "pretrained")
    {'backbone': 'vgg16', 'weights': 'pretrained'}
    """
    if isinstance(backbone, keras.Model):
        backbone = {"model": of_model(backbone, weights=True)}
    elif isinstance(backbone, backbones.Backbone):
        keras.utils.set_random_seed(0)
        network = backbone.build(backbone.pretrained if weights == "pretrained" else weights)
        told = {field.name: getattr(backbone, field.name) for field in dataclasses.fields(backbone)}
        backbone = {**told, "build": of_model(network, weights=True)}
    if weights is not None and pathlib.Path(weights).is_file():
        weights = {"file": of_file(weights)}
    return {"backbone": backbone, "weights": weights}


def _config(get):
    try:
        config = get()
    except NotImplementedError:  # a class of the caller's without `get_config`
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
    """What JSON does not know, without the address that its `repr` may hold."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return getattr(value, "__qualname__", type(value).__name__)


def _hash(*parts):
    found = hashlib.sha256()
    for part in parts:
        found.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part).tobytes())
    return found.hexdigest()[:LENGTH]
