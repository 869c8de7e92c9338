"""FCN-32s, FCN-16s, FCN-8s and FCN-4s: their sizes, alignment, weights and stages."""

import dataclasses
import gc

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from fcn_keras import geometry
from fcn_keras.layers._keras import get_layer_calls
from fcn_keras.layers.depthwise import BilinearDepthwiseConv2DTranspose
from fcn_keras.layers.preprocessing import MEAN_COLOR
from fcn_keras.layers.upsampling import BilinearConv2DTranspose, BilinearUpsampling2D
from fcn_keras.models.backbones import BACKBONES, Backbone
from fcn_keras.models.fcn import FCN4s, FCN8s, FCN16s, FCN32s, upgrade
from fcn_keras.models.mini_vgg import MiniVGG

NETS = {"32s": FCN32s, "16s": FCN16s, "8s": FCN8s}
SCORES = ("score_fr", "score_pool4", "score_pool3")
ON_PIXELS = ("mobilenet_v2", "resnet50", "efficientnet_v2_b0")  # backbones whose units lie on pixels
CLASSES = 4


def photo(height, width, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (1, height, width, 3)).astype("float32")


def names(model):
    return [layer.name for layer in model.layers]


def randomize_scores(model, seed=1):
    """Gives the score layers random weights. They start at zero, which would hide most mistakes."""
    generator = np.random.default_rng(seed)
    for name in SCORES:
        if name in names(model):
            weights = model.get_layer(name).get_weights()
            model.get_layer(name).set_weights([generator.normal(size=w.shape) for w in weights])
    return model


def run(model, *inputs):
    return np.asarray(model([keras.ops.convert_to_tensor(x) for x in inputs] if len(inputs) > 1 else inputs[0]))


def assert_close(found, expected, rtol=1e-5):
    """Compares up to `rtol` of the largest logit."""
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * np.abs(expected).max())


@pytest.fixture(scope="module")
def mini():
    """The three nets on MiniVGG with random scores. Tests must not change them."""
    return {name: randomize_scores(net(CLASSES, "mini_vgg", None)) for name, net in NETS.items()}


@pytest.fixture(scope="module", params=ON_PIXELS)
def coarse(request):
    """An FCN-32s on each modern backbone, and its name. Tests must not change it."""
    yield randomize_scores(FCN32s(CLASSES, request.param, None)), request.param
    gc.collect()


@pytest.mark.parametrize("net", NETS)
def test_logits_of_the_images_own_size(mini, net):
    model = tf.function(mini[net], input_signature=[tf.TensorSpec((None, None, None, 3))])
    for height in (1, 2, 31, 32, 33, 47, 65, 100):
        for width in (1, 2, 31, 32, 33, 47, 65, 100):
            logits = model(photo(height, width)).numpy()
            assert logits.shape == (1, height, width, CLASSES)
            assert np.isfinite(logits).all()


def test_vgg19():
    model = FCN8s(CLASSES, "vgg19", None, head=None)
    for size in [(1, 1), (33, 47)]:
        logits = run(model, photo(*size))
        assert logits.shape == (1, *size, CLASSES)
        assert (logits == 0).all()
    del model
    keras.backend.clear_session()
    gc.collect()


def test_names_are_the_authors(mini):
    assert {"score_fr", "upscore"} <= set(names(mini["32s"]))
    assert {"score_fr", "upscore2", "score_pool4", "upscore16"} <= set(names(mini["16s"]))
    assert {"score_fr", "upscore2", "score_pool4", "upscore_pool4", "score_pool3", "upscore8"} <= set(names(mini["8s"]))
    assert mini["8s"].name == "fcn8s" and FCN32s(2, "mini_vgg", None, name="own").name == "own"


PREPROCESSING = {
    "mobilenet_v2": keras.applications.mobilenet_v2.preprocess_input,
    "resnet50": keras.applications.resnet.preprocess_input,
    "efficientnet_v2_b0": keras.applications.efficientnet_v2.preprocess_input,
}


def test_preprocessing_is_inside_and_the_backbones_own(coarse):
    """Pads, preprocesses with keras.applications, runs the backbone and scores, step by step."""
    net, name = coarse
    image = photo(64, 96)
    top = net.get_layer("backbone")(PREPROCESSING[name](run(net.get_layer("pad"), image).copy()))[-1]
    kernel, bias = net.get_layer("score_fr").get_weights()
    scores = keras.Model(net.input, net.get_layer("score_fr").output)
    assert_close(run(scores, image), np.asarray(top) @ kernel[0, 0] + bias, rtol=1e-4)


