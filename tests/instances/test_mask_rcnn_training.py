"""Mask R-CNN's run: killed in the middle it ends as the unbroken one, and leaves what it says.

Bit for bit only where TensorFlow adds in a fixed order: many regions read the same unit, and the gradients that come
back to it are added by whichever thread is first.
"""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from small import SMALL

from fcn_keras import instances
from fcn_keras.instances import training
from fcn_keras.models.backbones import Backbone, MiniVGG
from fcn_keras.models.loading import load_model

pytest.importorskip("pycocotools", reason="pycocotools is not installed")
FEW = SMALL | {"detections": 8}
RECIPE = {"epochs": 3, "batch": 2, "size": (64, 64), "warmup": 2}
SCRIPT = textwrap.dedent(f"""
    import sys
    import tensorflow as tf
    from fcn_keras import instances

    tf.config.experimental.enable_op_determinism()
    recipe = instances.MaskRCNNRecipe(config=instances.MaskRCNNConfig(**{FEW}), **{RECIPE})
    instances.train("shapes", sys.argv[1], recipe, where={{"data_dir": sys.argv[2]}}, samples=1, checkpoint_steps=1)
""")


def start(folder, data):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, folder, data], env=environment, stdout=subprocess.DEVNULL)


def test_killed_and_resumed_is_unbroken(few_scenes, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    unbroken = start(whole, few_scenes)
    process = start(broken, few_scenes)
    while not (broken / "checkpoint.npz").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (broken / "metrics.json").exists()
    assert start(broken, few_scenes).wait() == 0 and unbroken.wait() == 0
    first, second = (load_model(folder / "last.keras") for folder in (whole, broken))
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    expected = {"config.json", "environment.json", "history.csv", "last.keras", "metrics.json", "metrics.md"}
    left = {path.name for path in broken.iterdir() if path.is_file()}
    assert left == expected | {"curves.png", "samples.png", ".lock"}
    content = json.loads((broken / "metrics.json").read_text())
    assert set(content["masks"]) == {"AP", "AP50", "AP75", "per_class"} == set(content["boxes"])


def test_a_run_tells_its_results_and_refuses_other_settings(few_scenes, tmp_path):
    recipe = instances.MaskRCNNRecipe(config=instances.MaskRCNNConfig(**FEW), **(RECIPE | {"epochs": 1}))
    where = {"data_dir": few_scenes}
    run = instances.train("shapes", tmp_path / "run", recipe, where=where, samples=0, validate_every=1, verbose=0)
    results = run.results()
    assert 0 <= results["masks"]["AP"] <= 1 and "val_mask_ap" in results["history"][0]
    assert (tmp_path / "run" / "best.keras").exists()
    model = run.model()
    assert len(instances.segment_instances(model, np.zeros((70, 50, 3), "uint8"), size=64).masks) <= 8
    with pytest.raises(ValueError, match="seed"):
        instances.train("shapes", tmp_path / "run", recipe, where=where, samples=0, validate_every=1, seed=1)
    with pytest.raises(ValueError, match="monitor='mean_iou': expected one of mask_ap"):
        instances.train("shapes", tmp_path / "other", recipe, where=where, monitor="mean_iou")


def test_what_is_saved_is_what_was_measured(few_scenes, tmp_path, monkeypatch):
    """Averaged weights, both."""
    measured, evaluate = [], instances.InstanceRun._evaluate
    monkeypatch.setattr(
        instances.InstanceRun,
        "_evaluate",
        lambda run, model: measured.append(model.get_weights()) or evaluate(run, model),
    )
    recipe = instances.MaskRCNNRecipe(config=instances.MaskRCNNConfig(**FEW), **(RECIPE | {"epochs": 1, "ema": 1.0}))
    instances.train("shapes", tmp_path / "run", recipe, where={"data_dir": few_scenes}, samples=0, verbose=0)
    saved = load_model(tmp_path / "run" / "last.keras").get_weights()
    for a, b in zip(saved, measured[0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_knows_its_data_by_their_place_and_content(few_scenes, tmp_path, monkeypatch):
    """Two files of annotations, two folders of images, two backbones: other settings each."""
    for name, content in (("a.json", "one"), ("same.json", "one"), ("b.json", "two")):
        (tmp_path / name).write_text(content)

    def told(annotations, images="photos"):
        place = {"annotations": tmp_path / annotations, "images": tmp_path / images}
        return json.dumps(training._told_of("coco", ("train", "validation"), (place, place)))

    assert told("a.json") == told("same.json") and len({told("a.json"), told("b.json"), told("a.json", "other")}) == 3
    where = {"data_dir": few_scenes}
    found = training._told_of("shapes", ("train", "validation"), (where, where))
    assert found["examples"] == [12, 5] and found["prepared"][0].startswith("shapes/scenes/")
    backbones = [
        Backbone(lambda weights: MiniVGG(weights=None), ("pool3", "pool4", "pool5"), mode) for mode in ("none", "tf")
    ]
    first, second = (instances.MaskRCNNRecipe(backbone=backbone).as_dict()["backbone"] for backbone in backbones)
    assert first != second and first["build"] == second["build"]
