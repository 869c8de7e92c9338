"""Masks finer than the image: the ladder of FCN-32s, 16s, 8s goes on to the image's own size, and past it.

The paper stops at FCN-8s, and the book says that one could go on. How is ours: each rung doubles the scores, as before,
and adds what a lower map has to say. Maps so low know little by themselves, so their rung looks at the scores, too,
through a 3×3 convolution. Past the size of the image there is no lower map; the last rung is one transposed
convolution, which starts as bilinear interpolation of the scores and may learn from the features of the last map where
between two pixels an outline runs.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4.2; *Hands-On Machine Learning*, chapter 14: upsampling beyond the
size of the image.
"""

import keras

from .. import geometry
from ..layers._keras import outputs_inside
from ..layers.padding import CropLike
from . import backbones, fusion
from .cloning import any_size, copy_weights
from .feature_layers import find_feature_layers


def finer(model, factor=1, features=32, name=None):
    """The ladder's next rungs: from a trained FCN-8s to logits at `factor` times the size of the image.

    Every weight of the FCN-8s is copied but the kernel of its last upsampling, which several smaller steps replace.
    What the new rungs add is zero at the start, and the last transposed convolution starts bilinear, so the first
    logits are those of the FCN-8s, interpolated in smaller steps. Where the last upsampling has learned a kernel of its
    own, they differ by what it has learned, and a warning says so. All layers of the new net are trained, as after
    `fcn_keras.upgrade`.

    Args:
        model: A model made by `fcn_keras.FCN8s` or `fcn_keras.upgrade`, or by this function: then its rungs are copied,
            too. It is left as it is.
        factor: 1, 2 or 4. At 1 the logits have the size of the image.
        features: Channels of the 3×3 convolution of each new rung.
        name: Name of the new model; by default ``fcn_x`` and the factor.

    Returns:
        A Functional model from images ``(batch, H, W, 3)`` to logits ``(batch, factor H, factor W, classes)``. Pixel
        ``q`` of the logits is centred on ``(q + 0.5) / factor - 0.5`` of the image.

    Raises:
        ValueError: If the factor is none of these, the model is no FCN-8s, or its rungs have not as many features.

    Warns:
        UserWarning: If the last upsampling of `model` is no longer bilinear.

    Example:

    >>> fcn8s = fcn_keras.FCN8s(10, "mini_vgg", weights=None)
    >>> finer(fcn8s, 4)(keras.ops.zeros((1, 33, 47, 3))).shape
    TensorShape([1, 132, 188, 10])

    Reference: Long et al. (CVPR 2015), §4.2, continued.
    """
    layers = {layer.name: layer for layer in model.layers}
    if factor not in (1, 2, 4):
        raise ValueError(f"Found factor={factor!r}: expected 1, 2 or 4.")
    if "score_pool3" not in layers or "backbone" not in layers:
        raise ValueError(f"Cannot go on from model {model.name!r}: expected an FCN-8s, made by FCN8s or upgrade.")
    backbone, lower = _with_lower_maps(layers["backbone"])
    pad = type(layers["pad"]).from_config(layers["pad"].get_config())
    places = geometry.of_outputs(backbone, incoming=geometry.Geometry(offset=-pad.before))
    image = keras.Input((None, None, 3), name="image")
    maps = backbone(backbones.Preprocessing(layers["preprocessing"].mode, name="preprocessing")(pad(image)))
    classes = layers["score_fr"].filters
    options = {"finest": 8, "upsampling": fusion.upsampling_of(model), "skip_scales": _scales(layers)}
    scores, place = fusion.fuse_maps(maps[-3:], places[-3:], classes, **options)
    hidden = None
    for lower_map, lower_place in zip(maps[:lower], places[:lower], strict=True):
        scores, hidden = _rung(scores, hidden, place, lower_map, lower_place, classes, features)
        place = lower_place
    logits = _past_the_image(scores, hidden, place, image, classes, factor)
    finest = keras.Model(image, logits, name=name or f"fcn_x{factor}")
    copy_weights(model, finest, replaced=_last_upsampling(model, finest))
    return finest


def _last_upsampling(model, finest):
    """The name of the layer that brings the scores of `model` to its own size, unless `finest` has it, too."""
    last = [layer.name for layer in model.layers if layer.name.startswith(("upscore8", "upscore_fine"))]
    return [name for name in last if "_crop" not in name and name not in [layer.name for layer in finest.layers]]


def _with_lower_maps(backbone):
    """The backbone with taps at strides 4, 2 and, where it has one, 1 in front of its own; and how many were added."""
    trunk = keras.Model(backbone.inputs[0], backbone.outputs[-3])
    try:
        names = find_feature_layers(trunk, (4, 2, 1))
    except ValueError:  # its first layer halves the image
        names = find_feature_layers(trunk, (4, 2))
    found = [outputs_inside(trunk.get_layer(name), trunk)[-1] for name in names]
    copy = any_size(backbone, [*found, *backbone.outputs[-3:]], name="backbone")
    return backbones.unfreeze(copy), len(found)


def _scales(layers):
    """Factors of the skips, where the net was built at once."""
    return tuple(layers[name].scale if name in layers else 1 for name in ("scale_pool4", "scale_pool3"))


def _rung(scores, hidden, place, lower_map, target, classes, features):
    """Scores and hidden features on a map of half the stride, both brought there bilinearly."""
    stride = target.stride
    parts = [_onto(scores, place, lower_map, target, f"upscore_x{stride}"), lower_map]
    scores = parts[0]
    if hidden is not None:
        parts.append(_onto(hidden, place, lower_map, target, f"upfeatures_x{stride}"))
    x = keras.layers.Concatenate(name=f"rung{stride}")(parts)
    x = keras.layers.Conv2D(
        features, 3, padding="same", activation="relu", kernel_initializer="he_normal", name=f"features{stride}"
    )(x)
    more = keras.layers.Conv2D(classes, 1, kernel_initializer="zeros", dtype="float32", name=f"score{stride}")(x)
    return keras.layers.Add(dtype="float32", name=f"fuse{stride}")([scores, more]), x


def _onto(x, place, reference, target, name):
    canvas, crop = fusion.upsampled(x, place, target, learned=False, name=name)
    return CropLike(crop, dtype="float32", name=f"{name}_crop")([canvas, reference])


def _past_the_image(scores, hidden, place, image, classes, factor):
    if place.stride == factor == 1:
        return CropLike(round(-place.offset), dtype="float32", name="logits")([scores, image])
    fine = geometry.Geometry(1 / factor, 1, (1 / factor - 1) / 2)
    both = keras.layers.Concatenate(dtype="float32", name="scores_and_features")([scores, hidden])
    canvas, crop = fusion.upsampled(both, place, fine, learned=True, name=f"upscore_fine{factor}", channels=classes)
    return CropLike(crop, factor, dtype="float32", name="logits")([canvas, image])
