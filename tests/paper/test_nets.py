"""The released nets: their crops and strides, PyTorch's logits, and the size of every output."""

import keras
import numpy as np
import peer
import pytest
import tensorflow as tf

import fcn_keras
from fcn_keras import geometry, paper

WIDTH = 1 / 16


def net(name, **kwargs):
    return getattr(paper, name)(**{"num_classes": peer.CLASSES, "width": WIDTH, **kwargs})


@pytest.mark.parametrize("name", peer.NETS)
def test_logits_are_pytorchs(name):
    model, stored = net(name), np.load(peer.STORED)
    paper.load_state_dict(model, peer.state_dict(name))
    assert_close(model(peer.picture(*peer.SIZE)), stored[name])
    for height, width in peer.LARGER:
        assert_close(np.array(model(peer.picture(height, width)))[peer.EVERY], stored[f"{name}_{height}x{width}"])


@pytest.mark.parametrize("name", peer.NETS)
def test_learned_transposed_convolutions_are_pytorchs(name):
    model = net(name, upsampling="learned")
    paper.load_state_dict(model, peer.state_dict(name, bilinear=False))
    assert_close(np.array(model(peer.picture(29, 40)))[peer.EVERY], np.load(peer.STORED)[f"{name}_noisy"])


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", peer.NETS)
def test_every_layer_shows_in_the_logits(name):
    """Without this, equal logits would prove nothing: the logits change if one layer loses its weights."""
    model, state = net(name), peer.state_dict(name)
    paper.load_state_dict(model, state)
    before = np.array(model(peer.picture(*peer.SIZE)))
    for layer in (layer for layer in model.layers if layer.weights):
        values = layer.get_weights()
        layer.set_weights([0.9 * values[0], values[1]])
        assert np.abs(model(peer.picture(*peer.SIZE)) - before).max() > 1e-3 * np.abs(before).max(), layer.name
        layer.set_weights(values)


@pytest.mark.parametrize(
    ("name", "crops", "kernels"),
    [
        ("CaffeFCN32s", {"upscore_crop": 19}, [64]),
        ("CaffeFCN16s", {"score_pool4_crop": 5, "upscore16_crop": 27}, [4, 32]),
        ("CaffeFCN8s", {"score_pool4_crop": 5, "score_pool3_crop": 9, "upscore8_crop": 31}, [4, 4, 16]),
        ("CaffeFCN8sAtOnce", {"score_pool4_crop": 5, "score_pool3_crop": 9, "upscore8_crop": 31}, [4, 4, 16]),
        ("CaffeFCNAlexNet", {"upscore_crop": 18}, [63]),
    ],
)
def test_crops_and_kernels_are_those_of_the_released_nets(name, crops, kernels):
    model = net(name)
    found = {
        layer.name: layer.offset for layer in model.layers if isinstance(layer, fcn_keras.layers.cropping.CropLike)
    }
    assert found == crops
    assert [layer.kernel_size[0] for layer in model.layers if layer.name.startswith("upscore") and "crop" not in layer.name] == kernels  # fmt: skip
    (logits,) = geometry.trace_outputs(model)
    assert (logits.stride, logits.offset) == (1, 0)  # a pixel's logits lie on the pixel


def test_strides_and_receptive_fields_are_those_of_the_released_nets():
    found = geometry.trace(net("CaffeFCN8s"))
    fields = {
        name: (found[name].receptive_field, found[name].stride) for name in ("pool3", "pool4", "pool5", "fc6", "fc7")
    }
    assert fields == {"pool3": (44, 8), "pool4": (100, 16), "pool5": (212, 32), "fc6": (404, 32), "fc7": (404, 32)}
    offsets = [found[name].offset for name in ("pool3", "pool4", "fc7", "upscore2", "upscore_pool4", "upscore8")]
    assert offsets == [-95.5, -91.5, 12.5, -11.5, -23.5, -31]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("name", "field"), [("pool3", 44), ("pool4", 100), ("pool5", 212), ("fc7", 404)])
