"""Nets for any number of channels: the first kernel is repeated and rescaled, and each channel has its own range."""

import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras.layers.preprocessing import MEAN_COLOR, Preprocessing
from fcn_keras.models import fcn, fine_fcn
from fcn_keras.models.backbones import BACKBONES, Backbone
from fcn_keras.models.channels import adapt_to_channels, get_ranges, make_scaling, repeat_weights
from fcn_keras.models.transfer import start_from

RGBD = [(0, 255), (0, 255), (0, 255), (0.5, 10)]


def photo(channels=3, seed=0, size=(40, 52)):
    return np.random.default_rng(seed).uniform(0, 255, (1, *size, channels)).astype("float32")


def shake(model, seed=0):
    """Random values for all weights, so that nothing that is zero hides a difference."""
    draw = np.random.default_rng(seed)
    for layer in model._flatten_layers(include_self=False):
        if not hasattr(layer, "layers"):
            is_norm = isinstance(layer, keras.layers.BatchNormalization)
            layer.set_weights(
                [
                    draw.uniform(0.5, 1, w.shape) if is_norm else w + 0.01 * draw.normal(size=w.shape)
                    for w in layer.get_weights()
                ]
            )
    return model


def build(name, channels, trunk):
    """The maps of a backbone for images of several channels, with its preprocessing, on the weights of `trunk`."""
    entry = BACKBONES[name]
    network = Backbone(lambda weights: trunk, entry.feature_layers, entry.preprocessing).feature_extractor(
        None, channels=channels
    )
    image = keras.Input((None, None, channels))
    return keras.Model(image, network(Preprocessing(entry.preprocessing)(image)))


@pytest.mark.parametrize("name", BACKBONES)
def test_channels_that_repeat_rgb_give_the_features_of_rgb(name):
    entry = BACKBONES[name]
    trunk = shake(entry._build_without_top(None))
    image = photo()
    wanted = build(name, 3, trunk)(image)
    for channels in (6, 9):
        found = build(name, channels, trunk)(np.concatenate([image] * (channels // 3), axis=-1))
        for ours, theirs in zip(found, wanted, strict=True):
            scale = np.abs(theirs).max()
            assert scale > 0
            np.testing.assert_allclose(ours / scale, theirs / scale, atol=1e-4)


@pytest.mark.parametrize("bgr", [False, True])
@pytest.mark.parametrize("channels", [2, 4, 5, 7])
def test_the_first_convolution_is_that_of_numpy(channels, bgr):
    conv = keras.layers.Conv2D(5, 3, padding="valid", name="conv")
    network = shake(keras.Sequential([keras.Input((None, None, 3)), conv]))
    kernel, bias = conv.get_weights()
    image = photo(channels)
    wanted = np.zeros((1, 38, 50, 5)) + bias
    for i in range(channels):
        color = i % 3
        for row in range(3):
            for column in range(3):
                part = image[..., row : row + 38, column : column + 50, i, None].astype("float64")
                wanted += part * kernel[row, column, 2 - color if bgr else color] * 3 / channels
    np.testing.assert_allclose(adapt_to_channels(network, channels, bgr)(image), wanted, rtol=1e-4, atol=1e-3)


def test_layers_that_treat_channels_apart_repeat_without_rescaling():
    layers = [
        keras.layers.Rescaling([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]),
        keras.layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 9.0, 16.0]),
        keras.layers.BatchNormalization(),
        keras.layers.DepthwiseConv2D(3, padding="same"),
    ]
    network = shake(keras.Sequential([keras.Input((None, None, 3)), *layers]))
    image = photo()
    wanted = network(image)
    found = adapt_to_channels(network, 5)(np.concatenate([image, image[..., :2]], axis=-1))
    np.testing.assert_allclose(found, np.concatenate([wanted, wanted[..., :2]], axis=-1), rtol=1e-4, atol=1e-3)


def test_a_network_inside_another_is_adapted():
    inner = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3)])
    image = keras.Input((None, None, 3))
    outer = keras.Model(
        image, keras.Sequential([keras.Input((None, None, 4)), keras.layers.Conv2D(2, 1)])(inner(image))
    )
    six = np.concatenate([photo()] * 2, axis=-1)
    np.testing.assert_allclose(adapt_to_channels(outer, 6)(six), outer(photo()), rtol=1e-3, atol=1e-3)


