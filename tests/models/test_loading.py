"""Loads models from files, and refuses bad files before any code in them runs."""

import json
import os
import pickle
import re
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras.layers.pooling import DilatedPooling2D
from fcn_keras.models import loading
from fcn_keras.models.loading import load_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "whole.keras"
    model = fcn_keras.FCN32s(3, "mini_vgg", weights=None)
    model.compile("sgd", fcn_keras.losses.PixelCrossentropy(), metrics=[fcn_keras.metrics.SegmentationMetrics(3)])
    model.save(path)
    return model, path


def rewritten(source, path, changes=None, extra=()):
    """A copy of an archive with some members changed, dropped (None) or added."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = (changes or {}).get(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
        for name, content in extra:
            new.writestr(name, content)
    return path


def test_a_whole_file_loads_with_our_own_objects(saved):
    model, path = saved
    again = load_model(path)
    image = np.random.default_rng(0).uniform(0, 255, (1, 40, 50, 3)).astype("float32")
    np.testing.assert_array_equal(again(image), model(image))
    assert isinstance(again.loss, fcn_keras.losses.PixelCrossentropy)
    assert again.compiled and not load_model(str(path), compile=False).compiled


def test_rooms_that_nobody_has_entered_are_known(tmp_path):
    """Runs in a separate process, because the tests have imported everything in this one."""
    path = tmp_path / "trained.keras"
    model = keras.Sequential([keras.Input((None, None, 3)), DilatedPooling2D(3, dilation_rate=2)])
    model.add(keras.layers.Conv2D(2, 1))
    model.compile(fcn_keras.training.LayerwiseAdamW(1e-3), "mse")
    model.save(path)
    code = f"""
import sys
from fcn_keras.models.loading import load_model
assert "fcn_keras.training.optimizers" not in sys.modules
model = load_model({str(path)!r})
print(type(model.layers[0]).__name__, type(model.optimizer).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["DilatedPooling2D", "LayerwiseAdamW"], done.stderr


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.9999])
def test_cut_off_files(saved, tmp_path, share):
    content = saved[1].read_bytes()
    (tmp_path / "cut.keras").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"cut\.keras.* (Fix: copy the file again|not a zip archive)"):
        load_model(tmp_path / "cut.keras")


def test_damaged_arrays(saved, tmp_path):
    bad = rewritten(saved[1], tmp_path / "bad.keras", {"model.weights.h5": b"\x89HDF\r\n\x1a\n" + b"x" * 500})
    with pytest.raises(ValueError, match=r"Keras cannot load a model from .*bad\.keras"):
        load_model(bad)
    content = bytearray(saved[1].read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "flipped.keras").write_bytes(content)
    with pytest.raises(ValueError, match=r"flipped\.keras"):
        load_model(tmp_path / "flipped.keras")


def test_files_of_other_kinds(saved, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    (tmp_path / "pickle.keras").write_bytes(pickle.dumps(Trap()))
    with h5py.File(tmp_path / "old.keras", "w") as file:
        file["a"] = 1
    (tmp_path / "page.keras").write_text("<html>404</html>")
    (tmp_path / "empty.keras").write_bytes(b"")
    (tmp_path / "model.h5").write_bytes((tmp_path / "old.keras").read_bytes())
    (tmp_path / "model.zip").write_bytes(saved[1].read_bytes())
    (tmp_path / "model.pt").write_bytes(saved[1].read_bytes())
    (tmp_path / "folder.keras").mkdir()
    os.mkfifo(tmp_path / "pipe.keras")
    words = {
        "pickle.keras": "a pickle",
        "old.keras": "an HDF5 file",
        "page.keras": "a web page",
        "empty.keras": "not a zip archive",
        "model.h5": "an HDF5 file",
        "model.zip": "ends in '.zip'",
        "model.pt": "ends in '.pt'",
        "folder.keras": "not a regular file",
        "pipe.keras": "not a regular file",
        "none.keras": "There is no file",
    }
    for name, found in words.items():
        with pytest.raises(ValueError, match=f"{re.escape(found)}.*expected a .keras file"):
            load_model(tmp_path / name)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.keras").touch()
    with pytest.raises(ValueError, match=r"Did you mean .*best\.keras\?"):
        load_model(tmp_path / "run")
    with pytest.raises(ValueError, match="There is no file"):
        load_model("hf://somebody/model.keras")
    assert not (tmp_path / "sprung").exists()


def test_lambda_layers_are_named_and_not_run(tmp_path):
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Lambda(lambda x: x + 1, name="plus_one")(image))
    inner = keras.Sequential([keras.Input((None, None, 3)), model])
    for number, each in enumerate((model, inner)):
        each.save(tmp_path / f"{number}.keras")
        with pytest.raises(
            ValueError, match=r"(?s)keras.*Lambda.*Fix: a Lambda layer holds code, which load_model never runs"
        ):
            load_model(tmp_path / f"{number}.keras")


