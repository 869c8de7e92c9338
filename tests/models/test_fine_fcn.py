"""Nets that continue FCN-8s: their sizes, their geometries and their first logits."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import fcn_keras
from fcn_keras import geometry
from fcn_keras.models import make_fine_fcn

CLASSES = 4


def photo(height, width, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (1, height, width, 3)).astype("float32")


def randomized(model):
    rng = np.random.default_rng(1)
    for name in ("score_fr", "score_pool4", "score_pool3"):
        layer = model.get_layer(name)
        layer.set_weights([rng.normal(scale=0.3, size=w.shape) for w in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def on_pixels():
    """A backbone whose units lie on pixels. Steps of two are then exactly equal to one large step."""
    return randomized(fcn_keras.FCN8s(CLASSES, "mobilenet_v2", weights=None))


@pytest.fixture(scope="module")
def between_pixels():
    return randomized(fcn_keras.FCN8s(CLASSES, "mini_vgg"))


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("backbone", ["on_pixels", "between_pixels"])
def test_sizes_and_geometries(backbone, factor, request):
    model = make_fine_fcn(request.getfixturevalue(backbone), factor)
    for size in [(1, 1), (33, 47), (64, 31)]:
        assert model(photo(*size)).shape == (1, *(factor * side for side in size), CLASSES)
    (place,) = geometry.trace_outputs(model)
    assert (place.stride, place.offset) == (1 / factor, (1 / factor - 1) / 2)


def test_the_first_logits_are_the_coarser_nets(on_pixels):
    image = photo(64, 96)
    expected = np.array(on_pixels(image))
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(make_fine_fcn(on_pixels, 1)(image), expected, rtol=0, atol=1e-5 * np.ptp(expected))


@pytest.mark.parametrize("factor", [2, 4])
def test_the_first_finer_logits_are_interpolated(between_pixels, factor):
    """Compares inside the outermost pixels. Outside, the transposed convolution fades, but resizing repeats pixels."""
    image = photo(64, 96)
    coarse = make_fine_fcn(between_pixels, 1)(image)
    expected = tf.image.resize(coarse, (64 * factor, 96 * factor), "bilinear").numpy()
    inside = slice(factor, -factor)
    found = np.array(make_fine_fcn(between_pixels, factor)(image))
    np.testing.assert_allclose(found[:, inside, inside], expected[:, inside, inside], atol=1e-5 * np.ptp(expected))


def test_scores_move_only_where_the_steps_cut_peaks(between_pixels):
    """The units of VGG lie between pixels. As in `upgrade`, steps of two are not exactly equal to one step of eight."""
    image = photo(64, 64)
    before, after = np.array(between_pixels(image)), np.array(make_fine_fcn(between_pixels, 1)(image))
    fused = np.array(keras.Model(between_pixels.input, between_pixels.get_layer("fuse_pool3").output)(image))
    difference = np.abs(after - before)[:, 8:-8, 8:-8].max()
    assert 0 < difference < np.ptp(fused)


def test_every_new_layer_learns(between_pixels):
    model = make_fine_fcn(between_pixels, 2, features=8)
    model.compile(keras.optimizers.SGD(0.1), fcn_keras.losses.PixelCrossentropy(), jit_compile=False)
    mask = np.random.default_rng(2).integers(0, CLASSES, (1, 64, 64))
    names = ("features4", "features2", "features1", "score4", "score2", "score1", "upscore_fine2")
    before = {name: model.get_layer(name).get_weights()[0] for name in names}
    for _ in range(2):  # the corrections are zero at first, and nothing after them moves
        model.train_on_batch(photo(32, 32), mask)
    for name in names:
        assert np.any(before[name] != model.get_layer(name).get_weights()[0]), name


def test_going_on_from_a_finer_net_keeps_its_steps(between_pixels, tmp_path):
    one = make_fine_fcn(between_pixels, 1, features=8)
    for layer in (one.get_layer(f"score{stride}") for stride in (4, 2, 1)):
        layer.set_weights([np.random.default_rng(3).normal(size=w.shape) for w in layer.get_weights()])
    two = make_fine_fcn(one, 2, features=8)
    image = photo(40, 40)
    scores = [keras.Model(m.input, m.get_layer("fuse1").output)(image) for m in (one, two)]
    np.testing.assert_allclose(*scores, atol=1e-4)
    two.save(tmp_path / "two.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "two.keras")(image), two(image))


def test_what_cannot_go_on(between_pixels):
    with pytest.raises(ValueError, match="factor=3: expected 1, 2 or 4"):
        make_fine_fcn(between_pixels, 3)
    with pytest.raises(ValueError, match="'fcn16s': expected an FCN-8s"):
        make_fine_fcn(fcn_keras.FCN16s(2, "mini_vgg", weights=None))
