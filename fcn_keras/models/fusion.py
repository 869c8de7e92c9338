"""Scores the maps of a network, upsamples the scores and fuses them, to get logits at the size of the image.

This is Figure 3 of the paper, for any network whose maps have a known geometry. The code contains no kernel sizes and
no crops: it computes all of them from the geometries.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4.2, Figure 3.
"""

import keras

from ..geometry import Geometry
from ..layers.cropping import CropLike
from ..layers.depthwise import BilinearDepthwiseConv2DTranspose
from ..layers.upsampling import BilinearConv2DTranspose, BilinearUpsampling2D

# Whether the kernels of the inner transposed convolutions, and the kernel of the last one, are learned.
UPSAMPLINGS = {
    "frozen": (False, False),
    "learned_inner": (True, False),
    "learned": (True, True),
    "learned_depthwise": ("depthwise", "depthwise"),
}
#: The factors for pool4 and pool3 with which the authors train FCN-8s in one stage.
AT_ONCE_SCALES = (0.01, 0.0001)
LAST = {32: "upscore", 16: "upscore16", 8: "upscore8", 4: "upscore4"}  # the authors' names, and one more
# Stride of a finer map → its name, and the name of the layer that upsamples the coarser scores to it.
SKIPS = {16: ("pool4", "upscore2"), 8: ("pool3", "upscore_pool4"), 4: ("pool2", "upscore_pool3")}


def require_upsampling(upsampling):
    """Raises an error unless `upsampling` is one of `UPSAMPLINGS`.

    Raises:
        ValueError: If it is not one of them.
    """
    if upsampling not in UPSAMPLINGS:
        raise ValueError(f"Found upsampling={upsampling!r}: expected one of {', '.join(UPSAMPLINGS)}.")


def find_upsampling(model):
    """Finds out from the upsampling layers of a model which of `UPSAMPLINGS` it uses.

    Args:
        model: A model made by `fuse`.

    Returns:
        One of `UPSAMPLINGS`.

    Example:

    >>> find_upsampling(fcn_keras.FCN16s(21, "mini_vgg", weights=None, upsampling="learned_inner"))
    'learned_inner'
    """
    if any(isinstance(layer, BilinearDepthwiseConv2DTranspose) for layer in model.layers):
        return "learned_depthwise"
    learned = {layer.name for layer in model.layers if isinstance(layer, BilinearConv2DTranspose)}
    if learned & set(LAST.values()):
        return "learned"
    return "learned_inner" if learned else "frozen"


def fuse(maps, geometries, image, num_classes, *, finest=32, upsampling="frozen", skip_scales=(1, 1), padded=False):
    """Logits at the size of the image, from the maps of a network at strides 8, 16 and 32.

    Args:
        maps: Tensors ``(batch, h, w, channels)``, the last at stride 32, each one before it at half the stride of the
            next. Maps finer than `finest` are not used.
        geometries: The `fcn_keras.geometry.Geometry` of each map, in pixels of `image`.
        image: Tensor ``(batch, H, W, channels)``. The logits get its height and width.
        num_classes: Number of classes.
        finest: Stride of the finest map that is scored: 32, 16, 8 or 4.
        upsampling: One of `UPSAMPLINGS`, as in `fcn_keras.FCN32s`.
        skip_scales: Factors by which the maps at strides 16 and 8 are multiplied before they are scored.
        padded: Whether a finer map may be cropped if it starts before the coarser one. This is possible if the maps
            reach far beyond the image, as in the authors' nets.

    Returns:
        Tensor ``(batch, H, W, num_classes)``, float32.

    Raises:
        ValueError: If a map starts so far after the next finer map that its upsampled scores would leave a gap.

    Example:

    >>> image = keras.Input((None, None, 3))
    >>> top = keras.layers.Conv2D(16, 32, strides=32, padding="same")(image)
    >>> fuse([top], [Geometry(32, 32, 15.5)], image, num_classes=21).shape
    (None, None, None, 21)

    Reference: Long et al. (CVPR 2015), §4.2, Figure 3.
    """
    scores, geometry = fuse_maps(
        maps, geometries, num_classes, finest=finest, upsampling=upsampling, skip_scales=skip_scales, padded=padded
    )
    name = LAST[finest]
    scores, offset = upsample(scores, geometry, Geometry(), UPSAMPLINGS[upsampling][1], name)
    if offset < 0:
        raise _make_gap_error(name, geometry, Geometry(), "image")
    return _crop(offset, f"{name}_crop")([scores, image])


def fuse_maps(maps, geometries, num_classes, *, finest=32, upsampling="frozen", skip_scales=(1, 1), padded=False):
    """Scores at the stride of the finest map, before the last upsampling. Arguments and errors are those of `fuse`.

    Returns:
        Tensor ``(batch, h, w, num_classes)`` and its `fcn_keras.geometry.Geometry`.

    Example:

    >>> maps = [keras.Input((None, None, 4)) for _ in range(3)]
    >>> geometries = [Geometry(8, 30, 3.5), Geometry(16, 70, 7.5), Geometry(32, 150, 15.5)]
    >>> fuse_maps(maps, geometries, num_classes=21, finest=8)[1]
    Geometry(stride=8, receptive_field=30, offset=3.5)
    """
    learned, _ = UPSAMPLINGS[upsampling]
    scores, geometry = _score(num_classes, "score_fr")(maps[-1]), geometries[-1]
    finer = [names for stride, names in SKIPS.items() if stride >= finest]
    skips = zip(finer, maps[-2::-1], geometries[-2::-1], (*skip_scales, 1), strict=False)
    for (skip_name, name), features, target, scale in skips:
        skip = _skip(features, num_classes, scale, skip_name)
        scores, geometry = add_skip(scores, geometry, skip, target, learned, name, skip_name, padded)
    return scores, geometry


