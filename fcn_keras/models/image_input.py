"""Applies a network to images of any size: pads the image, and computes where the maps lie on it.

The image is padded as little as possible, so that every map still covers it:

- No pixel is further than half a stride from the nearest unit of any map. Further away, the upsampled scores would
  fade: they fall to one half at half a stride from the outermost unit, and to zero at a whole stride.
- If units of a coarser map lie on units of a finer one, every pixel also lies between units of the finer map. Then
  upsampling in two steps gives the same scores as upsampling in one step, up to the border. An upgraded net therefore
  starts with the predictions of the coarser net.

The number of pixels depends on where the units lie. These are the sides of padded images, in pixels::

    network                                         units of the last map   224   256   384   500   512
    VGG16, VGG19, MiniVGG                           15.5 + 32 i             224   256   384   512   512
    ResNet50, MobileNetV2, EfficientNetV2B0         32 i                    225   257   385   513   513
    MobileNetV2 as Keras builds it for 224 pixels   30 + 32 i               239   271   399   527   527

If we padded to multiples of 32, the last two rows would need sides of 256, 288, 416, 544 and 544. Compared with that,
the networks in the second row compute 23 %, 20 %, 14 %, 11 % and 11 % fewer pixels.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4.1: the authors' nets pad by 100 pixels on each side.
"""

import itertools
import math

import keras

from .. import geometry
from ..layers._keras import get_all_layers
from ..layers.padding import PadToStride
from ..layers.preprocessing import Preprocessing, repeat_mean_color
from .any_size import places_units_by_size
from .channels import make_scaling
from .fusion import upsampling_sizes

#: Pixels of an image that is large enough for every network and a multiple of its total stride.
LARGE = 1024


def apply_to_image(network, preprocessing, pad=None, channels=3):
    """Pads and preprocesses an image of any size, and computes the maps of a network and their geometries.

    Args:
        network: Model from preprocessed images to maps, with the coarsest map last.
        preprocessing: Mode of `fcn_keras.layers.preprocessing.Preprocessing`.
        pad: The `fcn_keras.layers.padding.PadToStride` to use; by default `make_least_padding`.
        channels: As in `fcn_keras.FCN32s`.

    Returns:
        The image, a `keras.Input`; the list of maps; and the `fcn_keras.geometry.Geometry` of each, in
        pixels of the image.

    Example:

    >>> network = fcn_keras.models.BACKBONES["mini_vgg"].feature_extractor(weights=None)
    >>> image, maps, geometries = apply_to_image(network, "none")
    >>> [geometry.stride for geometry in geometries], maps[-1].shape
    ([8, 16, 32], (None, None, None, 160))
    """
    pad = make_least_padding(network) if pad is None else type(pad).from_config(pad.get_config())
    number, scaling = make_scaling(channels)
    x = image = keras.Input((None, None, number), name="image")
    x = x if scaling is None else scaling(x)
    if number == 1 < network.inputs[0].shape[-1]:
        x = keras.layers.Concatenate(name="grey")([x, x, x])
    x = Preprocessing(preprocessing, name="preprocessing")(pad(x))
    return image, network(x), geometry.trace_outputs(network, incoming=geometry.Geometry(offset=-pad.before))


def make_least_padding(network):
    """The layer that pads an image as little as a network allows.

    It works for images of any size from 1×1 up. Each map covers the image, as described at the top of this module. Each
    map also reaches as far as the next finer one, so its upsampled scores can be cropped to the finer map.

    Args:
        network: Model from images to maps, from the finest to the coarsest.

    Returns:
        A `fcn_keras.layers.padding.PadToStride` named ``pad``, which pads with the mean colour of ImageNet.

    Example:

    >>> network = fcn_keras.models.BACKBONES["resnet50"].feature_extractor(weights=None)
    >>> [make_least_padding(network).compute_output_shape((1, side, side, 3))[1] for side in (1, 224, 225, 241, 242)]
    [1, 225, 225, 241, 257]
    """
    geometries = geometry.trace_outputs(network)
    outside = [*map(_measure_outside, geometries[:-1], geometries[1:]), geometries[-1].stride / 2]
    before = max(0, *(math.ceil(g.offset - pixels) for g, pixels in zip(geometries, outside, strict=True)))
    after = [math.ceil(g.stride - 1 - pixels - g.offset) for g, pixels in zip(geometries, outside, strict=True)]
    options = {"color": repeat_mean_color(network.inputs[0].shape[-1]), "name": "pad"}
    if any(map(places_units_by_size, get_all_layers(network))):
        return PadToStride(geometries[-1].stride, before, max(0, *after), **options)
    spare = [_count_spare(network, i, g.stride) for i, g in enumerate(geometries)]
    pairs = itertools.pairwise(zip(geometries, spare, strict=True))
    if not all(_reaches(*fine, *coarse) for fine, coarse in pairs):
        return PadToStride(geometries[-1].stride, before, max(0, *after), **options)
    return PadToStride([g.stride for g in geometries], before, after, spare=spare, **options)


def _measure_outside(fine, coarse):
    """How many pixels a pixel of the image may lie beyond the outermost units of a map."""
    _, kernel, _ = upsampling_sizes(coarse, fine)
    return fine.stride / 2 if kernel % 2 == 0 else 0  # if the kernel is odd, coarse units lie on fine units


def _count_spare(network, index, stride):
    """How many pixels the last unit of a map does not need.

    For example, at stride 32, if the last unit only needs one of its 32 pixels, 31 pixels are spare.
    """
    side = (LARGE // stride + 1) * stride

    def units(spare):
        shapes = network.compute_output_shape((1, side - spare, side - spare, network.inputs[0].shape[-1]))
        return (shapes[index] if isinstance(shapes, list) else shapes)[1]

    whole, low, high = units(0), 0, stride - 1
    while low < high:
        middle = high if high == stride - 1 and low == 0 else (low + high + 1) // 2
        low, high = (middle, high) if units(middle) == whole else (low, middle - 1)
    return low


def _reaches(fine, spare_fine, coarse, spare_coarse):
    """Whether the upsampled scores of the coarse map are at least as long as the fine map, for images of any size."""
    factor, kernel, crop = upsampling_sizes(coarse, fine)
    sides = range(LARGE, LARGE + coarse.stride)
    counts = (
        ((side + spare) // g.stride for side in sides) for g, spare in ((fine, spare_fine), (coarse, spare_coarse))
    )
    return all(factor * (few - 1) + kernel - crop >= many for many, few in zip(*counts, strict=True))
