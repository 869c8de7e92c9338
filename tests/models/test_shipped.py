"""The trained nets that come with the package: they load by name, say what they are, and do what their cards say."""

import re
import zipfile

import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras import datasets
from fcn_keras.datasets import samples
from fcn_keras.models import shipped

STAGES = ("fcn32s_mini_vgg_shapes", "fcn16s_mini_vgg_shapes", "fcn8s_mini_vgg_shapes")
SEGMENTATION = [name for name in shipped.names() if name.startswith("fcn")]


def mean_iou(card):
    """The mean IoU, in percent, in the table of a card."""
    return float(re.search(r"\| mean IoU \|.*\n\|[-|]+\|\n\| [^|]+\| [^|]+\| ([\d.]+)", card)[1])


def test_the_names():
    assert set(shipped.names()) == {*STAGES, "fcn8s_mobilenet_v2_voc"}


def test_all_together_take_at_most_16_mb():
    assert sum(path.stat().st_size for path in shipped.FOLDER.iterdir()) <= 16e6


@pytest.mark.parametrize("name", shipped.names())
def test_cards(name):
    card = shipped.card(name)
    lines = card.splitlines()
    assert lines[0] == f"# {name}" and 20 < len(lines[2]) < 100
    for title in ("Data and terms", "Training", "Metrics", "Limits"):
        assert f"\n## {title}\n" in card
    assert f"python -m benchmarks.shipped {name}" in card and re.search(r"20\d\d-\d\d-\d\d", card)
    for class_name in (getattr(fcn_keras.load_model(name), "class_names", None) or [])[1:]:
        assert f"\n| {class_name} | " in card


@pytest.mark.parametrize("name", SEGMENTATION)
def test_they_load_by_name_as_float32_models(name):
    model = fcn_keras.load_model(name)
    assert len(model.class_names) == len(model.palette) == model.output_shape[-1]
    assert {variable.dtype for variable in model.variables} <= {"float32", "int32", "int64", "uint32"}
    again = keras.models.load_model(shipped.path_of(name))  # the file is an ordinary .keras file
    image = np.random.default_rng(0).integers(0, 256, (1, 65, 70, 3)).astype("float32")
    np.testing.assert_array_equal(model(image), again(image))


@pytest.mark.parametrize("name", shipped.names())
def test_the_files_hold_no_path_of_the_machine_that_made_them(name):
    with zipfile.ZipFile(shipped.path_of(name)) as archive:
        config = archive.read("config.json").decode() + archive.read("metadata.json").decode()
    assert "/home/" not in config and "/root/" not in config and "/tmp/" not in config


@pytest.mark.parametrize("name", STAGES)
def test_the_nets_of_the_stages_reach_what_their_cards_say(name):
    model = fcn_keras.load_model(name)
    validation = datasets.load("shapes", "validation[:60]", batch=20)
    found = fcn_keras.evaluate(model, validation).metrics["mean_iou"]
    assert 100 * found == pytest.approx(mean_iou(shipped.card(name)), abs=4)  # 60 of the 200 scenes


def test_the_stages_are_in_order():
    found = [mean_iou(shipped.card(name)) for name in STAGES]
    assert found == sorted(found) and found[-1] - found[0] > 15


def test_unknown_names():
    with pytest.raises(
        ValueError, match="There is no file .*fcn8s_voc: expected a .keras file.*, or one of fcn16s_mini"
    ):
        fcn_keras.load_model("fcn8s_voc")
    with pytest.raises(ValueError, match="model 'mine': expected one of fcn16s_mini"):
        shipped.card("mine")
    assert shipped.path_of("mine.keras") is None


def test_the_net_for_photographs_finds_the_cat_and_the_astronaut():
    """No number is claimed for two photographs; but where the cat fills the picture, most of it must be cat."""
    model = fcn_keras.load_model("fcn8s_mobilenet_v2_voc")
    cat = fcn_keras.segment(model, samples.photograph("cat"))
    assert (cat == model.class_names.index("cat")).mean() > 0.4
    astronaut = fcn_keras.segment(model, samples.photograph("astronaut"))
    assert (astronaut == model.class_names.index("person"))[100:400, 150:300].mean() > 0.5
    assert mean_iou(shipped.card("fcn8s_mobilenet_v2_voc")) >= 47
