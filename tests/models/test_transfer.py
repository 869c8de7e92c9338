"""A net that starts from a trained one: what is carried, what is not, and what is refused."""

import keras
import numpy as np
import pytest

from fcn_keras import FCN8s, FCN32s
from fcn_keras.layers._keras import get_all_layers
from fcn_keras.models import start_from, with_classes


def net(function=FCN8s, classes=2, seed=1, names=None, **options):
    """A net whose weights are all random, with class names if they are given."""
    model = function(classes, "mini_vgg", weights=None, **options)
    generator = np.random.default_rng(seed)
    model.set_weights([generator.normal(size=each.shape).astype(each.dtype) for each in model.get_weights()])
    return model if names is None else with_classes(model, names)


def weights(model, name):
    return np.concatenate([each.ravel() for each in model.get_layer(name).get_weights()])


def same_backbone(one, other):
    pairs = zip(get_all_layers(one.get_layer("backbone")), get_all_layers(other.get_layer("backbone")), strict=True)
    return all(
        np.array_equal(a, b)
        for ours, theirs in pairs
        for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True)
    )


def test_another_number_of_classes(tmp_path):
    trained, new = net(), net(classes=5, seed=2)
    trained.save(tmp_path / "trained.keras")
    before = weights(new, "score_fr")
    told = start_from(new, tmp_path / "trained.keras")
    assert told == (
        "Starts from 'fcn8s': its backbone. Not from its score_fr, score_pool4, score_pool3: the classes differ "
        "(2 there, 5 here)."
    )
    assert same_backbone(new, trained)
    np.testing.assert_array_equal(weights(new, "score_fr"), before)


def test_the_same_classes_carry_all():
    trained, new = net(names=["a", "b"], upsampling="learned"), net(seed=2, upsampling="learned")
    told = start_from(new, trained, ["a", "b"])
    assert "Not from" not in told
    image = np.random.default_rng(0).uniform(0, 255, (1, 40, 50, 3)).astype("float32")
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(model(image)) for model in (trained, new)))


@pytest.mark.parametrize("names", [["b", "a"], ["a", "c"]])
def test_as_many_classes_of_other_names_or_in_another_order(names):
    trained, new = net(names=["a", "b"]), net(seed=2)
    before = weights(new, "score_fr")
    assert start_from(new, trained, names).endswith("the classes differ (a, b there).")
    np.testing.assert_array_equal(weights(new, "score_fr"), before)
    assert same_backbone(new, trained)


def test_a_finer_net_gets_what_the_coarser_one_has():
    trained, new = net(FCN32s), net(seed=2)
    told = start_from(new, trained)
    assert (
        told == "Starts from 'fcn32s': its backbone, score_fr. Not from its score_pool4, score_pool3: they do not fit."
    )
    np.testing.assert_array_equal(weights(new, "score_fr"), weights(trained, "score_fr"))


def test_other_backbones_are_refused_and_nothing_changes():
    new = FCN8s(3, "mobilenet_v2", weights=None)
    before = new.get_weights()
    with pytest.raises(ValueError, match="Cannot start from 'fcn8s'.*Fix: make the new net with the same backbone"):
        start_from(new, net())
    for a, b in zip(new.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="'other' without a layer named 'backbone'"):
        start_from(new, keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 1)], name="other"))
