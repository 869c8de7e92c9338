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

from fcn_keras import load_model
from fcn_keras.metrics import METRICS
from fcn_keras.models import Backbone, find_feature_layers
from fcn_keras.training import LayerwiseAdamW, Polynomial, Recipe, Run, Stage, StagedRecipe, StagedTraining, train

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
    assert_close([found[key] for key in ("loss", *sorted(METRICS))], f"{name}/step", 1e-3)
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
    if name in ("fcn8s_learned", "fcn8s_strided", "authors_fcnalexnet", "super_resolver"):
        found = np.asarray(model(numbers["image"][None].astype("float32"), training=False))[:, ::4, ::5]
        expected = numbers[f"{{name}}/output"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    print(name)
"""


SOME = ["authors_fcnalexnet", "compiled_global_loss", "compiled_sgd", "dilated_pooling", "fcn8s_learned", "mask_rcnn"]


@pytest.mark.parametrize(
    ("modules", "files"), [(("keras", "fcn_keras"), FILES), (("fcn_keras", "keras"), SOME)], ids=["after", "before"]
)
def test_keras_loads_them_where_the_package_is_imported(modules, files):
    command = [sys.executable, "-c", SCRIPT.format(*modules), FOLDER, *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == files


def averaging(model, steps):
    return LayerwiseAdamW(Polynomial(1e-2, steps), decay=1e-3, use_ema=True, ema_momentum=0.8)


def copied(name, tmp_path):
    return pathlib.Path(shutil.copytree(FOLDER / "runs" / name, tmp_path / name))


def refuses(run, folder):
    """Whether a folder is refused with a word that says why, and left as it is."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="holds a run with other settings: .*Fix: take another"):
        run()
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return True


@pytest.mark.parametrize("name", ["half", "finished"])
def test_a_run_is_refused_and_its_nets_load(name, tmp_path):
    """Its settings and measurements have other names, so it cannot be the run that is asked for."""
    folder = copied(name, tmp_path)
    run = Run(
        folder, parts.little_net, averaging, parts.batches, parts.validation(), parts.CLASSES, epochs=4,
        settings={"recipe": "first edition"}, seed=5, samples=0, verbose=0,
    )  # fmt: skip
    assert run.record()["epoch"] == {"half": 2, "finished": 4}[name]
    assert refuses(run.run, folder)
    for net in ("last", "best"):
        load_model(folder / f"{net}.keras")
    if name == "finished":
        assert_close(computed(load_model(folder / "last.keras")), "run/output")
        with pytest.raises(ValueError, match=r"metrics\.json lacks mean_iou, .*older version.*Fix: measure"):
            run.results()


def test_a_run_of_a_recipe_is_refused(tmp_path):
    little = parts.little_backbone()
    backbone = Backbone(lambda weights: little, find_feature_layers(little), pretrained=None)
    recipe = Recipe(backbone=backbone, net="FCN-16s", upsampling="frozen", epochs=2, scales=None, size=None)
    data, folder = (parts.batches, parts.validation()), copied("recipe", tmp_path)
    options = {"class_names": parts.CLASSES, "samples": 0, "verbose": 0, "seed": 3}
    assert refuses(lambda: train(recipe, data, folder, **options), folder)
    assert load_model(folder / "last.keras").output_shape[-1] == len(parts.CLASSES)


def test_staged_training_is_refused(tmp_path):
    folder = copied("ladder", tmp_path)
    stages = (Stage("FCN-32s", 2, 1e-2), Stage("FCN-16s", 3, 5e-3))
    shared = Recipe(backbone=parts.little_backbone(), weights=None, upsampling="frozen", class_weights="none")
    staged = StagedTraining(
        folder, StagedRecipe("scenes", stages, shared), parts.batches, parts.validation(), parts.CLASSES,
        seed=5, verbose=0, settings={"recipe": "first edition"},
    )  # fmt: skip
    assert refuses(staged.run, folder)
    assert load_model(folder / "FCN-32s" / "last.keras").name == "fcn32s"
