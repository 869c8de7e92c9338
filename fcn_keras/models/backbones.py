"""A table of the pretrained CNNs that an FCN can use as its backbone.

A `Backbone` holds what an FCN needs to know about a network: how to build it, which preprocessing it expects, and which
of its layers compute the maps at strides 8, 16 and 32. The table does not say where the units of these maps lie on the
image, because `fcn_keras.geometry` derives this from the layers.
"""

import dataclasses
import os
import pathlib
import re
import warnings
from collections.abc import Callable

import keras

from ..layers._keras import get_all_layers, get_outputs
from ..layers.preprocessing import BGR
from .any_size import allow_any_size, places_units_by_size
from .channels import adapt_to_channels
from .convolutionalize import convolutionalize
from .feature_layers import find_feature_layers
from .mini_vgg import MiniVGG

UNSCALED = re.compile("vgg|resnet|mobilenet|densenet|xception|inception|nasnet", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A pretrained network, and what an FCN needs to know about it.

    Args:
        build: Function from ``weights`` (a name, a path or None) to a Keras model. If `fully_connected` is not empty,
            the model must include its top.
        feature_layers: Names of the layers whose outputs are the maps at strides 8, 16 and 32, in this order.
        preprocessing: Mode of `fcn_keras.layers.preprocessing.Preprocessing`.
        fully_connected: Names of the classifier's `Dense` layers that ``head="fc"`` keeps after the last map.
        pretrained: The value of ``weights`` that ``weights="pretrained"`` stands for.
        build_trunk: The same as `build`, but without the top, for ``head=None``. This saves memory and downloads: 124
            million of VGG16's 138 million weights are in its top. By default, `build` makes the whole classifier, and
            its top is dropped.

    Example: your own network, for which you name the feature layers.

    >>> trunk = keras.applications.MobileNetV2(weights=None, include_top=False)
    >>> layers = ("block_6_expand_relu", "block_13_expand_relu", "out_relu")
    >>> own = Backbone(lambda weights: trunk, layers, preprocessing="tf", pretrained=None)
    """

    build: Callable
    feature_layers: tuple[str, str, str]
    preprocessing: str = "none"
    fully_connected: tuple[str, ...] = ()
    pretrained: str | None = "imagenet"
    build_trunk: Callable | None = None

    def feature_extractor(self, weights="pretrained", head="auto", channels=3):
        """The network as a model from preprocessed images to its maps at strides 8, 16 and 32.

        Its batch normalization is frozen, because the statistics of a pretrained network are better than those of
        batches of one or two images. Strided convolutions pad explicitly; see `fcn_keras.models.allow_any_size`.

        Args:
            weights: ``"pretrained"``, another name or path that `build` accepts, or None for random weights.
            head: ``"fc"`` turns the classifier's fully connected layers into convolutions, including their biases, and
                adds dropout of 0.5 after each; None drops these layers; ``"auto"`` means ``"fc"`` if the backbone has
                such layers.
            channels: Number of channels of the images. If the network takes three, its first kernel is repeated for
                more of them, see `fcn_keras.models.channels`. One channel is given to it three times.

        Returns:
            A Functional model named ``backbone``, for images of any size.

        Raises:
            ValueError: If `head` is none of these, if the network lacks a layer that `feature_layers` names, or if it
                takes neither three channels nor as many as the images have.

        Example:

        >>> BACKBONES["mini_vgg"].feature_extractor(weights=None).output_shape
        [(None, None, None, 64), (None, None, None, 96), (None, None, None, 160)]
        """
        weights = self.pretrained if weights == "pretrained" else weights
        if head not in ("auto", "fc", None) or (head == "fc" and not self.fully_connected):
            expected = '"auto", "fc" or None' if self.fully_connected else '"auto" or None, as it has no dense layers'
            raise ValueError(f"Found head={head!r} for this backbone: expected {expected}.")
        dense = self.fully_connected if head is not None else ()
        if dense:
            network = convolutionalize(self.build(weights), padding="same")
        else:
            network = allow_any_size(self._build_trunk(weights), explicit_padding=True)
        maps = [_get_output(network, name) for name in self.feature_layers]
        for name in dense:
            maps[-1] = keras.layers.Dropout(0.5, name=f"{name}_dropout")(network.get_layer(name)(maps[-1]))
        model = keras.Model(network.input, maps, name="backbone")
        if any(map(places_units_by_size, get_all_layers(model))):
            model = allow_any_size(model, explicit_padding=True)
        if (taken := model.inputs[0].shape[-1]) not in (3, channels):
            raise ValueError(
                f"Found a backbone for {taken} channels: expected {channels}, or 3. Fix: channels={taken}."
            )
        if taken != channels > 1:
            model = adapt_to_channels(model, channels, self.preprocessing in BGR)
        for layer in _find_batch_norm(model):
            layer.trainable = False
        return model

    def _build_trunk(self, weights):
        """The network up to its feature layers. With the layers after them, it would only take images of one size."""
        network = self._build_without_top(weights)
        return keras.Model(network.inputs[0], [_get_output(network, x) for x in self.feature_layers], name=network.name)

    def _build_without_top(self, weights):
        if self.build_trunk is None:
            return self.build(weights)
        try:
            return self.build_trunk(weights)
        except ValueError:
            if weights in (None, self.pretrained):
                raise
            return self.build(weights)  # a Keras 2 file with the whole classifier cannot be loaded without the top


def _get_output(network, name):
    try:
        return get_outputs(network.get_layer(name), network)[-1]
    except ValueError:
        last = [layer.name for layer in network.layers][-5:]
        raise ValueError(f"Backbone {network.name!r} has no layer {name!r}: its last layers are {last}.") from None


def _find_batch_norm(model):
    return [layer for layer in get_all_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]


def unfreeze(backbone):
    """Makes every layer of a backbone trainable, except frozen batch normalization, which stays frozen.

    Args:
        backbone: The backbone of an FCN, as `Backbone.feature_extractor` returns it. Models nested in it are included.

    Returns:
        The same model.

    Example:

    >>> backbone = BACKBONES["mini_vgg"].feature_extractor(weights=None)
    >>> backbone.trainable = False
    >>> len(backbone.trainable_weights), len(unfreeze(backbone).trainable_weights)
    (0, 20)
    """
    frozen = [layer for layer in _find_batch_norm(backbone) if not layer.trainable]
    for layer in get_all_layers(backbone):  # set every flag: an outer flag only passes on if it changes
        layer.trainable = True
    for layer in frozen:
        layer.trainable = False
    return backbone


def _wrap_application(constructor, **kwargs):
    """A constructor of `keras.applications`, with a clear error if its weights cannot be downloaded."""

    def build(weights):
        try:
            with warnings.catch_warnings():  # MobileNetV2 loads the weights for 224 pixels for any size, which is right
                warnings.filterwarnings("ignore", message="`input_shape` is undefined or non-square")
                return constructor(weights=weights, **kwargs)
        except Exception as error:  # keras raises a bare Exception when a download fails
            if weights != "imagenet" or "URL fetch failure" not in str(error):
                raise
            folder = pathlib.Path(os.environ.get("KERAS_HOME", "~/.keras")) / "models"
            raise OSError(
                f"The ImageNet weights of {constructor.__name__} are not on this machine and could not be downloaded: "
                f"{error}. Fix: connect to the network once; or copy the file into {folder} (the environment variable "
                "KERAS_HOME moves this folder); or use MiniVGG, whose weights come with the package "
                "(backbone='mini_vgg', --backbone mini_vgg); or start without weights (weights=None, --from-scratch) "
                "if you have much data."
            ) from error

    return build


def _vgg(constructor):
    layers, trunk = ("block3_pool", "block4_pool", "block5_pool"), _wrap_application(constructor, include_top=False)
    return Backbone(_wrap_application(constructor), layers, "caffe", fully_connected=("fc1", "fc2"), build_trunk=trunk)


def _trunk_only(constructor, *layers, preprocessing="none"):
    """A backbone without a top. For 225 pixels, Keras builds MobileNetV2 with units at 32 i; for 224, at 31 + 32 i."""
    return Backbone(_wrap_application(constructor, include_top=False, input_shape=(225, 225, 3)), layers, preprocessing)


BACKBONES = {
    "vgg16": _vgg(keras.applications.VGG16),
    "vgg19": _vgg(keras.applications.VGG19),
    "mobilenet_v2": _trunk_only(
        keras.applications.MobileNetV2, "block_6_expand_relu", "block_13_expand_relu", "out_relu", preprocessing="tf"
    ),
    "resnet50": _trunk_only(
        keras.applications.ResNet50, "conv3_block4_out", "conv4_block6_out", "conv5_block3_out", preprocessing="caffe"
    ),
    "efficientnet_v2_b0": _trunk_only(
        keras.applications.EfficientNetV2B0, "block4a_expand_activation", "block6a_expand_activation", "top_activation"
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
    """The `Backbone` for a name in `BACKBONES` or for a Keras model. A `Backbone` is returned unchanged.

    A Keras model keeps its weights, and `fcn_keras.models.find_feature_layers` finds its feature layers. It gets RGB
    images in 0–255. If it expects a different input, pass a `Backbone` that names the preprocessing.

    Args:
        backbone: A name, a Keras model or a `Backbone`.

    Returns:
        A `Backbone`.

    Raises:
        ValueError: If the name is not in the table, or the model has no maps at strides 8, 16 and 32.

    Warns:
        UserWarning: If the model is one of `keras.applications` that expects a different input.

    Example:

    >>> get("vgg16").feature_layers
    ('block3_pool', 'block4_pool', 'block5_pool')
    >>> get(keras.applications.EfficientNetV2B0(weights=None, include_top=False)).feature_layers
    ('block4a_expand_activation', 'block6a_expand_activation', 'top_activation')
    """
    if isinstance(backbone, Backbone):
        return backbone
    if isinstance(backbone, keras.Model):
        _warn_of_missing_preprocessing(backbone)
        return Backbone(lambda weights: backbone, find_feature_layers(backbone), pretrained=None)
    if backbone not in BACKBONES:
        raise ValueError(
            f"Found backbone={backbone!r}: expected one of {', '.join(BACKBONES)}; a Keras model; or a "
            "fcn_keras.Backbone, which names the feature layers of a model of your own."
        )
    return BACKBONES[backbone]


def _warn_of_missing_preprocessing(model):
    """Warns of models in `keras.applications` that expect a different input than RGB in 0–255, but do not scale it."""
    scales = any(isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization) for layer in model.layers)
    if UNSCALED.match(model.name) and not scales:
        warnings.warn(
            f"The backbone {model.name!r} will be fed RGB in 0–255, but networks of this name expect another input. "
            "Fix: fcn_keras.Backbone(lambda weights: model, fcn_keras.models.find_feature_layers(model), "
            'preprocessing="caffe"), or "tf", or "torch"; or pass a name such as "mobilenet_v2".',
            stacklevel=4,
        )
