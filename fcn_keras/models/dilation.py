"""Computes a finer map with the same weights, by shift-and-stitch or by dilated convolutions.

A network with total stride ``s`` has a unit every ``s`` pixels of the image. There are two ways to get a unit every
``s / f`` pixels. *Shift-and-stitch* runs the network on ``f²`` shifted images and interlaces the maps. *Dilation* (the
paper calls it filter rarefaction, others call it à trous) removes the last strides and spreads the kernels after them.
Each weight is then still multiplied by the same unit as in training. Neither way needs new weights, and neither changes
the receptive field. Both give the same numbers:

- If the network does not pad, the numbers are equal everywhere.
- If the network pads with zeros, the numbers are equal for units whose receptive field lies inside the image. At the
  border, only every ``f``-th unit is equal. These are the units of the original network. The units between them
  differ: a shifted image has black pixels beyond the border, from which the layers compute features, but the dilated
  layers have zeros there.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §3.2, "Shift-and-stitch is filter rarefaction".
"""

import keras
import numpy as np
from keras import ops

from .. import geometry
from ..geometry import Geometry
from ..layers._keras import get_outputs, get_producer
from ..layers.pooling import DilatedPooling2D
from .any_size import CONVOLUTIONS
from .cloning import copy_layer, rebuild, require_functional

POOLINGS = {keras.layers.MaxPooling2D: "max", keras.layers.AveragePooling2D: "average"}
SCALED = {keras.layers.ZeroPadding2D: "padding", keras.layers.Cropping2D: "cropping"}
REFUSED = (keras.layers.Flatten, keras.layers.Conv2DTranspose, keras.layers.UpSampling2D, *geometry.GLOBAL)


def shift_and_stitch(model, images, factor):
    """The map of a network at a higher resolution: runs it on ``factor²`` shifted images and interlaces the maps.

    Let ``step = stride / factor``. For each ``r`` from 1 to ``factor - 1``, the function shifts the image down by
    ``stride - r * step`` pixels, and fills the gap with zeros. It does the same to the right. The second unit of the
    shifted image then lies ``r * step`` pixels below the first unit of the original image. So unit ``k`` of the result
    is centred on pixel ``offset + step * k``, where ``stride`` and ``offset`` are those of
    `fcn_keras.geometry.trace_outputs`. It follows that ``result[:, ::factor, ::factor]`` equals ``model(images)``.

    Args:
        model: A Functional or Sequential model with one image input of any size and one map as output.
        images: Array or tensor ``(batch, H, W, C)``, in the form that the model expects.
        factor: Number of new units for each unit, along each axis. It must divide the stride of the model.

    Returns:
        A tensor ``(batch, h, w, channels)``, with one unit for every ``step`` pixels. If the network does not pad, the
        result has all the units whose receptive fields fit into the image.

    Raises:
        ValueError: If the factor does not divide the stride, or if the model only takes images of one size.

    Example:

    >>> net = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 5), keras.layers.MaxPooling2D(4)])
    >>> image = np.random.default_rng(0).normal(size=(1, 41, 50, 3)).astype("float32")
    >>> net(image).shape, shift_and_stitch(net, image, 2).shape
    (TensorShape([1, 9, 11, 2]), TensorShape([1, 17, 22, 2]))

    Reference: Long et al. (CVPR 2015), §3.2; the trick is OverFeat's (Sermanet et al., ICLR 2014).
    """
    steps = _compute_steps(model, factor)
    images = ops.convert_to_tensor(images)
    passes = [[_run_shifted(model, images, factor, steps, (r, c)) for c in range(factor)] for r in range(factor)]
    batch, rows, columns, channels = passes[0][0].shape
    maps = ops.stack([ops.stack(row, axis=3) for row in passes], axis=2)  # batch, rows, r, columns, c, channels
    maps = ops.reshape(maps, (batch, rows * factor, columns * factor, channels))
    height, width = _compute_fine_size(model, images.shape, factor, steps)
    return maps[:, :height, :width]


