"""The released weights of the authors' nets, into the nets of this package.

Caffe and PyTorch store a kernel as ``(O, I, h, w)``, Keras as ``(h, w, I, O)``; a transposed convolution as
``(I, O, h, w)``, Keras as ``(h, w, O, I)``. One transposition serves both. Nothing is mirrored: all three
correlate, and the nets turn RGB into the BGR that ``conv1_1`` was trained on.
"""

import pathlib

import keras
import numpy as np

from ..inference import to_numpy
from ..upsampling import BilinearUpsampling2D, bilinear_kernel
from .caffemodel import read_caffemodel


def load_caffemodel(model, path, strict=True):
    """Loads a released ``.caffemodel`` into a net of `fcn_keras.berkeley`.

    Names and shapes are checked for all layers before any weight is changed. Fully connected layers of a classifier
    (fc6 as ``(4096, 25088)``) become the convolutions that they are.

    Args:
        model: A net of this package, such as `FCN8s`; layers are matched by name.
        path: The file.
        strict: Whether the file must hold every layer of the net and no other. False takes what has a namesake: the
            ImageNet classifier for a FCN-32s to start from, or FCN-32s for a FCN-16s.

    Returns:
        The names of the layers that were loaded.

    Raises:
        ValueError: If the file cannot be read, if a layer is missing, unknown or of another shape, or if the file's
            transposed convolutions are not the frozen bilinear ones of `model`.

    Example:

    >>> load_caffemodel(FCN8s(), "fcn8s-heavy-pascal.caffemodel")  # doctest: +SKIP

    Reference: the files that the net definitions of the authors link to.
    """
    return _load(model, read_caffemodel(path), str(path), strict)


def load_state_dict(model, source, strict=True):
    """Loads weights by name: ``conv1_1.weight``, ``conv1_1.bias``, … in the shapes of Caffe and PyTorch.

    Args:
        model: A net of this package; layers are matched by name.
        source: A mapping from names to arrays or tensors; an ``.npz`` file; or a ``.pth`` file, which needs PyTorch.
            Pickled objects are not read.
        strict: As in `load_caffemodel`.

    Returns:
        The names of the layers that were loaded.

    Raises:
        ValueError: As `load_caffemodel`, or if a name does not end in ``.weight`` or ``.bias``.
        ImportError: If a ``.pth`` file is given and PyTorch is not installed.

    Example:

    >>> model = FCN32s(width=1 / 16)
    >>> load_state_dict(model, {"fc7.bias": np.ones(256)}, strict=False)
    Traceback (most recent call last):
    ValueError: the mapping, layer 'fc7': found arrays of shapes [(256,)], expected [(256, 256, 1, 1), (256,)].
    """
    found = "the mapping" if hasattr(source, "items") else str(source)
    weights, biases = {}, {}
    for key, value in _state_dict(source).items():
        layer, _, kind = key.rpartition(".")
        if kind not in ("weight", "bias"):
            raise ValueError(f"{found}: found the name {key!r}, expected names such as conv1_1.weight, conv1_1.bias.")
        (weights if kind == "weight" else biases).setdefault(layer, []).append(to_numpy(value))
    arrays = {name: weights.get(name, []) + biases.get(name, []) for name in [*weights, *biases]}
    return _load(model, arrays, found, strict)


def _state_dict(source):
    if hasattr(source, "items"):
        return source
    path = pathlib.Path(source)
    if not path.is_file():
        raise ValueError(f"No weights at {path}. Mend: check the path and its spelling.")
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    if path.suffix in (".pth", ".pt"):
        try:
            import torch
        except ImportError as error:
            raise ImportError(f"Reading {path} needs PyTorch. Mend: pip install torch.") from error
        return torch.load(path, map_location="cpu", weights_only=True)
    raise ValueError(f"Found {path}: expected a mapping, or a file that ends in .npz or .pth.")


def _load(model, arrays, source, strict):
    """Checks everything, then assigns everything."""
    layers = {layer.name: layer for layer in model.layers if _wanted(layer)}
    unknown = sorted(set(arrays) - set(layers))
    missing = sorted(name for name, layer in layers.items() if layer.weights and name not in arrays)
    if strict and (unknown or missing):
        raise ValueError(
            f"{source} does not fit {model.name}: missing {missing}, unknown {unknown}. "
            "Mend: the net of that file; or strict=False, which takes the layers that both have."
        )
    loaded = [name for name in layers if name in arrays]
    values = {name: _converted(layers[name], arrays[name], f"{source}, layer {name!r}") for name in loaded}
    for name, value in values.items():
        layers[name].set_weights(value)
    return loaded


def _wanted(layer):
    return layer.weights or isinstance(layer, BilinearUpsampling2D | keras.layers.Rescaling)


def _converted(layer, arrays, where):
    """The arrays as the layer's weights; none for layers that hold constants, which must be the same."""
    if isinstance(layer, BilinearUpsampling2D):
        return _require_bilinear(layer, arrays, where)
    if isinstance(layer, keras.layers.Rescaling):
        return _require_scale(layer, arrays, where)
    kernel_shape, *bias_shape = (tuple(weight.shape) for weight in layer.weights)
    h, w, i, o = kernel_shape
    expected = [(o, i, h, w), *bias_shape]
    shapes = [array.shape for array in arrays]
    arrays = [_as_convolution(array, shape) for array, shape in zip(arrays, expected, strict=False)]
    if len(shapes) != len(expected) or [array.shape for array in arrays] != expected:
        raise ValueError(f"{where}: found arrays of shapes {shapes}, expected {expected}.")
    return [arrays[0].transpose(2, 3, 1, 0), *arrays[1:]]


def _as_convolution(array, shape):
    """An inner product ``(O, I · h · w)`` or an old file's ``(1, 1, …)`` in the shape of the convolution."""
    flat = (shape[0], array.size // shape[0]) if len(shape) == 4 else shape
    without_ones = tuple(n for n in array.shape if n != 1)
    fits = without_ones == tuple(n for n in flat if n != 1) and array.size == np.prod(shape)
    return array.reshape(shape) if fits else array


def _require_bilinear(layer, arrays, where):
    size = layer.kernel_size
    channels = arrays[0].shape[0]
    expected = np.eye(channels)[:, :, None, None] * bilinear_kernel(size)
    if len(arrays) != 1 or arrays[0].shape != expected.shape or np.abs(arrays[0] - expected).max() > 1e-5:
        raise ValueError(
            f"{where}: found a transposed convolution that is not the frozen bilinear one, {size} × {size}, alike for "
            'each class. Mend: build the net with upsampling="learned".'
        )
    return []


def _require_scale(layer, arrays, where):
    if any(np.abs(array - layer.scale).max() > 1e-6 * abs(layer.scale) for array in arrays):
        raise ValueError(f"{where}: found a scale other than the net's {layer.scale}.")
    return []
