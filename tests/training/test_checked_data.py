"""`train` acts on what `check` finds, and `segment` writes the ids of the user's own masks."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import PIL.Image
import pytest
import stand_ins
import tensorflow as tf

import fcn_keras
from fcn_keras.cli import main
from fcn_keras.inference import evaluate_masks
from fcn_keras.training import RECIPES, train

NAMES = [f"{i:02d}" for i in range(12)]
COLORS = np.array([(30, 90, 30), (220, 40, 40), (40, 60, 230)], "uint8")  # of ground, red and blue in the photographs
SMALL = dataclasses.replace(
    RECIPES["light"],
    backbone="mini_vgg",
    size=(48, 64),
    batch=2,
    epochs=15,
    scales=None,
    color=None,
    ema=None,
    learning_rate=3e-3,
)


QUICK = {"samples": 0, "verbose": 0, "validate_every": 0}


def scene(name, classes=3):
    """0 ground, and two rectangles: 1 red and, with three classes, 2 blue."""
    generator = np.random.default_rng(int(name))
    ids = np.zeros((48, 64), "uint8")
    for id_ in range(1, classes):
        for _ in range(2):
            top, left = generator.integers(0, 28), generator.integers(0, 40)
            ids[top : top + 18, left : left + 22] = id_
    return ids


def write(root, draw, lines=None, classes=3):
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name in NAMES:
        ids = scene(name, classes)
        noise = np.random.default_rng(int(name)).integers(-20, 20, (*ids.shape, 3))
        PIL.Image.fromarray((COLORS[ids] + noise).clip(0, 255).astype("uint8")).save(root / "images" / f"{name}.png")
        draw(ids).save(root / "masks" / f"{name}.png")
    stand_ins.write_list(root / "train.txt", NAMES[:8])
    stand_ins.write_list(root / "validation.txt", NAMES[8:])
    if lines:
        (root / "classes.txt").write_text("\n".join(lines))
    return root


def grey(*values):
    return lambda ids: PIL.Image.fromarray(np.array(values, "uint8")[ids])


def colors(ids):
    return PIL.Image.fromarray(COLORS[::-1][ids])


NAMED = ["ground", "red", "blue"]
DRAWN = [f"{name} {r} {g} {b}" for name, (r, g, b) in zip(NAMED, COLORS[::-1], strict=True)]
WAYS = {
    "ids alone": (grey(0, 1, 2), None, 3),
    "names": (grey(0, 1, 2), NAMED, 3),
    "void first": (grey(1, 2, 3), ["void", *NAMED], 3),
    "void in the middle": (grey(0, 2, 3), ["ground", "void", "red", "blue"], 3),
    "grey colours": (grey(10, 128, 255), ["ground 10 10 10", "red 128 128 128", "blue 255 255 255"], 3),
    "colours": (colors, DRAWN, 3),
    "binary": (grey(0, 255), None, 2),
    "binary, 128": (grey(0, 128), ["ground", "red"], 2),
}


class ByHand(type(SMALL)):
    """A recipe whose net knows the colours in the photographs: the logits are larger for nearer colours."""

    def build(self, num_classes, net=None, channels=3):
        image = keras.Input((None, None, 3))
        layer = keras.layers.Conv2D(num_classes, 1, name="score")
        model = keras.Model(image, layer(image))
        colors = np.zeros((num_classes, 3), "float32")
        colors[:3] = COLORS[:num_classes] / 50
        layer.set_weights([2 * colors.T[None, None], -((colors**2).sum(axis=1)) * 50])
        return model

    def make_optimizer(self, model, steps):
        return keras.optimizers.SGD(0.0)


BY_HAND = ByHand(**{**vars(SMALL), "epochs": 1})


def segment(root, folder, binary):
    """Segments the images with the net of a run. Returns the shares of equal pixels, and the areas of each class."""
    out = folder / "out"
    words = ["segment", str(folder / "run" / "last.keras"), str(root), "--out", str(out), "--ids", "--areas"]
    assert main(words) == 0
    areas = (out / "areas.json").read_text()
    assert main(words) == 0 and (out / "areas.json").read_text() == areas  # counted in the files this time
    equal = []
    for name in NAMES:
        with (
            PIL.Image.open(out / f"{name}.png") as found,
            PIL.Image.open(out / f"{name}.ids.png") as grey,
            PIL.Image.open(root / "masks" / f"{name}.png") as own,
        ):
            assert found.mode == "P" and grey.mode == "L" and (np.asarray(found) == np.asarray(grey)).all()
            if own.mode == "RGB":  # colours in, the same colours out
                equal.append((np.asarray(found.convert("RGB")) == np.asarray(own)).all(axis=-1).mean())
            else:
                equal.append((np.asarray(found) == np.asarray(own)).mean())
    assert np.mean(equal) == pytest.approx(evaluate_masks(root, out, binary=binary).metrics["pixel_accuracy"])
    return equal, list(json.loads(areas)["pixels"].values())


@pytest.mark.parametrize("way", WAYS)
def test_the_ids_that_come_out_are_the_ids_that_went_in(way, tmp_path):
    draw, lines, classes = WAYS[way]
    root = write(tmp_path / "mine", draw, lines, classes)
    binary = way.startswith("binary")
    train(BY_HAND, str(root), tmp_path / "run", data_dir=tmp_path / "data", binary=binary, **QUICK)
    equal, areas = segment(root, tmp_path, binary)
    assert equal == [1] * len(NAMES)
    counts = [np.bincount(scene(name, classes).ravel(), minlength=classes).tolist() for name in NAMES]
    assert [list(of_class.values()) for of_class in areas] == counts


def test_a_trained_net_writes_the_ids_that_went_in(tmp_path):
    root = write(tmp_path / "mine", *WAYS["void first"])
    train(SMALL, str(root), tmp_path / "run", data_dir=tmp_path / "data", **QUICK)
    assert np.mean(segment(root, tmp_path, False)[0]) > 0.8


def test_evaluate_knows_the_folder_that_a_run_was_trained_on(tmp_path, capsys, monkeypatch):
    root = write(tmp_path / "mine", *WAYS["names"])
    for name in ("train.txt", "validation.txt"):
        (root / name).unlink()
    monkeypatch.chdir(tmp_path)
    train(BY_HAND, "mine", "run", data_dir=tmp_path / "data", **QUICK)
    monkeypatch.chdir(root)  # elsewhere, "mine" would be another folder
    shutil.copytree(root, tmp_path / "others")
    for folder, told, split in (("mine", "the validation images only", "validation"), ("others", "all images", "all")):
        words = [str(tmp_path / "run" / "last.keras"), str(tmp_path / folder), "--data-dir", str(tmp_path / "data")]
        capsys.readouterr()
        assert main(["evaluate", *words, "--json"]) == 0
        out, err = capsys.readouterr()
        found = json.loads(out)
        assert told in err and found["split"] == split and (found["images"] == len(NAMES)) == (split == "all")


def test_train_refuses_what_check_calls_an_error_and_force_is_recorded(tmp_path, capsys):
    def levels(ids):
        return PIL.Image.fromarray(60 * ids)

    root = write(tmp_path / "mine", levels)
    options = {"data_dir": tmp_path / "data", "samples": 0, "verbose": 0}
    for _ in range(2):  # the second time, the data are prepared already
        with pytest.raises(ValueError, match=r"(?s)ERROR    Masks with 3 ids, up to 120: .*--force"):
            train(BY_HAND, str(root), tmp_path / "run", **options)
    assert not (tmp_path / "run" / "config.json").exists()
    train(BY_HAND, str(root), tmp_path / "run", force=True, **options)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["forced"] == ["levels"]
    assert "Masks with 3 ids, up to 120" in capsys.readouterr().err
    with pytest.raises(ValueError, match="--force"):
        train(BY_HAND, str(root), tmp_path / "run", **options)


def test_train_repeats_warnings_without_reading_the_files_again(tmp_path, capsys, monkeypatch):
    root = write(tmp_path / "mine", grey(0, 1, 2), ["ground", "red", "blue", "unlabelled"])
    options = {"data_dir": tmp_path / "data", "samples": 0, "verbose": 0}
    train(BY_HAND, str(root), tmp_path / "run", **options)
    first = capsys.readouterr().err
    assert "Names that do not sound like classes" in first and "cannot be learned" in first
    monkeypatch.setattr("fcn_keras.datasets.folder.inspect_all", None)
    train(BY_HAND, str(root), tmp_path / "again", **options)
    assert capsys.readouterr().err == first
    assert "forced" not in json.loads((tmp_path / "run" / "config.json").read_text())


def test_masks_that_are_void_throughout_have_no_score():
    model = fcn_keras.FCN32s(2, "mini_vgg", weights=None)
    void = tf.data.Dataset.from_tensors((np.zeros((1, 8, 8, 3), "float32"), np.full((1, 8, 8), 255, "uint8")))
    result = fcn_keras.evaluate(model, void)
    assert all(np.isnan(value) for value in result.metrics.values())
    assert "0.0" not in result.table() and "–" in result.table()


def test_the_command_line_refuses_void_objects_and_takes_binary(tmp_path, capsys):
    root = write(tmp_path / "mine", grey(0, 255), ["ground", "red"], classes=2)
    words = [str(root), "--data-dir", str(tmp_path / "data")]
    assert main(["check", str(root)]) == 1 and main(["check", str(root), "--binary"]) == 0
    assert main(["train", *words, "--directory", str(tmp_path / "run")]) == 2
    assert "if 255 is the object, pass --binary" in capsys.readouterr().err
    net = fcn_keras.FCN32s(2, "mini_vgg", weights=None)
    net.save(tmp_path / "net.keras")
    assert main(["evaluate", str(tmp_path / "net.keras"), *words, "--binary"]) == 0
    assert main(["train", "shapes", "--stages", "--binary"]) == 2
    assert "--stages with --binary" in capsys.readouterr().err
