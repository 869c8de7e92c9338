"""Batches of images with any channels: augmentation and padding relative to their ranges."""

import numpy as np
import pytest
import tensorflow as tf

from fcn_keras.datasets.channels import choose_ranges, make_preview, measure_levels
from fcn_keras.datasets.pipeline import make_pipeline
from fcn_keras.layers.preprocessing import MEAN_COLOR

RANGES = [(0, 65535), (-1, 1), (0.5, 10), (100, 200)]


def batches(image, ranges, **options):
    mask = np.zeros((*image.shape[:2], 1), "uint8")
    examples = tf.data.Dataset.from_tensors({"image": image, "segmentation_mask": mask})
    return [pair[0].numpy() for pair in make_pipeline(examples, ranges=ranges, **options)]


def scale(image, ranges, back=False):
    low, high = np.array(ranges, "float32").T
    return low + image / 255 * (high - low) if back else (image - low) / (high - low) * 255


@pytest.mark.parametrize("seed", range(5))
def test_three_channels_are_augmented_as_rgb(seed):
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype("float32")
    options = {"size": (48, 48), "augment": True, "color": 1.0, "seed": seed}
    (wanted,) = batches(photo, None, **options)
    (found,) = batches(scale(photo, RANGES[:3], back=True), RANGES[:3], **options)
    np.testing.assert_allclose(scale(found, RANGES[:3]), wanted, atol=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_more_channels_change_in_brightness_and_contrast_only(seed):
    photo = np.random.default_rng(0).uniform(90, 160, (40, 60, 4)).astype("float32")
    options = {"augment": True, "scales": (1, 1), "flip": False, "color": 1.0, "seed": seed}
    (found,) = batches(scale(photo, RANGES, back=True), RANGES, **options)
    found = scale(found, RANGES)
    slopes, shifts = [], []
    for channel in range(4):  # a line through all pixels of a channel: the same contrast in all of them
        slope, shift = np.polyfit(photo[..., channel].ravel(), found[..., channel].ravel(), 1)
        np.testing.assert_allclose(found[..., channel], slope * photo[..., channel] + shift, atol=0.1)
        slopes.append(slope)
        shifts.append(found[..., channel].mean() - photo[..., channel].mean())
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-3)
    np.testing.assert_allclose(shifts, shifts[0], atol=0.1)
    assert abs(slopes[0] - 1) > 1e-3 and abs(shifts[0]) > 0.1


def test_padding_has_the_mean_colour():
    (found,) = batches(scale(np.full((4, 4, 4), 9.0), RANGES, back=True).astype("float32"), RANGES, size=(8, 8))
    outside = np.ones((8, 8), bool)
    outside[2:6, 2:6] = False
    color = (*MEAN_COLOR, MEAN_COLOR[0])
    np.testing.assert_allclose(scale(found, RANGES)[outside], np.broadcast_to(color, (48, 4)), rtol=1e-4)


def test_ranges_ignore_broken_pixels():
    images = [np.random.default_rng(seed).uniform(10, 20, (100, 100, 2)) for seed in range(3)]
    for image in images:
        image[0, :5] = 65535
    (first, second) = choose_ranges([measure_levels(image) for image in images])
    np.testing.assert_allclose([first, second], [[10, 20]] * 2, atol=0.02)
    sparse = np.zeros((100, 100, 1))
    sparse[0, 0] = 7  # a percentile would not see it
    assert choose_ranges([measure_levels(sparse)]) == [[0.0, 7.0]]
    assert choose_ranges([measure_levels(0 * sparse)]) == [[0.0, 1.0]]


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_previews_show_the_first_channels(channels):
    image = np.random.default_rng(0).uniform(-500, 1500, (5, 7, channels))
    found = make_preview(image, [(0, 1000)] * channels)
    wanted = np.rint(np.clip(image, 0, 1000) * 0.255)
    shown = [0, 1, 2] if channels > 2 else [0, 0, 0]
    assert found.dtype == "uint8"
    np.testing.assert_allclose(found, wanted[..., shown], atol=1)
