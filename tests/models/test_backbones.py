"""The table of backbones, and MiniVGG."""

import dataclasses

import keras
import numpy as np
import pytest

from fcn_keras import geometry
from fcn_keras.layers.preprocessing import Preprocessing
from fcn_keras.models.backbones import BACKBONES, Backbone, _wrap_application, get
from fcn_keras.models.feature_layers import find_feature_layers
from fcn_keras.models.mini_vgg import MiniVGG

IMAGE = np.random.default_rng(0).uniform(0, 255, (2, 5, 7, 3)).astype("float32")


def test_the_table_says_what_keras_says():
    """The mode of each backbone is the one that its own module in keras.applications applies."""
    own = {
        "vgg16": keras.applications.vgg16,
        "vgg19": keras.applications.vgg19,
        "mobilenet_v2": keras.applications.mobilenet_v2,
        "resnet50": keras.applications.resnet50,
        "efficientnet_v2_b0": keras.applications.efficientnet_v2,
    }
    assert set(own) | {"mini_vgg"} == set(BACKBONES)
    for name, module in own.items():
        found = Preprocessing(BACKBONES[name].preprocessing)(IMAGE)
        np.testing.assert_allclose(found, module.preprocess_input(IMAGE.copy()), rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def mini():
    return MiniVGG(weights=None)


def test_mini_vgg_is_a_small_vgg16(mini):
    traced = geometry.trace(mini)
    assert [traced[f"pool{i}"].stride for i in range(1, 6)] == [2, 4, 8, 16, 32]
    assert mini.input_shape == (None, 96, 96, 3)
    assert mini.get_layer("pool5").output.shape == (None, 3, 3, 128)
    assert 600_000 < mini.count_params() < 700_000
    np.testing.assert_allclose(np.sum(mini(IMAGE[:, :1, :1] + np.zeros((2, 96, 96, 3), "float32")), -1), 1, rtol=1e-5)


def test_mini_vgg_of_other_shapes(mini):
    assert MiniVGG(5, weights=None, input_shape=(64, 64, 3)).output_shape == (None, 5)
    assert MiniVGG(weights=None, include_top=False).output_shape == (None, None, None, 128)
    with pytest.raises(ValueError, match="num_classes=5: the weights"):
        MiniVGG(5)


def test_mini_vgg_from_a_weight_file(mini, tmp_path):
    path = tmp_path / "mini.weights.h5"
    mini.save_weights(path)
    for ours, theirs in zip(MiniVGG(weights=path).get_weights(), mini.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    trunk = MiniVGG(weights=path, include_top=False)
    for ours, theirs in zip(trunk.get_weights(), mini.get_weights(), strict=False):
        np.testing.assert_array_equal(ours, theirs)
    tapped = BACKBONES["mini_vgg"].feature_extractor(path)
    np.testing.assert_array_equal(tapped.get_layer("fc7").kernel[0, 0], mini.get_layer("fc7").kernel)


def test_maps_with_and_without_the_fully_connected_layers():
    whole, light = (BACKBONES["mini_vgg"].feature_extractor(None, head) for head in ("auto", None))
    assert [output.shape[-1] for output in whole.outputs] == [64, 96, 160]
    assert [output.shape[-1] for output in light.outputs] == [64, 96, 128]
    assert "fc6" not in [layer.name for layer in light.layers]
    for model in (whole, light):
        assert [found.stride for found in geometry.trace_outputs(model)] == [8, 16, 32]
        shapes = [tuple(x.shape[1:3]) for x in model(np.zeros((1, 64, 96, 3), "float32"))]
        assert shapes == [(8, 12), (4, 6), (2, 3)]


@pytest.mark.parametrize(("name", "weights"), [("vgg16", 14_714_688), ("vgg19", 20_024_384)])
def test_without_the_dense_layers_no_top_is_built(name, weights):
    """The numbers of weights are those of keras.applications without the top; with it they are 138 and 144 million."""

    def whole(weights):
        raise AssertionError("the whole classifier was built")

    trunk = dataclasses.replace(BACKBONES[name], build=whole).feature_extractor(None, head=None)
    assert trunk.count_params() == weights
    assert [output.shape[-1] for output in trunk.outputs] == [256, 512, 512]


def test_what_the_constructor_is_asked_for():
    asked = []

    def constructor(include_top=True, **arguments):
        asked.append({"include_top": include_top, **arguments})
        if include_top is False and arguments["weights"] == "whole.h5":
            raise ValueError("Layer count mismatch when loading weights from file")  # Keras' own words
        return MiniVGG(weights=None, include_top=include_top)

    own = Backbone(
        _wrap_application(constructor),
        ("pool3", "pool4", "pool5"),
        fully_connected=("fc6", "fc7"),
        build_trunk=_wrap_application(constructor, include_top=False),
    )
    for weights, head in [("pretrained", None), ("trunk.h5", None), ("whole.h5", None), (None, "fc")]:
        assert own.feature_extractor(weights, head).outputs[-1].shape[-1] == (160 if head == "fc" else 128)
    assert asked == [
        {"include_top": False, "weights": "imagenet"},
        {"include_top": False, "weights": "trunk.h5"},
        {"include_top": False, "weights": "whole.h5"},
        {"include_top": True, "weights": "whole.h5"},  # a file of the whole classifier serves as well
        {"include_top": True, "weights": None},
    ]
    with pytest.raises(ValueError, match="mismatch"):
        dataclasses.replace(own, pretrained="whole.h5").feature_extractor("pretrained", head=None)


def test_batch_statistics_are_left_alone():
    """Batches of one or two images would spoil the statistics of a pretrained network."""
    trunk = BACKBONES["mobilenet_v2"].feature_extractor(None)
    layers = [layer for layer in trunk.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert layers and not any(layer.trainable for layer in layers)
    before = [np.array(layer.moving_mean) for layer in layers]
    trunk(np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype("float32"), training=True)
    for layer, mean in zip(layers, before, strict=True):
        np.testing.assert_array_equal(layer.moving_mean, mean)


def test_weights_are_asked_for_by_name():
    asked = []

    def build(weights):
        asked.append(weights)
        return keras.applications.MobileNetV2(weights=None, include_top=False, alpha=0.35, input_shape=(32, 32, 3))

    own = Backbone(build, ("block_6_expand_relu", "block_13_expand_relu", "out_relu"))
    for weights in ("pretrained", None, "some.weights.h5"):
        own.feature_extractor(weights)
    assert asked == ["imagenet", None, "some.weights.h5"]


def test_downloads_that_fail_say_what_to_do(monkeypatch):
    def Offline(weights):  # noqa: N802
        raise Exception(f"URL fetch failure on https://example.org/{weights}: None -- no route to host")

    with pytest.raises(OSError, match=r"(?s)weights of Offline.*no route to host.*Fix: .*KERAS_HOME.*weights=None"):
        _wrap_application(Offline)("imagenet")
    with pytest.raises(Exception, match="^URL fetch failure"):
        _wrap_application(Offline)("elsewhere")


def test_backbones_by_name_or_as_they_are():
    own = Backbone(lambda weights: None, ("a", "b", "c"))
    assert get(own) is own
    assert get("vgg16") is BACKBONES["vgg16"]
    for wrong in ("VGG16", None, 16):
        with pytest.raises(ValueError, match=f"backbone={wrong!r}: expected one of vgg16"):
            get(wrong)


def test_heads_that_are_not_there():
    with pytest.raises(ValueError, match="head='fc'.*no dense layers"):
        BACKBONES["mobilenet_v2"].feature_extractor(None, "fc")
    with pytest.raises(ValueError, match="head='heavy'.*expected .*fc"):
        BACKBONES["mini_vgg"].feature_extractor(None, "heavy")


def test_a_keras_model_that_wants_other_input_is_told():
    trunk = keras.applications.MobileNetV2(weights=None, include_top=False, alpha=0.35, input_shape=(96, 96, 3))
    with pytest.warns(UserWarning, match="'mobilenetv2_0.35_96' will be fed RGB in 0–255"):
        get(trunk)
    get(Backbone(lambda weights: trunk, find_feature_layers(trunk), preprocessing="tf"))
    get(keras.applications.MobileNetV3Small(weights=None, include_top=False))  # has a Rescaling layer
