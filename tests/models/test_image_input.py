"""Images are padded as little as possible: every map covers the image, crops fit, and no pixel can be saved."""

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import fcn_keras
from fcn_keras import geometry
from fcn_keras.geometry import Geometry
from fcn_keras.inference.tiling import Tiling
from fcn_keras.layers.padding import PadToStride
from fcn_keras.layers.preprocessing import MEAN_COLOR
from fcn_keras.models import BACKBONES, Backbone, FCN8s, FCN16s, FCN32s, fusion, upgrade
from fcn_keras.models.any_size import allow_any_size, places_units_by_size
from fcn_keras.models.image_input import apply_to_image, make_least_padding

layers = keras.layers
SIZES = [*range(1, 98), 128, 129, 224, 241, 242, 256, 257, 300, 384, 500, 511, 512, 513, 600]


def strided(kernel, padding="same", width=4):
    """Five strided convolutions, the last three of which are the maps."""
    x = image = keras.Input((None, None, 3))
    for level in range(1, 6):
        x = layers.Conv2D(width, kernel, strides=2, padding=padding, activation="relu", name=f"level{level}")(x)
    return keras.Model(image, x)


def own(trunk):
    return Backbone(lambda weights: trunk, tuple(f"level{level}" for level in (3, 4, 5)), pretrained=None)


def keras_own(constructor, **arguments):
    trunk = constructor(weights=None, include_top=False, **arguments)
    return Backbone(lambda weights: trunk, fcn_keras.models.find_feature_layers(trunk), pretrained=None)


def pooled():
    """With ``same`` padding, the units of poolings move with the size. The sides must then be multiples of the stride."""
    x = image = keras.Input((None, None, 3))
    for level in range(1, 6):
        x = layers.MaxPooling2D(3, strides=2, padding="same", name=f"level{level}")(x)
    return own(keras.Model(image, x))


NETWORKS = {
    "mini_vgg": lambda: BACKBONES["mini_vgg"],
    "mobilenet_v2": lambda: BACKBONES["mobilenet_v2"],
    "resnet50": lambda: BACKBONES["resnet50"],
    "efficientnet_v2_b0": lambda: BACKBONES["efficientnet_v2_b0"],
    "mobilenet_v2 for 224 pixels": lambda: keras_own(
        keras.applications.MobileNetV2, alpha=0.35, input_shape=(224, 224, 3)
    ),
    "odd kernels": lambda: own(strided(3)),
    "even kernels": lambda: own(strided(4)),
    "large kernels": lambda: own(strided(7)),
    "poolings": pooled,
}


@functools.cache
def network_of(name):
    return NETWORKS[name]().feature_extractor(weights=None)