def test_the_pixels_that_change_a_unit_are_its_receptive_field(name, field, axis):
    """Finite differences: one line of the image is changed at a time, inside and just outside the predicted window."""
    whole = net("CaffeFCN32s")
    for layer in whole.layers:  # positive weights: nothing cancels, and no ReLU closes
        layer.set_weights([np.abs(w) + 0.01 for w in layer.get_weights()])
    model = keras.Model(whole.input, whole.get_layer(name).output)
    place = geometry.trace(whole)[name]
    reach = (field - 1) / 2
    unit = 2 + int(np.ceil((reach - place.offset) / place.stride))  # its whole window lies in the image
    first = int(place.centre(unit) - reach)
    image = np.full((1, 8, first + field + 40, 3), 200.0, "float32")

    def answer(line):
        changed = image.copy()
        if line is not None:
            changed[:, :, line] += 40
        changed = changed if axis else changed.swapaxes(1, 2)
        return np.take(model(changed), unit, axis=1 + axis)

    before, last = answer(None), first + field - 1
    lines = {line: np.abs(answer(line) - before).max() for line in (first - 1, first, last, last + 1)}
    assert lines[first - 1] == lines[last + 1] == 0
    assert min(lines[first], lines[last]) > 0


def vgg_size(n):
    """The number of units of fc7, pool3 and pool4 along an axis of `n` pixels, by Caffe's rules."""
    n += 2 * 100 - 2
    pools = []
    for _ in range(5):
        n = -(-n // 2)
        pools.append(n)
    return pools[2], pools[3], n - 6


def test_every_size_from_1_to_600_is_covered():
    """The upsampled map covers the whole image after its crop, and each skip covers the map that it is added to."""
    for n in range(1, 601):
        pool3, pool4, top = vgg_size(n)
        assert top >= 1 and 32 * (top - 1) + 64 >= 19 + n
        upscore2 = 2 * (top - 1) + 4
        assert pool4 >= 5 + upscore2 and 16 * (upscore2 - 1) + 32 >= 27 + n
        upscore_pool4 = 2 * (upscore2 - 1) + 4
        assert pool3 >= 9 + upscore_pool4 and 8 * (upscore_pool4 - 1) + 16 >= 31 + n


def test_keras_counts_the_same_units():
    model = net("CaffeFCN8s")
    maps = keras.Model(model.input, [model.get_layer(name).output for name in ("pool3", "pool4", "fc7")])
    for n in (1, 2, 31, 32, 33, 63, 64, 65, 127, 255, 321, 500, 599, 600):
        shapes = maps.compute_output_shape((1, n, 601 - n, 3))
        assert tuple(shape[1] for shape in shapes) == vgg_size(n)
        assert tuple(shape[2] for shape in shapes) == vgg_size(601 - n)


def alexnet_size(n):
    n = (n + 2 * 100 - 11) // 4 + 1
    for _ in range(3):
        n = -(-(n - 3) // 2) + 1
    return n - 5


def test_alexnet_covers_every_size_too():
    model = net("CaffeFCNAlexNet")
    top = keras.Model(model.input, model.get_layer("fc7").output)
    for n in range(1, 601):
        assert alexnet_size(n) >= 1 and 32 * (alexnet_size(n) - 1) + 63 >= 18 + n
    for n in (1, 7, 8, 9, 100, 333, 500):
        assert top.compute_output_shape((1, n, n + 1, 3))[1:3] == (alexnet_size(n), alexnet_size(n + 1))


@pytest.mark.parametrize("name", peer.NETS)
def test_outputs_have_the_size_of_the_image(name):
    model = net(name)
    for size in [(1, 1), (1, 600), (31, 2), (37, 53), (64, 65), (333, 17)]:
        assert model(np.zeros((1, *size, 3), "float32")).shape == (1, *size, peer.CLASSES)


def unpadded(state):
    """The package's FCN-32s on the same layers without the padding of 100: fc6 pads by 3 instead."""
    x = image = keras.Input((None, None, 3))
    stages = iter("12345")
    for layer in peer.VGG[:-1]:
        if layer == "pool":
            x = keras.layers.MaxPooling2D(2, name=f"pool{next(stages)}")(x)
        else:
            name, filters, _, kernel = layer
            x = keras.layers.Conv2D(filters, kernel, padding="same", activation="relu", name=name)(x)
    vgg16, taps = keras.Model(image, x), ("pool3", "pool4", "fc7")
    paper.load_state_dict(vgg16, state, strict=False)
    backbone = fcn_keras.models.backbones.Backbone(
        lambda weights: vgg16, taps, preprocessing="berkeley", pretrained=None
    )
    model = fcn_keras.FCN32s(peer.CLASSES, backbone)
    paper.load_state_dict(model, {k: v for k, v in state.items() if k.startswith("score_fr")}, strict=False)
    return model


def at(model, layer, image):
    return np.array(keras.Model(model.input, model.get_layer(layer).output)(image))


def test_without_the_padding_only_the_border_differs():
    """Scores lie at 32 i + 15.5 without, at 32 i + 12.5 with it: three mean-coloured lines in front bring both together.

    Then the scores whose receptive field lies in the image are the same, and so are the logits between them.
    """
    state, image = peer.state_dict("CaffeFCN32s"), peer.picture(620, 600)
    one, other = net("CaffeFCN32s"), unpadded(state)
    paper.load_state_dict(one, state)
    mean = np.array([122.67892, 116.66877, 104.00699], "float32")
    later = np.pad(image - mean, [(0, 0), (3, 0), (3, 0), (0, 0)]) + mean
    scores, unpadded_scores = at(one, "score_fr", image), at(other, "score_fr", later)
    place = geometry.trace(one)["score_fr"]
    assert place == geometry.Geometry(32, 404, 12.5)
    assert geometry.trace(other)["score_fr"] == geometry.Geometry(32, 404, 15.5)

    def inside(size):
        return [n for n in range(size // 32) if 201.5 <= place.centre(n) <= size - 1 - 201.5]

    rows, columns = inside(620), inside(600)
    assert len(rows) == len(columns) == 7
    difference = np.abs(scores - unpadded_scores[:, : scores.shape[1], : scores.shape[2]])
    assert difference[:, rows][:, :, columns].max() < 1e-4 * np.abs(scores).max()
    for line in (difference[:, 0], difference[:, -1], difference[:, :, 0], difference[:, :, -1]):
        assert line.max() > 1e-2 * np.abs(scores).max()

    difference = np.abs(np.array(one(image)) - np.array(other(later))[:, 3:, 3:])[0]
    window = [slice(int(place.centre(n[0])) + 1, int(place.centre(n[-1])) + 1) for n in (rows, columns)]
    assert difference[*window].max() < 1e-4 * np.abs(scores).max()
    assert difference.max() > 1e-2 * np.abs(scores).max()


def test_full_width_is_vgg16():
    with keras.StatelessScope(initialize_variables=False):  # 134 million weights that nobody looks at
        model = paper.CaffeFCN8s()
    assert model.count_params() == 134_260_544 + 86_037 + 10_773 + 5_397


def test_score_layers_start_at_zero_and_a_finer_net_from_a_coarser_one():
    fcn32s, fcn16s = net("CaffeFCN32s"), net("CaffeFCN16s")
    paper.load_state_dict(fcn32s, peer.state_dict("CaffeFCN32s"))
    assert not np.any(fcn16s.get_layer("score_pool4").get_weights()[0])
    names = paper.load_state_dict(fcn16s, peer.state_dict("CaffeFCN32s"), strict=False)
    assert "score_fr" in names and "score_pool4" not in names
    scores = [keras.Model(m.input, m.get_layer("score_fr").output)(peer.picture(40, 50)) for m in (fcn32s, fcn16s)]
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize("upsampling", ["frozen", "learned_inner", "learned"])
def test_what_is_learned(upsampling):
    model = net("CaffeFCN8s", upsampling=upsampling)
    learned = [v.path.split("/")[0] for v in model.trainable_variables if v.path.startswith("upscore")]
    expected = {"frozen": [], "learned_inner": ["upscore2", "upscore_pool4"]}
    assert learned == expected.get(upsampling, ["upscore2", "upscore_pool4", "upscore8"])


@pytest.mark.parametrize("name", ["CaffeFCN8sAtOnce", "CaffeFCNAlexNet"])
def test_trains_saves_and_loads(tmp_path, name):
    model = net(name)
    paper.load_state_dict(model, peer.state_dict(name.removesuffix("AtOnce")))
    image, mask = peer.picture(33, 40), np.random.default_rng(1).integers(0, peer.CLASSES, (1, 33, 40))
    model.compile(keras.optimizers.SGD(1e-3), fcn_keras.losses.PixelCrossentropy(), jit_compile=False, run_eagerly=True)
    before = model.get_weights()
    assert np.isfinite(model.train_on_batch(image, mask))
    assert all((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(loaded(image), model(image))


def test_local_response_normalization_is_tensorflows():
    x = np.random.default_rng(0).normal(scale=100, size=(2, 3, 4, 7)).astype("float32")
    expected = tf.nn.local_response_normalization(x, depth_radius=2, bias=1, alpha=1e-4 / 5, beta=0.75)
    np.testing.assert_allclose(paper.nets.LocalResponseNormalization()(x), expected, rtol=1e-5)


def test_wrong_upsampling():
    for name in peer.NETS:
        with pytest.raises(ValueError, match="upsampling='bogus': expected one of"):
            net(name, upsampling="bogus")
