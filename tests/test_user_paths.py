"""Wherever a user writes a path, a leading ``~`` is the home folder: the shell does not replace it in ``--out=~/x``."""

import json

import keras
import numpy as np
import PIL.Image
import pytest

import fcn_keras
from fcn_keras import _files
from fcn_keras.cli import _options
from fcn_keras.export.formats import export_model
from fcn_keras.inference import files, video
from fcn_keras.instances import coco
from fcn_keras.paper import caffemodel, seg11valid, weight_conversion
from fcn_keras.training import Run


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The process runs in one folder, the home is another; nothing called ``~`` may appear in the first."""
    folders = {name: tmp_path / name for name in ("home", "elsewhere")}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.chdir(folders["elsewhere"])
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folders["home"]))
    yield folders["home"]
    assert not list(folders["elsewhere"].iterdir())


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])


def test_models_and_what_lies_beside_them(home, model):
    model.save(home / "net.keras")
    assert fcn_keras.load_model("~/net.keras").output_shape[-1] == 2
    _files.write_json("~/config.json", {"palette": [[0, 0, 0], [1, 2, 3]]})
    np.testing.assert_array_equal(_options.read_run("~/net.keras")["palette"], [[0, 0, 0], [1, 2, 3]])
    assert export_model(model, "~/net.tflite", size=(8, 8)) == home / "net.tflite"


def test_images_and_masks(home, model):
    (home / "photos").mkdir()
    PIL.Image.new("RGB", (8, 8)).save(home / "photos" / "a.jpg")
    assert files.find_images(["~/photos"], "~/masks") == files.find_images([home / "photos"], home / "masks")
    (record,) = files.segment_files(model, ["~/photos"], "~/masks")
    assert record["status"] == "done" and (home / "masks" / "a.png").is_file()
    videos = list(video.segment_videos(model, ["~/none.mp4"], "~/videos"))
    assert videos[-1][0]["image"] == str(home / "none.mp4")


def test_weights_and_lists(home):
    np.savez(home / "weights.npz", a=np.ones(2))
    assert weight_conversion._read_mapping("~/weights.npz")["a"].tolist() == [1, 1]
    with pytest.raises(ValueError, match=f"No caffemodel at {home}/none"):
        caffemodel.read_caffemodel("~/none.caffemodel")
    with pytest.raises(ValueError, match=f"Found no VOC2011 in {home}/none"):
        seg11valid.find_seg11valid_images("~/none")
    (home / "record.json").write_text(json.dumps({"run": "a", "done": 3, "confusion": [[1]]}))
    assert seg11valid._resume("~/record.json", "a")[0] == 3


def test_annotations_of_coco(home):
    content = {"images": [], "categories": [{"id": 1, "name": "cat"}], "annotations": []}
    (home / "instances.json").write_text(json.dumps(content))
    assert coco.open_coco("~/instances.json", "~/images").class_names == ["background", "cat"]


def test_the_folder_of_a_run(home):
    run = Run("~/run", None, None, None, None, ["a", "b"], 1)
    assert run.directory == home / "run"
