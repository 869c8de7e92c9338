"""Staged training and its table; repeated, interrupted and continued."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from little import BACKBONE, classifier

from fcn_keras.metrics import METRICS
from fcn_keras.training import (
    PAPER_TABLE_2,
    RELEASED_TABLE,
    STAGED_RECIPES,
    Stage,
    StagedRecipe,
    StagedTraining,
    markdown_table,
)

NAMES = ["ground", "red", "blue"]
STEPS, BATCH = 3, 2
SIGNATURE = (tf.TensorSpec((None, 32, 32, 3), "float32"), tf.TensorSpec((None, 32, 32), "uint8"))


def scenes(count, seed):
    """A red and a blue rectangle on noise, with some void."""
    generator = np.random.default_rng(seed)
    images = generator.uniform(60, 120, (count, 32, 32, 3)).astype("float32")
    masks = np.zeros((count, 32, 32), "uint8")
    for image, mask in zip(images, masks, strict=True):
        for label, channel in ((1, 0), (2, 2)):
            top, left = generator.integers(0, 20, 2)
            image[top : top + 12, left : left + 12, channel] = 250
            mask[top : top + 12, left : left + 12] = label
        mask[:2] = 255
    return images, masks


def train(seed):
    images, masks = scenes(STEPS * BATCH, seed=0)

    def batches():
        for chosen in np.random.default_rng(seed).permutation(STEPS * BATCH).reshape(STEPS, BATCH):
            yield images[chosen], masks[chosen]

    dataset = tf.data.Dataset.from_generator(batches, output_signature=SIGNATURE)
    return dataset.apply(tf.data.experimental.assert_cardinality(STEPS))


def staged(directory, stages, shared=None, **options):
    shared = dataclasses.replace(STAGED_RECIPES["shapes"].shared, backbone=BACKBONE, **(shared or {}))
    validation = tf.data.Dataset.from_tensor_slices(scenes(4, seed=1)).batch(2)
    return StagedTraining(
        directory, StagedRecipe("scenes", stages, shared), train, validation, NAMES, **{"verbose": 0} | options
    )


def assert_equal_weights(ours, theirs):
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


ALL = ["FCN-32s-fixed", "FCN-32s", "FCN-16s", "FCN-8s", "FCN-8s-at-once"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """All five stages."""
    whole = staged(tmp_path_factory.mktemp("stages"), [Stage(name, 2, 1e-2) for name in ALL], validate_every=1)
    return whole, whole.run()


def test_every_stage_fills_a_line_of_the_table(trained):
    whole, table = trained
    results = whole.results()
    assert list(results) == ALL
    for name, result in results.items():
        assert set(result["metrics"]) == set(METRICS)
        assert all(0 <= value <= 1 for value in result["metrics"].values())
        assert set(result["per_class_iou"]) == set(NAMES)
        assert result["metrics"]["mean_iou"] == pytest.approx(np.mean(list(result["per_class_iou"].values())), rel=1e-6)
        assert [entry["epoch"] for entry in result["history"]] == [1, 2]
        assert result["history"][-1]["val_mean_iou"] == pytest.approx(result["metrics"]["mean_iou"])
        assert f"| {name} | " in table
    assert (whole.directory / "table.md").read_text() == table == whole.table()
    written = json.loads((whole.directory / "table.json").read_text())
    assert written == {name: result["metrics"] for name, result in results.items()}
    files = {".lock", "config.json", "environment.json", "history.csv", "metrics.json", "metrics.md"}
    files |= {"last.keras", "best.keras"}
    assert all({path.name for path in (whole.directory / name).iterdir()} == files for name in ALL)


def test_trained_models_are_of_the_stages_kind(trained):
    whole, _ = trained
    last = {name: whole.model(name).layers[-1].name for name in ALL}
    assert [last[name] for name in ALL] == [
        "upscore_crop",
        "upscore_crop",
        "upscore16_crop",
        "upscore8_crop",
        "upscore8_crop",
    ]
    at_once = whole.model("FCN-8s-at-once")
    assert at_once.get_layer("scale_pool3").scale == pytest.approx(0.0001)
    for name in ALL:
        logs = whole.model(name).evaluate(whole.validation, verbose=0, return_dict=True)
        assert logs["mean_iou"] == pytest.approx(whole.results()[name]["metrics"]["mean_iou"], rel=1e-6)


def test_the_fixed_stage_trains_the_score_layer_alone(trained):
    whole, _ = trained
    fixed, free = whole.model("FCN-32s-fixed"), whole.model("FCN-32s")
    for stage in range(1, 6):
        first, *both = (
            net.get_layer(f"conv{stage}").get_weights()
            for net in (classifier(), fixed.get_layer("backbone"), free.get_layer("backbone"))
        )
        np.testing.assert_array_equal(first[0], both[0][0])
        assert (first[0] != both[1][0]).any()
    for model in (fixed, free):
        assert np.abs(model.get_layer("score_fr").get_weights()[0]).max() > 0


def test_a_finished_run_is_left_as_it_is(trained):
    whole, table = trained
    before = {path: path.stat().st_mtime_ns for path in whole.directory.rglob("*.keras")}
    (whole.directory / "table.md").unlink()  # killed before it was written
    assert whole.run() == table
    assert (whole.directory / "table.md").read_text() == table
    assert before == {path: path.stat().st_mtime_ns for path in whole.directory.rglob("*.keras")}


TWO_STAGES = [("FCN-32s", 3, 1e-2), ("FCN-16s", 2, 5e-3)]


def two_stages(directory, **options):
    return staged(directory, [Stage(*schedule) for schedule in TWO_STAGES], **options)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    whole = two_stages(tmp_path_factory.mktemp("unbroken"))
    whole.run()
    return whole


def test_interrupted_and_resumed_it_is_the_unbroken_run_bit_for_bit(unbroken, tmp_path):
    broken, seeds = two_stages(tmp_path), []

    def stop(seed):
        seeds.append(seed)
        if len(seeds) == 4:  # asked for the number of steps and for two epochs
            raise KeyboardInterrupt
        return train(seed)

    broken.train = stop
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    kept = two_stages(tmp_path).record("FCN-32s")
    assert kept["epoch"] == 2 and kept["step"] == 0

    resumed = two_stages(tmp_path)
    resumed.run()
    history = resumed.results()["FCN-32s"]["history"]
    assert history[:2] == kept["history"]  # whole epochs are kept, not trained again
    assert [entry["epoch"] for entry in history] == [1, 2, 3]
    for name, *_ in TWO_STAGES:
        assert_equal_weights(resumed.model(name), unbroken.model(name))
        assert resumed.results()[name]["metrics"] == unbroken.results()[name]["metrics"]


def test_stages_of_other_settings_is_refused(unbroken):
    with pytest.raises(ValueError, match=r"other settings: .*learning_rate.*0\.01.*0\.02.*Fix: take another"):
        staged(unbroken.directory, [Stage("FCN-32s", 3, 2e-2)]).run()
    with pytest.raises(ValueError, match="upsampling is 'frozen' there, 'learned' here"):
        two_stages(unbroken.directory, shared={"upsampling": "learned"}).run()


def test_one_seed_repeats_and_another_differs(tmp_path):
    runs = [staged(tmp_path / str(i), [Stage("FCN-32s", 1, 1e-2)], seed=seed) for i, seed in enumerate((4, 4, 5))]
    for run in runs:
        run.run()
    first, again, other = (run.model("FCN-32s") for run in runs)
    assert_equal_weights(first, again)
    assert any((a != b).any() for a, b in zip(first.get_weights(), other.get_weights(), strict=True))


def test_a_stage_that_is_not_trained_has_no_model(tmp_path):
    empty = two_stages(tmp_path)
    assert empty.results() == {}
    with pytest.raises(ValueError, match=r"FCN-16s in .* not finished.*run\(\)"):
        empty.model("FCN-16s")


@pytest.mark.parametrize(
    "names", [["FCN-16s"], ["FCN-16s", "FCN-32s"], ["FCN-32s", "FCN-8s"], ["FCN-32s-fixed", "FCN-16s"]]
)
def test_stages_out_of_order(names, tmp_path):
    with pytest.raises(ValueError, match=r"Found stage FCN-\d+s without FCN-\d+s before it"):
        staged(tmp_path, [Stage(name, 1, 1e-3) for name in names])


def test_unknown_stages():
    with pytest.raises(ValueError, match="'FCN-2s': expected one of FCN-32s-fixed"):
        Stage("FCN-2s", 1, 1e-3)


def test_two_published_tables():
    """Long et al. (CVPR 2015), Table 2; the released nets on the same images, in the README of wkentaro/fcn."""
    assert PAPER_TABLE_2 == {
        "FCN-32s-fixed": (83.0, 59.7, 45.4, 72.0),
        "FCN-32s": (89.1, 73.3, 59.4, 81.4),
        "FCN-16s": (90.0, 75.7, 62.4, 83.0),
        "FCN-8s": (90.3, 75.9, 62.7, 83.2),
    }
    ours = dict(zip(METRICS, (0.5, 0.25, 0.125, 1.0), strict=True))
    assert markdown_table({"FCN-8s": ours, "FCN-8s-at-once": ours}) == (
        "| net | pixel acc. | mean acc. | mean IoU | f.w. IoU |\n"
        "|---|---|---|---|---|\n"
        "| FCN-8s | 50.0 (90.3) | 25.0 (75.9) | 12.5 (62.7) | 100.0 (83.2) |\n"
        "| FCN-8s-at-once | 50.0 | 25.0 | 12.5 | 100.0 |\n"
        "\nIn brackets: Table 2 of the CVPR paper, on PASCAL VOC2011.\n"
    )
    exact = {"FCN-32s": (90.48, 76.48, 63.63, 83.46), "FCN-16s": (91.00, 78.07, 65.01, 84.26),
             "FCN-8s": (91.22, 77.61, 65.51, 84.54), "FCN-8s-at-once": (91.13, 78.50, 65.40, 84.43)}  # fmt: skip
    for name, numbers in exact.items():
        np.testing.assert_allclose(RELEASED_TABLE[name], numbers, atol=0.0501)
    released = markdown_table({"FCN-8s": ours, "FCN-8s-at-once": ours}, "released")
    assert "12.5 (65.5)" in released and "12.5 (65.4)" in released
    assert released.endswith("\nIn brackets: the nets that the authors released, on PASCAL VOC2011.\n")
    plain = markdown_table({"FCN-8s": ours}, None)
    assert plain.endswith("| FCN-8s | 50.0 | 25.0 | 12.5 | 100.0 |\n")
