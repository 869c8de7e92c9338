"""Recipes of one net, and the folders that `train` writes."""

import dataclasses
import json
import math

import keras
import numpy as np
import pytest
import stand_ins
import tensorflow as tf
from little import BACKBONE, classifier

from fcn_keras import losses
from fcn_keras.layers import CropLike
from fcn_keras.layers._keras import get_all_layers, get_averaged_weights
from fcn_keras.losses import PixelCrossentropy
from fcn_keras.models import load_model
from fcn_keras.models.backbones import Backbone, MiniVGG
from fcn_keras.paper.solver import CVPR, RELEASED, CaffeSGD
from fcn_keras.training import RECIPES, STAGED_RECIPES, Recipe, Stage, StagedRecipe, prepare_stages, train
from fcn_keras.training.data import describe_splits, load_splits, prepare_splits
from fcn_keras.training.fingerprints import hash_model
from fcn_keras.training.recipes import DATA_FIELDS, LOSSES

NAMES = ["ground", "red"]
SMALL = Recipe(
    backbone=BACKBONE,
    weights=None,
    upsampling="frozen",
    epochs=2,
    size=None,
    scales=None,
    ema=None,
    class_weights="none",
)


def scenes(count, seed):
    generator = np.random.default_rng(seed)
    images = generator.uniform(0, 60, (count, 32, 32, 3)).astype("float32")
    masks = np.zeros((count, 32, 32), "uint8")
    images[:, :16, :12, 0], masks[:, :16, :12] = 250, 1
    return images, masks


def data():
    return tuple(tf.data.Dataset.from_tensor_slices(scenes(4, seed)).batch(2) for seed in (0, 1))


def test_a_run_on_datasets_of_ones_own(tmp_path):
    recipe = dataclasses.replace(SMALL, ema=0.9, class_weights="balanced", label_smoothing=0.1, warmup=1)
    run = train(recipe, data(), tmp_path, class_names=NAMES, samples=0, verbose=0)
    assert run.finished and 0 < run.results()["metrics"]["pixel_accuracy"] <= 1
    config = json.loads((tmp_path / "config.json").read_text())
    assert {field.name for field in dataclasses.fields(Recipe)} - set(DATA_FIELDS) <= set(config)
    assert not set(DATA_FIELDS) & set(config)  # the data come in batches as they are
    red = 16 * 12
    ground = 32 * 32 - red
    median = (red + ground) / 2
    assert config["loss"]["class_weights"] == pytest.approx([median / ground, median / red])
    with pytest.raises(ValueError, match=r"other settings: ema is 0\.9 there, None here"):
        train(dataclasses.replace(recipe, ema=None), data(), tmp_path, class_names=NAMES, samples=0, verbose=0)


def test_a_run_on_a_data_set_by_name(tmp_path, monkeypatch):
    from fcn_keras.datasets.shapes import Shapes

    monkeypatch.setattr(Shapes, "SIZES", {"scenes": {"train": 4, "validation": 2, "test": 1}})
    recipe = dataclasses.replace(SMALL, net="FCN-16s", size=(64, 64), scales=(0.5, 1.5), epochs=1, optimizer="sgd")
    run = train(recipe, "shapes", tmp_path / "run", data_dir=tmp_path / "data", samples=1, verbose=0)
    assert set(run.results()["per_class_iou"]) >= {"background", "disc"}
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["data"] == "shapes" and len(config["palette"]) == 10 and config["net"] == "FCN-16s"
    assert (tmp_path / "run" / "samples.png").exists()


def test_crops_have_the_size_that_was_asked_for_with_and_without_augmentation(few_scenes):
    images = {}
    for scales, color in ((None, None), ((0.5, 1.5), 1)):
        recipe = dataclasses.replace(SMALL, size=(64, 96), scales=scales, color=color)
        builders = prepare_splits("shapes", ("train", "validation"), data_dir=few_scenes)
        batches, _, _ = load_splits(recipe, builders, ("train", "validation"))
        images[scales], masks = next(iter(batches(1)))
        assert images[scales].shape == (4, 64, 96, 3) and masks.shape == (4, 64, 96)
    whole = next(iter(load_splits(SMALL, builders, ("train", "validation"))[0](1)))[0]
    np.testing.assert_array_equal(images[None], whole[:, 32:96, 16:112])  # the middle of 128×128, as it is


