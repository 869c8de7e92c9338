"""FCN-32s, FCN-16s and FCN-8s: score the backbone's maps, upsample, fuse.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4, Figure 3; *Hands-On Machine Learning*, Figures 14-27 and 14-28.
"""

import keras

from .. import geometry
from . import backbones, fusion
from .cloning import any_size, copy_weights

STRIDES = (8, 16, 32)


def FCN32s(num_classes, backbone="vgg16", weights="pretrained", head="auto", upsampling="frozen", name="fcn32s"):
    """FCN-32s: the classes of the last map, upsampled ×32.

    A Functional model from RGB images ``(batch, H, W, 3)`` in 0–255 to logits ``(batch, H, W, num_classes)``, for
    every size from 1×1 up. Preprocessing, padding to the stride and cropping are inside. Score layers start at zero,
    upsampling starts bilinear.

    Args:
        num_classes: Number of classes, background included. 1 is a binary net: one logit for each pixel, that of the
            object; the background's is 0. Losses, metrics and `fcn_keras.segment` take it for two classes.
        backbone: ``"vgg16"`` (the paper's), ``"vgg19"``, ``"mobilenet_v2"``, ``"resnet50"``,
            ``"efficientnet_v2_b0"``, ``"mini_vgg"``; a Keras model, whose taps are found; or a
            `fcn_keras.models.backbones.Backbone` of your own. See `fcn_keras.models.backbones.get`.
        weights: ``"pretrained"`` (ImageNet; ``"shapes"`` for mini_vgg), ``None`` for random weights, or what the
            backbone's constructor takes.
        head: ``"fc"`` keeps the classifier's fc6 and fc7, biases included, as convolutions; ``"light"`` drops them;
            ``"auto"`` is ``"fc"`` where the backbone has them.
        upsampling: ``"frozen"`` bilinear, ``"learned_inner"`` (every transposed convolution but the last is learned,
            from a bilinear start: the CVPR paper), ``"learned"``, or ``"learned_depthwise"``: each class alone, which
            costs a fraction.
        name: Name of the model.

    Returns:
        A `keras.Model`; its layers are named as in the authors' nets: ``score_fr``, ``upscore``.

    Raises:
        ValueError: If an argument is none of the above.
        OSError: If pretrained weights are neither on this machine nor to be downloaded.

    Example:

    >>> model = FCN32s(21, backbone="mobilenet_v2", weights=None)
    >>> model(keras.ops.zeros((1, 33, 47, 3))).shape
    TensorShape([1, 33, 47, 21])

    Reference: Long et al. (CVPR 2015), §4.1–4.2, Figure 3; Table 2.
    """
    return _build(num_classes, backbone, weights, head, upsampling, 32, (1, 1), name)


def FCN16s(num_classes, backbone="vgg16", weights="pretrained", head="auto", upsampling="frozen", name="fcn16s"):
    """FCN-16s: the scores of the last map, upsampled ×2, plus those of the map at stride 16; then ×16.

    Arguments, returns and errors as in `FCN32s`; further layers: ``upscore2``, ``score_pool4``, ``upscore16``. To
    start from a trained FCN-32s, as the paper does, use `upgrade`.

    Example:

    >>> FCN16s(21, backbone="resnet50", weights=None).output_shape
    (None, None, None, 21)

    Reference: Long et al. (CVPR 2015), §4.2, Figure 3.
    """
    return _build(num_classes, backbone, weights, head, upsampling, 16, (1, 1), name)


def FCN8s(
    num_classes,
    backbone="vgg16",
    weights="pretrained",
    head="auto",
    upsampling="frozen",
    skip_scales=(1, 1),
    name="fcn8s",
):
    """FCN-8s: as FCN-16s, and once more ×2 with the map at stride 8; then ×8.

    Arguments, returns and errors as in `FCN32s`; further layers: ``upscore2``, ``score_pool4``, ``upscore_pool4``,
    ``score_pool3``, ``upscore8``. To start from a trained FCN-16s, as the paper does, use `upgrade`.

    Args:
        skip_scales: Factors of the maps at strides 16 and 8 before they are scored. ``(0.01, 0.0001)`` is the
            authors' FCN-8s-at-once, trained without stages: it keeps the large activations of the lower maps from
            drowning the top.

    Example:

    >>> at_once = FCN8s(21, backbone="mini_vgg", weights=None, skip_scales=(0.01, 0.0001))

    Reference: Long et al. (CVPR 2015), §4.2, Figure 3; at once: PAMI 2017, §4.3.
    """
    return _build(num_classes, backbone, weights, head, upsampling, 8, skip_scales, name)


