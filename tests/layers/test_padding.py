"""Pads images of every size to the stride, and crops them back."""

import keras
import numpy as np
import pytest

from fcn_keras.layers.cropping import CropLike
from fcn_keras.layers.padding import PadEdges, PadToStride


def photo(height, width):
    return np.random.default_rng(height * 100 + width).uniform(0, 255, (1, height, width, 3)).astype("float32")


@pytest.mark.parametrize(("stride", "before", "after"), [(32, 0, 0), (32, 5, 7), (8, 0, 31), (1, 2, 0)])
def test_every_size_is_padded_to_a_multiple_and_cropped_back(stride, before, after):
    pad, crop = PadToStride(stride, before, after, color=(124, 117, 104)), CropLike(before)
    for size in range(1, 71):
        image = photo(size, 71 - size)
        padded = np.asarray(pad(image))
        for side, own in zip(padded.shape[1:3], image.shape[1:3], strict=True):
            assert side % stride == 0
            assert own + before + after <= side < own + before + after + stride
        np.testing.assert_allclose(crop([padded, image]), image, atol=1e-4)


def test_the_padding_has_the_color():
    padded = np.array(PadToStride(8, 2, 1, color=(10.5, 20, 30))(photo(3, 4)))
    padded[:, 2:5, 2:6] = (10.5, 20, 30)
    np.testing.assert_array_equal(padded, np.broadcast_to(np.float32([10.5, 20, 30]), (1, 8, 8, 3)))


def test_crops_are_not_centred():
    canvas = np.arange(36.0).reshape(1, 6, 6, 1)
    cropped = CropLike(1)([canvas, np.zeros((1, 2, 3, 7))])
    np.testing.assert_array_equal(cropped, canvas[:, 1:3, 1:4])


def test_shapes_are_known_in_advance_as_far_as_they_can_be():
    pad = PadToStride(32, 3)
    assert pad.compute_output_shape((None, 30, None, 3)) == (None, 64, None, 3)
    assert CropLike(2).compute_output_shape([(None, 9, 9, 21), (None, 5, None, 3)]) == (None, 5, None, 21)


def test_one_model_for_every_size(tmp_path):
    image = keras.Input((None, None, 3))
    model = keras.Model(image, CropLike(2)([PadToStride(32, 2, 1, (1, 2, 3))(image), image]))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for size in [(1, 1), (31, 33), (64, 2)]:
        np.testing.assert_allclose(loaded.predict(photo(*size), verbose=0), photo(*size), atol=1e-4)


@pytest.mark.parametrize("margin", [0, 1, 4])
def test_edges_are_repeated_as_numpy_does(margin):
    image = photo(3, 5)
    expected = np.pad(image, [(0, 0), (margin, margin), (margin, margin), (0, 0)], mode="edge")
    np.testing.assert_array_equal(PadEdges(margin)(image), expected)
    assert PadEdges(margin).compute_output_shape((None, 3, None, 3)) == (None, 3 + 2 * margin, None, 3)
    assert PadEdges.from_config(PadEdges(margin).get_config()).margin == margin


def test_crops_of_maps_finer_than_the_reference():
    canvas = np.arange(100.0).reshape(1, 10, 10, 1)
    layer = CropLike(1, factor=2)
    np.testing.assert_array_equal(layer([canvas, np.zeros((1, 2, 3, 3))]), canvas[:, 1:5, 1:7])
    assert layer.compute_output_shape([(None, 10, 10, 1), (None, 2, None, 3)]) == (None, 4, None, 1)
    assert CropLike.from_config(layer.get_config()).factor == 2