def test_layers_that_mix_channels_in_another_way_are_refused():
    image = keras.Input((None, None, 3))
    network = keras.Model(image, keras.layers.SeparableConv2D(4, 3, name="mixing")(image))
    with pytest.raises(ValueError, match=r"layer 'mixing'.*Fix: "):
        adapt_to_channels(network, 4)
    assert repeat_weights(network.layers[1], None) is None


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch", "none", "berkeley"])
def test_preprocessing_repeats_the_numbers_of_rgb(mode):
    image = photo()
    wanted = np.asarray(Preprocessing(mode)(image))
    wanted = wanted[..., ::-1] if mode in ("caffe", "berkeley") else wanted
    found = Preprocessing(mode)(np.concatenate([image, image, image[..., :1]], axis=-1))
    np.testing.assert_allclose(found, np.concatenate([wanted, wanted, wanted[..., :1]], axis=-1), rtol=1e-4, atol=1e-4)


def test_a_grey_net_is_the_rgb_net_on_repeated_grey():
    for backbone in ("mini_vgg", "resnet50"):
        keras.utils.set_random_seed(0)
        rgb = fcn_keras.FCN16s(3, backbone, weights=None)
        shake(rgb)
        grey = fcn_keras.FCN16s(3, backbone, weights=None, channels=1)
        grey.set_weights(rgb.get_weights())
        image = photo(1)
        np.testing.assert_array_equal(grey(image), rgb(np.repeat(image, 3, axis=-1)))


@pytest.mark.parametrize("make", [fcn_keras.FCN32s, fcn_keras.FCN8s, fcn.FCN4s])
@pytest.mark.parametrize("backbone", ["mini_vgg", "resnet50", "efficientnet_v2_b0"])
def test_a_net_for_six_channels_in_other_ranges_is_the_net_for_rgb(make, backbone):
    """It also pads with the same colour: the sides are no multiples of the stride."""
    keras.utils.set_random_seed(1)
    rgb = shake(make(3, backbone, weights=None))
    ranges = [(0, 65535), (-1, 1), (0.5, 10)] * 2
    net = make(3, backbone, weights=None, channels=ranges)
    bgr = BACKBONES[backbone].preprocessing == "caffe"
    ours = {layer.name: layer for layer in net._flatten_layers() if not hasattr(layer, "layers")}
    for layer in rgb._flatten_layers():
        if not hasattr(layer, "layers") and layer.weights:
            ours[layer.name].set_weights(repeat_weights(layer, ours[layer.name], bgr))
    image = photo()
    low, high = np.array(ranges, "float32").T
    raw = low + np.concatenate([image, image], axis=-1) / 255 * (high - low)
    wanted = np.asarray(rgb(image))
    np.testing.assert_allclose(net(raw), wanted, atol=2e-4 * np.abs(wanted).max())


def test_a_saved_and_an_upgraded_net_keep_channels_and_ranges(tmp_path):
    coarse = shake(fcn_keras.FCN32s(3, "mini_vgg", weights=None, channels=RGBD))
    net = fcn_keras.upgrade(coarse)
    finest = fine_fcn.make_fine_fcn(fcn_keras.upgrade(net), 2)
    image = photo(4, size=(64, 96)) * [1, 1, 1, 0.03]
    for model in (coarse, net, finest):
        model.save(tmp_path / "net.keras")
        loaded = fcn_keras.load_model(tmp_path / "net.keras")
        np.testing.assert_array_equal(loaded(image), model(image))
        np.testing.assert_allclose(get_ranges(loaded), RGBD)
        assert model.get_layer("scaling").get_config() == loaded.get_layer("scaling").get_config()
    assert coarse.get_layer("scaling").scale == finest.get_layer("scaling").scale
    np.testing.assert_allclose(net.get_layer("score_fr")(net.get_layer("backbone")(image)[-1]).shape[-1], 3)


