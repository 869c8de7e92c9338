"""FCN-32s, FCN-16s, FCN-8s and FCN-4s: they score the backbone's maps, then upsample and fuse the scores.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4, Figure 3; *Hands-On Machine Learning*, Figures 14-27 and 14-28.
"""

from .. import geometry
from . import backbones, fusion
from .any_size import allow_any_size
from .channels import get_ranges, make_scaling
from .cloning import copy_weights
from .feature_layers import add_stride_4
from .image_input import apply_to_image
from .segmentation_model import SegmentationModel

STRIDES = (8, 16, 32)


def FCN32s(num_classes, backbone="vgg16", weights="pretrained", head="auto", upsampling="frozen", name="fcn32s",
           channels=3):  # fmt: skip
    """FCN-32s: scores the last map and upsamples the scores ×32.

    A Functional model from RGB images ``(batch, H, W, 3)`` in 0–255 to logits ``(batch, H, W, num_classes)``. It takes
    images of any size from 1×1 up. The model itself preprocesses, pads and crops. The score layers start at zero, and
    upsampling starts as bilinear interpolation.

    Args:
        num_classes: Number of classes, including the background. With 1, the net is binary and has one logit for each
            pixel, the logit of the object. The logit of the background is 0. Losses, metrics and `fcn_keras.segment`
            treat this net as a net for two classes.
        backbone: ``"vgg16"`` (as in the paper), ``"vgg19"``, ``"mobilenet_v2"``, ``"resnet50"``,
            ``"efficientnet_v2_b0"`` or ``"mini_vgg"``; a Keras model, whose feature layers are found automatically; or
            a `fcn_keras.Backbone`. See `fcn_keras.models.backbones.get`.
        weights: ``"pretrained"`` (trained on ImageNet, or on shapes for mini_vgg), None for random weights, or any
            value that the backbone's constructor accepts.
        head: ``"fc"`` turns the classifier's fully connected layers (fc6 and fc7 in VGG) into convolutions, including
            their biases; None drops these layers and does not download them; ``"auto"`` means ``"fc"`` if the backbone
            has such layers.
        upsampling: ``"frozen"`` upsamples bilinearly. ``"learned_inner"`` learns all transposed convolutions except the
            last one, from a bilinear start, as in the CVPR paper. ``"learned"`` learns all of them.
            ``"learned_depthwise"`` also learns all of them, but upsamples each class separately, which costs far less.
        name: Name of the model.
        channels: Number of channels of the images, all in 0–255; or the range of each channel, its lowest and highest
            value. 1 is for grey images. `fcn_keras.models.channels` says how a pretrained backbone is adapted.

    Returns:
        A `keras.Model`. Its layers ``score_fr`` and ``upscore`` have the names that the authors gave them.

    Raises:
        ValueError: If an argument has any other value.
        OSError: If pretrained weights are not on this machine and cannot be downloaded.

    Example:

    >>> model = FCN32s(21, backbone="mobilenet_v2", weights=None)
    >>> model(keras.ops.zeros((1, 33, 47, 3))).shape
    TensorShape([1, 33, 47, 21])

    A net for colour and depth, from 0.5 to 10 metres, as the authors trained one for NYUDv2:

    >>> rgbd = [(0, 255), (0, 255), (0, 255), (0.5, 10)]
    >>> FCN32s(40, backbone="mini_vgg", weights=None, channels=rgbd).input_shape
    (None, None, None, 4)

    Reference: Long et al. (CVPR 2015), §4.1–4.2, Figure 3; Table 2.
    """
    return _build(num_classes, backbone, weights, head, upsampling, 32, (1, 1), name, channels)


