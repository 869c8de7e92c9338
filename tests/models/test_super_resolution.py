"""Super-resolution of photographs: the network before training, its data and its measures."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_keras.models import SuperResolver
from fcn_keras.models.super_resolution import clip_and_round, downsample, interpolate, make_pairs, psnr_ssim


def photo(height, width, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (1, height, width, 3)).astype("float32")


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (16, 12)])
def test_untrained_it_is_bilinear_interpolation_border_included(factor, size):
    image = photo(*size)
    found = SuperResolver(factor)(image)
    expected = tf.image.resize(image, [factor * side for side in size], "bilinear")
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_constant_image_stays_constant_up_to_the_border():
    model = SuperResolver(2)
    kernel = model.get_layer("upscore")
    kernel.set_weights([kernel.get_weights()[0] + 0.01])  # features have a say now
    found = np.array(model(np.full((1, 9, 9, 3), 80.0)))
    assert np.ptp(found[:, 0::2, 0::2], axis=(1, 2)).max() < 1e-3  # of each phase


def test_it_learns_what_bicubic_interpolation_does_not_know(tmp_path):
    """After sixty steps on stripes and edges, the result is nearer to the original than bicubic interpolation."""
    rng = np.random.default_rng(0)
    waves = [np.sign(np.sin(np.arange(64) * f + p)) for f, p in rng.uniform((0.2, 0), (0.7, 6), (24, 2))]
    images = [np.uint8(128 + 90 * np.stack([a[:, None] * b] * 3, -1)) for a, b in zip(waves, waves[::-1], strict=True)]
    keras.utils.set_random_seed(0)
    model = SuperResolver(2, features=16, depth=2)
    model.compile(keras.optimizers.Adam(3e-3), "mae", jit_compile=False)
    model.fit(make_pairs(images[:20], 2, crop=32, batch=8), steps_per_epoch=60, epochs=1, verbose=0, shuffle=False)
    bicubic = psnr_ssim(images[20:], 2, lambda low: interpolate(low, 2))
    assert psnr_ssim(images[20:], 2, model)["psnr"] > bicubic["psnr"] + 1
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(photo(5, 6)), model(photo(5, 6)))


def test_pairs_are_the_same_piece_twice_and_depend_on_the_seed():
    images = [np.uint8(photo(40, 50, seed)[0]) for seed in range(3)]
    first, again, other = (next(iter(make_pairs(images, 4, crop=32, batch=3, seed=seed))) for seed in (1, 1, 2))
    low, high = (x.numpy() for x in first)
    np.testing.assert_array_equal(low, downsample(high, 4))
    for x, y in zip(first, again, strict=True):
        np.testing.assert_array_equal(x, y)
    assert (first[1].numpy() != other[1].numpy()).any()
    for piece in high:  # each is a piece of an image, perhaps mirrored
        windows = [np.lib.stride_tricks.sliding_window_view(x, (32, 32, 3)).reshape(-1, 32, 32, 3) for x in images]
        assert any((w == p).all(axis=(1, 2, 3)).any() for w in windows for p in (piece, piece[:, ::-1]))


def test_quality_is_psnr_and_ssim():
    images = [np.uint8(photo(21, 30)[0])]
    found = psnr_ssim(images, 2, lambda low: interpolate(low, 2, "bilinear"))
    high = images[0][:20].astype("float64")
    again = np.array(clip_and_round(interpolate(downsample(high[None], 2), 2, "bilinear")))[0]
    assert found["psnr"] == pytest.approx(10 * np.log10(255**2 / np.mean((high - again) ** 2)), rel=1e-5)
    assert -1 <= found["ssim"] < 1
    assert psnr_ssim(images, 2, lambda low: high[None].astype("float32"))["ssim"] == pytest.approx(1)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"factor=8: expected one of \(2, 3, 4\)"):
        SuperResolver(8)
    with pytest.raises(ValueError, match="9 × 8: expected multiples of 2"):
        downsample(photo(9, 8), 2)
    with pytest.raises(ValueError, match="crop=30 for factor=4"):
        make_pairs([photo(40, 40)[0]], 4, crop=30)
    with pytest.raises(ValueError, match="among 2 images: 1 smaller than 96 × 96, such as"):
        make_pairs([photo(100, 100)[0], photo(40, 100)[0]], 4)
    with pytest.raises(ValueError, match="among 0 images: none"):
        make_pairs([], 4)
