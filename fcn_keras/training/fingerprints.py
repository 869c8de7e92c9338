"""Fingerprints of nets, optimizers, files and labels. A run compares them with those that it was started with.

A name such as ``"vgg16"`` needs no fingerprint, but an object or a file does. Equal objects have equal fingerprints in
all processes.
"""

import hashlib
import json
import pathlib

import keras
import numpy as np
import tensorflow as tf

from ..models import backbones

LENGTH = 16  # hexadecimal digits
# Keras puts numbers into the names of layers, inputs and optimizers, and they differ between processes. The settings of
# such objects have one of these keys.
NUMBERED = {"trainable", "batch_shape", "learning_rate", "inner_optimizer"}
# Modules whose layers have moved. With their old names, runs that were started before can be continued.
MOVED = {"fcn_keras.layers.cropping": "fcn_keras.layers.padding"}


def hash_model(model, weights=False):
    """Computes the fingerprint of a net: its layers and all their settings, without the numbers in the layers' names.

    Args:
        model: Keras model. If it has no ``get_config``, only its class and the shapes of its weights count.
        weights: Whether the values of the weights count.

    Returns:
        Hexadecimal digits.

    Example:

    >>> nets = [keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]) for _ in range(2)]
    >>> hash_model(nets[0]) == hash_model(nets[1])
    True
    >>> hash_model(nets[0], weights=True) == hash_model(nets[1], weights=True)
    False
    """
    content = [type(model).__name__, [list(each.shape) for each in model.weights], _read_config(model.get_config)]
    arrays = [keras.ops.convert_to_numpy(each) for each in model.weights] if weights else []
    return _hash(json.dumps(content, default=_to_plain), *arrays)


def hash_optimizer(optimizer):
    """Computes the fingerprint of the settings of an optimizer, including its schedule.

    Args:
        optimizer: Keras optimizer.

    Returns:
        Hexadecimal digits.

    Example:

    >>> hash_optimizer(keras.optimizers.SGD(0.1)) == hash_optimizer(keras.optimizers.SGD(0.2))
    False
    """
    content = [type(optimizer).__name__, _read_config(lambda: keras.saving.serialize_keras_object(optimizer))]
    return _hash(json.dumps(content, default=_to_plain))


def hash_labels(dataset):
    """Computes the fingerprint of the integers in the first batch, such as masks.

    Images are left out, because JPEG files may be decoded to other values on another machine.

    Args:
        dataset: A `tf.data.Dataset` of batches.

    Returns:
        Hexadecimal digits, or None if the dataset is empty.

    Example:

    >>> one, other = (tf.data.Dataset.from_tensors(([pixel], [1])) for pixel in (0.5, 0.7))
    >>> hash_labels(one) == hash_labels(other)
    True
    """
    for batch in dataset.take(1):
        arrays = [np.asarray(part) for part in tf.nest.flatten(batch)]
        return _hash(*(array for array in arrays if array.dtype.kind in "iu"))
    return None


def hash_file(path):
    """Computes the fingerprint of the bytes of a file.

    Args:
        path: Path of the file.

    Returns:
        Hexadecimal digits.

    Example:

    >>> _ = pathlib.Path("a.txt").write_text("same"), pathlib.Path("b.txt").write_text("same")
    >>> hash_file("a.txt") == hash_file("b.txt")
    True
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:LENGTH]


def describe_backbone(backbone, weights):
    """Describes a backbone and its weights for the settings of a run.

    Args:
        backbone, weights: As in `fcn_keras.FCN32s`. A `fcn_keras.models.backbones.Backbone` is built once for this,
            under a fixed seed, because only its function knows which network and which weights it gives.

    Returns:
        Dict of ``backbone`` and ``weights``, for JSON.

    Example:

    >>> describe_backbone("vgg16", "pretrained")
    {'backbone': 'vgg16', 'weights': 'pretrained'}
    """
    if isinstance(backbone, keras.Model):
        backbone = {"model": hash_model(backbone, weights=True)}
    elif isinstance(backbone, backbones.Backbone):
        keras.utils.set_random_seed(0)
        network = backbone.build(backbone.pretrained if weights == "pretrained" else weights)
        backbone = {**vars(backbone), "build": hash_model(network, weights=True)}
    if weights is not None and pathlib.Path(weights).is_file():
        weights = {"file": hash_file(weights)}
    return {"backbone": backbone, "weights": weights}


def _read_config(get):
    try:
        config = get()
    except NotImplementedError:  # the caller's class has no `get_config`
        return None
    names = {}
    _collect_names(config, names)
    return _rename(config, names | MOVED)


def _collect_names(config, names):
    """Numbers layers by the order in which their names appear."""
    if isinstance(config, dict):
        if "name" in config and NUMBERED & config.keys():
            names.setdefault(config["name"], f"layer {len(names)}")
        config = list(config.values())
    if isinstance(config, list | tuple):
        for part in config:
            _collect_names(part, names)


def _rename(config, names):
    if isinstance(config, dict):
        return {str(key): _rename(value, names) for key, value in sorted(config.items(), key=str)}
    if isinstance(config, list | tuple):
        return [_rename(part, names) for part in config]
    return names.get(config, config) if isinstance(config, str) else config


def _to_plain(value):
    """Objects that JSON does not know, without the address in memory that their `repr` may hold."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return getattr(value, "__qualname__", type(value).__name__)


def _hash(*parts):
    found = hashlib.sha256()
    for part in parts:
        found.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part).tobytes())
    return found.hexdigest()[:LENGTH]