@pytest.mark.parametrize(
    "change",
    [
        {"preprocessing": "tf"},
        {"feature_layers": ("pool3", "pool4", "conv5_2")},
        {"filters": 9},
        {"constant": 0.2},
    ],
)
def test_a_backbone_object_is_known_by_all_that_it_is(change):
    """An interrupted run must not continue with other preprocessing, layers, architecture or weights."""

    def settings(preprocessing="none", feature_layers=("pool3", "pool4", "pool5"), filters=8, constant=0.1):
        def build(weights):
            x = image = keras.Input((None, None, 3))
            for stage in range(1, 6):
                init = keras.initializers.Constant(constant)
                x = keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer=init, name=f"conv{stage}_2")(x)
                x = keras.layers.MaxPooling2D(name=f"pool{stage}")(x)
            return keras.Model(image, x)

        backbone = Backbone(build, feature_layers, preprocessing, pretrained=None)
        return json.dumps(dataclasses.replace(SMALL, backbone=backbone).describe())

    assert settings() == settings() != settings(**change)


def test_a_net_whose_layers_have_moved_keeps_its_fingerprint(monkeypatch):
    image = keras.Input((None, None, 1))
    model = keras.Model(image, CropLike(1)([image, image]))
    now = hash_model(model)
    monkeypatch.setattr(CropLike, "__module__", "fcn_keras.layers.padding")  # where it was
    assert now == hash_model(model)
    monkeypatch.setattr(CropLike, "__module__", "elsewhere")
    assert now != hash_model(model)


def test_a_model_and_a_file_of_weights_are_known_by_their_content(tmp_path):
    models = [MiniVGG(include_top=False, weights=None) for _ in range(2)]
    first, second = (dataclasses.replace(SMALL, backbone=model).describe()["backbone"] for model in models)
    assert first != second  # random weights
    models[1].set_weights(models[0].get_weights())
    assert dataclasses.replace(SMALL, backbone=models[1]).describe()["backbone"] == first
    files = [tmp_path / name for name in ("a.weights.h5", "moved.weights.h5", "c.weights.h5")]
    for path, content in zip(files, ("one", "one", "two"), strict=True):
        path.write_text(content)
    one, moved, two = (dataclasses.replace(SMALL, weights=str(path)).describe()["weights"] for path in files)
    assert one == moved != two


def test_prepared_data_of_the_same_name_are_known_by_their_amount(few_scenes, tmp_path, monkeypatch):
    from fcn_keras.datasets.shapes import Shapes

    monkeypatch.setattr(Shapes, "SIZES", {"scenes": {"train": 8, "validation": 2, "test": 1}})
    splits, told = ("train[:4]", "validation[:2]"), []
    for folder in (few_scenes, tmp_path):
        builders = prepare_splits("shapes", splits, data_dir=folder)
        told.append(describe_splits("shapes", builders, splits))
    assert [each["examples"] for each in told] == [[4, 2], [4, 2]] and told[0]["prepared"] == told[1]["prepared"]
    assert told[0]["bytes"] != told[1]["bytes"]


