"""The metrics of a model on a data set, compared with counts by hand; and atomic writing."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_keras import _files
from fcn_keras.inference.evaluate import evaluate
from fcn_keras.inference.segment import segment

NAMES = ["dark", "bright", "never"]


def brightness():
    """Class 1 where the first channel is above 0.5. No pixel has class 2."""
    image = keras.Input((None, None, 3))
    score = keras.layers.Conv2D(3, 1)
    model = keras.Model(image, score(image))
    kernel = np.zeros((1, 1, 3, 3), "float32")
    kernel[0, 0, 0, 1] = 1
    score.set_weights([kernel, np.array([0.5, 0, -9], "float32")])
    return model


def test_metrics_and_classes_against_counts_by_hand():
    generator = np.random.default_rng(0)
    images = generator.uniform(size=(5, 6, 7, 3)).astype("float32")
    masks = generator.choice([0, 1, 255], (5, 6, 7)).astype("uint8")
    found = evaluate(brightness(), tf.data.Dataset.from_tensor_slices((images, masks)).batch(2), NAMES)
    predicted, labelled = images[..., 0] > 0.5, masks != 255
    confusion = [[int(((masks == i) & (predicted == j)).sum()) for j in (0, 1)] for i in (0, 1)]
    assert found.confusion[:2, :2].tolist() == confusion and found.confusion.sum() == labelled.sum()
    (a, b), (c, d) = confusion
    assert found.metrics["pixel_accuracy"] == pytest.approx((a + d) / (a + b + c + d))
    assert found.metrics["mean_iou"] == pytest.approx((a / (a + b + c) + d / (b + c + d)) / 2)
    assert found.per_class_iou["bright"] == pytest.approx(d / (b + c + d))
    assert found.per_class_accuracy["dark"] == pytest.approx(a / (a + b))
    assert np.isnan(found.per_class_iou["never"]) and "| never | – | – | 0.0 |" in found.table()
    assert (
        json.loads(json.dumps(_files.replace_nonfinite(found.summary()), allow_nan=False))["per_class_iou"]["never"]
        is None
    )


def test_averages_over_scales_and_mirror_images_against_segment_by_hand():
    generator = np.random.default_rng(1)
    images = generator.uniform(0, 2, (3, 8, 10, 3)).astype("float32")
    images[0] = 1  # nearly black
    masks = generator.choice([0, 1, 255], (3, 8, 10)).astype("uint8")
    data = tf.data.Dataset.from_tensor_slices((images, masks))
    for batches in (data, data.batch(2)):
        found = evaluate(brightness(), batches, NAMES, scales=(1, 2), flip=True)
        looked_at = [images[0].astype("uint8"), *images[1:]]
        predicted = np.stack([segment(brightness(), image, scales=(1, 2), flip=True) for image in looked_at])
        assert found.confusion.tolist() == [
            [int(((masks == i) & (predicted == j)).sum()) for j in range(3)] for i in range(3)
        ]
    once = evaluate(brightness(), data.batch(3), NAMES)
    assert (once.confusion != found.confusion).any()
    assert (evaluate(brightness(), data.batch(3), NAMES, scales=(1.0,)).confusion == once.confusion).all()
    with pytest.raises(ValueError, match=r"Image 0 has labels outside \[0, 3\).*found \[9\]"):
        evaluate(brightness(), data.map(lambda image, mask: (image, mask * 0 + 9)), NAMES, flip=True)


def test_the_model_is_left_as_it_is():
    model = brightness()
    model.compile("sgd", "mse")
    evaluate(model, tf.data.Dataset.from_tensors((np.zeros((1, 2, 2, 3), "float32"), np.zeros((1, 2, 2), "uint8"))))
    assert model.loss == "mse" and model.optimizer is not None


def test_labels_outside_the_classes():
    data = tf.data.Dataset.from_tensors((np.zeros((1, 2, 2, 3), "float32"), np.full((1, 2, 2), 9, "uint8")))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"outside \[0, 3\)"):
        evaluate(brightness(), data)


@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0)])
def test_logits_that_are_nan(scales):
    """Their argmax would be a class, and the metrics would be numbers without a meaning."""
    model = brightness()
    model.set_weights([np.full_like(weights, np.nan) for weights in model.get_weights()])
    data = tf.data.Dataset.from_tensors((np.ones((1, 4, 4, 3), "float32"), np.zeros((1, 4, 4), "uint8")))
    with pytest.raises(ValueError, match="gives logits that are NaN: expected numbers. Fix: "):
        evaluate(model, data, scales=scales)


@pytest.mark.parametrize("label", [3.0, 1.5, -1.0, float("nan")])
def test_labels_that_are_none_in_averages(label):
    masks = np.full((1, 4, 4, 1), label, "float32")
    data = tf.data.Dataset.from_tensors((np.ones((1, 4, 4, 3), "float32"), masks))
    with pytest.raises(ValueError, match=rf"Image 0 has labels outside \[0, 3\).*found \[{label}\]. Fix: "):
        evaluate(brightness(), data, flip=True)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), RuntimeError("other")])
def test_a_file_that_cannot_be_written_leaves_the_earlier_one(error, tmp_path):
    path = tmp_path / "notes.txt"
    _files.atomic_write(path, lambda beside: beside.write_text("whole"))

    def fails(beside):
        beside.write_text("ha")
        raise error

    with pytest.raises(type(error)) as told:
        _files.atomic_write(path, fails)
    if isinstance(error, OSError):
        assert told.value.errno == 28 and str(path) in str(told.value) and "Fix" in str(told.value)
    assert path.read_text() == "whole" and [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("data", "options", "told"),
    [
        ("shapes", {}, "data of type str: expected a tf.data.Dataset of pairs"),
        ((np.zeros((1, 2, 2, 3)), np.zeros((1, 2, 2))), {}, "data of type tuple: expected"),
        (tf.data.Dataset.from_tensors(np.zeros((1, 2, 2, 3))), {}, "data of type .*Dataset, with elements"),
        (tf.data.Dataset.from_tensors((np.zeros((2, 2, 3)), np.zeros((2, 2)))), {"scales": 2}, "Found scales=2"),
        (
            tf.data.Dataset.from_tensors((np.zeros((2, 2, 3)), np.zeros((2, 1)))),
            {"flip": True},
            "expected masks of shape",
        ),
    ],
)
def test_what_is_no_data(data, options, told):
    with pytest.raises(ValueError, match=told):
        evaluate(brightness(), data, **options)


def test_pairs_one_by_one_and_models_of_ones_own():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.net = brightness()

        def call(self, images):
            return self.net(images)

    images = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((images, np.zeros((4, 6, 5), "uint8")))
    expected = evaluate(brightness(), data.batch(2)).confusion
    assert expected.sum() == 4 * 6 * 5 and (evaluate(Own(), data).confusion == expected).all()
