"""The files that benchmarks/shipped.py writes: weights in float16, rounded as NumPy rounds them."""

import importlib
import zipfile

import keras
import numpy as np
import pytest

import fcn_keras

pytestmark = pytest.mark.usefixtures("project_root")


def test_weights_are_rounded_to_float16_as_numpy_rounds(tmp_path):
    """Also numbers that round up to a power of two: HDF5's conversion makes 0.125 of 0.24999."""
    shipped = importlib.import_module("benchmarks.shipped")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.BatchNormalization()(inputs)))
    values = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    values[0] = 0.24999, 0.99999, -1e-6, 65503.0
    model.layers[-1].set_weights([values, values[0]])
    model.save(tmp_path / "model.keras")
    shipped.halve(tmp_path / "model.keras", tmp_path / "half.keras")

    half = fcn_keras.load_model(tmp_path / "half.keras")
    for found, weight in zip(half.weights, model.weights, strict=True):
        assert found.dtype == "float32"
        np.testing.assert_array_equal(found, np.asarray(weight).astype("float16").astype("float32"))
    sizes = [sum(entry.file_size for entry in zipfile.ZipFile(tmp_path / f"{name}.keras").infolist()
                 if entry.filename.endswith(".h5")) for name in ("model", "half")]  # fmt: skip
    assert sizes[1] < sizes[0]
