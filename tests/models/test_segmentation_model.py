"""Names and colours of the classes inside a model file."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

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


def fit(images, masks, as_dataset, classes=2, make=fcn_keras.FCN32s):
    """Trains a fresh net for two epochs. Returns what it warns of; Keras' own word on shuffling is left out."""
    model = make(classes, "mini_vgg", weights=None)
    model.compile("sgd", fcn_keras.PixelCrossentropy())
    data = (tf.data.Dataset.from_tensor_slices((images, masks)).batch(4),) if as_dataset else (images, masks)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        model.fit(*data, epochs=2, verbose=0, shuffle=False)
    return [str(each.message) for each in found]


@pytest.mark.parametrize("as_dataset", [False, True])
@pytest.mark.parametrize(
    "make", [fcn_keras.FCN32s, lambda *args, **options: with_classes(fcn_keras.FCN8s(*args, **options), ["a", "b"])]
)
def test_fit_warns_once_of_images_and_masks_in_another_range(as_dataset, make):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (8, 32, 32, 3)).astype("float32")
    masks = generator.integers(0, 2, (8, 32, 32)).astype("uint8")
    assert fit(images, masks, as_dataset, make=make) == []
    for other in (images / 255, images / 127.5 - 1):
        (told,) = fit(other, masks, as_dataset, make=make)
        assert f"run from {other.min():g} to 1: expected 0–255. Fix: pass images without preprocessing" in told
    (told,) = fit(images, 255 * masks, as_dataset, make=make)
    assert "only 0 and 255, and 255 is void" in told and "Fix: if 255 is the object, train on masks == 255" in told


@pytest.mark.parametrize("as_dataset", [False, True])
def test_fit_does_not_warn_of_void_and_background_where_they_are_right(as_dataset):
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype("float32")
    masks = np.zeros((8, 32, 32), "uint8")
    masks[:, :9] = 255
    assert fit(images, masks, as_dataset, classes=3) == []  # the other classes may come later
    masks[5, 20, 20] = 1  # the first batch of four has none
    assert fit(images, masks, as_dataset) == []
    assert fit(0 * images, masks, as_dataset) == []  # black images are in 0–255