def thin_vgg16():
    """The layers of `keras.applications.VGG16` by name, with few channels."""
    x = image = keras.Input((224, 224, 3))
    for block, count in enumerate((2, 2, 3, 3, 3), start=1):
        for i in range(1, count + 1):
            name = f"block{block}_conv{i}"
            x = keras.layers.Conv2D(4, 3, padding="same", bias_initializer="normal", name=name)(x)
        x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = keras.layers.Flatten()(x)
    for name in ("fc1", "fc2"):
        x = keras.layers.Dense(8, "relu", bias_initializer="normal", name=name)(x)
    return keras.Model(image, keras.layers.Dense(2, "softmax", name="predictions")(x))


def test_vgg16_keeps_the_weights_and_biases_of_the_classifier():
    classifier = thin_vgg16()
    model = FCN32s(CLASSES, dataclasses.replace(BACKBONES["vgg16"], build=lambda weights: classifier))
    trunk = model.get_layer("backbone")
    for layer in classifier.layers:
        if layer.weights and layer.name != "predictions":
            ours, theirs = trunk.get_layer(layer.name), layer
            np.testing.assert_array_equal(np.reshape(ours.kernel, theirs.kernel.shape), theirs.kernel)
            np.testing.assert_array_equal(ours.bias, theirs.bias)
    assert trunk.get_layer("fc1").kernel.shape == (7, 7, 4, 8)
    assert trunk.get_layer("fc2").kernel.shape == (1, 1, 8, 8)
    assert [trunk.get_layer(f"{name}_dropout").rate for name in ("fc1", "fc2")] == [0.5, 0.5]
    assert model.count_params() == classifier.count_params() - 2 * 9 + CLASSES * 9
    assert run(model, photo(33, 47)).shape == (1, 33, 47, CLASSES)


def test_scores_start_at_zero_and_logits_too():
    for net in NETS.values():
        assert (run(net(CLASSES, "mini_vgg", None), photo(40, 50)) == 0).all()


LEARNED = {
    "frozen": {"32s": [], "16s": [], "8s": []},
    "learned_inner": {"32s": [], "16s": ["upscore2"], "8s": ["upscore2", "upscore_pool4"]},
    "learned": {"32s": ["upscore"], "16s": ["upscore2", "upscore16"], "8s": ["upscore2", "upscore_pool4", "upscore8"]},
}
LEARNED["learned_depthwise"] = LEARNED["learned"]


@pytest.mark.parametrize("upsampling", LEARNED)
@pytest.mark.parametrize("net", NETS)
def test_which_upsampling_is_learned(mini, upsampling, net):
    model = randomize_scores(NETS[net](CLASSES, "mini_vgg", None, upsampling=upsampling))
    kind = BilinearDepthwiseConv2DTranspose if upsampling == "learned_depthwise" else BilinearConv2DTranspose
    learned = [layer.name for layer in model.layers if isinstance(layer, kind)]
    assert learned == LEARNED[upsampling][net]
    assert all(len(model.get_layer(name).trainable_weights) == 1 for name in learned)
    fixed = [layer for layer in model.layers if isinstance(layer, BilinearUpsampling2D)]
    assert len(fixed) + len(learned) == {"32s": 1, "16s": 2, "8s": 3}[net]
    assert not any(layer.weights for layer in fixed)
    model.get_layer("backbone").set_weights(mini[net].get_layer("backbone").get_weights())
    assert_close(run(model, photo(70, 45)), run(mini[net], photo(70, 45)))  # all start bilinear


def decoder(model):
    """The net after its backbone: a model from the backbone's maps and the image to logits."""
    copy = keras.models.clone_model(model)  # Keras gives the layers below a cut new nodes
    copy.set_weights(model.get_weights())
    maps = get_layer_calls(copy.get_layer("backbone"))[-1].output_tensors
    return keras.Model([*maps[-len(geometries_of(model)) :], copy.input], copy.output)


def geometries_of(model):
    """The geometries of the maps that the model uses, on the unpadded image, the finest first."""
    incoming = geometry.Geometry(offset=-model.get_layer("pad").before)
    found = geometry.trace_outputs(model.get_layer("backbone"), incoming=incoming)
    return found[-sum(name in names(model) for name in SCORES) :]


