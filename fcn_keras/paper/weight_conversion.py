"""Converts the released weights for the nets of this package, and back.

Caffe and PyTorch store the kernel of a convolution as ``(O, I, h, w)``, and Keras as ``(h, w, I, O)``. They store the
kernel of a transposed convolution as ``(I, O, h, w)``, and Keras as ``(h, w, O, I)``. The same transposition converts
both. Kernels are not mirrored, because all three compute a correlation. ``conv1_1`` was trained on BGR, and the nets
convert RGB to BGR themselves.
"""

import pickle
import zipfile

import keras
import numpy as np

from .._files import user_path
from ..layers.bilinear import Bilinear
from ..layers.labels import to_numpy
from ..layers.upsampling import BilinearUpsampling2D
from .caffemodel import read_caffemodel


def load_caffemodel(model, path, strict=True):
    """Loads a released ``.caffemodel`` into a net of `fcn_keras.paper`.

    The names and shapes of all layers are checked before any weight changes. The fully connected layers of a classifier
    (fc6 is ``(4096, 25088)``) become convolutions.

    Args:
        model: A net such as `CaffeFCN8s`, or another model of convolutions. Layers are matched by name.
        path: Path of the file.
        strict: Whether the file must have exactly the layers of the net. False loads the layers that both have, for
            example from the ImageNet classifier into an FCN-32s, or from an FCN-32s into an FCN-16s.

    Returns:
        List of the names of the layers that were loaded.

    Raises:
        ValueError: If the file cannot be read; if a layer is missing, unknown or of another shape; if a weight is not
            finite; or if the file's transposed convolutions are not the frozen bilinear ones of `model`.

    Example:

    >>> load_caffemodel(fcn_keras.paper.CaffeFCN8s(), "fcn8s-heavy-pascal.caffemodel")  # doctest: +SKIP

    Reference: the files that the net definitions of the authors link to.
    """
    return _load(model, read_caffemodel(path), str(path), strict)


def load_state_dict(model, source, strict=True):
    """Loads weights by name: ``conv1_1.weight``, ``conv1_1.bias``, … in the shapes of Caffe and PyTorch.

    Args:
        model: As in `load_caffemodel`.
        source: A mapping from names to arrays or tensors, such as `state_dict` returns; the path of an ``.npz`` file;
            or the path of a ``.pth`` file, which needs PyTorch. Pickled objects are never read.
        strict: As in `load_caffemodel`.

    Returns:
        List of the names of the layers that were loaded.

    Raises:
        ValueError: As in `load_caffemodel`, or if a name does not end in ``.weight`` or ``.bias``.
        ImportError: If `source` is a ``.pth`` file and PyTorch is not installed.

    Example:

    An FCN-16s that starts from an FCN-32s:

    >>> from fcn_keras.paper import CaffeFCN16s, CaffeFCN32s
    >>> fcn32s, fcn16s = CaffeFCN32s(width=1 / 16), CaffeFCN16s(width=1 / 16)
    >>> load_state_dict(fcn16s, state_dict(fcn32s), strict=False)[-2:]
    ['fc7', 'score_fr']

    Reference: staged training, Long et al. (CVPR 2015), §4.2.
    """
    found = "the mapping" if hasattr(source, "items") else str(source)
    weights, biases = {}, {}
    for key, value in _read_mapping(source).items():
        layer, _, kind = key.rpartition(".")
        if kind not in ("weight", "bias"):
            raise ValueError(
                f"{found}: found the name {key!r}, expected names such as conv1_1.weight and conv1_1.bias."
            )
        (weights if kind == "weight" else biases).setdefault(layer, []).append(to_numpy(value))
    arrays = {name: weights.get(name, []) + biases.get(name, []) for name in [*weights, *biases]}
    return _load(model, arrays, found, strict)


def state_dict(model):
    """Returns the weights of a net by name, in the shapes of Caffe and PyTorch, for `load_state_dict`.

    Args:
        model: As in `load_caffemodel`.

    Returns:
        A dict from ``conv1_1.weight``, ``conv1_1.bias``, … to arrays. Frozen bilinear upsampling is written as the
        transposed convolution that it computes.

    Raises:
        ValueError: If a layer with weights is not a convolution.

    Example:

    >>> np.savez("fcn8s.npz", **state_dict(fcn_keras.paper.CaffeFCN8s(width=1 / 16)))
    """
    arrays = {}
    for layer in filter(_is_matched, model.layers):
        if isinstance(layer, BilinearUpsampling2D):
            arrays[f"{layer.name}.weight"] = _make_bilinear(layer)
        elif layer.weights:
            _require_convolution(layer, model.name)
            kernel, *bias = layer.get_weights()
            arrays[f"{layer.name}.weight"] = kernel.transpose(3, 2, 0, 1)
            arrays |= {f"{layer.name}.bias": array for array in bias}
    return arrays