@functools.cache
def units(name, side):
    """The units of each map for padded sides, as Keras computes them: one side along the rows, one along the columns."""
    return _units(name, side // 2 * 2)[side % 2]


@functools.cache
def _units(name, side):
    try:
        shapes = network_of(name).compute_output_shape((1, max(side, 1), side + 1, 3))
    except ValueError:  # at least one of the two is too small for a valid convolution or pooling
        return [0, 0, 0], _alone(name, side + 1)
    return [shape[1] for shape in shapes], [shape[2] for shape in shapes]


def _alone(name, side):
    try:
        return [shape[1] for shape in network_of(name).compute_output_shape((1, side, side, 3))]
    except ValueError:
        return [0, 0, 0]


def covers(geometries, counts, side):
    """Whether the first and the last pixel lie near enough to the outermost units; see the docstring of the module."""
    *_, middle, coarsest = geometries
    on_units = (coarsest.offset - middle.offset) % middle.stride == 0
    outside = [0 if on_units and g is not coarsest else g.stride / 2 for g in geometries]
    ends = [(g.centre(0), g.centre(n - 1), pixels) for g, n, pixels in zip(geometries, counts, outside, strict=True)]
    return min(counts) > 0 and all(first <= pixels and last >= side - 1 - pixels for first, last, pixels in ends)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_size_is_covered_and_every_crop_fits(name):
    """Checks by arithmetic that the upsampled scores of each map reach as far as the next map, and as far as the image."""
    network = network_of(name)
    pad = make_least_padding(network)
    geometries = geometry.trace_outputs(network, incoming=Geometry(offset=-pad.before))
    for side in SIZES:
        padded = pad.compute_output_shape((1, side, side, 3))[1]
        counts = units(name, padded)
        assert padded >= side + pad.before and covers(geometries, counts, side), side
        targets = [(Geometry(), side), *zip(geometries, counts, strict=True)]
        for fine, coarse in [(0, 1), (1, 2), (2, 3), (0, 2), (0, 3)]:  # of FCN-8s; the last of FCN-16s and FCN-32s
            (target, needed), (found, count) = targets[fine], targets[coarse]
            factor, kernel, crop = fusion.upsampling_sizes(found, target)
            assert crop >= 0 and factor * (count - 1) + kernel - crop >= needed, side


@pytest.mark.parametrize(
    "name", ["mini_vgg", "mobilenet_v2", "odd kernels", "mobilenet_v2 for 224 pixels", "even kernels"]
)
def test_no_smaller_padding_covers_the_image(name):
    """Compares with a search through all larger sizes and all paddings at the start."""
    network = network_of(name)
    pad = make_least_padding(network)
    for before in range(pad.before):
        shifted = geometry.trace_outputs(network, incoming=Geometry(offset=-before))
        assert not any(covers(shifted, units(name, s), 1) for s in range(before + 1, 100))
    shifted = geometry.trace_outputs(network, incoming=Geometry(offset=-pad.before))
    for side in range(1, 98):
        least = next(s for s in range(side + pad.before, 300) if covers(shifted, units(name, s), side))
        assert pad.compute_output_shape((1, side, side, 3))[1] == least


@pytest.mark.parametrize(
    ("names", "before", "sides"),
    [
        (["mini_vgg"], 0, [224, 256, 384, 512, 512]),
        (
            ["mobilenet_v2", "resnet50", "efficientnet_v2_b0", "odd kernels", "large kernels"],
            0,
            [225, 257, 385, 513, 513],
        ),
        (["mobilenet_v2 for 224 pixels"], 14, [239, 271, 399, 527, 527]),
        (["poolings"], 15, [256, 288, 416, 544, 544]),
    ],
)
def test_pixels_that_are_computed(names, before, sides):
    """Checks the table in the docstring of the module. VGG16 and VGG19 have the same poolings as MiniVGG."""
    for name in names:
        pad = make_least_padding(network_of(name))
        found = [pad.compute_output_shape((1, side, side, 3))[1] for side in (224, 256, 384, 500, 512)]
        assert (pad.before, found) == (before, sides)
    vgg16 = geometry.trace_outputs(BACKBONES["vgg16"].feature_extractor(None, head=None))
    assert [g.offset for g in vgg16] == [g.offset for g in geometry.trace_outputs(network_of("mini_vgg"))]


def randomized(model, seed=1):
    generator = np.random.default_rng(seed)
    for name in ("score_fr", "score_pool4", "score_pool3"):
        layer = model.get_layer(name)
        layer.set_weights([generator.normal(size=weight.shape) for weight in layer.get_weights()])
    return model


def photo(height, width):
    return np.random.default_rng(0).uniform(0, 255, (1, height, width, 3)).astype("float32")


def padded_by(model, pad):
    """The same FCN-8s with a different padding layer."""
    image, maps, geometries = apply_to_image(allow_any_size(model.get_layer("backbone")), "none", pad)
    logits = fusion.fuse(maps, geometries, image, num_classes=3, finest=8)
    other = keras.Model(image, logits)
    for name in ("score_fr", "score_pool4", "score_pool3"):
        other.get_layer(name).set_weights(model.get_layer(name).get_weights())
    return other


@pytest.mark.parametrize("trunk", ["on pixels", "between pixels"])
@pytest.mark.parametrize(("before", "after"), [(0, 16), (32, 64), (96, 96)])
def test_logits_are_those_of_a_generous_padding_but_near_the_border(trunk, before, after):
    """Wherever the window of a pixel's logits, the halo of `Tiling`, lies inside the image. At the border they differ:

    in place of the colour's features a map has zeros there, which is how Keras' convolutions pad.
    """
    keras.utils.set_random_seed(0)
    model = randomized(FCN8s(3, own(strided(3 if trunk == "on pixels" else 2))))
    generous = padded_by(model, PadToStride(32, before, after, MEAN_COLOR))
    (halo, _) = Tiling.for_model(model, 64).halo
    for height, width in [(2 * halo + 45, 2 * halo + 70), (2 * halo + 64, 2 * halo + 33)]:
        found, expected = (np.array(net(photo(height, width))) for net in (model, generous))
        inside = (slice(None), slice(halo, -halo), slice(halo, -halo))
        assert np.ptp(expected[inside]) > 0.5
        np.testing.assert_allclose(found[inside], expected[inside], rtol=0, atol=1e-5 * np.abs(expected).max())
        if (trunk, before) != ("between pixels", 0):
            assert np.abs(found - expected).max() > 1e-3


def test_explicit_padding_is_what_keras_does_for_sides_with_a_remainder_of_one():
    for kernel in (2, 3, 4, 5):
        trunk = strided(kernel)
        explicit = allow_any_size(trunk, explicit_padding=True)
        x = photo(65, 97)
        np.testing.assert_allclose(explicit(x), trunk(x), atol=1e-6)
        assert not any(map(places_units_by_size, explicit.layers))
        assert any(map(places_units_by_size, trunk.layers)) == (kernel in (3, 5))
        (found,) = geometry.trace_outputs(explicit)
        assert found.offset == (0 if kernel % 2 else 15.5)


def test_the_units_of_a_strided_network_stay_where_geometry_says():
    """One white column lights one unit. If Keras padded, the unit could move by up to 31 pixels with the size."""
    network = network_of("odd kernels")
    (*_, found) = geometry.trace_outputs(network)
    ones = [np.ones_like(weight) if weight.ndim == 4 else weight for weight in network.get_weights()]
    network = allow_any_size(network)
    network.set_weights(ones)
    for width in range(160, 193):
        image = np.zeros((1, 33, width, 3), "float32")
        image[:, :, 96] = 1
        lit = np.flatnonzero(np.array(network(image)[-1])[0, 0, :, 0])
        reach = (found.receptive_field - 1) / 2
        assert lit.tolist() == [i for i in range(8) if abs(found.centre(i) - 96) <= reach and found.centre(i) < width]


def test_a_network_whose_poolings_move_is_left_alone():
    x = image = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="conv")(x)
    model = keras.Model(image, layers.MaxPooling2D(3, strides=2, padding="same")(x))
    assert allow_any_size(model, explicit_padding=True).get_layer("conv").padding == "same"
    assert allow_any_size(keras.Model(image, x), explicit_padding=True).get_layer("conv").padding == "valid"


