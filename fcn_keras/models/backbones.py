"""The pretrained CNNs below an FCN: a plain table, and the small CNN of the book's walkthrough.

A `Backbone` says how to get the network, what it wants done to an RGB image in 0–255, and which of its layers to tap at
strides 8, 16 and 32. Where the tapped units lie on the image is not written down: `fcn_keras.geometry` works it out.
"""

import dataclasses
import os
import pathlib
import re
import warnings
from collections.abc import Callable

import keras

from .. import geometry
from ..layers._keras import outputs_inside
from ..layers.padding import PadToStride, margins
from ..layers.preprocessing import MEAN_COLOUR, Preprocessing
from .cloning import any_size, every_layer
from .convolutionalize import convolutionalize
from .feature_layers import find_feature_layers
from .mini_vgg import MiniVGG

UNSCALED = re.compile("vgg|resnet|mobilenet|densenet|xception|inception|nasnet", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A pretrained network and what an FCN needs to know of it.

    Args:
        build: Function from ``weights`` (a name, a path or None) to a Keras model; with its top if `fully_connected`
            names layers.
        build_trunk: As `build`, without the top, for ``head="light"``: VGG16's top has 124 of its 138 million weights.
            By default the whole classifier is built and its top dropped.
        taps: Names of the layers to tap at strides 8, 16 and 32, in this order.
        preprocessing: Mode of `Preprocessing`.
        fully_connected: Names of the classifier's `Dense` layers that ``head="fc"`` takes over behind the last tap.
        pretrained: The weights that ``weights="pretrained"`` stands for.

    Example: a network of one's own, with named taps.

    >>> trunk = keras.applications.MobileNetV2(weights=None, include_top=False)
    >>> taps = ("block_6_expand_relu", "block_13_expand_relu", "out_relu")
    >>> own = Backbone(lambda weights: trunk, taps, preprocessing="tf", pretrained=None)
    """

    build: Callable
    taps: tuple[str, str, str]
    preprocessing: str = "none"
    fully_connected: tuple[str, ...] = ()
    pretrained: str | None = "imagenet"
    build_trunk: Callable | None = None

    def tapped(self, weights="pretrained", head="auto"):
        """The network as a model from preprocessed images to its maps at strides 8, 16 and 32.

        Args:
            weights: ``"pretrained"``, another name or path that `build` knows, or None for random weights.
            head: ``"fc"`` takes the classifier's fully connected layers over as convolutions, biases included, with
                dropout of 0.5 behind each; ``"light"`` drops them; ``"auto"`` is ``"fc"`` where there are some.

        Raises:
            ValueError: If there is no such head or tap.
        """
        weights = self.pretrained if weights == "pretrained" else weights
        if head not in ("auto", "fc", "light") or (head == "fc" and not self.fully_connected):
            known = (
                '"auto", "fc" or "light"'
                if self.fully_connected
                else '"auto" or "light": it has no dense layers to keep'
            )
            raise ValueError(f"Found head={head!r} for this backbone: expected {known}.")
        dense = self.fully_connected if head != "light" else ()
        network = convolutionalize(self.build(weights), padding="same") if dense else any_size(self._trunk(weights))
        maps = [_tap(network, name) for name in self.taps]
        for name in dense:
            maps[-1] = keras.layers.Dropout(0.5, name=f"{name}_dropout")(network.get_layer(name)(maps[-1]))
        model = keras.Model(network.input, maps, name="backbone")
        for layer in every_layer(model):  # statistics of a pretrained network outlast batches of one or two images
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
        return model

    def _trunk(self, weights):
        """The network up to its taps: a top behind them is not needed, and would take images of one size only."""
        network = self._without_top(weights)
        return keras.Model(network.inputs[0], [_tap(network, name) for name in self.taps], name=network.name)

    def _without_top(self, weights):
        if self.build_trunk is None:
            return self.build(weights)
        try:
            return self.build_trunk(weights)
        except ValueError:
            if weights in (None, self.pretrained):
                raise
            return self.build(weights)  # a file of Keras 2 holds the weights of the whole classifier, or none


def unfreeze(backbone):
    """Makes every layer of a backbone trainable but its batch normalization, which stays as it is.

    Args:
        backbone: The model below an FCN, as `Backbone.tapped` gives it; models nested in it are treated likewise.

    Returns:
        The model itself.

    Example:

    >>> backbone = get("mini_vgg").tapped(weights=None)
    >>> backbone.trainable = False
    >>> len(backbone.trainable_weights), len(unfreeze(backbone).trainable_weights)
    (0, 20)
    """
    layers = list(every_layer(backbone))
    frozen = [x for x in layers if isinstance(x, keras.layers.BatchNormalization) and not x.trainable]
    for layer in (backbone, *layers):  # Keras passes a flag on to inner layers only where it changes
        layer.trainable = True
    for layer in frozen:
        layer.trainable = False
    return backbone


def on_image(network, preprocessing):
    """The maps of a network on an image of any size, and where they lie on it: padding and preprocessing in front.

    Args:
        network: Model from preprocessed images to maps, the coarsest last.
        preprocessing: Mode of `Preprocessing`.

    Returns:
        The image, a `keras.Input` for RGB in 0–255; the maps; and the `fcn_keras.geometry.Geometry` of each, in pixels
        of the image.

    Example:

    >>> image, maps, taps = on_image(get("mini_vgg").tapped(weights=None), "none")
    >>> [tap.stride for tap in taps], maps[-1].shape
    ([8, 16, 32], (None, None, None, 160))
    """
    coarsest = geometry.of_outputs(network)[-1]
    before, after = margins(coarsest)
    image = keras.Input((None, None, 3), name="image")
    x = PadToStride(coarsest.stride, before, after, MEAN_COLOUR, name="pad")(image)
    x = Preprocessing(preprocessing, name="preprocessing")(x)
    return image, network(x), geometry.of_outputs(network, incoming=geometry.Geometry(offset=-before))


def _tap(network, name):
    try:
        return outputs_inside(network.get_layer(name), network)[-1]
    except ValueError:
        last = [layer.name for layer in network.layers][-5:]
        raise ValueError(
            f"Backbone {network.name!r} has no layer {name!r} to tap: its last layers are {last}."
        ) from None


def _application(constructor, **kwargs):
    """A constructor of `keras.applications`, with a clear word where its weights cannot be had."""

    def build(weights):
        try:
            return constructor(weights=weights, **kwargs)
        except Exception as error:  # keras raises a bare Exception when a download fails
            if weights != "imagenet" or "URL fetch failure" not in str(error):
                raise
            folder = pathlib.Path(os.environ.get("KERAS_HOME", "~/.keras")) / "models"
            raise OSError(
                f"The ImageNet weights of {constructor.__name__} are not here and could not be downloaded: {error}. "
                f"Fix: connect once, or copy the file into {folder} "
                "(the environment variable KERAS_HOME moves it), or take MiniVGG, whose weights are here "
                "(backbone='mini_vgg', --backbone mini_vgg), or none (weights=None, --from-scratch) if data are plenty."
            ) from error

    return build


def _vgg(constructor):
    return Backbone(
        _application(constructor),
        ("block3_pool", "block4_pool", "block5_pool"),
        preprocessing="caffe",
        fully_connected=("fc1", "fc2"),
        build_trunk=_application(constructor, include_top=False),
    )


BACKBONES = {
    "vgg16": _vgg(keras.applications.VGG16),
    "vgg19": _vgg(keras.applications.VGG19),
    "mobilenet_v2": Backbone(
        _application(keras.applications.MobileNetV2, include_top=False, input_shape=(224, 224, 3)),
        ("block_6_expand_relu", "block_13_expand_relu", "out_relu"),
        preprocessing="tf",
    ),
    "resnet50": Backbone(
        _application(keras.applications.ResNet50, include_top=False, input_shape=(224, 224, 3)),
        ("conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
        preprocessing="caffe",
    ),
    "efficientnet_v2_b0": Backbone(
        _application(keras.applications.EfficientNetV2B0, include_top=False, input_shape=(224, 224, 3)),
        ("block4a_expand_activation", "block6a_expand_activation", "top_activation"),
    ),
    "mini_vgg": Backbone(
        lambda weights: MiniVGG(weights=weights),
        ("pool3", "pool4", "pool5"),
        fully_connected=("fc6", "fc7"),
        pretrained="shapes",
        build_trunk=lambda weights: MiniVGG(weights=weights, include_top=False),
    ),
}


def get(backbone):
    """The `Backbone` of a name in `BACKBONES`, of a Keras model, or the `Backbone` itself.

    A Keras model is taken with its weights as they are, tapped where `fcn_keras.models.feature_layers.find_feature_layers` says, and fed with RGB
    in 0–255: a model that wants another input needs a `Backbone` that names the preprocessing.

    Raises:
        ValueError: If the name is not in the table, or the model has no taps at strides 8, 16 and 32.

    Warns:
        UserWarning: If the model is one of `keras.applications` that wants another input.

    Example:

    >>> get("vgg16").taps
    ('block3_pool', 'block4_pool', 'block5_pool')
    >>> get(keras.applications.EfficientNetV2B0(weights=None, include_top=False)).taps
    ('block4a_expand_activation', 'block6a_expand_activation', 'top_activation')
    """
    if isinstance(backbone, Backbone):
        return backbone
    if isinstance(backbone, keras.Model):
        _warn_of_missing_preprocessing(backbone)
        return Backbone(lambda weights: backbone, find_feature_layers(backbone), pretrained=None)
    if backbone not in BACKBONES:
        raise ValueError(
            f"Found backbone={backbone!r}: expected one of {', '.join(BACKBONES)}, a Keras model, or a "
            "fcn_keras.models.backbones.Backbone with the layers to tap in a model of your own."
        )
    return BACKBONES[backbone]


def _warn_of_missing_preprocessing(model):
    """Many of `keras.applications` were trained on other input than RGB in 0–255, and do not scale by themselves."""
    scales = any(isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization) for layer in model.layers)
    if UNSCALED.match(model.name) and not scales:
        warnings.warn(
            f"The backbone {model.name!r} is fed RGB in 0–255 as it is, and networks of this name want another input. "
            "Fix: fcn_keras.models.backbones.Backbone(lambda weights: model, fcn_keras.models.feature_layers.find_feature_layers(model), "
            'preprocessing="caffe", "tf" or "torch"), or a name such as "mobilenet_v2".',
            stacklevel=4,
        )