def _read_mapping(source):
    if hasattr(source, "items"):
        return source
    path = user_path(source)
    if not path.is_file():
        raise ValueError(f"No weights at {path}. Fix: check the path and its spelling.")
    if path.suffix not in (".npz", ".pth", ".pt"):
        raise ValueError(f"Found {path}, expected a mapping, or a file that ends in .npz or .pth.")
    try:
        arrays = _read_npz(path) if path.suffix == ".npz" else _read_pth(path)
    except (ValueError, RuntimeError, EOFError, OSError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} cannot be read ({type(error).__name__}): it is another kind of file, it is incomplete, or it "
            "holds pickled objects, which are never read. Fix: download it again, or save only arrays."
        ) from error
    if not hasattr(arrays, "items"):
        raise ValueError(f"{path}: found a {type(arrays).__name__}, expected a mapping from names to weights.")
    return arrays


def _read_npz(path):
    # We open the file, because np.load leaves it open if it fails.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def _read_pth(path):
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"Reading {path} needs PyTorch. Fix: pip install torch.") from error
    return torch.load(path, map_location="cpu", weights_only=True)


def _load(model, arrays, source, strict):
    """Checks everything, then assigns everything."""
    layers = {layer.name: layer for layer in model.layers if _is_matched(layer)}
    unknown = sorted(set(arrays) - set(layers))
    missing = sorted(name for name, layer in layers.items() if layer.weights and name not in arrays)
    if strict and (unknown or missing):
        raise ValueError(
            f"{source} does not fit {model.name}: missing {missing}, unknown {unknown}. "
            "Fix: load it into the matching net, or pass strict=False, which loads the layers that both have."
        )
    loaded = [name for name in layers if name in arrays]
    if not loaded:
        raise ValueError(
            f"{source} has no layer of {model.name}: found {unknown}, expected names such as {missing[:3]}. "
            "Fix: pass a file of such a net."
        )
    values = {name: _convert(layers[name], arrays[name], f"{source}, layer {name!r}") for name in loaded}
    for name, value in values.items():
        layers[name].set_weights(value)
    return loaded


def _is_matched(layer):
    return layer.weights or isinstance(layer, BilinearUpsampling2D | keras.layers.Rescaling)


def _convert(layer, arrays, where):
    """Converts arrays to the weights of a layer. A layer of constants has no weights, but its constants are checked."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(
            f"{where}: found weights that are not finite. Fix: pass a file that was saved before training diverged."
        )
    if isinstance(layer, BilinearUpsampling2D):
        return _require_bilinear(layer, arrays, where)
    if isinstance(layer, keras.layers.Rescaling):
        return _require_scale(layer, arrays, where)
    _require_convolution(layer, where)
    kernel_shape, *bias_shape = (tuple(weight.shape) for weight in layer.weights)
    h, w, i, o = kernel_shape
    expected = [(o, i, h, w), *bias_shape]
    shapes = [array.shape for array in arrays]
    arrays = [_reshape(array, shape) for array, shape in zip(arrays, expected, strict=False)]
    if len(shapes) != len(expected) or [array.shape for array in arrays] != expected:
        raise ValueError(f"{where}: found arrays of shapes {shapes}, expected {expected}.")
    return [arrays[0].transpose(2, 3, 1, 0), *arrays[1:]]


def _reshape(array, shape):
    """Reshapes an array for a convolution. It may be of a dense layer, or have more axes of length 1."""
    flat = (shape[0], array.size // shape[0]) if len(shape) == 4 else shape
    without_ones = tuple(n for n in array.shape if n != 1)
    fits = without_ones == tuple(n for n in flat if n != 1) and array.size == np.prod(shape)
    return array.reshape(shape) if fits else array


def _require_convolution(layer, where):
    if not isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose):
        raise ValueError(f"{where}: {layer.name!r} is a {type(layer).__name__} layer, expected a convolution.")


def _make_bilinear(layer):
    """Makes the kernel ``(I, O, h, w)`` of the transposed convolution that frozen upsampling computes."""
    channels = layer.input.shape[-1]
    return Bilinear().array((*layer.kernel_size, channels, channels)).transpose(3, 2, 0, 1)


def _require_bilinear(layer, arrays, where):
    expected, size = _make_bilinear(layer), layer.kernel_size[0]
    if len(arrays) != 1 or arrays[0].shape != expected.shape or np.abs(arrays[0] - expected).max() > 1e-5:
        raise ValueError(
            f"{where}: found a transposed convolution that is not the frozen bilinear one of {size} × {size} for "
            f'{len(expected)} classes. Fix: build the net with upsampling="learned".'
        )
    return []


def _require_scale(layer, arrays, where):
    if any(np.abs(array - layer.scale).max() > 1e-6 * abs(layer.scale) for array in arrays):
        raise ValueError(f"{where}: found another scale, expected {layer.scale}.")
    return []