def FCN16s(num_classes, backbone="vgg16", weights="pretrained", head="auto", upsampling="frozen", name="fcn16s",
           channels=3):  # fmt: skip
    """FCN-16s: upsamples the scores of the last map ×2, adds those of the map at stride 16, and upsamples ×16.

    Arguments, return value and errors are those of `FCN32s`. This net has the additional layers ``upscore2``,
    ``score_pool4`` and ``upscore16``.
    To start from a trained FCN-32s, as the paper does, use `upgrade`.

    Example:

    >>> FCN16s(21, backbone="resnet50", weights=None).output_shape
    (None, None, None, 21)

    Reference: Long et al. (CVPR 2015), §4.2, Figure 3.
    """
    return _build(num_classes, backbone, weights, head, upsampling, 16, (1, 1), name, channels)


def FCN8s(num_classes, backbone="vgg16", weights="pretrained", head="auto", upsampling="frozen", skip_scales=(1, 1),
          name="fcn8s", channels=3):  # fmt: skip
    """FCN-8s: like FCN-16s, but upsamples ×2 once more, adds the scores of the map at stride 8, and upsamples ×8.

    Arguments, return value and errors are those of `FCN32s`. This net has the additional layers ``upscore2``,
    ``score_pool4``, ``upscore_pool4``, ``score_pool3`` and ``upscore8``. To start from a trained FCN-16s, as the paper
    does, use `upgrade`.

    Args:
        skip_scales: Factors by which the maps at strides 16 and 8 are multiplied before they are scored.
            ``(0.01, 0.0001)`` makes the authors' FCN-8s-at-once, which is trained in one stage. The lower maps have
            large activations. The small factors prevent them from dominating the activations of the top.

    Example:

    >>> at_once = FCN8s(21, backbone="mini_vgg", weights=None, skip_scales=(0.01, 0.0001))

    Reference: Long et al. (CVPR 2015), §4.2, Figure 3; at once: PAMI 2017, §4.3.
    """
    return _build(num_classes, backbone, weights, head, upsampling, 8, skip_scales, name, channels)


def FCN4s(num_classes, backbone="vgg16", weights="pretrained", head="auto", upsampling="frozen", name="fcn4s",
          channels=3):  # fmt: skip
    """FCN-4s: like FCN-8s, with one more skip connection, from the map at stride 4. The paper stops at FCN-8s.

    Arguments, return value and errors are those of `FCN32s`. This net has the additional layers ``upscore_pool3``,
    ``score_pool2`` and ``upscore4``. The last upsampling has four times as many units. In short trainings on CamVid, it
    reached the mean IoU of FCN-8s, no more.

    Example:

    >>> FCN4s(11, backbone="mini_vgg", weights=None).output_shape
    (None, None, None, 11)

    Reference: Long et al. (CVPR 2015), §4.2, and appendix A: block predictions reach at most 96.4 mean IU at stride 8,
    and 98.5 at stride 4.
    """
    return _build(num_classes, backbone, weights, head, upsampling, 4, (1, 1), name, channels)