def test_accumulated_batches_step_as_one_large_batch():
    images, masks = scenes(4, 0)
    weights = []
    for accumulate, batch in ((1, 4), (2, 2), (4, 1)):
        keras.utils.set_random_seed(0)
        recipe = dataclasses.replace(SMALL, optimizer="sgd", learning_rate=0.1, accumulate=accumulate)
        model = recipe.build(2)
        model.compile(recipe.make_optimizer(model, 10**9), PixelCrossentropy(), run_eagerly=True)
        model.fit(images, masks, batch_size=batch, shuffle=False, verbose=0)
        weights.append(model.get_weights())
    for accumulated in weights[1:]:
        for a, b in zip(accumulated, weights[0], strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_each_epoch_may_start_from_the_averaged_weights(accumulate):
    recipe = dataclasses.replace(SMALL, ema=0.5, ema_overwrite=True, accumulate=accumulate, epochs=2)
    model = recipe.build(2)
    model.compile(recipe.make_optimizer(model, 16), PixelCrossentropy())
    equal = []

    class Compare(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            pairs = zip(model.trainable_variables, get_averaged_weights(model.optimizer), strict=True)
            equal.append(all(np.array_equal(raw, average) for raw, average in pairs))

    images = np.random.default_rng(0).uniform(0, 255, (8, 40, 48, 3)).astype("float32")
    masks = np.random.default_rng(1).integers(0, 2, (8, 40, 48)).astype("uint8")
    model.fit(images, masks, batch_size=1, epochs=2, shuffle=False, verbose=0, callbacks=[Compare()])
    assert equal[7] and equal[15] and not any(equal[3:6]) and not any(equal[9:14])
    with pytest.raises(ValueError, match="ema_overwrite"):
        dataclasses.replace(recipe, ema=None)


@pytest.mark.parametrize(("share", "steps", "momentum"), [(0.05, 4000, 0.995), (0.5, 4, 0.5), (0.05, 10, 0.0)])
def test_weights_are_averaged_over_a_share_of_the_run(share, steps, momentum):
    recipe = dataclasses.replace(SMALL, ema=share)
    optimizer = recipe.make_optimizer(recipe.build(2), steps)
    assert optimizer.use_ema and optimizer.ema_momentum == pytest.approx(momentum)


@pytest.mark.parametrize(("name", "schedule"), [("released", RELEASED["fcn32s"]), ("cvpr", CVPR["fcn32s"])])
def test_the_authors_two_solvers(name, schedule):
    recipe = RECIPES[name]
    model = dataclasses.replace(recipe, backbone="mini_vgg", weights=None).build(2)
    optimizer = recipe.make_optimizer(model, 100)
    assert isinstance(optimizer, CaffeSGD)
    theirs = schedule.make_optimizer().get_config()
    assert optimizer.get_config() == theirs | {"name": optimizer.name}
    assert recipe.make_loss(None).get_config() == schedule.make_loss().get_config()
    assert recipe.batch * recipe.accumulate == schedule.batch and recipe.scales is None


def test_batch_normalisation_is_trained_when_asked():
    def trained(**options):
        backbone = dataclasses.replace(BACKBONE, build=lambda weights: classifier(normalized=True))
        model = dataclasses.replace(SMALL, backbone=backbone, **options).build(2)
        layers = model.get_layer("backbone").layers
        return {each.trainable for each in layers if isinstance(each, keras.layers.BatchNormalization)}

    assert trained() == {False} and trained(batch_norm=True) == {True}


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_is_for_the_net_that_is_built(precision):
    model = dataclasses.replace(SMALL, precision=precision).build(2)
    assert model.output.dtype == "float32" and keras.config.dtype_policy().name == "float32"
    assert model.get_layer("backbone").layers[2].compute_dtype == precision.removeprefix("mixed_")


def test_class_weights_by_power_and_by_list():
    pixels = lambda: [100, 25]  # noqa: E731
    power = dataclasses.replace(SMALL, class_weights=0.5).make_loss(pixels).class_weights
    assert power == pytest.approx([(62.5 / 100) ** 0.5, (62.5 / 25) ** 0.5])
    assert dataclasses.replace(SMALL, class_weights=(1, 3)).make_loss(None).class_weights == [1.0, 3.0]
    assert SMALL.make_loss(None).class_weights is None


def test_class_weights_by_name():
    recipe = dataclasses.replace(SMALL, class_weights={"red": 3})
    assert recipe.make_loss(None, NAMES).class_weights == [1.0, 3]
    with pytest.raises(ValueError, match="class weights for 'Red', 'sky': expected names of classes.* ground, red"):
        dataclasses.replace(SMALL, class_weights={"Red": 3, "sky": 1}).make_loss(None, NAMES)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_of_a_recipe_trains_and_is_recorded(loss, tmp_path):
    recipe = dataclasses.replace(SMALL, loss=loss, class_weights={"red": 2}, epochs=1)
    run = train(recipe, data(), tmp_path, class_names=NAMES, samples=0, verbose=0)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["loss"]["class"] == losses.LOSSES[loss].__name__ and config["loss"]["class_weights"] == [1, 2]
    assert config["class_weights"] == {"red": 2} and run.finished
    with pytest.raises(ValueError, match="other settings: loss is .* there"):
        other = next(each for each in LOSSES if each != loss)
        train(dataclasses.replace(recipe, loss=other), data(), tmp_path, class_names=NAMES, verbose=0)


def test_names_of_losses_are_one_list():
    assert tuple(losses.LOSSES) == LOSSES


def test_a_run_starts_from_a_net_with_other_classes(tmp_path, capsys):
    first = train(SMALL, data(), tmp_path / "first", class_names=NAMES, samples=0, verbose=0)
    path = first.directory / "last.keras"
    begun, names = [], ["ground", "red", "sky"]

    class Begin(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            begun.append({layer.name: layer.get_weights() for layer in get_all_layers(self.model)})

    options = {"class_names": names, "samples": 0, "verbose": 2, "init_from": path, "callbacks": [Begin()]}
    run = train(SMALL, data(), tmp_path / "second", **options)
    assert run.finished
    told = capsys.readouterr().out
    assert "Starts from 'fcn8s': its backbone. Not from its score_fr" in told and "(2 there, 3 here)" in told
    convolutions = [each for each in get_all_layers(load_model(path).get_layer("backbone")) if each.weights]
    convolutions = [each for each in convolutions if each.name.startswith("conv")]
    for layer in convolutions:
        for a, b in zip(layer.get_weights(), begun[0][layer.name], strict=True):
            np.testing.assert_array_equal(a, b)
    assert len(convolutions) == 5 and not np.any(begun[0]["score_fr"][0])
    assert "init_from" in json.loads((tmp_path / "second" / "config.json").read_text())
    with pytest.raises(ValueError, match="other settings: init_from is .* there, None here"):
        train(dataclasses.replace(SMALL, weights=None), data(), tmp_path / "second", **options | {"init_from": None})


def test_the_augmentation_of_a_recipe_reaches_the_data(few_scenes):
    recipe = dataclasses.replace(SMALL, size=(64, 64), scales=(1, 1), color=0, augmentation={"flip": "exchange"})
    builders = prepare_splits("shapes", ("train", "validation"), data_dir=few_scenes)
    with pytest.raises(ValueError, match="no pair of left and right in the class names: background, disc"):
        load_splits(recipe, builders, ("train", "validation"))[0](1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"net": "FCN-2s"}, "net='FCN-2s': expected one of FCN-32s"),
        ({"optimizer": "adam"}, "optimizer='adam': expected one of adamw"),
        ({"precision": "float16"}, "precision='float16': expected one of"),
        ({"precision": "mixed_float16", "reduction": "sum"}, "overflows. Fix"),
        ({"optimizer": "caffe"}, "'backbone_rate': 0.3.* with optimizer=\"caffe\": expected {'backbone_rate': 1"),
        ({"optimizer": "caffe", "backbone_rate": 1, "warmup": 10}, "'warmup': 10.* have no effect"),
        ({"optimizer": "caffe", "backbone_rate": 1, "power": 1}, "'power': 1,? ?.*have no effect"),
        ({"momentum": 0.99}, "{'momentum': 0.99} with optimizer=\"adamw\""),
        ({"scales": None, "color": 1.0}, "{'color': 1.0} with scales=None.*: expected {'color': None}"),
    ],
)
def test_fields_that_cannot_be(fields, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**fields)


