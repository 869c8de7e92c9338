"""The feature layers that are found are those in the table of backbones, and those found by counting paths."""

import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras import geometry
from fcn_keras.models.backbones import BACKBONES, Backbone
from fcn_keras.models.feature_layers import find_feature_layers


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50", "efficientnet_v2_b0"])
@pytest.mark.parametrize("top", [False, True])
def test_finds_what_the_table_names(name, top):
    constructors = {"mobilenet_v2": "MobileNetV2", "resnet50": "ResNet50", "efficientnet_v2_b0": "EfficientNetV2B0"}
    model = getattr(keras.applications, constructors[name])(weights=None, include_top=top, input_shape=(224, 224, 3))
    assert find_feature_layers(model) == BACKBONES[name].feature_layers


@pytest.mark.parametrize("name", ["DenseNet121", "MobileNetV3Small", "ConvNeXtTiny"])
def test_networks_that_the_table_does_not_list(name):
    model = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(224, 224, 3))
    tapped = Backbone(lambda weights: model, find_feature_layers(model)).feature_extractor()
    assert [found.stride for found in geometry.trace_outputs(tapped)] == [8, 16, 32]
    shapes = tapped.compute_output_shape((1, 64, 96, 3))
    assert [tuple(shape[1:3]) for shape in shapes] == [(8, 12), (4, 6), (2, 3)]


def test_an_fcn_on_a_model_of_ones_own_with_its_weights():
    trunk = keras.applications.MobileNet(weights=None, include_top=False, alpha=0.25, input_shape=(96, 96, 3))
    with pytest.warns(UserWarning, match="will be fed RGB in 0–255"):
        model = fcn_keras.FCN8s(3, backbone=trunk)
    assert model(np.zeros((1, 45, 70, 3), "float32")).shape == (1, 45, 70, 3)
    first = [
        np.array(layer.get_weights()[0])
        for layer in (trunk.get_layer("conv1"), model.get_layer("backbone").get_layer("conv1"))
    ]
    np.testing.assert_array_equal(*first)


def test_sequential_models_and_vggs_maps_before_the_poolings():
    layers = [keras.Input((64, 64, 3))]
    for i in range(3):
        layers += [keras.layers.Conv2D(4, 3, padding="same", name=f"conv{i}"), keras.layers.MaxPooling2D(2)]
    assert find_feature_layers(keras.Sequential(layers), strides=(1, 2, 4)) == ("conv0", "conv1", "conv2")


def test_maps_that_only_some_paths_go_through_are_no_taps():
    image = keras.Input((32, 32, 4))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="stem")(image)
    inner = keras.layers.Conv2D(4, 3, padding="same", name="inner")(x)
    x = keras.layers.ReLU(name="joined")(keras.ops.add(x, inner))
    branch = keras.layers.Conv2D(4, 1, strides=2, name="branch")(x)
    late = keras.layers.Conv2D(4, 3, padding="same", name="late")(x)  # of stride 2, and the last of it
    late = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="down")(late)
    top = keras.layers.Add(name="top")([branch, late])
    model = keras.Model(image, keras.layers.ZeroPadding2D(name="padded")(top))
    assert find_feature_layers(model, strides=(2, 4)) == ("joined", "top")


def test_strides_that_are_not_there():
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3, strides=4, name="conv")])
    with pytest.raises(
        ValueError, match=r"no map at stride 8, 16 that.*found strides \[4\].*Fix: pass a fcn_keras.Backbone"
    ):
        find_feature_layers(model, strides=(4, 8, 16))