def test_half_precision_holds_sixteen_bits():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        net = fcn_keras.FCN32s(2, "mini_vgg", weights=None, channels=[(0, 65535)])
    finally:
        keras.config.set_dtype_policy(policy)
    shake(net)
    assert np.isfinite(net(np.full((1, 32, 32, 1), 65535.0))).all()


def test_a_net_for_more_channels_starts_from_one_for_rgb():
    rgb, net = (
        shake(fcn_keras.FCN32s(3, "resnet50", weights=None)),
        fcn_keras.FCN32s(3, "resnet50", weights=None, channels=6),
    )
    assert "its backbone" in start_from(net, rgb)
    image, wanted = photo(), np.asarray(rgb(photo()))
    np.testing.assert_allclose(net(np.concatenate([image] * 2, axis=-1)), wanted, atol=2e-4 * np.abs(wanted).max())
    with pytest.raises(ValueError, match=r"another backbone or other channels.*Fix: "):
        start_from(rgb, net)
    other = fcn_keras.FCN32s(3, "resnet50", weights=None, channels=[(0, 1)] * 6)
    start_from(other, net)  # other ranges, but the same backbone
    np.testing.assert_allclose(
        other(np.concatenate([image] * 2, axis=-1) / 255), wanted, atol=2e-4 * np.abs(wanted).max()
    )


def test_a_backbone_for_these_channels_is_not_changed():
    def make(weights):
        x = image = keras.Input((None, None, 4))
        for stage in range(5):
            x = keras.layers.Conv2D(3, 3, strides=2, padding="same", name=f"conv{stage}")(x)
        return keras.Model(image, x)

    backbone = Backbone(make, ("conv2", "conv3", "conv4"), pretrained=None)
    assert fcn_keras.FCN8s(2, backbone, channels=RGBD).get_layer("backbone").input_shape[-1] == 4
    for channels in (3, 5):
        with pytest.raises(ValueError, match=rf"backbone for 4 channels: expected {channels}, or 3\. Fix: channels=4"):
            fcn_keras.FCN8s(2, backbone, channels=channels)


@pytest.mark.parametrize("channels", [0, -1, [], [(0, 0)], [(5, 1)], [(0, np.nan)], [(0, 1, 2)], [0, 255]])
def test_other_channels_are_refused(channels):
    with pytest.raises(ValueError, match=r"Found channels=.*expected the number of channels, or"):
        fcn_keras.FCN32s(2, "mini_vgg", weights=None, channels=channels)


def test_ranges_survive_exactly():
    draw = np.random.default_rng(0)
    for _ in range(200):
        low = draw.normal(size=4) * 10.0 ** draw.integers(-3, 6, 4)
        ranges = np.stack([low, low + draw.uniform(1, 9, 4) * 10.0 ** draw.integers(0, 6, 4)], axis=-1).astype(
            "float32"
        )
        _, scaling = make_scaling(ranges.tolist())
        image = keras.Input((None, None, 4))
        found = get_ranges(keras.Model(image, scaling(image)))
        _, again = make_scaling(found)
        np.testing.assert_allclose(found, ranges, rtol=1e-6, atol=1e-6)
        assert (again.scale, again.offset) == (scaling.scale, scaling.offset)
    assert make_scaling([(0, 255)] * 3) == (3, None)
    assert get_ranges(fcn_keras.FCN32s(2, "mini_vgg", weights=None, channels=[(0, 255)] * 3)) is None
    assert get_ranges(fcn_keras.FCN32s(2, "mini_vgg", weights=None, channels=2)) == [[0, 255]] * 2
    assert fcn_keras.FCN32s(2, "mini_vgg", weights=None, channels=5).get_layer("pad").color == (
        *MEAN_COLOR,
        *MEAN_COLOR[:2],
    )
