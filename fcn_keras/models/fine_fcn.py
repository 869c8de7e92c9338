"""Continues the series FCN-32s, FCN-16s, FCN-8s to the size of the image, and to masks finer than the image.

The paper stops at FCN-8s, and the book says that you could go on. Here, each further step doubles the resolution of the
scores, as before, and adds information from a lower map. Such a low map contains little information about classes.
Therefore each step applies a 3×3 convolution to the map together with the scores. Beyond the size of the image, there
is no lower map. The last step is therefore one transposed convolution. It starts as bilinear interpolation of the
scores. From the features of the last map, it can learn where an outline runs between two pixels.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4.2; *Hands-On Machine Learning*, chapter 14: upsampling beyond the
size of the image.
"""

import keras

from ..geometry import Geometry
from ..layers._keras import get_outputs
from ..layers.cropping import CropLike
from . import fusion
from .any_size import allow_any_size
from .backbones import unfreeze
from .channels import get_ranges
from .cloning import copy_weights
from .feature_layers import find_feature_layers
from .image_input import apply_to_image
from .segmentation_model import SegmentationModel


def make_fine_fcn(model, factor=1, features=32, name=None):
    """Continues a trained FCN-8s to logits at `factor` times the size of the image.

    Every weight of the FCN-8s is copied, except the kernel of its last upsampling, because several smaller steps
    replace it. At the start, the new steps add zero to the scores, and the last transposed convolution is bilinear. So
    the first logits are those of the FCN-8s, interpolated in smaller steps. If the last upsampling has been trained and
    is no longer bilinear, the logits differ by what it has learned, and the function warns. All layers of the new net
    are trainable, as after `fcn_keras.upgrade`.

    Args:
        model: A model made by `fcn_keras.FCN8s`, by `fcn_keras.upgrade`, or by this function. In the last case, its
            steps are also copied. The model is not changed.
        factor: 1, 2 or 4. With 1 the logits have the size of the image.
        features: Channels of the 3×3 convolution of each new step.
        name: Name of the new model; by default ``fcn_x`` and the factor.

    Returns:
        A Functional model from images ``(batch, H, W, 3)`` to logits ``(batch, factor H, factor W, classes)``. Pixel
        ``q`` of the logits is centred on ``(q + 0.5) / factor - 0.5`` of the image.

    Raises:
        ValueError: If the factor is none of these, if the model is not an FCN-8s, or if `model` already has steps with
            a different number of features.

    Warns:
        UserWarning: If the last upsampling of `model` is no longer bilinear.

    Example:

    >>> fcn8s = fcn_keras.FCN8s(10, "mini_vgg", weights=None)
    >>> make_fine_fcn(fcn8s, 4)(keras.ops.zeros((1, 33, 47, 3))).shape
    TensorShape([1, 132, 188, 10])

    Reference: Long et al. (CVPR 2015), §4.2, continued.
    """
    layers = {layer.name: layer for layer in model.layers}
    if factor not in (1, 2, 4):
        raise ValueError(f"Found factor={factor!r}: expected 1, 2 or 4.")
    if not {"score_pool3", "backbone", "preprocessing", "pad"} <= set(layers):
        raise ValueError(f"Cannot continue model {model.name!r}: expected an FCN-8s, made by FCN8s or upgrade.")
    backbone, lower = _add_lower_maps(layers["backbone"])
    channels = get_ranges(model) or 3
    image, maps, geometries = apply_to_image(backbone, layers["preprocessing"].mode, layers["pad"], channels)
    classes = layers["score_fr"].filters
    options = {"finest": 8, "upsampling": fusion.find_upsampling(model), "skip_scales": _find_scales(layers)}
    scores, geometry = fusion.fuse_maps(maps[-3:], geometries[-3:], classes, **options)
    hidden = None
    for lower_map, target in zip(maps[:lower], geometries[:lower], strict=True):
        scores, hidden = _add_step(scores, hidden, geometry, lower_map, target, classes, features)
        geometry = target
    logits = _upsample_beyond_image(scores, hidden, geometry, image, classes, factor)
    finest = SegmentationModel(image, logits, name=name or f"fcn_x{factor}")
    copy_weights(model, finest, replaced=_find_last_upsampling(layers, finest))
    return finest


def _find_last_upsampling(layers, finest):
    """Names of the layers that upsample the scores to the size of the result, and that `finest` does not have."""
    kept = {layer.name for layer in finest.layers}
    return [name for name in ("upscore8", *(f"upscore_fine{k}" for k in (1, 2, 4))) if name in {*layers} - kept]


def _add_lower_maps(backbone):
    """The backbone with additional outputs at strides 4, 2 and, if it has such a map, 1, and the number of them."""
    trunk = keras.Model(backbone.inputs[0], backbone.outputs[-3])
    try:
        names = find_feature_layers(trunk, (4, 2, 1))
    except ValueError:  # the first layer of this backbone already halves the size
        names = find_feature_layers(trunk, (4, 2))
    found = [get_outputs(trunk.get_layer(name), trunk)[-1] for name in names]
    return unfreeze(allow_any_size(backbone, [*found, *backbone.outputs[-3:]], name="backbone")), len(found)


def _find_scales(layers):
    """The factors of the skips. They are not 1 if the net was built for training in one stage."""
    return tuple(layers[name].scale if name in layers else 1 for name in ("scale_pool4", "scale_pool3"))


def _add_step(scores, hidden, geometry, lower_map, target, classes, features):
    """Scores and hidden features at half the stride. Both are first upsampled bilinearly to the lower map."""
    stride = target.stride
    parts = [_upsample_to(scores, geometry, lower_map, target, f"upscore_x{stride}"), lower_map]
    scores = parts[0]
    if hidden is not None:
        parts.append(_upsample_to(hidden, geometry, lower_map, target, f"upfeatures_x{stride}"))
    x = keras.layers.Concatenate(name=f"step{stride}")(parts)
    x = keras.layers.Conv2D(
        features, 3, padding="same", activation="relu", kernel_initializer="he_normal", name=f"features{stride}"
    )(x)
    more = keras.layers.Conv2D(classes, 1, kernel_initializer="zeros", dtype="float32", name=f"score{stride}")(x)
    return keras.layers.Add(dtype="float32", name=f"fuse{stride}")([scores, more]), x


def _upsample_to(x, geometry, reference, target, name):
    canvas, crop = fusion.upsample(x, geometry, target, learned=False, name=name)
    return CropLike(crop, dtype="float32", name=f"{name}_crop")([canvas, reference])


def _upsample_beyond_image(scores, hidden, geometry, image, classes, factor):
    if geometry.stride == factor == 1:
        return CropLike(round(-geometry.offset), dtype="float32", name="logits")([scores, image])
    fine = Geometry(1 / factor, 1, (1 / factor - 1) / 2)
    both = keras.layers.Concatenate(dtype="float32", name="scores_and_features")([scores, hidden])
    canvas, crop = fusion.upsample(both, geometry, fine, learned=True, name=f"upscore_fine{factor}", channels=classes)
    return CropLike(crop, factor, dtype="float32", name="logits")([canvas, image])
