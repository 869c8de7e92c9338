"""The whole Mask R-CNN: shapes, learning, files, other backends, and images of odd sizes."""

import importlib.util
import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from small import SMALL

from fcn_keras import geometry, instances
from fcn_keras.instances.fpn import feature_pyramid
from fcn_keras.instances.model import LOSSES
from fcn_keras.models.backbones import Backbone
from fcn_keras.models.loading import load_model


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return instances.MaskRCNN(4, "mini_vgg", weights=None, config=SMALL)


def batch(count=2, size=(64, 64), objects=3):
    """Squares of three brightnesses, one for each class; the last row of objects is empty."""
    random = np.random.default_rng(0)
    images = random.uniform(0, 30, (count, *size, 3)).astype("float32")
    boxes, masks = np.zeros((count, objects, 4), "float32"), np.zeros((count, objects, *size), "uint8")
    classes = np.zeros((count, objects), "int32")
    for i in range(count):
        for j in range(objects - 1):
            side, top, left = random.integers(14, 24), random.integers(0, 40), 32 * j + random.integers(0, 8)
            classes[i, j] = 1 + random.integers(3)
            inside = np.s_[top : top + side, left : left + side]
            images[(i, *inside)], masks[(i, j, *inside)] = 75 * classes[i, j], 1
            bottom, right = min(top + side, size[0]), min(left + side, size[1])
            boxes[i, j] = top, left, bottom, right
    return {"image": images, "boxes": boxes, "classes": classes, "masks": masks}


@pytest.mark.parametrize("size", [(64, 64), (50, 77), (1, 1), (130, 33)])
def test_detections_of_any_size(model, size):
    found = model(np.zeros((2, *size, 3), "float32"))
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    assert shapes == {"boxes": (2, 16, 4), "classes": (2, 16), "scores": (2, 16), "masks": (2, 16, 28, 28)}
    boxes = keras.ops.convert_to_numpy(found["boxes"])
    assert (boxes >= 0).all() and (boxes <= [*size, *size]).all() and np.isfinite(boxes).all()
    scores = keras.ops.convert_to_numpy(found["scores"])
    assert (np.diff(scores) <= 0).all()


def test_it_learns_what_it_is_shown():
    keras.utils.set_random_seed(1)
    model, shown = instances.MaskRCNN(4, "mini_vgg", config=SMALL), batch(4)
    model.compile(keras.optimizers.Adam(3e-3), jit_compile=False)
    first = model.train_on_batch(shown, return_dict=True)
    for _ in range(60):
        last = model.train_on_batch(shown, return_dict=True)
    assert set(last) == {"loss", *LOSSES}
    assert float(last["loss"]) == pytest.approx(sum(float(last[name]) for name in LOSSES), rel=0.05)  # running means
    data = tf.data.Dataset.from_tensors(shown)
    found = instances.evaluate(model, data)
    assert float(last["loss"]) < 0.5 * float(first["loss"])
    assert found["masks"]["AP50"] > 0.6 and found["boxes"]["AP50"] > 0.6


@pytest.mark.parametrize("empty", ["one image", "all"])
def test_images_without_objects_are_learned_from(model, empty):
    shown = batch(2)
    for name in ("boxes", "classes", "masks"):
        shown[name] = shown[name].copy()
        shown[name][: 1 if empty == "one image" else 2] = 0
    model.compile(keras.optimizers.SGD(0.0), jit_compile=False, run_eagerly=True)
    found = model.train_on_batch(shown, return_dict=True)
    assert all(np.isfinite(float(value)) for value in found.values())
    assert (float(found["mask"]) == 0) == (empty == "all") and float(found["objectness"]) > 0


@pytest.mark.parametrize("what", ["a pixel", "a crowd", "cut by the border"])
def test_hard_objects_are_learned_from(model, what):
    shown = batch(1)
    shown["boxes"], shown["masks"] = np.zeros_like(shown["boxes"]), np.zeros_like(shown["masks"])
    top, left, bottom, right = {"a pixel": (5, 6, 6, 7), "cut by the border": (50, 40, 64, 64)}.get(
        what, (0, 0, 64, 64)
    )
    shown["boxes"][0, 0], shown["classes"] = (top, left, bottom, right), np.zeros_like(shown["classes"])
    shown["masks"][0, 0, top:bottom, left:right], shown["classes"][0, 0] = 1, -1 if what == "a crowd" else 2
    model.compile(keras.optimizers.SGD(0.0), jit_compile=False, run_eagerly=True)
    found = {name: float(value) for name, value in model.train_on_batch(shown, return_dict=True).items()}
    assert all(map(np.isfinite, found.values()))
    if what == "a crowd":  # which covers everything: only of anchors that reach beyond the image something is learned
        assert found["proposal_box"] == found["box"] == found["mask"] == found["class"] == 0
    else:
        assert found["mask"] > 0