def test_what_cannot_be_trained(tmp_path):
    with pytest.raises(ValueError, match="recipe 'heavy': expected one of light, cvpr, released"):
        train("heavy", "shapes", tmp_path)
    with pytest.raises(ValueError, match="class_names="):
        train(SMALL, data(), tmp_path)
    with pytest.raises(ValueError, match="class_names or channels for 'shapes'.*expected none"):
        train(SMALL, "shapes", tmp_path, class_names=NAMES)
    with pytest.raises(
        ValueError, match=r"Found \{'source': 'mine', 'batch': 2, 'size': \(64, 64\)\} for your own data"
    ):
        train(dataclasses.replace(SMALL, batch=2, size=(64, 64)), data(), tmp_path, class_names=NAMES, source="mine")
    with pytest.raises(ValueError, match="batch_norm=True for a backbone without batch normalisation"):
        dataclasses.replace(SMALL, batch_norm=True).build(2)
    with pytest.raises(ValueError, match="class_weights='some'"):
        train(dataclasses.replace(SMALL, class_weights="some"), data(), tmp_path, class_names=NAMES)


def test_staged_recipes():
    assert {name: (recipe.shared.backbone, recipe.shared.batch) for name, recipe in STAGED_RECIPES.items()} == {
        "shapes": ("mini_vgg", 8),
        "camvid": ("mobilenet_v2", 4),
        "voc": ("mobilenet_v2", 4),
        "cvpr": ("vgg16", 1),
        "released": ("vgg16", 1),
    }
    nets = ("fcn32s", "fcn16s", "fcn8s")
    for stage, net in zip(STAGED_RECIPES["released"].stages[1:], nets, strict=True):
        schedule = RELEASED[net]
        assert stage.learning_rate == schedule.learning_rate
        assert stage.epochs == math.ceil(schedule.iterations / 8498)  # images of SBD's training list
    for stage, net in zip(STAGED_RECIPES["cvpr"].stages[1:], nets, strict=True):
        assert stage.learning_rate == CVPR[net].learning_rate
    assert STAGED_RECIPES["cvpr"].stages[1].epochs == CVPR["fcn32s"].epochs
    assert {name: recipe.published for name, recipe in STAGED_RECIPES.items() if recipe.published != "cvpr"} == {
        "released": "released"
    }
    with pytest.raises(ValueError, match="'precision': 'mixed_float16'.*Fix: train one net"):
        StagedRecipe("shapes", (), dataclasses.replace(SMALL, precision="mixed_float16"))


