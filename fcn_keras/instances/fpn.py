"""The feature pyramid network (FPN): the skip connections of an FCN, with many channels instead of classes.

The coarsest map says best what is in the image, and the finest map says best where it is. A 1×1 convolution gives
all maps the same number of channels. Then, from coarse to fine, each map is upsampled bilinearly, cropped to the next
finer map and added to it, as in `fcn_keras.models.fusion`. A 3×3 convolution after each sum smooths the result.

Reference: Lin, Dollár, Girshick, He, Hariharan & Belongie (CVPR 2017), §3, Figure 3.
"""

import keras

from .. import geometry
from ..models import backbones, fusion
from ..models.feature_layers import add_stride_4
from ..models.image_input import apply_to_image

STRIDES = (4, 8, 16, 32)


def feature_pyramid(backbone="mobilenet_v2", weights="pretrained", channels=256, name="pyramid"):
    """Builds the pyramid on a backbone.

    Args:
        backbone: As in `fcn_keras.FCN32s`; or a pyramid that this function has returned, which is used without a
            change. The map at stride 4, C2, is the last map of this stride through which every path of the network
            goes; see `fcn_keras.models.feature_layers`.
        weights: As in `fcn_keras.FCN32s`.
        channels: Channels of each map; 256 in the paper.
        name: Name of the model.

    Returns:
        A Functional model from RGB images ``(batch, H, W, 3)`` in 0–255, of any size, to five maps ``(batch, h, w,
        channels)``, P2 to P6, at strides 4, 8, 16, 32 and 64; and the list of their `fcn_keras.geometry.Geometry`, in
        pixels of the image.

    Example:

    >>> pyramid, geometries = feature_pyramid("mini_vgg", weights=None, channels=32)
    >>> [geometry.stride for geometry in geometries], pyramid(np.zeros((1, 64, 96, 3)))[0].shape
    ([4, 8, 16, 32, 64], TensorShape([1, 16, 24, 32]))
    """
    if isinstance(backbone, keras.Model) and len(backbone.outputs) == len(STRIDES) + 1:
        return backbone, geometry.trace_outputs(backbone)
    backbone = backbones.get(backbone)
    network = add_stride_4(backbone.feature_extractor(weights, head=None))
    image, maps, geometries = apply_to_image(network, backbone.preprocessing)
    sums, geometries = add_top_down(maps, geometries, channels)
    outputs = [keras.layers.Conv2D(channels, 3, padding="same", name=f"p{i}")(x) for i, x in enumerate(sums, start=2)]
    outputs.append(keras.layers.MaxPooling2D(1, 2, name="p6")(outputs[-1]))
    geometries.append(geometries[-1].convolve(1, stride=2))
    return keras.Model(image, outputs, name=name), geometries


def add_top_down(maps, geometries, channels):
    """Adds each map to the upsampled sum of the coarser ones.

    Args:
        maps: Tensors at strides 4 to 32, fine to coarse.
        geometries: The `fcn_keras.geometry.Geometry` of each map.
        channels: Channels of the sums.

    Returns:
        The list of sums, fine to coarse, and the list of their geometries.

    Example:

    >>> maps = [keras.Input((None, None, 8)), keras.Input((None, None, 16))]
    >>> geometries = [fcn_keras.geometry.Geometry(4, 9, 1.5), fcn_keras.geometry.Geometry(8, 17, 3.5)]
    >>> [x.shape for x in add_top_down(maps, geometries, channels=5)[0]]
    [(None, None, None, 5), (None, None, None, 5)]
    """

    def lateral(i):
        return keras.layers.Conv2D(channels, 1, dtype="float32", name=f"lateral{i + 2}")(maps[i])

    sums, found = [lateral(len(maps) - 1)], [geometries[-1]]
    for i in reversed(range(len(maps) - 1)):
        names = f"upsampled{i + 2}", f"c{i + 2}"
        x, of_sum = fusion.add_skip(sums[0], found[0], lateral(i), geometries[i], False, *names)
        sums.insert(0, x)
        found.insert(0, of_sum)
    return sums, found
