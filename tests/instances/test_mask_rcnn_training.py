"""The run of Mask R-CNN: if it is killed and continued, it ends like a run that was not, and writes the same files.

Bit for bit only where TensorFlow adds in a fixed order: many regions read the same unit, and the gradients that come
back to it are added by whichever thread is first. Four steps without tracing, which takes longer than they do.
"""

import functools
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import keras
import numpy as np
import pytest
from small import SMALL

from fcn_keras import instances
from fcn_keras.instances import coco
from fcn_keras.models.backbones import Backbone, MiniVGG
from fcn_keras.models.loading import load_model

pytest.importorskip("pycocotools", reason="pycocotools is not installed")
FEW = SMALL | {"detections": 8}
RECIPE = {"epochs": 2, "batch": 2, "size": (64, 64), "warmup": 2}
SPLITS = ("train[:4]", "validation[:2]")
SCRIPT = textwrap.dedent(f"""
    import functools, sys
    import keras
    import tensorflow as tf
    from fcn_keras import instances

    tf.config.experimental.enable_op_determinism()
    instances.MaskRCNN.compile = functools.partialmethod(keras.Model.compile, run_eagerly=True)
    recipe = instances.MaskRCNNRecipe(config=instances.MaskRCNNConfig(**{FEW}), **{RECIPE})
    data, *folders = sys.argv[1:]
    for samples, folder in enumerate(folders):
        options = {{"where": {{"data_dir": data}}, "samples": samples, "checkpoint_steps": 1}}
        instances.train("shapes", folder, recipe, splits={SPLITS}, **options)
""")


def start(data, *folders):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, data, *folders], env=environment, stdout=subprocess.DEVNULL)


def test_killed_and_resumed_is_unbroken(few_scenes, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    process = start(few_scenes, broken)
    while not (broken / "checkpoint.npz").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (broken / "metrics.json").exists()
    assert start(few_scenes, whole, broken).wait() == 0
    first, second = (load_model(folder / "last.keras") for folder in (whole, broken))
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    expected = {"config.json", "environment.json", "history.csv", "last.keras", "metrics.json", "metrics.md"}
    left = {path.name for path in broken.iterdir() if path.is_file()}
    assert left == expected | {"curves.png", "samples.png", ".lock"}
    content = json.loads((broken / "metrics.json").read_text())
    assert set(content["masks"]) == {"AP", "AP50", "AP75", "per_class"} == set(content["boxes"])


@pytest.fixture(scope="module")
def trained(few_scenes, tmp_path_factory):
    """A finished run of one epoch, the arguments that made it, and the weights that were measured at its end."""
    folder, measured, evaluate = tmp_path_factory.mktemp("run"), [], instances.InstanceRun._evaluate

    def recorded(run, model):
        measured.append(model.get_weights())
        return evaluate(run, model)

    recipe = instances.MaskRCNNRecipe(config=instances.MaskRCNNConfig(**FEW), **RECIPE | {"epochs": 1, "ema": 1.0})
    make = functools.partial(
        instances.train, "shapes", folder, recipe, splits=SPLITS, where={"data_dir": few_scenes}, samples=0,
        validate_every=1, verbose=0,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instances.MaskRCNN, "compile", functools.partialmethod(keras.Model.compile, run_eagerly=True))
        patch.setattr(instances.InstanceRun, "_evaluate", recorded)
        return make(), make, measured


def test_a_run_tells_its_results(trained):
    run, *_ = trained
    results = run.results()
    assert 0 <= results["masks"]["AP"] <= 1 and "val_mask_ap" in results["history"][0]
    assert (run.directory / "best.keras").exists()
    assert len(instances.segment_instances(run.model(), np.zeros((70, 50, 3), "uint8"), size=64).masks) <= 8


def test_other_settings_are_refused(trained, tmp_path):
    _, make, _ = trained
    with pytest.raises(ValueError, match="seed"):
        make(seed=1)
    with pytest.raises(ValueError, match="monitor='mean_iou': expected one of mask_ap"):
        make(monitor="mean_iou")


def test_what_is_saved_is_what_was_measured(trained):
    """Both are the averaged weights."""
    run, _, measured = trained
    for a, b in zip(load_model(run.directory / "last.keras").get_weights(), measured[0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_knows_its_data_and_its_backbone(few_scenes, tmp_path):
    """It notices another file of annotations, another folder of images, another split, and another preprocessing."""
    for name, category in (("a.json", "cup"), ("same.json", "cup"), ("b.json", "car")):
        content = {"images": [], "categories": [{"id": 1, "name": category}], "annotations": []}
        (tmp_path / name).write_text(json.dumps(content))

    def known(annotations, images="photos"):
        return json.dumps(coco.open_coco(tmp_path / annotations, tmp_path / images).identity)

    assert known("a.json") == known("same.json")
    assert len({known("a.json"), known("b.json"), known("a.json", "other")}) == 3
    found = [instances.open_source("shapes", split, data_dir=few_scenes).identity for split in SPLITS]
    assert [one["examples"] for one in found] == [4, 2] and found[0]["prepared"].startswith("shapes/scenes/")
    backbones = [
        Backbone(lambda weights: MiniVGG(weights=None), ("pool3", "pool4", "pool5"), mode) for mode in ("none", "tf")
    ]
    first, second = (instances.MaskRCNNRecipe(backbone=backbone).as_dict()["backbone"] for backbone in backbones)
    assert first != second and first["build"] == second["build"]
