"""Nets for images of another number of channels than three, or in another range than 0–255.

A layer at the front of the net maps each channel from its range to 0–255. All that follows is the same as for RGB
images: the colour of the padding, the preprocessing and the first kernel of a pretrained backbone are those of red,
green, blue, red, green, … for the channels in their order. The kernel is multiplied by 3 / N, so that the sums over N
channels are as large as over three. If the channels repeat an RGB image, such a net computes what the net for RGB
computes. One grey channel is repeated as red, green and blue, and the backbone is not changed.

segmentation_models.pytorch repeats and rescales the first kernel in the same way. In their net for colour and depth
(fcn32s-color-d, for NYUDv2), the FCN authors keep the kernels of the colours. The depth gets the mean of the three.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §5, "NYUDv2": early fusion of RGB and depth.
"""

import functools

import keras
import numpy as np

from ..layers.preprocessing import list_colors
from .cloning import copy_layer, rebuild

SUMMING = (keras.layers.Conv2D, keras.layers.Dense)  # layers that add up their channels
SEPARATE = (keras.layers.BatchNormalization, keras.layers.DepthwiseConv2D, keras.layers.Normalization)


def make_scaling(channels):
    """The layer that maps each channel from its range to 0–255.

    Args:
        channels: As in `fcn_keras.FCN32s`.

    Returns:
        The number of channels, and a `keras.layers.Rescaling` named ``scaling``, or None if all are in 0–255.

    Raises:
        ValueError: If `channels` is neither a number nor a list of ranges.

    Example:

    >>> number, scaling = make_scaling([(0, 255), (0, 10)])
    >>> number, scaling(np.array([[51.0, 2.0]])).numpy().tolist()
    (2, [[51.0, 51.0]])
    """
    ranges = np.array([(0, 255)] * channels if isinstance(channels, int) else channels, "float32").astype("float64")
    if (
        ranges.ndim != 2
        or ranges.shape[1] != 2
        or not np.isfinite(ranges).all()
        or (ranges[:, 0] >= ranges[:, 1]).any()
    ):
        raise ValueError(
            f"Found channels={channels!r}: expected the number of channels, or the lowest and the highest value of "
            "each, such as [(0, 255), (0, 255), (0, 255), (0.5, 10)]."
        )
    if (ranges == (0, 255)).all():
        return len(ranges), None
    low, high = ranges.T
    scale = 255 / (high - low)
    # float32 also with mixed precision, because float16 ends before 65535
    return len(ranges), keras.layers.Rescaling(scale.tolist(), (-low * scale).tolist(), dtype="float32", name="scaling")


def get_ranges(model):
    """The lowest and the highest value of each channel of a model's images.

    Args:
        model: A Keras model with one image input.

    Returns:
        List of pairs. None if the images are RGB in 0–255.

    Example:

    >>> get_ranges(fcn_keras.FCN32s(2, "mini_vgg", weights=None, channels=[(0, 255), (0, 10)]))
    [[0.0, 255.0], [0.0, 10.0]]
    """
    scaling = next((layer for layer in model.layers if layer.name == "scaling"), None)
    if scaling is None:
        number = model.input_shape[-1]
        return None if number in (3, None) else [[0.0, 255.0]] * number
    scale, offset = np.array(scaling.scale), np.array(scaling.offset)
    return np.stack([-offset / scale, (255 - offset) / scale], axis=-1).astype("float32").tolist()


def adapt_to_channels(network, channels, bgr=False):
    """A copy of a network for RGB images that takes images with another number of channels.

    Args:
        network: A Functional model whose first layer with weights is a convolution.
        channels: Number of channels, not 3.
        bgr: Whether `network` takes its channels in the order blue, green, red. The copy takes red first.

    Returns:
        A Functional model on ``(batch, None, None, channels)``. The first kernel is repeated and multiplied by 3 / N.

    Raises:
        ValueError: If another layer than a convolution or a normalization sees the channels.

    Example:

    >>> network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(1, 1, kernel_initializer="ones")])
    >>> adapt_to_channels(network, 4).layers[1].get_weights()[0].ravel().tolist()
    [0.75, 0.75, 0.75, 0.75]
    """
    colors = list_colors(channels, bgr)

    def copy(layer):
        if isinstance(layer, keras.Model):
            return adapt_to_channels(layer, channels, bgr) if layer.input_shape[-1] == 3 else rebuild(layer, copy_layer)
        config = layer.get_config()
        by_channel = [key for key in ("scale", "offset", "mean", "variance") if np.shape(config.get(key)) == (3,)]
        return copy_layer(layer, **{key: [config[key][i] for i in colors] for key in by_channel})

    return rebuild(network, copy, channels=channels, fit=functools.partial(repeat_weights, bgr=bgr))


def repeat_weights(layer, twin, bgr=False):
    """The weights of a layer that sees RGB channels, repeated for its twin that sees another number of channels.

    Args:
        layer: A layer with weights, or None.
        twin: The layer of the same name in another model, or None.
        bgr: As in `adapt_to_channels`.

    Returns:
        List of arrays. None if they do not fit.

    Example:

    >>> layer, twin = (keras.layers.BatchNormalization() for _ in range(2))
    >>> layer.build((None, 3)), twin.build((None, 4)), repeat_weights(layer, twin)[0].shape
    (None, None, (4,))
    """
    if None in (layer, twin) or [w.ndim for w in layer.weights] != [w.ndim for w in twin.weights]:
        return None
    found = []
    for value, wanted in zip(layer.get_weights(), twin.weights, strict=True):
        axes = np.nonzero(np.not_equal(value.shape, tuple(wanted.shape)))[0]
        if len(axes):
            if len(axes) > 1 or value.shape[axes[0]] != 3 or not isinstance(layer, SUMMING + SEPARATE):
                return None
            number = wanted.shape[axes[0]]
            value = np.take(value, list_colors(number, bgr), axes[0])
            value = value * (3 / number) if isinstance(layer, SUMMING) else value
        found.append(value)
    return found