def assert_deltas_land_on_centres(model):
    """If one unit is 1 and all others are 0, the logits are centred on the same pixel as the unit."""
    top, image = decoder(model), photo(320, 320)
    shapes = model.get_layer("backbone").compute_output_shape(run(model.get_layer("pad"), image).shape)
    shapes = shapes[-len(geometries_of(model)) :]
    for lit, found in enumerate(geometries_of(model)):
        maps = [np.zeros(shape, "float32") for shape in shapes]
        row, column = 128 // found.stride, 192 // found.stride
        maps[lit][0, row, column] = 1
        dark = run(top, *[0 * m for m in maps], image)
        light = np.abs(run(top, *maps, image) - dark).sum((0, -1)).astype("float64")
        pixels = np.arange(320)
        assert light.sum(1) @ pixels / light.sum() == pytest.approx(found.centre(row), abs=1e-3)
        assert light.sum(0) @ pixels / light.sum() == pytest.approx(found.centre(column), abs=1e-3)


@pytest.mark.parametrize("net", NETS)
def test_a_unit_paints_its_score_where_it_looks(mini, net):
    assert_deltas_land_on_centres(mini[net])


def averages(*pools):
    """A backbone that only averages: each unit is the mean of the image around its centre."""
    x = image = keras.Input((None, None, 3))
    for level, pool in enumerate(pools, start=1):
        x = pool(x)
        x = keras.layers.Activation("linear", name=f"level{level}")(x)
    trunk = keras.Model(image, x)
    return Backbone(lambda weights: trunk, tuple(f"level{level}" for level in (3, 4, 5)), pretrained=None)


def halving(kernel, padding):
    return keras.layers.AveragePooling2D(kernel, strides=2, padding=padding)


AVERAGES = {  # where the first unit lies, and so whether kernels are even or odd, is different for each
    "between pixels": lambda: averages(*[halving(2, "valid") for _ in range(5)]),
    "on pixels, same": lambda: averages(*[halving(3, "same") for _ in range(5)]),
    "mixed": lambda: averages(*[halving(k, "same") for k in (3, 2, 4, 5, 2)]),
    "mixed, wide": lambda: averages(*[halving(k, "same") for k in (7, 5, 2, 3, 5)]),
}


@pytest.mark.parametrize("trunk", AVERAGES)
def test_a_ramp_stays_a_ramp(trunk):
    """The image holds its own coordinates. Each skip, and all together, return them with an error below 1e-3 pixels."""
    model = FCN8s(2, AVERAGES[trunk]())
    side, margin = 384, 150  # the averaged padding reaches that far in
    rows, columns = np.mgrid[:side, :side]
    image = np.stack([rows, columns, 0 * rows], -1)[None].astype("float32")
    identity = np.eye(3, 2, dtype="float32")[None, None]
    inside = slice(margin, -margin)
    for used in ([0], [1], [2], [0, 1, 2]):
        for i, name in enumerate(SCORES):
            model.get_layer(name).set_weights([identity * (i in used), np.zeros(2)])
        logits = run(model, image)[0, inside, inside] / len(used)
        np.testing.assert_allclose(logits, image[0, inside, inside, :2], atol=1e-3)


def test_every_pixel_of_a_flat_image_gets_a_score():
    """The units reach the border: on an image with the colour of the padding, every pixel gets a score."""
    for make in AVERAGES.values():
        model = FCN32s(2, make())
        model.get_layer("score_fr").set_weights([np.eye(3, 2)[None, None], np.zeros(2)])
        image = np.broadcast_to(np.float32(MEAN_COLOR), (1, 37, 70, 3))
        assert run(model, image)[..., 0].min() > 0.249 * MEAN_COLOR[0]  # half a stride along both axes


@pytest.mark.parametrize("net", NETS)
def test_shifted_images_give_shifted_logits(mini, net):
    """Shifts by one stride of the last map. Only pixels near the left and right border may differ."""
    wide = photo(64, 672)
    left, right = run(mini[net], wide[:, :, :640])[:, :, 32:], run(mini[net], wide[:, :, 32:])[:, :, :-32]
    margin = 256
    assert_close(left[:, :, margin:-margin], right[:, :, margin:-margin])
    assert np.abs(left - np.roll(left, 32, axis=2)).max() > 1e-2 * np.abs(left).max()