def test_an_upgrade_keeps_the_padding_that_its_net_was_trained_with():
    """Nets of the first edition, and nets made from them, pad to multiples of 32 plus a margin."""
    image, maps, geometries = apply_to_image(
        allow_any_size(strided_maps()), "none", PadToStride(32, 0, 16, MEAN_COLOR, name="pad")
    )
    old = keras.Model(image, fusion.fuse(maps, geometries, image, num_classes=3, finest=32), name="fcn32s")
    weights = old.get_layer("score_fr").get_weights()
    old.get_layer("score_fr").set_weights([np.random.default_rng(1).normal(size=w.shape) for w in weights])
    for _ in range(2):
        new = upgrade(old)
        assert new.get_layer("pad").get_config() == old.get_layer("pad").get_config()
        expected = np.array(old(photo(45, 64)))
        np.testing.assert_allclose(new(photo(45, 64)), expected, atol=1e-5 * np.abs(expected).max())
        old = new


def strided_maps():
    trunk = allow_any_size(strided(3), explicit_padding=True)
    return keras.Model(trunk.input, [trunk.get_layer(f"level{level}").output for level in (3, 4, 5)], name="backbone")


def test_upgrades_start_where_the_coarser_net_stopped_for_every_size():
    """The predictions are equal at every pixel if units lie on pixels."""
    keras.utils.set_random_seed(0)
    fcn32s = FCN32s(3, own(strided(3)))
    layer = fcn32s.get_layer("score_fr")
    layer.set_weights([np.random.default_rng(1).normal(size=weight.shape) for weight in layer.get_weights()])
    fcn16s = upgrade(fcn32s)
    nets = [fcn32s, fcn16s, upgrade(fcn16s)]
    run = tf.function(
        lambda x: [net(x) for net in nets],
        input_signature=[tf.TensorSpec((1, None, None, 3))],
    )
    for side in [*range(1, 71), 97, 224]:
        expected, *found = (logits.numpy() for logits in run(photo(side, 71 - side if side < 71 else 5)))
        for logits in found:
            np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("net", [FCN32s, FCN16s, FCN8s])
def test_the_smallest_images(net):
    model = net(3, own(strided(3)))
    for size in [(1, 1), (1, 2), (2, 17), (16, 18), (33, 1)]:
        assert model(photo(*size)).shape == (1, *size, 3)


def test_the_padding_of_the_first_edition_is_loaded_as_it_was():
    config = {
        "name": "pad",
        "trainable": True,
        "dtype": "float32",
        "stride": 32,
        "before": 16,
        "after": 3,
        "colour": [1, 2, 3],
    }
    pad = PadToStride.from_config(config)
    for side in range(1, 100):
        assert pad.compute_output_shape((1, side, 1, 3))[1] == math.ceil((side + 19) / 32) * 32
    again = PadToStride.from_config(make_least_padding(network_of("odd kernels")).get_config())
    assert [again.compute_output_shape((1, side, side, 3))[1] for side in (1, 2, 17, 18, 33, 34, 50)] == [
        1,
        17,
        17,
        33,
        33,
        49,
        65,
    ]