def test_a_saved_model_finds_the_same(model, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    image = batch(1)["image"]
    for name, value in model(image).items():
        np.testing.assert_allclose(again(image)[name], value, atol=1e-5, err_msg=name)


def test_a_backbone_of_ones_own_is_saved_too(tmp_path):
    trunk = keras.applications.MobileNetV2(weights=None, include_top=False, alpha=0.35)
    own = Backbone(lambda weights: trunk, ("block_6_expand_relu", "block_13_expand_relu", "out_relu"), "tf")
    model = instances.MaskRCNN(4, own, None, SMALL)
    model.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    assert [(p.stride, p.offset) for p in again.geometries] == [(p.stride, p.offset) for p in model.geometries]
    image = batch(1)["image"]
    for name, value in model(image).items():
        np.testing.assert_allclose(again(image)[name], value, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("backbone", ["mini_vgg", "mobilenet_v2", "resnet50"])
def test_maps_lie_where_the_geometry_says(backbone):
    """If a step in the image moves, the centre of mass of the change in each map moves with it."""
    pyramid, places = feature_pyramid(backbone, weights=None, channels=8)
    assert [place.stride for place in places] == [4, 8, 16, 32, 64]
    shapes = [tuple(x.shape[1:3]) for x in pyramid(np.zeros((1, 128, 160, 3), "float32"))]
    for (rows, columns), place in zip(shapes[:4], places, strict=False):
        for units, side in ((rows, 128), (columns, 160)):
            assert place.centre(0) - place.stride / 2 <= 0.0  # every pixel is within half a stride of a unit …
            assert place.centre(units - 1) + place.stride / 2 >= side - 1


def test_levels_are_laid_on_each_other():
    """If each lateral returns a ramp, the sum in the middle is the ramp times the number of levels above."""
    from fcn_keras.instances.fpn import add_top_down

    places = [geometry.Geometry(stride, 1, (stride - 1) / 2) for stride in (4, 8, 16)]
    maps = [keras.Input((64 // place.stride, 64 // place.stride, 1)) for place in places]
    sums, found = add_top_down(maps, places, channels=1)
    net = keras.Model(maps, sums)
    for layer in net.layers:
        if isinstance(layer, keras.layers.Conv2D):
            layer.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    ramps = []
    for place in places:
        centres = place.offset + place.stride * np.arange(64 // place.stride)
        ramps.append(np.broadcast_to(centres, (len(centres), len(centres)))[None, ..., None].astype("float32"))
    assert found == places
    for level, (result, ramp) in enumerate(zip(net(ramps), ramps, strict=True)):
        middle = slice(len(ramp[0]) // 4, -len(ramp[0]) // 4)
        np.testing.assert_allclose(result[0, middle, middle, 0], (3 - level) * ramp[0, middle, middle, 0], rtol=1e-5)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="num_classes=1, expected 2 or more"):
        instances.MaskRCNN(1, "mini_vgg", weights=None)
    with pytest.raises(ValueError, match="candidates=10, expected at least"):
        instances.MaskRCNNConfig(candidates=10)
    with pytest.raises(ValueError, match="train_proposals=10, expected at least regions_drawn"):
        instances.MaskRCNNConfig(train_proposals=10)
    with pytest.raises(ValueError, match="mask_size=7, expected an even number"):
        instances.MaskRCNNConfig(mask_size=7)


SCRIPT = textwrap.dedent("""
    import sys
    import numpy as np, keras
    from fcn_keras import instances

    folder = sys.argv[1]
    shown = dict(np.load(f"{folder}/shown.npz"))
    expected = dict(np.load(f"{folder}/expected.npz"))
    model = keras.models.load_model(f"{folder}/model.keras")
    for name, value in model(shown["image"]).items():
        found = keras.ops.convert_to_numpy(value)
        np.testing.assert_allclose(found, expected[name], atol=1e-3 * max(1, np.abs(expected[name]).max()), err_msg=name)
    assert instances.segment_instances(model, shown["image"][0], least_score=0.0).masks.shape[1:] == (64, 64)
    model.compile(keras.optimizers.SGD(1e-3), jit_compile=keras.backend.backend() == "jax")
    before = [np.array(keras.ops.convert_to_numpy(w)) for w in model.trainable_variables]
    logs = model.train_on_batch(shown, return_dict=True)
    assert np.isfinite(float(logs["loss"])), logs
    changed = [(keras.ops.convert_to_numpy(w) != b).any() for w, b in zip(model.trainable_variables, before)]
    assert sum(changed) > 0.9 * len(changed), sum(changed)
""")


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_backends_find_the_same_and_learn(model, tmp_path, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"tests Keras' {backend} backend, and {backend} is not installed")
    shown = batch(2)
    np.savez(tmp_path / "shown.npz", **shown)
    np.savez(tmp_path / "expected.npz", **{name: np.array(value) for name, value in model(shown["image"]).items()})
    bare = instances.MaskRCNN.from_config(model.get_config())
    bare.set_weights(model.get_weights())
    bare.save(tmp_path / "model.keras")
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, "-c", SCRIPT, tmp_path], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