def normalized():
    """A backbone with batch normalization whose units lie on pixels, as those of MobileNetV2 and ResNet50 do."""
    x = image = keras.Input((None, None, 3))
    for level in range(1, 6):
        x = keras.layers.Conv2D(6, 3, strides=2, padding="same")(x)
        x = keras.layers.BatchNormalization(name=f"level{level}")(x)
    trunk = keras.Model(image, x)
    return Backbone(lambda weights: trunk, ("level3", "level4", "level5"), "tf", pretrained=None)


def test_upgraded_nets_start_as_the_coarser_net():
    """If units lie on pixels, they are equal up to 1e-5, for FCN-16s and FCN-8s, also with trained scores."""
    net = randomize_scores(FCN32s(CLASSES, normalized()))
    assert_deltas_land_on_centres(net)
    image = photo(65, 47)
    expected = run(net, image)
    fcn16s = upgrade(net)
    assert_close(run(fcn16s, image), expected)
    assert_close(run(upgrade(fcn16s), image), expected)
    randomize_scores(fcn16s, seed=2)
    fcn8s = upgrade(fcn16s, name="finest")
    assert_close(run(fcn8s, image), run(fcn16s, image))
    assert (fcn16s.name, fcn8s.name) == ("fcn16s", "finest")
    trunk = fcn8s.get_layer("backbone").layers
    assert not any(layer.trainable for layer in trunk if isinstance(layer, keras.layers.BatchNormalization))
    randomize_scores(fcn8s, seed=3)
    assert_deltas_land_on_centres(fcn8s)
    for size in [(1, 1), (33, 64), (31, 2)]:
        assert run(fcn8s, photo(*size)).shape == (1, *size, CLASSES)
    np.testing.assert_array_equal(run(net, image), expected)


def test_an_upgraded_vgg_starts_as_the_coarser_net_but_for_the_interpolation(mini):
    """Up to the fused scores nothing changes. After them, upsampling ×2 and then ×16 cuts off the peak that ×32 has."""
    fcn32s, image = mini["32s"], photo(70, 100)
    fcn16s = upgrade(fcn32s)
    fused = keras.Model(fcn16s.input, [fcn16s.get_layer("upscore2_crop").output, fcn16s.get_layer("fuse_pool4").output])
    before, after = fused(image)
    assert np.ptp(before) > 0
    np.testing.assert_array_equal(before, after)

    scores = keras.Model(fcn32s.input, fcn32s.get_layer("score_fr").output)
    np.testing.assert_array_equal(scores(image), keras.Model(fcn16s.input, fcn16s.get_layer("score_fr").output)(image))
    for net, steps in ((fcn32s, [32]), (fcn16s, [2, 16])):
        assert_close(run(net, image), interpolated(run(scores, image), steps)[:, :70, :100])


def interpolated(x, factors):
    """Interpolates with matrices. In each step the units lie between pixels, and the map is zero outside."""
    for factor in factors:
        units = (np.arange(x.shape[1]) + 0.5) * factor - 0.5, (np.arange(x.shape[2]) + 0.5) * factor - 0.5
        rows, columns = (np.maximum(0, 1 - np.abs(np.arange(len(u) * factor)[:, None] - u) / factor) for u in units)
        x = np.einsum("yi,xj,bijc->byxc", rows, columns, x.astype("float64"))
    return x


def test_how_blunt_the_tent_of_two_steps_is():
    """At the centre of unit i, the score is s_i + (s_{i−1} − 2 s_i + s_{i+1}) / 8 instead of about s_i, along one axis."""
    scores = np.random.default_rng(0).normal(size=(1, 1, 5, 1))
    row = interpolated(np.repeat(scores, 3, axis=1), [2, 16])[0, 48, :, 0]
    two_steps = (row[32 * np.arange(1, 4) + 15] + row[32 * np.arange(1, 4) + 16]) / 2  # the centre lies between these
    s = scores[0, 0, :, 0]
    np.testing.assert_allclose(two_steps, s[1:-1] + (s[:-2] - 2 * s[1:-1] + s[2:]) / 8, atol=1e-12)


