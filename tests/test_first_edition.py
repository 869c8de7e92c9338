"""Files of the first edition (commit b758651) load today, and compute what they computed then.

``tests/data/first_edition/make.py`` made the files with the code of that commit, and the numbers with them.
"""

import pathlib
import runpy
import shutil
import subprocess
import sys
import types

import keras
import numpy as np
import pytest

from fcn_keras.backbones import Backbone
from fcn_keras.loading import load_model
from fcn_keras.metrics import METRICS
from fcn_keras.recipes import Recipe, train
from fcn_keras.taps import find_taps
from fcn_keras.training import AdamW, Ladder, Polynomial, Run, Rung

FOLDER = pathlib.Path(__file__).parent / "data" / "first_edition"
NUMBERS = dict(np.load(FOLDER / "numbers.npz"))
IMAGE = NUMBERS["image"][None].astype("float32")
FILES = sorted(path.stem for path in (FOLDER / "models").glob("*.keras"))
COMPILED = [name for name in FILES if name.startswith("compiled_")]
PLAIN = [name for name in FILES if f"{name}/output" in NUMBERS and name not in ("mini_vgg", *COMPILED)]
parts = types.SimpleNamespace(**runpy.run_path(str(FOLDER / "parts.py")))


def load(name):
    return load_model(FOLDER / "models" / f"{name}.keras")


def computed(model):
    return keras.ops.convert_to_numpy(model(IMAGE, training=False))[:, ::4, ::5]


def assert_close(found, key, tolerance=1e-4):
    expected = NUMBERS[key]
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


def test_every_file_is_tested():
    assert sorted([*PLAIN, *COMPILED, "mini_vgg", "mask_rcnn"]) == FILES and len(FILES) > 40


@pytest.mark.parametrize("name", PLAIN)
def test_models_compute_what_they_computed(name):
    assert_close(computed(load(name)), f"{name}/output", 2e-2 if "bfloat16" in name else 1e-4)


def test_mini_vgg():
    assert_close(load("mini_vgg")(np.resize(IMAGE, (1, 96, 96, 3)), training=False), "mini_vgg/output")


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_models_train_on_where_they_were(name):
    """Optimizer, schedule, averages, loss with its weights and metrics: the next step shows them all."""
    model = load(name)
    state = [np.abs(keras.ops.convert_to_numpy(v).astype("float32")).sum() for v in model.optimizer.variables]
    assert_close(state, f"{name}/state")
    images, masks = parts.scenes(4, seed=3)
    if "binary" in name:
        masks[masks == 2] = 0
    found = model.train_on_batch(images, masks, return_dict=True)
    assert list(found) == ["loss", *METRICS]
    assert_close(list(found.values()), f"{name}/step", 1e-3)
    assert_close(computed(model), f"{name}/output", 1e-3)


def test_mask_rcnn():
    model = load("mask_rcnn")
    assert int(model.optimizer.iterations) == 7 and len(model.optimizer.variables) > 100
    found = model(parts.objects()["image"], training=False)
    assert_close(found["scores"], "mask_rcnn/scores", 1e-3)
    first = slice(0, 6)  # no two of these have nearly the same score, which rounding might swap
    np.testing.assert_array_equal(found["classes"][:, first], NUMBERS["mask_rcnn/classes"][:, first])
    np.testing.assert_allclose(found["boxes"][:, first], NUMBERS["mask_rcnn/boxes"][:, first], atol=0.05)
    masks = found["masks"][:, first, ::5, ::5]
    np.testing.assert_allclose(masks, NUMBERS["mask_rcnn/masks"][:, first], atol=0.01)
    losses = model(parts.objects(), training=False)
    assert_close([float(losses[name]) for name in sorted(losses)], "mask_rcnn/losses", 1e-3)


SCRIPT = """
import {}, {}, sys, numpy as np
numbers = np.load(sys.argv[1] + "/numbers.npz")
for name in sys.argv[2:]:
    model = keras.models.load_model(f"{{sys.argv[1]}}/models/{{name}}.keras")
    if f"{{name}}/output" in numbers.files and not name.startswith(("mini_vgg", "compiled")):
        found = np.asarray(model(numbers["image"][None].astype("float32"), training=False))[:, ::4, ::5]
        expected = numbers[f"{{name}}/output"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    print(name)
"""
PLAIN_KERAS = ["fcn32s_frozen", "fcn8s_learned", "fcn8s_learned_depthwise", "fcn8s_strided", "super_resolver"]


@pytest.mark.parametrize("modules", [("keras", "fcn_keras"), ("fcn_keras", "keras")])
def test_keras_loads_them_where_the_package_is_imported(modules):
    command = [sys.executable, "-c", SCRIPT.format(*modules), FOLDER, *PLAIN_KERAS]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == PLAIN_KERAS


def averaging(model, steps):
    return AdamW(Polynomial(1e-2, steps), decay=1e-3, use_ema=True, ema_momentum=0.8)


def copied(name, tmp_path):
    return pathlib.Path(shutil.copytree(FOLDER / "runs" / name, tmp_path / name))


def little_run(directory):
    return Run(
        directory, parts.little_net, averaging, parts.batches, parts.validation(), parts.CLASSES, epochs=4,
        settings={"recipe": "first edition"}, seed=5, samples=0, verbose=0,
    )  # fmt: skip


def test_a_run_stopped_half_way_goes_on(tmp_path):
    run = little_run(copied("half", tmp_path))
    assert run.record()["epoch"] == 2
    model = run.run()
    keys = ["loss", *METRICS, "val_loss", *(f"val_{name}" for name in METRICS), "epoch"]
    assert_close([[entry[key] for key in keys] for entry in run.record()["history"]], "run/history", 1e-3)
    assert_close(computed(model), "run/output", 1e-3)
    assert_close([run.results()["metrics"][name] for name in METRICS], "run/metrics", 1e-3)


def test_a_finished_run_is_read(tmp_path):
    run = little_run(copied("finished", tmp_path))
    assert run.finished
    assert_close([run.results()["metrics"][name] for name in METRICS], "run/metrics")
    assert_close(computed(run.run()), "run/output")


def test_a_finished_run_of_a_recipe_is_read(tmp_path):
    backbone = Backbone(lambda weights: parts.little_backbone(), ("pool3", "pool4", "pool5"), pretrained=None)
    assert find_taps(parts.little_backbone()) == backbone.taps
    recipe = Recipe(backbone=backbone, net="FCN-16s", upsampling="frozen", epochs=2, scales=None, size=None)
    data, folder = (parts.batches, parts.validation()), copied("recipe", tmp_path)
    run = train(recipe, data, folder, class_names=parts.CLASSES, samples=0, verbose=0, seed=3)
    assert run.finished and len(run.record()["history"]) == 2
    assert 0 < run.results()["metrics"][METRICS[2]] < 1


def test_a_ladder_stopped_half_way_goes_on(tmp_path):
    rungs = [Rung("FCN-32s", 2, 1e-2), Rung("FCN-16s", 3, 5e-3)]
    ladder = Ladder(
        copied("ladder", tmp_path), rungs, parts.batches, parts.validation(), parts.CLASSES, parts.little_backbone(),
        weights=None, seed=5, verbose=0, settings={"recipe": "first edition"},
    )  # fmt: skip
    assert ladder.record("FCN-16s")["epoch"] == 1
    ladder.run()
    found = [[result["metrics"][name] for name in METRICS] for result in ladder.results().values()]
    assert_close(found, "ladder/metrics", 1e-3)
    assert_close(computed(ladder.model("FCN-16s")), "ladder/output", 1e-3)