def upgrade(model, upsampling=None, name=None):
    """Makes the next finer net from a coarser one: FCN-32s → FCN-16s → FCN-8s.

    Every weight is copied, except the kernel of the last upsampling, because the new net upsamples to the image in two
    steps instead of one. The new score layer is zero, so the new skip connection does not add anything yet. The first
    predictions of the new net are therefore those of the coarser net:

    - If the units of the backbone lie on pixels (MobileNetV2, ResNet50, EfficientNetV2), they are exactly equal.
    - If the units lie between pixels (VGG), they are nearly equal. Upsampling ×2 and then ×16 cuts off the peak of the
      kernel that upsampling ×32 has, so scores differ slightly near the centres of units.
    - If the last upsampling has been trained and is no longer bilinear, they differ by what it has learned. In this
      case, the function warns.

    All layers of the new net are trainable, as in the paper, even if they are frozen in `model`. For example, after
    FCN-32s-fixed the backbone also learns. Only batch normalization in the backbone stays frozen if it is frozen. The
    new net pads the image in the same way as `model`. It is not compiled.

    Args:
        model: A model made by `FCN32s`, `FCN16s` or this function. It may be loaded from a file. It is not changed.
        upsampling: As in `FCN32s`; by default the same as in `model`. A different value is possible if it can represent
            the learned kernels. For instance, a depthwise kernel can be written as a dense one.
        name: Name of the new model; by default ``fcn16s`` or ``fcn8s``.

    Returns:
        A new model with the same layers as `FCN16s` or `FCN8s`.

    Raises:
        ValueError: If the model is not an FCN of this package, if it is already an FCN-8s, or if a learned weight would
            be lost.

    Warns:
        UserWarning: If the last upsampling of `model` is no longer bilinear.

    Example:

    >>> fcn32s = FCN32s(21, backbone="mini_vgg", weights=None)
    >>> fcn16s = upgrade(fcn32s)

    Reference: Long et al. (CVPR 2015), §4.2: "initialised with the parameters of the coarser net", the new layer with
    zeros.
    """
    layers = {layer.name: layer for layer in model.layers}
    if not {"backbone", "score_fr", "preprocessing", "pad"} <= set(layers):
        raise ValueError(f"Cannot upgrade model {model.name!r}: expected one made by FCN32s, FCN16s or upgrade.")
    if "score_pool3" in layers:
        raise ValueError(f"Cannot upgrade model {model.name!r}: an FCN-8s is the finest net of the paper.")
    upsampling = upsampling or fusion.find_upsampling(model)
    fusion.require_upsampling(upsampling)
    finest = 8 if "score_pool4" in layers else 16
    finer = _assemble(
        num_classes=layers["score_fr"].filters,
        backbone=backbones.unfreeze(allow_any_size(layers["backbone"])),
        preprocessing=layers["preprocessing"].mode,
        upsampling=upsampling,
        finest=finest,
        skip_scales=(1, 1),
        name=name or f"fcn{finest}s",
        pad=layers["pad"],
        channels=get_ranges(model) or 3,
    )
    copy_weights(model, finer, replaced=[fusion.LAST[2 * finest]])
    return finer


def _build(num_classes, backbone, weights, head, upsampling, finest, skip_scales, name, channels):
    if num_classes < 1:
        raise ValueError(
            f"Found num_classes={num_classes}: expected 2 or more (the background is also a class), or 1 for one logit."
        )
    fusion.require_upsampling(upsampling)
    if not isinstance(skip_scales, tuple | list) or len(skip_scales) != 2:
        raise ValueError(f"Found skip_scales={skip_scales!r}: expected two factors, for the maps at strides 16 and 8.")
    backbone = backbones.get(backbone)
    network = backbone.feature_extractor(weights, head, make_scaling(channels)[0])
    network = add_stride_4(network) if finest == 4 else network
    return _assemble(
        num_classes, network, backbone.preprocessing, upsampling, finest, skip_scales, name, None, channels
    )


def _assemble(num_classes, backbone, preprocessing, upsampling, finest, skip_scales, name, pad=None, channels=3):
    """Connects padding, preprocessing, the backbone, and the layers of Figure 3 that score and fuse its maps."""
    _require_maps(backbone)
    image, maps, geometries = apply_to_image(backbone, preprocessing, pad, channels)
    options = {"finest": finest, "upsampling": upsampling, "skip_scales": skip_scales}
    return SegmentationModel(image, fusion.fuse(maps, geometries, image, num_classes, **options), name=name)


def _require_maps(backbone):
    strides = tuple(found.stride for found in geometry.trace_outputs(backbone))
    if strides not in (STRIDES, (4, *STRIDES)):
        raise ValueError(f"Found maps at strides {list(strides)}: expected {STRIDES}, in this order.")
    side = 32 * STRIDES[-1]
    units = [shape[1] for shape in backbone.compute_output_shape((1, side, side, backbone.inputs[0].shape[-1]))]
    if units != [side // stride for stride in strides]:
        raise ValueError(
            f"Found maps of {units} units for {side} pixels: expected {[side // s for s in strides]}, one unit for "
            'each stride. Fix: padding="same", or ZeroPadding2D, where the backbone loses units at its border.'
        )
