"""The feature pyramid: FCN's skips, with many channels in place of classes.

The coarsest map knows what, the finest where. Each is brought to the same number of channels by a 1×1 convolution; the
coarser is upsampled bilinearly, cropped to where the finer lies, and added: the wiring of `fcn_keras.models.fusion`, once
more. A 3×3 convolution behind each sum takes off the upsampling's edges.

Reference: Lin, Dollár, Girshick, He, Hariharan & Belongie (CVPR 2017), §3, Figure 3.
"""

import keras

from .. import geometry
from ..layers._keras import outputs_inside
from ..models import backbones, fusion
from ..models.feature_layers import find_feature_layers

STRIDES = (4, 8, 16, 32)


def feature_pyramid(backbone="mobilenet_v2", weights="pretrained", channels=256, name="pyramid"):
    """A model from images to the maps P2 to P6, and where these lie.

    Args:
        backbone, weights: As in `fcn_keras.FCN32s`; or a pyramid, as this function returns it, which is then taken as
            it is. C2, the map at stride 4, is the last one that all of the network goes through; it is found
            (`fcn_keras.models.feature_layers`).
        channels: Channels of each map; the paper has 256.
        name: Name of the model.

    Returns:
        A Functional model from RGB images ``(batch, H, W, 3)`` in 0–255, any size, to five maps ``(batch, h, w,
        channels)`` at strides 4, 8, 16, 32 and 64; and the `fcn_keras.geometry.Geometry` of each, in its pixels.

    Example:

    >>> pyramid, places = feature_pyramid("mini_vgg", weights=None, channels=32)
    >>> [place.stride for place in places], pyramid(np.zeros((1, 64, 96, 3)))[0].shape
    ([4, 8, 16, 32, 64], TensorShape([1, 16, 24, 32]))
    """
    if isinstance(backbone, keras.Model) and len(backbone.outputs) == len(STRIDES) + 1:
        return backbone, geometry.of_outputs(backbone)
    backbone = backbones.get(backbone)
    network = _with_stride_4(backbone.tapped(weights, "light"))
    image, maps, places = backbones.on_image(network, backbone.preprocessing)
    sums, places = top_down(maps, places, channels)
    outputs = [keras.layers.Conv2D(channels, 3, padding="same", name=f"p{i}")(x) for i, x in enumerate(sums, start=2)]
    outputs.append(keras.layers.MaxPooling2D(1, 2, name="p6")(outputs[-1]))
    places.append(places[-1].convolved(1, stride=2))
    return keras.Model(image, outputs, name=name), places


def top_down(maps, places, channels):
    """The sums of the pyramid, fine to coarse, and their places; see `feature_pyramid`.

    Args:
        maps: Tensors at strides 4 to 32.
        places: The `fcn_keras.geometry.Geometry` of each.
        channels: Channels of the sums.

    Example:

    >>> maps = [keras.Input((None, None, 8)), keras.Input((None, None, 16))]
    >>> places = [fcn_keras.geometry.Geometry(4, 9, 1.5), fcn_keras.geometry.Geometry(8, 17, 3.5)]
    >>> [x.shape for x in top_down(maps, places, channels=5)[0]]
    [(None, None, None, 5), (None, None, None, 5)]
    """
    lateral = lambda i: keras.layers.Conv2D(channels, 1, dtype="float32", name=f"lateral{i + 2}")(maps[i])  # noqa: E731
    sums, found = [lateral(len(maps) - 1)], [places[-1]]
    for i in reversed(range(len(maps) - 1)):
        x, place = fusion.fused(sums[0], found[0], lateral(i), places[i], False, f"upsampled{i + 2}", f"c{i + 2}")
        sums.insert(0, x)
        found.insert(0, place)
    return sums, found


def _with_stride_4(network):
    (name,) = find_feature_layers(network, strides=STRIDES[:1])
    stride_4 = outputs_inside(network.get_layer(name), network)[-1]
    return keras.Model(network.inputs, [stride_4, *network.outputs], name=network.name)
