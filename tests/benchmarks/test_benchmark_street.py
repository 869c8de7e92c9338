"""The comparison of benchmarks/street.py: the street is held out, and each variant is what it says."""

import dataclasses
import importlib
import json

import numpy as np
import pytest
import tensorflow as tf
from stand_ins import write_camvid

pytestmark = pytest.mark.usefixtures("project_root")


@pytest.fixture(scope="module")
def street():
    return importlib.import_module("benchmarks.street")


def test_the_street_is_held_out_trained_without_and_measured(street, tmp_path, monkeypatch, capsys):
    write_camvid(tmp_path / "CamVid", ["A1_a", "A1_b", "B2_a", "B2_b", "B2_c"], ["v", "w", "x"])
    small = {"backbone": "mini_vgg", "weights": None, "size": (40, 56), "batch": 1}
    for name in ("fcn4s", "dim", "dropout"):
        variant = street.VARIANTS[name]
        variant = dataclasses.replace(variant, recipe=dataclasses.replace(variant.recipe, **small))
        monkeypatch.setitem(street.VARIANTS, name, variant)
    command = ["--source", str(tmp_path / "CamVid"), "--directory", str(tmp_path / "runs"), "--street", "A1"]
    assert street.main(["fcn4s", "dim", "dropout", *command, "--epochs", "1"]) == 0

    folder = tmp_path / "runs" / "A1"
    kept = {kind: sorted(path.name for path in (folder / "images" / kind).iterdir()) for kind in ("train", "val")}
    assert kept == {"train": ["B2_a.png", "B2_b.png", "B2_c.png"], "val": ["A1_a.png", "A1_b.png"]}
    content = json.loads((folder / "fcn4s-1-0" / "street.json").read_text(encoding="utf-8"))
    assert content["street"] == "A1" and len(content["history"]) == 1
    ious = {key: result["mean_iou"] for key, result in content["results"].items()}
    assert list(ious) == ["street, scale 1", "street, scale 1.5", "validation, scale 1", "validation, scale 1.5"]
    assert len(set(ious.values())) > 1
    assert json.loads((folder / "street.json").read_text(encoding="utf-8"))[2] == content
    printed = capsys.readouterr().out
    assert printed.count("\n| FCN-4s") == 3

    with pytest.raises(ValueError, match=r"no file of 'C3'.*expected one of \['A1', 'B2'\]"):
        street.main([*command[:-1], "C3"])


def test_unknown_variants_are_named(street, capsys):
    with pytest.raises(SystemExit):
        street.main(["fcn9s", "--source", "CamVid"])
    assert "fcn9s" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["dilated", "dropout"])
def test_nets_of_the_variants_have_logits_at_the_size_of_the_image(street, name):
    recipe = dataclasses.replace(street.VARIANTS[name].recipe, weights=None)
    net = recipe.build(5)
    image = np.random.default_rng(0).uniform(0, 255, (1, 67, 90, 3)).astype("float32")
    assert net(image).shape == (1, 67, 90, 5)
    if name == "dilated":
        backbone = net.get_layer("backbone")
        assert [shape[1] for shape in backbone.compute_output_shape((1, 320, 320, 3))] == [80, 40, 20, 20]


def test_dim_changes_light_and_keeps_masks(street):
    images = np.random.default_rng(0).uniform(0, 255, (3, 20, 30, 3)).astype("float32")
    masks = np.arange(3 * 600, dtype="uint8").reshape(3, 20, 30)
    batches = tf.data.Dataset.from_tensors((images, masks)).repeat(2)
    (first, kept), (second, _) = street.dim(batches, seed=4).as_numpy_iterator()
    again, _ = next(street.dim(batches, seed=4).as_numpy_iterator())
    np.testing.assert_array_equal(kept, masks)
    np.testing.assert_array_equal(first, again)
    assert first.min() >= 0 and first.max() <= 255
    assert np.abs(first - second).mean() > 5 and np.abs(first.mean((1, 2)) - images.mean((1, 2))).min() > 0.5


def test_blur_is_scipys(street):
    from scipy import ndimage

    image = np.random.default_rng(0).uniform(0, 255, (20, 30, 3)).astype("float32")
    found = street.blur(tf.constant(image), tf.constant([[1.2]]))
    expected = ndimage.gaussian_filter(image, (1.2, 1.2, 0), mode="reflect", radius=street.BLUR // 2, truncate=99)
    np.testing.assert_allclose(found, expected, atol=0.01)
