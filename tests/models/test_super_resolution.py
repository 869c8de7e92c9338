"""Beyond the image: geometries and first logits of the finer nets, the super-resolver's start, its data and its measures."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import fcn_keras
from fcn_keras import geometry
from fcn_keras.models import as_image, interpolated, pairs, quality, reduced, super_resolution_fcn, super_resolver

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
    """A backbone whose units lie on pixels, where steps of two are exactly one large step."""
    return randomized(fcn_keras.FCN8s(CLASSES, "mobilenet_v2", weights=None))


@pytest.fixture(scope="module")
def between_pixels():
    return randomized(fcn_keras.FCN8s(CLASSES, "mini_vgg"))


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("backbone", ["on_pixels", "between_pixels"])
def test_sizes_and_geometries(backbone, factor, request):
    model = super_resolution_fcn(request.getfixturevalue(backbone), factor)
    for size in [(1, 1), (33, 47), (64, 31)]:
        assert model(photo(*size)).shape == (1, *(factor * side for side in size), CLASSES)
    (place,) = geometry.of_outputs(model)
    assert (place.stride, place.offset) == (1 / factor, (1 / factor - 1) / 2)


def test_the_first_logits_are_the_coarser_nets(on_pixels):
    image = photo(64, 96)
    expected = np.array(on_pixels(image))
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(
        super_resolution_fcn(on_pixels, 1)(image), expected, rtol=0, atol=1e-5 * np.ptp(expected)
    )


@pytest.mark.parametrize("factor", [2, 4])
def test_the_first_finer_logits_are_interpolated(between_pixels, factor):
    """Between the outermost pixels, beyond which the transposed convolution fades and resizing repeats."""
    image = photo(64, 96)
    coarse = super_resolution_fcn(between_pixels, 1)(image)
    expected = tf.image.resize(coarse, (64 * factor, 96 * factor), "bilinear").numpy()
    inside = slice(factor, -factor)
    found = np.array(super_resolution_fcn(between_pixels, factor)(image))
    np.testing.assert_allclose(found[:, inside, inside], expected[:, inside, inside], atol=1e-5 * np.ptp(expected))


def test_scores_move_only_where_the_steps_cut_peaks(between_pixels):
    """VGG's units lie between pixels: as in `upgrade`, steps of two are not quite one step of eight."""
    image = photo(64, 64)
    before, after = np.array(between_pixels(image)), np.array(super_resolution_fcn(between_pixels, 1)(image))
    fused = np.array(keras.Model(between_pixels.input, between_pixels.get_layer("fuse_pool3").output)(image))
    difference = np.abs(after - before)[:, 8:-8, 8:-8].max()
    assert 0 < difference < np.ptp(fused)


def test_every_new_layer_learns(between_pixels):
    model = super_resolution_fcn(between_pixels, 2, features=8)
    model.compile(keras.optimizers.SGD(0.1), fcn_keras.losses.PixelCrossentropy(), jit_compile=False)
    mask = np.random.default_rng(2).integers(0, CLASSES, (1, 64, 64))
    names = ("features4", "features2", "features1", "score4", "score2", "score1", "upscore_fine2")
    before = {name: model.get_layer(name).get_weights()[0] for name in names}
    for _ in range(2):  # the corrections are zero at first, and nothing after them moves
        model.train_on_batch(photo(32, 32), mask)
    for name in names:
        assert np.any(before[name] != model.get_layer(name).get_weights()[0]), name


