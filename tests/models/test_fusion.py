"""Kernels, crops and sums of the fusion, compared with interpolation in NumPy. The nets are tested in test_fcn."""

import keras
import numpy as np
import pytest

from fcn_keras.geometry import Geometry
from fcn_keras.layers._keras import get_producer
from fcn_keras.models.fusion import fuse, fuse_maps, upsample

FC7, POOL4, POOL3 = Geometry(32, 404, 12.5), Geometry(16, 100, -91.5), Geometry(8, 44, -95.5)


@pytest.mark.parametrize(
    ("place", "target", "kernel", "crop"),
    [
        (FC7, Geometry(), 64, 19),
        (FC7, POOL4, 4, -5),
        (POOL4.shift(5), Geometry(), 32, 27),
        (POOL4.shift(5), POOL3, 4, -9),
        (POOL3.shift(9), Geometry(), 16, 31),
        (Geometry(32, 355, 13), Geometry(), 63, 18),  # AlexNet
        (Geometry(32, 1, 15.5), Geometry(), 64, 16),  # no padding
        (Geometry(32, 1, 0), Geometry(), 63, 31),  # units on pixels
        (Geometry(), Geometry(1 / 2, 1, -1 / 4), 4, 1),  # past the image
        (Geometry(), Geometry(1 / 4, 1, -3 / 8), 8, 2),
    ],
)
@pytest.mark.parametrize("learned", [False, True, "depthwise"])
def test_kernels_and_crops_follow_from_the_geometries(place, target, kernel, crop, learned):
    canvas, found = upsample(keras.Input((None, None, 3)), place, target, learned, "upscore")
    layer = get_producer(canvas)[0].operation
    assert found == crop
    assert layer.kernel_size == (kernel, kernel) and layer.strides[0] == place.stride / target.stride


def test_a_sum_is_the_interpolated_scores_plus_the_skip():
    """Along one axis, the coarse units lie at 32 i + 12.5 and the finer ones at 16 i − 19.5, so the finer map starts first."""
    rng = np.random.default_rng(0)
    coarse, fine = Geometry(32, 1, 12.5), Geometry(16, 1, -19.5)
    maps = [keras.Input((None, None, 2)), keras.Input((None, None, 2))]
    scores, place = fuse_maps([None, maps[1], maps[0]], [None, fine, coarse], 2, finest=16, padded=True)
    model = keras.Model(maps, scores)
    for name in ("score_fr", "score_pool4"):
        model.get_layer(name).set_weights([np.eye(2)[None, None], np.zeros(2)])
    top, skip = (rng.normal(size=(1, n, n, 2)).astype("float32") for n in (4, 12))
    found = np.array(model([top, skip]))
    ends = np.pad(top[0], [(1, 1), (1, 1), (0, 0)])  # beyond the outermost units the scores fade to zero
    for row in range(found.shape[1]):
        for column in range(found.shape[2]):
            expected = skip[
                0, round((place.centre(row) - fine.offset) / 16), round((place.centre(column) - fine.offset) / 16)
            ]
            for i, j in np.ndindex(6, 6):
                weights = [
                    max(0, 1 - abs(place.centre(n) - coarse.centre(m - 1)) / 32) for n, m in ((row, i), (column, j))
                ]
                expected = expected + weights[0] * weights[1] * ends[i, j]
            np.testing.assert_allclose(found[0, row, column], expected, atol=1e-5)


def test_gaps_are_refused():
    top, image = keras.Input((None, None, 2)), keras.Input((None, None, 3))
    with pytest.raises(ValueError, match="'upscore': its map starts 40 units after the image, and"):
        fuse([top], [Geometry(32, 1, 40)], image, 2)
    with pytest.raises(ValueError, match="'upscore2': its map starts 3.5 units after the map of pool4"):
        fuse_maps([None, top, top], [None, Geometry(16, 1, 0), Geometry(32, 1, 56)], 2, finest=16)
