"""The comparison of benchmarks/accuracy: that all are given the same, and that each peer is what it says."""

import dataclasses
import importlib
import json

import keras
import numpy as np
import pytest
from stand_ins import write_camvid

from fcn_keras.training import RECIPES

pytestmark = pytest.mark.usefixtures("project_root")
BACKBONES = {"keras_io": "mini_vgg", "torch_head": "mobilenet_v2", "ours": "mini_vgg"}


def module(name):
    if name == "torch_head":
        pytest.importorskip("torch", reason="tests a peer written in PyTorch, which is not installed")
    return importlib.import_module(f"benchmarks.accuracy.{name}")


@pytest.fixture(scope="module")
def small_task(tmp_path_factory):
    """Three photographs of noise, one epoch of three steps; counts what is asked for."""
    folder = tmp_path_factory.mktemp("accuracy")
    write_camvid(folder / "CamVid", ["a", "b", "c"], ["v", "wide"])
    task = module("task")

    class Counted(task.Task):
        def batches(self, epoch_seed):
            asked.append(epoch_seed)
            return super().batches(epoch_seed)

    def build(backbone="mini_vgg", **fields):
        small = {"weights": None, "epochs": 1, "batch": 1, "size": (40, 56), "backbone": backbone} | fields
        recipe = dataclasses.replace(RECIPES["light"], **small)
        asked.clear()
        return Counted(recipe, seed=3, source=folder / "CamVid", data_dir=folder / "data")

    asked = []
    return build, asked


@pytest.mark.parametrize("name", BACKBONES)
def test_each_trains_on_the_same_crops_and_is_measured(small_task, tmp_path, name):
    build, asked = small_task
    task = build(BACKBONES[name])
    found = module(name).run(task, tmp_path)
    assert 300_009 in asked and set(asked) <= {300_009, task.seed}  # ours counts classes on crops of their own
    assert task.steps == 3
    assert 0 < found["metrics"]["pixel_accuracy"] < 1 and 0 < found["metrics"]["mean_iou"] < 1
    assert list(found["per_class_iou"]) == task.class_names
    assert found["seconds_per_step"] > 0 and found["parameters"] > 100_000


def test_crops_follow_the_seed_of_the_epoch_and_the_measure_is_numpys(small_task):
    build, asked = small_task
    task = build(epochs=2)
    arrays = list(task.arrays())
    assert asked == [300_009, 300_010] and len(arrays) == task.steps == 6
    assert arrays[0][0].shape == (1, 40, 56, 3) and arrays[0][1].shape == (1, 40, 56)
    assert not np.array_equal(arrays[0][0], arrays[3][0])
    rng, hits, counted = np.random.default_rng(0), 0, 0

    def predict(images):
        scores = rng.normal(size=(*images.shape[:3], 11))
        answers.append(scores.argmax(-1))
        return scores

    answers = []
    metrics = task.measured(predict)["metrics"]
    for answer, (_, masks) in zip(answers, task.validation().as_numpy_iterator(), strict=True):
        hits, counted = hits + (answer == masks).sum(), counted + (masks != 255).sum()
    assert len(answers) == 2 and metrics["pixel_accuracy"] == pytest.approx(hits / counted)


def test_keras_io_softens_before_it_upsamples_on_shared_layers_of_a_frozen_backbone():
    keras_io = module("keras_io")
    keras.utils.set_random_seed(0)
    backbone, mode = keras_io.frozen("mini_vgg", "shapes")
    assert not backbone.get_layer("fc6").get_weights()[1].any() and backbone.get_layer("fc6").get_weights()[0].any()
    stages = keras_io.nets(4, backbone, mode, (64, 96))
    # 32s: two convolutions, kernel and bias each; then a skip and a softmax more, of which the softmax is not shared.
    assert [len(model.trainable_weights) for model in stages] == [4, 6, 8]
    images = np.random.default_rng(0).uniform(0, 255, (1, 64, 96, 3)).astype("float32")
    pool5 = backbone.predict_on_batch(images)[-1]
    (score, scored), (softmax, bias) = (layer.get_weights() for layer in stages[0].layers if "conv2d" in layer.name)
    logits = np.maximum(pool5 @ score[0, 0] + scored, 0) @ softmax[0, 0] + bias
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = keras.ops.image.resize(probabilities, (64, 96), "bilinear")
    np.testing.assert_allclose(stages[0].predict_on_batch(images), expected, atol=1e-5)


def test_keras_io_invents_ids_between_the_drawn_ones():
    masks = np.zeros((1, 40, 56), "uint8")
    masks[:, :, 30:] = 9
    found = module("keras_io").fitted_masks(masks, 11)
    assert found.shape == (1, 64, 64) and set(np.unique(found)) > {0, 9}
    assert module("keras_io").fitted_masks(np.full((1, 32, 32), 255, "uint8"), 11).min() == 11


@pytest.mark.parametrize("size", [(64, 96), (52, 90)])
def test_torchs_mobilenet_gives_keras_features(size):
    torch_head = module("torch_head")
    import torch

    keras.utils.set_random_seed(0)
    source = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(*size, 3))
    rng = np.random.default_rng(0)
    for layer in source.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    images = rng.uniform(-1, 1, (1, *size, 3)).astype("float32")
    expected = source.predict_on_batch(images)
    for stride in (32, 16):
        net = torch_head.MobileNetV2(output_stride=stride).eval()
        torch_head.copy_weights(source, net)
        with torch.inference_mode():
            found = net(torch.from_numpy(images).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
        if stride == 16:  # every other unit is one of stride 32: Keras pads so that an even map starts with its second
            assert found.shape[1:3] == tuple(-(-side // 16) for side in size)
            found = found[:, 1 - found.shape[1] % 2 :: 2, 1 - found.shape[2] % 2 :: 2]
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_unfolded_batch_normalisation_changes_nothing_until_it_is_trained():
    torch_head = module("torch_head")
    import torch

    torch.manual_seed(0)
    net = torch_head.MobileNetV2(output_stride=16).eval()
    layers = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        for layer in layers:
            for values in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                values.uniform_(0.5, 1.5)
        before = net(images)
        assert before.std() > 0.1
        torch_head.unfold(net, images)
        torch.testing.assert_close(net(images), before, rtol=0, atol=1e-4)
        torch.testing.assert_close(net.train()(images), before, rtol=0, atol=1e-3)  # with the batch's own statistics


def test_the_command_keeps_results_and_prints_them(tmp_path, monkeypatch, capsys):
    command = importlib.import_module("benchmarks.accuracy.__main__")
    ours, task = module("ours"), module("task")
    result = {"metrics": dict.fromkeys(command.COLUMNS, 0.5), "seconds_per_step": 1.25}
    monkeypatch.setattr(ours, "run", lambda task, directory: result | {"directory": str(directory)})
    monkeypatch.setattr(task.Task, "steps", 12)
    monkeypatch.setattr(command, "subprocess", None)
    options = ["--only", "ours", "--seed", "2", "--directory", str(tmp_path)]
    assert command.main([*options, "--run", "ours"]) == 0
    assert json.loads((tmp_path / "ours-2.json").read_text())["directory"] == str(tmp_path / "ours-2")
    assert command.main(options) == 0  # nothing runs
    assert "| ours | 50.0 | 50.0 | 50.0 | 50.0 | 12 | 1.25 |" in capsys.readouterr().out
    assert command.main([*options, "--epochs", "7"]) == 2
    assert "epochs is" in capsys.readouterr().err
