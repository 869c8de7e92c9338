"""Names and colours of the classes inside a model file."""

import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras.models import SegmentationModel, with_classes

NAMES, COLORS = ["ground", "car", "tree"], np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0)], "uint8")
IMAGE = np.random.default_rng(0).integers(0, 256, (1, 37, 41, 3)).astype("float32")


@pytest.fixture(scope="module")
def net():
    net = fcn_keras.FCN8s(3, "mini_vgg")
    score = net.get_layer("score_fr")
    score.set_weights([np.random.default_rng(1).normal(size=w.shape) / 50 for w in score.get_weights()])
    return net


def test_it_shares_the_layers_of_the_net(net):
    model = with_classes(net, NAMES, COLORS)
    assert model.name == net.name and model.class_names == NAMES and model.palette == COLORS.tolist()
    assert model.layers == net.layers
    np.testing.assert_array_equal(model(IMAGE), net(IMAGE))


@pytest.mark.parametrize("load", [fcn_keras.load_model, keras.models.load_model])
def test_names_and_colours_survive_saving_twice(net, load, tmp_path):
    with_classes(net, NAMES, COLORS, [1, 2, 255]).save(tmp_path / "once.keras")
    load(tmp_path / "once.keras").save(tmp_path / "twice.keras")
    model = load(tmp_path / "twice.keras")
    assert isinstance(model, SegmentationModel)
    assert (model.class_names, model.palette, model.class_ids) == (NAMES, COLORS.tolist(), [1, 2, 255])
    np.testing.assert_array_equal(model(IMAGE), net(IMAGE))


def test_it_trains_upgrades_and_segments_like_any_functional_model(net):
    coarse = with_classes(fcn_keras.FCN32s(3, "mini_vgg"), NAMES)
    assert coarse.palette is None
    coarse.compile("adam", fcn_keras.PixelCrossentropy())
    assert np.isfinite(coarse.fit(IMAGE, np.zeros((1, 37, 41), "uint8"), verbose=0).history["loss"][0])
    assert fcn_keras.upgrade(coarse).name == "fcn16s"
    assert fcn_keras.segment(coarse, IMAGE[0]).shape == (37, 41)


def test_a_net_with_one_logit_has_two_classes():
    net = fcn_keras.FCN32s(1, "mini_vgg", weights=None)
    assert with_classes(net, ["background", "crack"]).class_names == ["background", "crack"]


@pytest.mark.parametrize(
    ("names", "palette", "message"),
    [
        (NAMES[:2], None, "Found 2 class_names for a model of 3 classes: expected one for each"),
        (NAMES, COLORS[:1], "Found 1 colours in palette for a model of 3 classes: expected one for each"),
    ],
)
def test_other_numbers_of_names_or_colours_are_refused(net, names, palette, message):
    with pytest.raises(ValueError, match=message):
        with_classes(net, names, palette)