def test_stages_train_by_the_recipe_that_they_share(tmp_path, monkeypatch):
    from fcn_keras.datasets.shapes import Shapes

    monkeypatch.setattr(Shapes, "SIZES", {"scenes": {"train": 4, "validation": 2, "test": 1}})
    shared = dataclasses.replace(SMALL, class_weights="balanced", ema=0.5, backbone_rate=0.1)
    recipe = StagedRecipe("shapes", (Stage("FCN-32s", 1, 1e-2), Stage("FCN-16s", 1, 1e-3)), shared)
    staged = prepare_stages(recipe, tmp_path / "run", data_dir=tmp_path / "data", verbose=0)
    staged.run()
    assert list(staged.results()) == ["FCN-32s", "FCN-16s"]
    config = json.loads((tmp_path / "run" / "FCN-16s" / "config.json").read_text())
    assert (config["net"], config["epochs"], config["learning_rate"]) == ("FCN-16s", 1, 1e-3)
    assert (config["ema"], config["backbone_rate"], config["data"]) == (0.5, 0.1, "shapes")
    assert len(set(config["loss"]["class_weights"])) > 3
    made = staged._run(recipe.stages[1]).optimizer(SMALL.build(2), 4)
    assert made.use_ema and set(made.rates) == {0.1, 1.0} and made.ema_momentum == 0.5


def test_the_papers_stages_need_voc2011_and_sbd_and_nothing_else(tmp_path):
    stand_ins.write_voc(tmp_path / "VOCdevkit" / "VOC2011", ["a"], ["c", "v"])
    stand_ins.write_sbd(tmp_path / "benchmark_RELEASE" / "dataset", ["v", "d"], ["c"])
    recipe = STAGED_RECIPES["released"]
    shared = dataclasses.replace(recipe.shared, backbone=BACKBONE, weights=None)
    recipe = dataclasses.replace(recipe, shared=shared, stages=(Stage("FCN-32s", 1, 1e-10),))
    staged = prepare_stages(recipe, tmp_path / "run", source=tmp_path, data_dir=tmp_path / "data", verbose=0)
    staged.run()
    config = json.loads((tmp_path / "run" / "FCN-32s" / "config.json").read_text())
    assert config["splits"] == ["sbd_train", "seg11valid"] and config["steps_per_epoch"] == 2
    assert config["prepared"][0].startswith("voc_segmentation/2011_sbd/") and config["loss"]["reduction"] == "sum"
    assert {path.name for path in (tmp_path / "data" / "voc_segmentation").glob("[!.]*")} == {"2011_sbd"}