def test_upgrading_leaves_the_coarser_net_alone(mini):
    fcn32s = mini["32s"]
    before = [w.copy() for w in fcn32s.get_weights()]
    finer = upgrade(fcn32s)
    finer.set_weights([w + 1 for w in finer.get_weights()])
    for ours, theirs in zip(fcn32s.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert names(fcn32s) == names(FCN32s(CLASSES, "mini_vgg", None))


def test_upgrading_copies_what_was_learned_and_keeps_the_kind_of_upsampling():
    fcn16s = randomize_scores(FCN16s(CLASSES, "mini_vgg", None, upsampling="learned"))
    upscore2 = fcn16s.get_layer("upscore2")
    upscore2.set_weights([upscore2.get_weights()[0] + 0.1])
    fcn8s = upgrade(fcn16s)
    np.testing.assert_array_equal(fcn8s.get_layer("upscore2").kernel, upscore2.kernel)
    np.testing.assert_array_equal(fcn8s.get_layer("score_pool4").kernel, fcn16s.get_layer("score_pool4").kernel)
    assert isinstance(fcn8s.get_layer("upscore8"), BilinearConv2DTranspose)
    with pytest.raises(ValueError, match="layer 'upscore2' .*is a BilinearUpsampling2D with no weights there"):
        upgrade(fcn16s, "frozen")
    thawed = upgrade(FCN16s(CLASSES, "mini_vgg", None), "learned_inner")
    assert isinstance(thawed.get_layer("upscore2"), BilinearConv2DTranspose)
    assert (np.asarray(fcn8s.get_layer("score_pool3").kernel) == 0).all()


def test_upgrading_an_own_backbone_with_adapted_normalization():
    x = image = keras.Input((None, None, 3))
    normalization = keras.layers.Normalization()
    normalization.adapt(photo(32, 32))
    x = normalization(image)
    for level in range(1, 6):
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name=f"level{level}")(x)
    trunk = keras.Model(image, x)
    coarse = randomize_scores(
        FCN32s(2, Backbone(lambda weights: trunk, ("level3", "level4", "level5"), pretrained=None))
    )
    assert_close(run(upgrade(coarse), photo(33, 40)), run(coarse, photo(33, 40)))


@pytest.mark.parametrize("net", NETS)
def test_save_and_load(mini, net, tmp_path):
    mini[net].save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(run(loaded, photo(33, 47)), run(mini[net], photo(33, 47)))
    if net != "8s":
        np.testing.assert_array_equal(run(upgrade(loaded), photo(33, 47)), run(upgrade(mini[net]), photo(33, 47)))


def test_scaled_skips(mini, tmp_path):
    """Scaling the input of a score layer is the same as scaling its kernel."""
    model = randomize_scores(FCN8s(CLASSES, "mini_vgg", None, skip_scales=(0.01, 0.0001)))
    model.get_layer("backbone").set_weights(mini["8s"].get_layer("backbone").get_weights())
    logits = run(model, photo(33, 47))
    plain = keras.models.clone_model(mini["8s"])
    plain.set_weights(mini["8s"].get_weights())
    for name, scale in (("score_pool4", 0.01), ("score_pool3", 0.0001)):
        kernel, bias = plain.get_layer(name).get_weights()
        plain.get_layer(name).set_weights([kernel * scale, bias])
    assert_close(logits, run(plain, photo(33, 47)))
    model.save(tmp_path / "at_once.keras")
    np.testing.assert_array_equal(run(keras.saving.load_model(tmp_path / "at_once.keras"), photo(33, 47)), logits)


def test_mixed_precision_gives_float32_logits(mini):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = FCN8s(CLASSES, "mini_vgg", None)
        finer = upgrade(FCN16s(CLASSES, "mini_vgg", None))
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer("backbone").get_layer("conv3_1").compute_dtype == "float16"
    model.set_weights(mini["8s"].get_weights())
    logits = run(model, photo(65, 47))
    assert logits.dtype == run(finer, photo(33, 33)).dtype == np.float32
    assert_close(logits, run(mini["8s"], photo(65, 47)), rtol=0.02)