def test_functions_of_other_modules_are_not_called(saved, tmp_path):
    config = json.loads(zipfile.ZipFile(saved[1]).read("config.json"))
    config["config"]["layers"][0] = {
        "module": "os",
        "class_name": "mkdir",
        "registered_name": None,
        "config": {"path": str(tmp_path / "sprung")},
        "name": "image",
        "inbound_nodes": [],
    }
    path = rewritten(saved[1], tmp_path / "gadget.keras", {"config.json": json.dumps(config)})
    with pytest.raises(ValueError, match=r"Keras cannot load a model from .*gadget\.keras"):
        load_model(path)
    assert not (tmp_path / "sprung").exists()


def test_members_that_unpack_to_many_times_their_size(saved, tmp_path):
    """Keras refuses them. If an update of Keras no longer does, this test fails."""
    bomb = rewritten(saved[1], tmp_path / "bomb.keras", {"config.json": " " * (400 << 20)})
    assert bomb.stat().st_size < 4 << 20
    with pytest.raises(ValueError, match=r"Keras cannot load a model from .*bomb\.keras"):
        load_model(bomb)


@pytest.mark.parametrize("name", ["../outside", "/tmp/fcn_keras_outside", "assets/../../outside"])
def test_nothing_is_written_outside(saved, tmp_path, name):
    """Keras does not unpack such a member. If an update of Keras does, this test fails."""
    (tmp_path / "models").mkdir()
    path = rewritten(saved[1], tmp_path / "models" / "path.keras", extra=[(name, b"x")])
    before = set(tmp_path.rglob("*"))
    try:
        load_model(path)
    except ValueError as error:
        assert "path.keras" in str(error)
    assert set(tmp_path.rglob("*")) == before and not os.path.exists("/tmp/fcn_keras_outside")
    assert not os.path.exists("../outside")


@pytest.mark.parametrize(
    "changes",
    [
        {"config.json": None},
        {"model.weights.h5": None},
        {"config.json": "not json"},
        {"config.json": "[" * 100_000 + "]" * 100_000},
        {"config.json": "[1]"},
        {"config.json": "{}"},
    ],
)
def test_archives_that_are_no_models(saved, tmp_path, changes):
    with pytest.raises(ValueError, match=r"Keras cannot load a model from .*other\.keras .*Fix: copy the file again"):
        load_model(rewritten(saved[1], tmp_path / "other.keras", changes))


def test_a_file_that_a_newer_keras_saved(saved, tmp_path):
    """The file is loaded if Keras can load it. If not, the error names the version of Keras that saved it."""
    metadata = {"metadata.json": '{"keras_version": "99.1.0"}'}
    load_model(rewritten(saved[1], tmp_path / "newer.keras", metadata))
    config = json.loads(zipfile.ZipFile(saved[1]).read("config.json"))
    config["config"]["layers"][1] |= {"module": "keras.layers", "class_name": "OfTomorrow", "registered_name": None}
    newer = rewritten(saved[1], tmp_path / "newer.keras", {**metadata, "config.json": json.dumps(config)})
    with pytest.raises(
        ValueError, match=r"Keras 99\.1\.0 saved the file, and 3\..* is installed: pip install --upgrade"
    ):
        load_model(newer)
    assert loading._numbers("3.9.1") < loading._numbers("3.15.0")