def test_going_on_from_a_finer_net_keeps_its_steps(between_pixels, tmp_path):
    one = super_resolution_fcn(between_pixels, 1, features=8)
    for layer in (one.get_layer(f"score{stride}") for stride in (4, 2, 1)):
        layer.set_weights([np.random.default_rng(3).normal(size=w.shape) for w in layer.get_weights()])
    two = super_resolution_fcn(one, 2, features=8)
    image = photo(40, 40)
    scores = [keras.Model(m.input, m.get_layer("fuse1").output)(image) for m in (one, two)]
    np.testing.assert_allclose(*scores, atol=1e-4)
    two.save(tmp_path / "two.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "two.keras")(image), two(image))


def test_what_cannot_go_on(between_pixels):
    with pytest.raises(ValueError, match="factor=3: expected 1, 2 or 4"):
        super_resolution_fcn(between_pixels, 3)
    with pytest.raises(ValueError, match="'fcn16s': expected an FCN-8s"):
        super_resolution_fcn(fcn_keras.FCN16s(2, "mini_vgg", weights=None))


# Images.


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (16, 12)])
def test_untrained_it_is_bilinear_interpolation_border_included(factor, size):
    image = photo(*size)
    found = super_resolver(factor)(image)
    expected = tf.image.resize(image, [factor * side for side in size], "bilinear")
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_constant_image_stays_constant_up_to_the_border():
    model = super_resolver(2)
    kernel = model.get_layer("upscore")
    kernel.set_weights([kernel.get_weights()[0] + 0.01])  # features have a say now
    found = np.array(model(np.full((1, 9, 9, 3), 80.0)))
    assert np.ptp(found[:, 0::2, 0::2], axis=(1, 2)).max() < 1e-3  # of each phase


def test_it_learns_what_bicubic_interpolation_does_not_know(tmp_path):
    """Stripes and edges, forty steps: already nearer to the original than bicubic."""
    rng = np.random.default_rng(0)
    waves = [np.sign(np.sin(np.arange(64) * f + p)) for f, p in rng.uniform((0.2, 0), (0.7, 6), (24, 2))]
    images = [np.uint8(128 + 90 * np.stack([a[:, None] * b] * 3, -1)) for a, b in zip(waves, waves[::-1], strict=True)]
    keras.utils.set_random_seed(0)
    model = super_resolver(2, features=16, depth=2)
    model.compile(keras.optimizers.Adam(3e-3), "mae", jit_compile=False)
    model.fit(pairs(images[:20], 2, crop=32, batch=8), steps_per_epoch=60, epochs=1, verbose=0, shuffle=False)
    bicubic = quality(images[20:], 2, lambda low: interpolated(low, 2))
    assert quality(images[20:], 2, model)["psnr"] > bicubic["psnr"] + 1
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(photo(5, 6)), model(photo(5, 6)))


def test_pairs_are_the_same_piece_twice_and_depend_on_the_seed():
    images = [np.uint8(photo(40, 50, seed)[0]) for seed in range(3)]
    first, again, other = (next(iter(pairs(images, 4, crop=32, batch=3, seed=seed))) for seed in (1, 1, 2))
    low, high = (x.numpy() for x in first)
    np.testing.assert_array_equal(low, reduced(high, 4))
    for x, y in zip(first, again, strict=True):
        np.testing.assert_array_equal(x, y)
    assert (first[1].numpy() != other[1].numpy()).any()
    for piece in high:  # each is a piece of an image, perhaps mirrored
        windows = [np.lib.stride_tricks.sliding_window_view(x, (32, 32, 3)).reshape(-1, 32, 32, 3) for x in images]
        assert any((w == p).all(axis=(1, 2, 3)).any() for w in windows for p in (piece, piece[:, ::-1]))


def test_quality_is_psnr_and_ssim():
    images = [np.uint8(photo(21, 30)[0])]
    found = quality(images, 2, lambda low: interpolated(low, 2, "bilinear"))
    high = images[0][:20].astype("float64")
    again = np.array(as_image(interpolated(reduced(high[None], 2), 2, "bilinear")))[0]
    assert found["psnr"] == pytest.approx(10 * np.log10(255**2 / np.mean((high - again) ** 2)), rel=1e-5)
    assert -1 <= found["ssim"] < 1
    assert quality(images, 2, lambda low: high[None].astype("float32"))["ssim"] == pytest.approx(1)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"factor=8: expected one of \(2, 3, 4\)"):
        super_resolver(8)
    with pytest.raises(ValueError, match="9 × 8: expected multiples of 2"):
        reduced(photo(9, 8), 2)
    with pytest.raises(ValueError, match="crop=30 for factor=4"):
        pairs([photo(40, 40)[0]], 4, crop=30)
    with pytest.raises(ValueError, match="among 2 images: 1 smaller than 96 × 96, such as"):
        pairs([photo(100, 100)[0], photo(40, 100)[0]], 4)
    with pytest.raises(ValueError, match="among 0 images: none"):
        pairs([], 4)
