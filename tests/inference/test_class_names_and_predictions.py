"""Evaluation never compares ids that mean different classes, and measures masks of other programs."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fcn_keras.cli import main
from fcn_keras.inference import evaluate, evaluate_masks, segment
from fcn_keras.inference.evaluate import match_class_names
from fcn_keras.inference.files import segment_files
from fcn_keras.models.segmentation_model import with_classes

NAMES = ["red", "green", "blue"]


@pytest.fixture(scope="module")
def model():
    """The class of a pixel is the largest of its red, green and blue."""
    image = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(3, 1, use_bias=False)
    model = keras.Model(image, layer(image), name="largest")
    layer.set_weights([np.eye(3, dtype="float32")[None, None] / 100])
    return with_classes(model, NAMES)


def write_folder(root, names, count=8, seed=0):
    """Images, and masks in which three quarters of the pixels are what `model` says, by the ids of `names`."""
    generator = np.random.default_rng(seed)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    confusion = np.zeros((3, 3), int)
    for number in range(count):
        image = generator.integers(2, 255, (24, 32, 3), "uint8")
        said = image.argmax(-1)
        truth = np.where(generator.random(said.shape) < 0.25, 0, said)
        np.add.at(confusion, (truth, said), 1)
        Image.fromarray(image).save(root / "images" / f"{number}.png")
        ids = np.array([(names or NAMES).index(name) for name in NAMES], "uint8")[truth]
        Image.fromarray(ids).save(root / "masks" / f"{number}.png")
    if names:
        (root / "classes.txt").write_text("\n".join(names))
    return confusion  # by the ids of the model


@pytest.fixture
def saved(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return str(tmp_path / "model.keras")


def run(capsys, *words):
    status = main([*map(str, words), "--json"])
    told = capsys.readouterr()
    return status, json.loads(told.out) if told.out else None, told.err


@pytest.mark.parametrize("names", [NAMES, ["blue", "red", "green"], ["green", "red", "blue"], None])
def test_a_plain_folder_is_measured_whole_and_classes_are_matched_by_name(tmp_path, saved, capsys, names):
    confusion = write_folder(tmp_path / "test", names)
    status, found, told = run(capsys, "evaluate", saved, tmp_path / "test", "--data-dir", tmp_path / "data")
    order = [NAMES.index(name) for name in names or NAMES]
    assert status == 0 and found["images"] == 8 and found["split"] == "all"
    assert found["confusion"] == confusion[np.ix_(order, order)].tolist()
    assert "all images, because the folder has no lists" in told
    assert ("matched by name" in told) == (names not in (NAMES, None))
    assert ("has no classes.txt" in told) == (names is None)


def test_a_single_test_image_is_measured(tmp_path, saved, capsys):
    confusion = write_folder(tmp_path / "test", NAMES, count=1)
    status, found, _ = run(capsys, "evaluate", saved, tmp_path / "test", "--data-dir", tmp_path / "data")
    assert status == 0 and found["confusion"] == confusion.tolist()


def test_lists_and_the_folder_of_training_choose_the_validation_images(tmp_path, saved, capsys):
    write_folder(tmp_path / "mine", NAMES, count=20)
    words = ["evaluate", saved, tmp_path / "mine", "--data-dir", tmp_path / "data"]
    (tmp_path / "config.json").write_text(json.dumps({"data": str(tmp_path / "mine")}))
    status, found, told = run(capsys, *words)
    assert status == 0 and found["images"] < 20 and "the model was trained on this folder" in told
    (tmp_path / "config.json").unlink()
    (tmp_path / "mine" / "train.txt").write_text("0\n1\n2")
    (tmp_path / "mine" / "validation.txt").write_text("3\n4")
    assert run(capsys, *words)[1]["images"] == 2


def test_other_names_are_refused(tmp_path, saved, model, capsys):
    write_folder(tmp_path / "test", ["cat", "dog", "horse"][:0] or None)
    (tmp_path / "test" / "classes.txt").write_text("cat\ndog\nhorse")
    status, found, told = run(capsys, "evaluate", saved, tmp_path / "test", "--data-dir", tmp_path / "data")
    assert status == 2 and found is None and "the data have cat, dog, horse" in told and "Fix:" in told
    data = tf.data.Dataset.from_tensors((np.zeros((1, 8, 8, 3), "float32"), np.zeros((1, 8, 8), "uint8")))
    with pytest.raises(ValueError, match="expected the same names"):
        evaluate(model, data, ["cat", "dog", "horse"])
    assert match_class_names(None, NAMES) is None


@pytest.mark.parametrize("options", [{"tile": 16}, {"tile": 16, "flip": True}, {"scales": (1.0, 1.5)}])
def test_tiles_give_the_same_counts_in_every_order(model, options):
    generator = np.random.default_rng(1)
    images = generator.integers(2, 255, (2, 40, 50, 3)).astype("float32")
    masks = generator.integers(0, 3, (2, 40, 50)).astype("uint8")
    data = tf.data.Dataset.from_tensor_slices((images, masks)).batch(1)
    names = ["green", "blue", "red"]
    found = evaluate(model, data, names, **options)
    said = np.stack([segment(model, image.astype("uint8"), progress=False, **options) for image in images])
    said = np.array([names.index(name) for name in NAMES])[said]
    assert found.confusion.tolist() == [[int(((masks == i) & (said == j)).sum()) for j in range(3)] for i in range(3)]
    if "scales" not in options:
        order = [NAMES.index(name) for name in names]
        masks = np.array(order, "uint8")[masks]  # the ids of the model
        data = tf.data.Dataset.from_tensor_slices((images, masks)).batch(1)
        assert found.confusion.tolist() == evaluate(model, data).confusion[np.ix_(order, order)].tolist()


def test_tiles_bound_the_memory(model, monkeypatch):
    seen = []
    from fcn_keras.inference import predictor

    call = predictor.Predictor.__call__
    monkeypatch.setattr(
        predictor.Predictor, "__call__", lambda self, output, x: (seen.append(x.shape), call(self, output, x))[1]
    )
    data = tf.data.Dataset.from_tensors((np.full((1, 90, 100, 3), 9, "float32"), np.zeros((1, 90, 100), "uint8")))
    evaluate(model, data, tile=32)
    assert len(seen) >= 12 and max(max(shape[1:3]) for shape in seen) <= 34


def test_masks_made_elsewhere(tmp_path, model, capsys):
    confusion = write_folder(tmp_path / "test", NAMES)
    list(segment_files(model, [tmp_path / "test" / "images"], tmp_path / "out"))
    assert evaluate_masks(tmp_path / "test", tmp_path / "out").confusion.tolist() == confusion.tolist()
    status, found, _ = run(capsys, "evaluate", tmp_path / "test", "--predictions", tmp_path / "out")
    assert status == 0 and found["confusion"] == confusion.tolist()
    Image.new("L", (32, 24), 7).save(tmp_path / "out" / "0.png")
    with pytest.raises(ValueError, match=r"0\.png.*Fix:|ids.*7"):
        evaluate_masks(tmp_path / "test", tmp_path / "out")
    Image.new("L", (3, 2)).save(tmp_path / "out" / "0.png")
    with pytest.raises(ValueError, match="expected the same"):
        evaluate_masks(tmp_path / "test", tmp_path / "out")
    (tmp_path / "out" / "0.png").unlink()
    with pytest.raises(ValueError, match="lacks 1 of 8 masks"):
        evaluate_masks(tmp_path / "test", tmp_path / "out")
    assert main(["evaluate", "a.keras"]) == 2 and "expected a model and the data" in capsys.readouterr().err


def test_segment_writes_what_others_can_use(tmp_path, saved, model, capsys):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    image = np.random.default_rng(0).integers(2, 255, (20, 30, 3), "uint8")
    Image.fromarray(image).save(photos / "a.png")
    (photos / "b.heic").write_bytes(b"ftypheic")
    (photos / "c.MOV").write_bytes(b"ftypqt")
    words = [
        "segment",
        saved,
        photos,
        "--out",
        out,
        "--ids",
        "--probabilities",
        "--areas",
        "--threshold",
        "blue",
        "0.3",
    ]
    for status in ("done", "skipped"):
        code, records, _ = run(capsys, *words)
        assert code == 1 and [record["status"] for record in records] == [status, "bad", "bad"]
        assert "heic" in records[1]["error"] and "video" in records[2]["error"]
        odds = np.exp(image / 100)
        probabilities = odds / odds.sum(-1, keepdims=True)
        ids = np.where(probabilities[..., 2] >= 0.3, 2, image[..., :2].argmax(-1))
        with Image.open(out / "a.png") as mask, Image.open(out / "a.ids.png") as grey:
            assert mask.mode == "P" and grey.mode == "L" and mask.text["Model"] == saved
            assert (np.asarray(mask) == ids).mean() > 0.99 and (np.asarray(mask) == np.asarray(grey)).all()
            counts = np.bincount(np.asarray(mask).ravel(), minlength=3).tolist()
        np.testing.assert_allclose(np.load(out / "a.npy"), probabilities, atol=1e-3)
        areas = json.loads((out / "areas.json").read_text())
        assert areas == {"model": saved, "pixels": {str(photos / "a.png"): dict(zip(NAMES, counts, strict=True))}}
    same = segment(model, image, threshold=("blue", 0.3))
    assert same.tolist() == np.asarray(Image.open(out / "a.ids.png")).tolist()
    for threshold in (("cat", 0.3), (2, 0.3), ("2", 0.3), ("blue", 0), ("blue", 2)):
        with pytest.raises(ValueError, match="threshold"):
            segment(model, image, threshold=threshold)