def _compute_steps(model, factor):
    """The distance between the units of the finer map, in pixels, along both axes."""
    found = [tensor.shape for tensor in (*require_functional(model).inputs, *model.outputs)]
    if len(found) != 2 or len(found[1]) != 4 or found[0][1:3] != (None, None):
        raise ValueError(
            f"Found model {model.name!r} from {model.inputs[0].shape} to {found[1:]}: expected images of any size, "
            "(None, None, None, C), and one map. Fix: fcn_keras.convolutionalize(model), or "
            "fcn_keras.models.allow_any_size(model)."
        )
    strides = [geometry.trace_outputs(model, axis)[0].stride for axis in (0, 1)]
    if factor < 1 or any(stride % factor for stride in strides):
        raise ValueError(
            f"Found factor={factor} for model {model.name!r}: expected a divisor of its stride, {strides}."
        )
    return [stride // factor for stride in strides]


def _run_shifted(model, images, factor, steps, shifts):
    """The units that lie `shifts` steps further than the units of the model itself.

    The number of added pixels is a multiple of the stride. So ``same`` padding, which depends on the remainder of the
    side, does not change.
    """
    margins = [((factor - r) * step, r * step) if r else (0, 0) for r, step in zip(shifts, steps, strict=True)]
    maps = model(ops.pad(images, [(0, 0), *margins, (0, 0)]), training=False)
    first_row, first_column = (int(r > 0) for r in shifts)
    return maps[:, first_row:, first_column:]


def _compute_fine_size(model, shape, factor, steps):
    """Height and width of the finer map. Its last unit is the last one that needs no pixels beyond the image."""
    batch, height, width, channels = shape
    last = [0, 0]
    for a in range(factor):  # shifted by `a` steps, unit i is unit factor * i - a of the fine map
        found = model.compute_output_shape((batch, height + a * steps[0], width + a * steps[1], channels))
        units = (found[0] if isinstance(found, list) else found)[1:3]  # a model with a list of outputs returns a list
        last = [max(end, factor * (n - 1) - a) for end, n in zip(last, units, strict=True)]
    return [end + 1 for end in last]


def dilate(model, factor, name=None):
    """A copy of a network without its last strides, in which every kernel after them is dilated.

    The stride of the copy is `factor` times smaller. The receptive field, the offset and the weights do not change.
    `shift_and_stitch` needs ``factor²`` passes through the whole network. The copy needs one pass, in which the layers
    after the removed strides have up to ``factor²`` times as many units.

    If a strided layer pads with ``same`` and its kernel is larger than its stride, the position of its units in Keras
    depends on the size of the image. In the copy they always have the position that they have in `model` if the sides
    of the image are multiples of the stride of `model`.

    Args:
        model: A Functional or Sequential model with one image input, channels last, made of convolutions, pooling,
            padding, cropping, merges and pointwise layers. Models nested in it are also dilated.
        factor: The product of the strides to remove, counted from the last: for VGG 2, 4, 8, 16 or 32.
        name: Name of the copy; by default the model's name with ``_dilated`` appended.

    Returns:
        A Functional model on images of any size. Layers keep their names. A dilated pooling is a `DilatedPooling2D`.
        If Keras would pad a layer differently, a ``ZeroPadding2D`` named ``…_margin`` pads its input instead.

    Raises:
        ValueError: If no product of the last strides is `factor`, or if a layer cannot be dilated (a transposed
            convolution, Flatten or a global pooling).

    Example:

    >>> net = keras.Sequential([keras.Input((None, None, 3)), keras.layers.MaxPooling2D(2), keras.layers.Conv2D(4, 3)])
    >>> dense = dilate(net, 2)
    >>> dense.layers[-1].dilation_rate, geometry.trace_outputs(net), geometry.trace_outputs(dense)
    ((2, 2), [Geometry(stride=2, receptive_field=6, offset=2.5)], [Geometry(stride=1, receptive_field=6, offset=2.5)])

    Reference: Long et al. (CVPR 2015), §3.2: after a removed stride ``s``, a filter ``f`` is enlarged to
    ``f'[i, j] = f[i / s, j / s]`` if ``s`` divides both, else 0.
    """
    _require_local(require_functional(model))
    if len(model.inputs) != 1:
        raise ValueError(f"Found model {model.name!r} with {len(model.inputs)} inputs: expected one image.")
    stride = max(found.stride for found in geometry.trace_outputs(model))
    if factor < 1 or stride % factor:
        raise ValueError(f"Found factor={factor} for model {model.name!r}: expected a divisor of its stride, {stride}.")
    return _dilate(model, Geometry(), stride // factor, name or f"{model.name}_dilated")


def _require_local(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _require_local(layer)
        elif isinstance(layer, REFUSED) or getattr(layer, "data_format", None) == "channels_first":
            raise _make_refusal(
                layer, "convolutions, pooling, padding and pointwise layers, channels last, up to one map"
            )


def _make_refusal(layer, expected):
    return ValueError(f"Cannot dilate layer {layer.name!r} ({type(layer).__name__}): expected {expected}.")


def _dilate(model, incoming, finest, name):
    """A copy in which no stride is larger than `finest`. The geometry of the model's input is `incoming`."""
    part = keras.Model(model.inputs[0], require_functional(model).output, name=name)
    geometries, margins = _trace_calls(part, incoming), {}

    def copy(layer):
        if not isinstance(layer, keras.layers.Layer):  # x + y
            return copy_layer(layer)
        before, after = geometries[layer.name]
        if isinstance(layer, keras.Model):
            return _dilate(layer, before[0], finest, layer.name)
        twin, margin = _dilate_layer(layer, before, after, finest)
        if margin:
            margins[layer.name] = keras.layers.ZeroPadding2D(margin, name=f"{layer.name}_margin")
        return twin

    return rebuild(part, copy, margins)


def _trace_calls(part, incoming):
    """A dict from each layer's name to the geometries of its input and its output, both along rows and columns."""
    calls = [(layer, get_producer(tensor)[0].input_tensors[0], tensor) for layer in part.layers
             if not isinstance(layer, keras.layers.InputLayer)
             for tensor in get_outputs(layer, part)]  # fmt: skip
    probe = keras.Model(part.inputs[0], [tensor for _, *pair in calls for tensor in pair])
    along = list(zip(*(geometry.trace_outputs(probe, axis, incoming) for axis in (0, 1)), strict=True))
    geometries = {}
    for (layer, *_), before, after in zip(calls, along[::2], along[1::2], strict=True):
        strides = [(rows.stride, columns.stride) for rows, columns in (before, after)]
        if any(rows != columns for rows, columns in strides):
            raise _make_refusal(layer, f"one stride along both axes, found {strides}")
        if geometries.setdefault(layer.name, (before, after))[0][0].stride != before[0].stride:
            raise _make_refusal(layer, "a layer that is used at one stride only")
    return geometries


def _dilate_layer(layer, before, after, finest):
    """The layer's copy on the finer map, and the zeros with which its input must be padded, or None."""
    coarse, stride = before[0].stride, after[0].stride
    if coarse < finest < stride:
        raise _make_refusal(layer, f"that its whole stride is kept or removed, but it goes from {coarse} to {stride}")
    if stride < coarse:
        raise _make_refusal(layer, "a layer that does not upsample")
    rate = coarse // finest
    if stride <= finest:
        return copy_layer(layer), None
    if isinstance(layer, CONVOLUTIONS):
        return _dilate_convolution(layer, rate)
    if isinstance(layer, tuple(POOLINGS)):
        return _dilate_pooling(layer, rate), None
    if isinstance(layer, DilatedPooling2D):
        margin = [rate * units for units in layer.margin]
        return copy_layer(layer, dilation_rate=rate * layer.dilation_rate[0], padding=margin), None
    scaled = [name for kind, name in SCALED.items() if isinstance(layer, kind)]
    if not scaled and before != after and not isinstance(layer, geometry.MERGES):
        raise _make_refusal(
            layer, "convolutions, pooling, padding, cropping, merges and pointwise layers after a stride"
        )
    changes = {name: (np.array(getattr(layer, name)) * rate).tolist() for name in scaled}
    return copy_layer(layer, **changes), None


def _dilate_convolution(layer, rate):
    changes = {"strides": (1, 1), "dilation_rate": [rate * own for own in layer.dilation_rate]}
    if layer.padding == "valid":
        return copy_layer(layer, **changes), None
    sides = zip(layer.kernel_size, layer.strides, layer.dilation_rate, strict=True)
    margins = [_compute_margin(*side, rate) for side in sides]
    if all(_is_centred(*margin) for margin in margins):
        return copy_layer(layer, **changes), None
    return copy_layer(layer, **changes, padding="valid"), margins


def _dilate_pooling(layer, rate):
    size, stride = layer.pool_size[0], layer.strides[0]
    margin = _compute_margin(size, stride, 1, rate) if layer.padding == "same" else (0, 0)
    if rate == 1 and _is_centred(*margin):
        return copy_layer(layer, strides=(1, 1))
    if layer.pool_size != (size, size):
        raise _make_refusal(layer, f"a square pool, found {layer.pool_size}")
    kind = POOLINGS[type(layer)]
    return DilatedPooling2D(size, rate, kind, margin, name=layer.name, dtype=layer.dtype_policy)


def _is_centred(before, after):
    """Whether Keras pads in the same way at stride 1."""
    return before == (before + after) // 2


def _compute_margin(kernel, stride, dilation, rate):
    """The numbers of zeros before and after the map that replace ``same`` padding and do not move the units."""
    reach = dilation * (kernel - 1)
    before = max(reach + 1 - stride, 0) // 2
    return rate * before, rate * (reach - before)