def upgrade(model, upsampling=None, name=None):
    """The next finer net, started from a coarser one: FCN-32s → FCN-16s → FCN-8s.

    Every weight is copied but the kernel of the last upsampling, which the new net does not have: it goes to the image
    in two steps instead of one. The new score layer is zero, so the new skip connection adds nothing yet. The first
    predictions are those of the coarser net, exactly where the units of the backbone lie on pixels (MobileNetV2,
    ResNet50, EfficientNetV2). Where they lie between pixels (VGG), ×2 then ×16 is not quite ×32: the tent's peak is
    cut off, and scores differ slightly near unit centres. Where the last upsampling has learned a kernel of its own,
    they differ by what it has learned, and a warning says so.

    All layers of the new net are trained, as in the paper, also those that were frozen in `model`: after FCN-32s-fixed,
    the backbone learns, too. Batch normalization in the backbone stays as it was in `model`, frozen as a rule. The new
    net is not compiled.

    Args:
        model: A model made by `FCN32s`, `FCN16s` or this function, perhaps loaded from a file. It is left as it is.
        upsampling: As in `FCN32s`; by default as the layers of `model` show it. Another kind is possible where the
            kernels that were learned can be written in it: a depthwise one as a dense one, for instance.
        name: Name of the new model; by default ``fcn16s`` or ``fcn8s``.

    Returns:
        A model of its own, as `FCN16s` or `FCN8s` gives.

    Raises:
        ValueError: If the model is no FCN of this package, or an FCN-8s already; or if a learned weight would be lost.

    Warns:
        UserWarning: If the last upsampling of `model` is no longer bilinear.

    Example:

    >>> fcn32s = FCN32s(21, backbone="mini_vgg", weights=None)
    >>> fcn16s = upgrade(fcn32s)

    Reference: Long et al. (CVPR 2015), §4.2: "initialised with the parameters of the coarser net", the new layer with
    zeros.
    """
    layers = {layer.name: layer for layer in model.layers}
    if "backbone" not in layers or "score_fr" not in layers:
        raise ValueError(f"Cannot upgrade model {model.name!r}: expected one made by FCN32s, FCN16s or upgrade.")
    if "score_pool3" in layers:
        raise ValueError(f"Cannot upgrade model {model.name!r}: an FCN-8s is the finest of the paper.")
    upsampling = upsampling or fusion.upsampling_of(model)
    fusion.require_upsampling(upsampling)
    finest = 8 if "score_pool4" in layers else 16
    finer = _assemble(
        num_classes=layers["score_fr"].filters,
        backbone=backbones.unfreeze(any_size(layers["backbone"])),
        preprocessing=layers["preprocessing"].mode,
        upsampling=upsampling,
        finest=finest,
        skip_scales=(1, 1),
        name=name or f"fcn{finest}s",
    )
    copy_weights(model, finer, replaced=[fusion.LAST[2 * finest]])
    return finer


def _build(num_classes, backbone, weights, head, upsampling, finest, skip_scales, name):
    if num_classes < 1:
        raise ValueError(
            f"Found num_classes={num_classes}: expected 2 or more, the background is a class too; or 1 for one logit."
        )
    fusion.require_upsampling(upsampling)
    if not isinstance(skip_scales, tuple | list) or len(skip_scales) != 2:
        raise ValueError(f"Found skip_scales={skip_scales!r}: expected two factors, of the maps at strides 16 and 8.")
    backbone = backbones.get(backbone)
    tapped = backbone.tapped(weights, head)
    return _assemble(num_classes, tapped, backbone.preprocessing, upsampling, finest, skip_scales, name)


def _assemble(num_classes, backbone, preprocessing, upsampling, finest, skip_scales, name):
    """Padding, preprocessing, backbone and the wiring of Figure 3, placed by the geometry of the backbone's taps."""
    _require_taps(backbone)
    image, maps, taps = backbones.on_image(backbone, preprocessing)
    logits = fusion.fuse(maps, taps, image, num_classes, finest=finest, upsampling=upsampling, skip_scales=skip_scales)
    return keras.Model(image, logits, name=name)


def _require_taps(backbone):
    strides = tuple(tap.stride for tap in geometry.of_outputs(backbone))
    if strides != STRIDES:
        raise ValueError(f"Found taps at strides {list(strides)}: expected {STRIDES}, in this order.")
    side = 32 * STRIDES[-1]
    units = [shape[1] for shape in backbone.compute_output_shape((1, side, side, 3))]
    if units != [side // stride for stride in STRIDES]:
        raise ValueError(
            f"Found taps of {units} units for {side} pixels: expected {[side // s for s in STRIDES]}, one per "
            'stride. Fix: padding="same", or ZeroPadding2D, where the backbone loses units at its border.'
        )