def _score(num_classes, name):
    """A 1×1 convolution that scores classes. It starts at zero, and is float32 even in mixed precision."""
    return keras.layers.Conv2D(num_classes, 1, kernel_initializer="zeros", dtype="float32", name=name)


def _skip(features, num_classes, scale, name):
    if scale != 1:
        features = keras.layers.Rescaling(scale, name=f"scale_{name}")(features)
    return _score(num_classes, f"score_{name}")(features)


def add_skip(scores, geometry, skip, target, learned, name, skip_name, padded=False):
    """The sum of upsampled scores and a skip's scores. The map that starts first is cropped to the other.

    Args:
        scores, skip: Tensors ``(batch, h, w, channels)`` with the same number of channels. The skip is the finer map.
        geometry, target: The `fcn_keras.geometry.Geometry` of the scores and of the skip.
        learned: As in `upsample`.
        name, skip_name: The names of the layers are made from these two names.
        padded: As in `fuse`.

    Returns:
        Tensor of the skip's size, or a little smaller if `padded`, and its geometry.

    Raises:
        ValueError: As in `fuse`.

    Example:

    >>> scores, skip = keras.Input((7, 7, 21)), keras.Input((14, 14, 21))
    >>> add_skip(scores, Geometry(32, 404, 15.5), skip, Geometry(16, 100, 7.5), False, "upscore2", "pool4")[0].shape
    (None, 14, 14, 21)
    """
    scores, offset = upsample(scores, geometry, target, learned, name)
    if offset >= 0:
        scores = _crop(offset, f"{name}_crop")([scores, skip])
    elif not padded:
        raise _make_gap_error(name, geometry, target, f"map of {skip_name}")
    else:
        skip = _crop(-offset, f"score_{skip_name}_crop")([skip, scores])
        target = target.shift(-offset)
    return keras.layers.Add(dtype="float32", name=f"fuse_{skip_name}")([scores, skip]), target


def upsample(scores, geometry, target, learned, name, channels=None):
    """Upsamples a map to the stride of a finer one.

    Args:
        scores: Tensor ``(batch, h, w, channels)``.
        geometry, target: `fcn_keras.geometry.Geometry` of the map and of the finer one. If the target is finer than the
            image, its stride is below 1.
        learned: True for a transposed convolution that learns from a bilinear start, ``"depthwise"`` for one that
            learns a kernel for each channel, False for fixed bilinear upsampling.
        name: Name of the layer.
        channels: Number of output channels if `learned` is True; by default that of the input.

    Returns:
        The whole upsampled map, and how many units to crop from its start. A negative number means that it starts
        after the target.

    Example:

    >>> scores = keras.Input((None, None, 21))
    >>> canvas, crop = upsample(scores, Geometry(32, 404, 12.5), Geometry(), learned=False, name="upscore")
    >>> crop
    19
    """
    factor, kernel, crop = upsampling_sizes(geometry, target)
    if learned == "depthwise":
        layer = BilinearDepthwiseConv2DTranspose(factor, kernel, dtype="float32", name=name)
    elif learned:
        layer = BilinearConv2DTranspose(channels or scores.shape[-1], factor, kernel, dtype="float32", name=name)
    else:
        layer = BilinearUpsampling2D(factor, kernel, dtype="float32", name=name)
    return layer(scores), crop


def upsampling_sizes(geometry, target):
    """The factor, kernel size and crop of the bilinear upsampling from one map to another.

    If units of the coarse map lie on units of the target, the kernel is odd. If they lie between them, it is even.

    Args:
        geometry, target: `fcn_keras.geometry.Geometry` of the map and of the finer one.

    Returns:
        Three integers.

    Example: the last upsampling of the authors' FCN-32s.

    >>> upsampling_sizes(Geometry(32, 404, 12.5), Geometry())
    (32, 64, 19)
    """
    factor = round(geometry.stride / target.stride)
    shift = (geometry.offset - target.offset) / target.stride
    kernel = 2 * factor - 1 if round(2 * shift) % 2 == 0 else 2 * factor
    return factor, kernel, round((kernel - 1) / 2 - shift)


def _make_gap_error(name, geometry, target, finer):
    late = (geometry.offset - target.offset) / target.stride
    return ValueError(
        f"Layer {name!r}: its map starts {late:g} units after the {finer}, and its upsampled scores do not reach back "
        "that far. Fix: pad the network in front, so that the first units of its maps lie closer together."
    )


def _crop(offset, name):
    return CropLike(offset, dtype="float32", name=name)
