"""Dilated pooling, compared with PyTorch, with Keras at dilation 1, and with a reference in NumPy."""

import keras
import numpy as np
import pytest
import pytorch_references

from fcn_keras.geometry import Geometry, trace
from fcn_keras.layers.pooling import DilatedPooling2D

POOLS = {"max": keras.layers.MaxPooling2D, "average": keras.layers.AveragePooling2D}


def maps(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).normal(size=(2, height, width, channels)).astype("float32")


def oracle(x, size, dilation, mode, before, after):
    """Pools unit by unit, and leaves out the units that lie outside the map."""
    reach = dilation * (size - 1)
    rows, columns = (n + before + after - reach for n in x.shape[1:3])
    pooled = np.empty((x.shape[0], rows, columns, x.shape[3]))
    for i in range(rows):
        for j in range(columns):
            ys, xs = ([start - before + dilation * tap for tap in range(size)] for start in (i, j))
            window = x[:, [y for y in ys if 0 <= y < x.shape[1]]][:, :, [c for c in xs if 0 <= c < x.shape[2]]]
            pooled[:, i, j] = window.max((1, 2)) if mode == "max" else window.mean((1, 2), dtype="float64")
    return pooled


@pytest.mark.parametrize("mode", POOLS)
@pytest.mark.parametrize(
    ("size", "dilation", "before", "after"), [(1, 1, 0, 0), (2, 3, 0, 0), (3, 2, 2, 2), (2, 4, 0, 4), (3, 1, 0, 2)]
)
def test_unit_by_unit(mode, size, dilation, before, after):
    x = maps(7, 9)
    layer = DilatedPooling2D(size, dilation, mode, (before, after))
    found, expected = layer(x), oracle(x, size, dilation, mode, before, after)
    assert tuple(found.shape) == tuple(layer.compute_output_shape(x.shape)) == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("mode", POOLS)
@pytest.mark.parametrize("size", [2, 3])
def test_with_dilation_1_it_is_the_pooling_of_keras(mode, size):
    x = maps(6, 5)
    np.testing.assert_allclose(DilatedPooling2D(size, 1, mode)(x), POOLS[mode](size, 1)(x), atol=1e-6)
    np.testing.assert_allclose(DilatedPooling2D(size, 1, mode, "same")(x), POOLS[mode](size, 1, "same")(x), atol=1e-6)


@pytest.mark.parametrize("mode", POOLS)
@pytest.mark.parametrize(("size", "dilation"), [(2, 3), (3, 2), (4, 3)])
def test_same_padding_is_that_of_a_dilated_convolution(mode, size, dilation):
    """The output has the size of the input, and the geometry is that of `keras.layers.Conv2D`."""
    layer = DilatedPooling2D(size, dilation, mode, "same")
    reach = dilation * (size - 1)
    found, expected = layer(maps(7, 9)), oracle(maps(7, 9), size, dilation, mode, reach // 2, reach - reach // 2)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert tuple(layer.compute_output_shape((2, 7, 9, 3))) == found.shape == (2, 7, 9, 3)
    conv = keras.layers.Conv2D(3, size, padding="same", dilation_rate=dilation, name="conv")
    assert layer.compute_geometry([Geometry()]) == trace([conv])["conv"]


@pytest.mark.parametrize(("size", "dilation"), [(2, 2), (3, 4)])
def test_the_dilated_maximum_of_pytorch(size, dilation):
    theirs = pytorch_references.stored("dilated_pooling")
    np.testing.assert_array_equal(DilatedPooling2D(size, dilation)(theirs["x"]), theirs[f"y_{size}_{dilation}"])


def test_sizes_known_only_when_run_and_half_precision():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, DilatedPooling2D(2, 2, "average", (0, 2), dtype="mixed_float16")(image))
    assert model.output_shape == (None, None, None, 3)
    pooled = model.predict(maps(4, 6), verbose=0)
    assert pooled.dtype == np.float16
    np.testing.assert_allclose(pooled, oracle(maps(4, 6), 2, 2, "average", 0, 2), atol=5e-3)


def test_save_and_load(tmp_path):
    image = keras.Input((None, None, 3))
    model = keras.Model(image, DilatedPooling2D(3, 2, "average", (1, 2))(image))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(maps(8, 9)), model(maps(8, 9)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "sum"}, r"mode='sum': expected \"max\" or \"average\""),
        ({"padding": "full"}, "padding='full': expected"),
        ({"padding": (1, -1)}, r"padding=\(1, -1\): expected"),
        ({"padding": (1, 2, 3)}, "expected .* two integers"),
        ({"pool_size": 0}, "pool_size=0: expected"),
        ({"pool_size": (2, 3)}, r"pool_size=\(2, 3\): expected .* two that are equal"),
        ({"dilation_rate": 1.5}, "dilation_rate=1.5: expected"),
    ],
)
def test_other_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DilatedPooling2D(**{"pool_size": 2} | arguments)