def test_an_own_network_with_named_taps():
    trunk = keras.applications.MobileNetV2(weights=None, include_top=False, alpha=0.35, input_shape=(96, 96, 3))
    own = Backbone(
        lambda weights: trunk, ("block_6_expand_relu", "block_13_expand_relu", "out_relu"), "tf", pretrained=None
    )
    model = randomize_scores(FCN8s(CLASSES, own))
    assert run(model, photo(50, 70)).shape == (1, 50, 70, CLASSES)
    assert_deltas_land_on_centres(model)
    for ours, theirs in zip(model.get_layer("backbone").get_weights(), trunk.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def mini_backbone(**changes):
    return dataclasses.replace(BACKBONES["mini_vgg"], **changes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes=0: expected 2 or more"),
        ({"backbone": "vgg"}, "backbone='vgg': expected one of vgg16, vgg19"),
        ({"head": "big"}, "head='big'"),
        ({"backbone": "mobilenet_v2", "head": "fc"}, "head='fc'.*no dense layers"),
        ({"upsampling": "linear"}, "upsampling='linear': expected one of"),
        ({"skip_scales": (0.1,)}, "skip_scales"),
        ({"skip_scales": 0.1}, "skip_scales=0.1"),
        ({"backbone": mini_backbone(feature_layers=("pool3", "pool4", "pool6"))}, "no layer 'pool6'.*last layers"),
        (
            {"backbone": mini_backbone(feature_layers=("pool2", "pool4", "pool5"))},
            r"strides \[4, 16, 32\]: expected \(8, 16, 32\)",
        ),
        ({"backbone": mini_backbone(feature_layers=("pool4", "pool3", "pool5"))}, r"strides \[16, 8, 32\]"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        FCN8s(**{"num_classes": CLASSES, "backbone": "mini_vgg", "weights": None, **arguments})


def test_backbones_that_lose_their_border():
    with pytest.raises(ValueError, match=r"\[127, 63, 31\] units for 1024 pixels: expected \[128, 64, 32\].*same"):
        FCN8s(2, averages(*[halving(3, "valid") for _ in range(5)]))
    with pytest.raises(ValueError, match="'upscore2': its map starts 3 units after"):
        FCN8s(2, averages(*[halving(2, "valid") for _ in range(4)], late()))


def late():
    """Halves the map; each unit depends on units up to three further on."""
    stages = [keras.layers.ZeroPadding2D(((0, 5), (0, 5))), halving(7, "valid")]
    return keras.Sequential([keras.Input((None, None, 3)), *stages])


def test_what_cannot_be_upgraded(mini):
    with pytest.raises(ValueError, match="'fcn8s': an FCN-8s is the finest"):
        upgrade(mini["8s"])
    with pytest.raises(ValueError, match="'mini_vgg': expected one made by FCN32s"):
        upgrade(MiniVGG(weights=None))
    with pytest.raises(ValueError, match="upsampling='bogus'"):
        upgrade(mini["32s"], upsampling="bogus")


# --- FCN-4s: one skip more than the paper ---


@pytest.fixture(scope="module")
def nets_8s_and_4s():
    """FCN-8s and FCN-4s on MobileNetV2, whose units lie on pixels, with the same random weights."""
    coarse = randomize_scores(FCN8s(CLASSES, "mobilenet_v2", weights=None))
    fine = FCN4s(CLASSES, "mobilenet_v2", weights=None)
    for name in ("backbone", "score_fr", "score_pool4", "score_pool3"):
        fine.get_layer(name).set_weights(coarse.get_layer(name).get_weights())
    return coarse, fine


@pytest.mark.parametrize("size", [(64, 96), (61, 83), (1, 1)])
def test_before_its_skip_learns_fcn4s_gives_the_logits_of_fcn8s(nets_8s_and_4s, size):
    coarse, fine = nets_8s_and_4s
    assert_close(run(fine, photo(*size)), run(coarse, photo(*size)))


def test_the_skip_of_fcn4s_is_the_map_at_stride_4_upsampled(nets_8s_and_4s):
    """Bilinear interpolation of the scores at stride 4, computed by SciPy where their units lie."""
    coarse, fine = nets_8s_and_4s
    kernel = np.random.default_rng(5).normal(size=fine.get_layer("score_pool2").kernel.shape).astype("float32")
    fine.get_layer("score_pool2").set_weights([kernel, np.zeros(CLASSES)])
    image = photo(64, 96)
    found = run(fine, image) - run(coarse, image)
    fine.get_layer("score_pool2").set_weights([np.zeros_like(kernel), np.zeros(CLASSES)])
    features = np.asarray(keras.Model(fine.input, fine.get_layer("score_pool2").input)(image))[0]
    unit = geometry.trace(fine)["score_pool2"]
    rows, columns = np.mgrid[:64, :96]
    places = [(axis - unit.offset) / unit.stride for axis in (rows, columns)]
    for c, scores in enumerate(np.moveaxis(features @ kernel[0, 0], -1, 0)):
        expected = ndimage.map_coordinates(scores, places, order=1)
        np.testing.assert_allclose(found[0, ..., c], expected, rtol=0, atol=1e-4 * np.abs(found).max())
