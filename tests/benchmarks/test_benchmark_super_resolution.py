"""The comparison that chapter 6 quotes: its measure against NumPy, and small runs of both of its parts."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import fcn_keras
from benchmarks.super_resolution import __main__ as command
from benchmarks.super_resolution.comparison import compare_images, compare_masks, near_boundaries, photographs
from fcn_keras import metrics
from fcn_keras.datasets.shapes import Shapes


@pytest.fixture(scope="module")
def few_scenes(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        few = {f"fine_x{k}": {"train": 8, "validation": 4} for k in (1, 2, 4)}
        patch.setattr(Shapes, "SIZES", {**Shapes.SIZES, **few})
        tfds.disable_progress_bar()
        yield tmp_path_factory.mktemp("data")


def mean_iou(truth, labels, counted, classes):
    """Over classes that occur where it counts, in NumPy."""
    truth, labels = truth[counted], labels[counted]
    ius = [
        ((truth == c) & (labels == c)).sum() / n for c in range(classes) if (n := ((truth == c) | (labels == c)).sum())
    ]
    return np.mean(ius)


def test_the_measure_is_mean_iu_of_the_pixels_near_a_boundary():
    rng = np.random.default_rng(0)
    net = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 1)])
    net.set_weights([rng.normal(size=w.shape) for w in net.get_weights()])
    images = rng.uniform(0, 1, (4, 8, 8, 3)).astype("float32")
    truth = rng.integers(0, 3, (4, 4, 4)).repeat(8, axis=1).repeat(8, axis=2)  # fine squares of 8, image ×4
    ways = {"nearest": (net, "nearest"), "bilinear": (net, "bilinear")}
    found = near_boundaries(ways, [(images[:2], truth[:2]), (images[2:], truth[2:])], radii=(1, 2))
    logits = net.predict(images, verbose=0)
    labels = {
        "nearest": logits.argmax(-1).repeat(4, axis=1).repeat(4, axis=2),
        "bilinear": tf.image.resize(logits, (32, 32), "bilinear").numpy().argmax(-1),
    }
    for name, ids in labels.items():
        assert found[name]["all"] == pytest.approx(mean_iou(truth, ids, np.ones_like(truth, bool), 3))
        for r in (1, 2):
            near = np.array(metrics.trimap(truth, r)) != 255
            assert found[name][str(r)] == pytest.approx(mean_iou(truth, ids, near, 3))


def test_masks_in_small_and_nets_that_are_kept(few_scenes, tmp_path):
    fcn8s = fcn_keras.FCN8s(10, "mini_vgg")
    before = fcn8s.get_weights()
    options = {"epochs": (1, 1), "factor": 2, "splits": ("train", "validation"), "data_dir": few_scenes}
    results = compare_masks(fcn8s, tmp_path, **options)
    assert list(results) == ["FCN-8s, nearest", "FCN-8s, bilinear", "×1, nearest", "×1, bilinear", "×2"]
    assert all(set(of) == {"1", "2", "4", "8", "all"} for of in results.values())
    assert all(0 < value <= 1 for of in results.values() for value in of.values())
    for a, b in zip(before, fcn8s.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(files) == {"fcn8s.keras", "start.keras", "x1.keras", "x2.keras"}
    assert compare_masks(fcn8s, tmp_path, **options) == results  # nothing is trained again
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_images_in_small(tmp_path):
    images = [np.uint8(np.random.default_rng(i).uniform(0, 255, (96, 100, 3))) for i in range(5)]
    results = compare_images(images[1:], images[:1], tmp_path, factors=(2,), steps=2)
    assert list(results["×2"]) == ["bilinear", "bicubic", "network"]
    assert all(set(of) == {"psnr", "ssim"} for of in results["×2"].values())


def test_photographs_are_shuffled_by_the_seed_and_small_ones_left_out(tmp_path):
    for i, side in enumerate([100, 96, 120, 20]):
        keras.utils.save_img(tmp_path / f"{i}.png", np.full((side, 110, 3), 10 * i), scale=False)
    (tmp_path / "notes.txt").write_text("no photograph")
    sides = [image.shape[0] for image in photographs(tmp_path, seed=1)]
    assert sorted(sides) == [96, 100, 120]
    assert sides == [image.shape[0] for image in photographs(tmp_path, seed=1)]
    with pytest.raises(ValueError, match="Found 4 JPEG and PNG files.*none of them at least 500"):
        photographs(tmp_path, smallest=500)
    with pytest.raises(ValueError, match="Found 0 JPEG and PNG files"):
        photographs(tmp_path / "nowhere")


def test_the_command_writes_what_it_prints(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command.comparison, "compare_images", lambda *a, **k: {"×2": {"network": {"psnr": 30.0}}})
    monkeypatch.setattr(command.comparison, "photographs", lambda folder: [folder] * 10)
    assert command.main(["images", "--photos", "here", "--directory", str(tmp_path)]) == 0
    written = (tmp_path / "results.json").read_text(encoding="utf-8")
    assert written == capsys.readouterr().out and json.loads(written)["×2"]["network"]["psnr"] == 30
    assert command.main(["masks", "--fcn8s", str(tmp_path / "none.keras"), "--directory", str(tmp_path)]) == 2
    assert "no trained FCN-8s" in capsys.readouterr().err
