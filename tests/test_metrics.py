"""The four metrics of the paper against NumPy, and inside Keras in every way it trains."""

import math
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_keras.metrics import METRICS, SegmentationMetrics, class_iou, confusion_matrix, scores, trimap


def oracle_confusion(truth, prediction, num_classes):
    """As the authors' ``fast_hist``."""
    known = (truth >= 0) & (truth < num_classes)
    cells = num_classes * truth[known].astype(int) + prediction[known]
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def oracle_scores(confusion):
    """As the authors' ``score.py``: NaN where a class does not occur, left out of the means."""
    with np.errstate(divide="ignore", invalid="ignore"):
        confusion = confusion.astype("float64")
        hits, truth = np.diag(confusion), confusion.sum(1)
        iu = hits / (truth + confusion.sum(0) - hits)
        accuracy, share = hits / truth, truth / confusion.sum()
    return {
        "pixel_accuracy": hits.sum() / confusion.sum(),
        "mean_accuracy": np.nanmean(accuracy),
        "mean_iou": np.nanmean(iu),
        "frequency_weighted_iou": (share[share > 0] * iu[share > 0]).sum(),
    }


def pixels(seed, num_classes=7, absent=(), void_share=0.2, shape=(2, 9, 11)):
    generator = np.random.default_rng(seed)
    classes = [c for c in range(num_classes) if c not in absent]
    truth = generator.choice(classes, shape).astype("int32")
    truth[generator.uniform(size=shape) < void_share] = 255
    return truth, generator.choice(classes, shape).astype("int32")


def logits_of(prediction, num_classes):
    return np.eye(num_classes, dtype="float32")[prediction] * 3 - 1


def assert_scores(found, expected, rtol=1e-12):
    assert set(found) == set(METRICS)
    for name in METRICS:
        np.testing.assert_allclose(float(found[name]), expected[name], rtol=rtol, err_msg=name)


@pytest.mark.parametrize("seed", range(5))
def test_confusion_counts_exactly(seed):
    truth, prediction = pixels(seed)
    found = confusion_matrix(truth, prediction, 7)
    np.testing.assert_array_equal(found, oracle_confusion(truth, prediction, 7))
    assert keras.ops.dtype(found) == "int32"


def test_labels_outside_the_classes_do_not_count():
    truth = np.array([0, 1, 2, 7, 99, 254, 255, -1, -5])
    found = confusion_matrix(truth, np.zeros(9, int), 3)
    np.testing.assert_array_equal(found, [[1, 0, 0], [1, 0, 0], [1, 0, 0]])


NO_CLASSES = {
    "uint8": [7, 200, 255],
    "int8": [-1, -128, 7, 127],
    "int32": [-1, 7, 255, -(2**31), 2**31 - 1],
    "int64": [-1, 2**31, 2**32, 2**32 + 1, -(2**32)],  # cast to 32 bits, some are classes
    "uint32": [7, 2**32 - 1],
    "float32": [-1, -0.5, 0.5, 6.5, 7, np.nan, np.inf, -np.inf, 2**32],
    "float64": [-1e-9, 1 + 1e-9, 1e300, np.nan],
}


def in_graph(function):
    return tf.function(function, autograph=False)


@pytest.mark.parametrize("run", [lambda function: function, in_graph])
@pytest.mark.parametrize("dtype", NO_CLASSES)
def test_truth_that_is_no_class_is_left_out_whatever_its_type(dtype, run):
    """In the matrix and in the metric, eagerly and in a graph. The predictions at such pixels do not matter."""
    truth, prediction = pixels(0, void_share=0)
    wrong = np.array(NO_CLASSES[dtype], dtype)
    places = np.random.default_rng(1).permutation(truth.size)[: 3 * len(wrong)]
    expected_truth = truth.copy()
    expected_truth.flat[places] = -1
    expected = oracle_confusion(expected_truth, prediction, 7)
    truth = truth.astype(dtype)
    truth.flat[places] = np.repeat(wrong, 3)
    metric = SegmentationMetrics(7)
    run(metric.update_state)(tf.constant(truth), tf.constant(logits_of(prediction, 7)))
    np.testing.assert_array_equal(metric.confusion, expected)
    prediction.flat[places] = 99
    found = run(lambda *pair: confusion_matrix(*pair, 7))(tf.constant(truth), tf.constant(prediction))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", NO_CLASSES)
def test_a_prediction_that_is_no_class_is_refused_where_it_counts(dtype):
    """A truth of 0 predicted as 255 was once counted in cell (12, 3) of a matrix for 21 classes."""
    for wrong in np.array(NO_CLASSES[dtype], dtype):
        truth, prediction = np.array([0, 255, 3]), np.array([wrong, wrong, 3], dtype)
        message = r"(?s)Predictions outside \[0, 7\) where the truth is a class.*Found:"
        with pytest.raises(ValueError, match=message):
            confusion_matrix(truth, prediction, 7)
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            in_graph(lambda *pair: confusion_matrix(*pair, 7))(tf.constant(truth), tf.constant(prediction))
        np.testing.assert_array_equal(confusion_matrix(np.array([-1, 255, 3]), prediction, 7), np.diag(np.eye(7)[3]))


@pytest.mark.parametrize(("truth", "prediction"), [((2, 3), (3, 2)), ((1,), (6,)), ((2, 3), (6,)), ((2, 3, 1), (2, 3))])
def test_truth_and_prediction_of_different_shapes(truth, prediction):
    with pytest.raises(ValueError, match="expected the same"):
        confusion_matrix(np.zeros(truth, int), np.zeros(prediction, int), 2)


@pytest.mark.parametrize("shape", [(1, 6, 7), (2, 7, 6), (2, 6, 7, 3), (2, 6), (1, 1, 1)])
def test_masks_of_another_size_than_the_logits(shape):
    metric = SegmentationMetrics(3)
    for run in (lambda function: function, in_graph):
        with pytest.raises(ValueError, match=r"masks of shape .*expected masks of shape \(2, 6, 7\)"):
            run(metric.update_state)(np.zeros(shape, "uint8"), np.zeros((2, 6, 7, 3), "float32"))
    assert int(keras.ops.sum(metric.confusion)) == 0


@pytest.mark.parametrize("size", [(9, 11), (None, None)])
@pytest.mark.parametrize("run", ["eager", "graph", "xla"])
def test_logits_that_are_nan_make_every_metric_nan(run, size):
    """The argmax of NaN is class 0 for TensorFlow and the last class for XLA."""
    truth, prediction = pixels(2)
    logits = logits_of(prediction, 7)
    broken = logits.copy()
    broken[0, 3, 4, 2] = np.nan
    truth[0, 3, 4] = 255
    metric = SegmentationMetrics(7)
    signature = [tf.TensorSpec((2, *size), "int32"), tf.TensorSpec((2, *size, 7), "float32")]
    update = metric.update_state
    if run != "eager":
        update = tf.function(update, input_signature=signature, autograph=False, jit_compile=run == "xla")
    update(tf.constant(truth), tf.constant(broken))
    assert_scores(metric.result(), oracle_scores(oracle_confusion(truth, prediction, 7)))  # void does not count
    truth[0, 3, 4] = 1
    for values in (broken, logits, logits):  # until it is reset
        update(tf.constant(truth), tf.constant(values))
        assert all(math.isnan(value) for value in metric.result().values())
        assert all(math.isnan(value) for value in metric.per_class().values())
        assert (np.asarray(metric.confusion) < 0).all()
    metric.reset_state()
    update(tf.constant(truth), tf.constant(logits))
    assert_scores(metric.result(), oracle_scores(oracle_confusion(truth, prediction, 7)))


@pytest.mark.parametrize("wrong", [-1, np.nan])
def test_scores_of_counts_that_are_none(wrong):
    confusion = np.array([[3.0, 1], [wrong, 4]])
    assert all(math.isnan(value) for value in scores(confusion).values())
    assert np.isnan(class_iou(confusion)).all()


@pytest.mark.parametrize("shape", [(2, 3), (4,), (2, 2, 2)])
def test_scores_of_what_is_no_matrix(shape):
    for function in (scores, class_iou):
        with pytest.raises(ValueError, match=r"expected \(C, C\)"):
            function(np.ones(shape))


@pytest.mark.parametrize("absent", [(), (0,), (2, 6)])
@pytest.mark.parametrize("seed", range(3))
def test_four_metrics(seed, absent):
    confusion = oracle_confusion(*pixels(seed, absent=absent), 7)
    assert_scores(scores(confusion), oracle_scores(confusion))


def test_a_class_that_is_only_predicted_counts_as_zero_iu_and_not_in_mean_accuracy():
    confusion = np.array([[3, 1, 0], [0, 0, 0], [0, 0, 0]])
    found = scores(confusion)
    assert_scores(
        found, {"pixel_accuracy": 3 / 4, "mean_accuracy": 3 / 4, "mean_iou": 3 / 8, "frequency_weighted_iou": 3 / 4}
    )
    iu = np.asarray(class_iou(confusion))
    np.testing.assert_array_equal(iu[:2], [0.75, 0])
    assert math.isnan(iu[2])


def test_worked_example_four_by_four():
    """Truth above, prediction below; by hand: hits 5, 3, 2 of 6, 4, 4 labelled pixels, 7, 4, 3 predicted."""
    truth = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 2, 2], [2, 2, 255, 255]])
    prediction = np.array([[0, 0, 1, 1], [0, 0, 1, 0], [0, 1, 2, 2], [0, 1, 0, 1]])
    prediction[3, :2] = (0, 2)
    prediction[2, 3] = 1
    np.testing.assert_array_equal(confusion_matrix(truth, prediction, 3), [[5, 1, 0], [1, 3, 0], [1, 1, 2]])
    metric = SegmentationMetrics(3, ["sky", "road", "car"])
    metric.update_state(truth[None], logits_of(prediction, 3)[None])
    expected = {
        "pixel_accuracy": 10 / 14,
        "mean_accuracy": (5 / 6 + 3 / 4 + 2 / 4) / 3,
        "mean_iou": (5 / 8 + 3 / 6 + 2 / 4) / 3,
        "frequency_weighted_iou": (6 * 5 / 8 + 4 * 3 / 6 + 4 * 2 / 4) / 14,
    }
    assert_scores(metric.result(), expected)
    assert metric.per_class() == {"sky": 0.625, "road": 0.5, "car": 0.5}


def test_counts_are_exact_where_float32_is_not():
    """2^24 + 1 pixels: float32 cannot tell them from 2^24."""
    confusion = np.array([[2**24 + 1, 1], [0, 2**40]])
    assert_scores(scores(confusion), oracle_scores(confusion))
    metric = SegmentationMetrics(2)
    metric.confusion.assign(confusion)
    metric.update_state([[[0]]], [[[[1.0, 0.0]]]])
    assert int(metric.confusion[0, 0]) == 2**24 + 2 and int(metric.confusion[1, 1]) == 2**40


def test_nothing_but_void_scores_zero():
    metric = SegmentationMetrics(3)
    assert_scores(metric.result(), dict.fromkeys(METRICS, 0))
    metric.update_state(np.full((1, 4, 4), 255), np.zeros((1, 4, 4, 3)))
    assert_scores(metric.result(), dict.fromkeys(METRICS, 0))
    assert all(math.isnan(value) for value in metric.per_class().values())


@pytest.mark.parametrize("shape", [(2, 9, 11), (2, 9, 11, 1)])
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_masks_of_any_type_with_or_without_a_channel_axis(dtype, shape):
    truth, prediction = pixels(1)
    metric = SegmentationMetrics(7)
    metric.update_state(truth.astype(dtype).reshape(shape), logits_of(prediction, 7))
    np.testing.assert_array_equal(metric.confusion, oracle_confusion(truth, prediction, 7))


def test_void_may_be_a_class_id():
    truth, prediction = pixels(3, void_share=0)
    metric = SegmentationMetrics(7, ignore_class=0)
    metric.update_state(truth, logits_of(prediction, 7))
    expected = oracle_confusion(truth, prediction, 7)
    expected[0] = 0
    np.testing.assert_array_equal(metric.confusion, expected)


def test_two_batches_are_one_stream_and_reset_starts_anew():
    truth, prediction = pixels(4)
    streamed, whole = SegmentationMetrics(7), SegmentationMetrics(7)
    for i in range(2):
        streamed.update_state(truth[i : i + 1], logits_of(prediction, 7)[i : i + 1])
    whole.update_state(truth, logits_of(prediction, 7))
    np.testing.assert_array_equal(streamed.confusion, whole.confusion)
    assert_scores(streamed.result(), {name: float(value) for name, value in whole.result().items()})
    streamed.reset_state()
    assert int(keras.ops.sum(streamed.confusion)) == 0


def test_inside_a_graph():
    truth, prediction = pixels(5)
    metric = SegmentationMetrics(7)

    @tf.function
    def step(masks, logits):
        metric.update_state(masks, logits)
        return metric.result()

    found = step(tf.constant(truth), tf.constant(logits_of(prediction, 7)))
    assert_scores(found, oracle_scores(oracle_confusion(truth, prediction, 7)))


def identity_model(num_classes):
    """Returns its input: the images given to it are the logits."""
    image = keras.Input((None, None, num_classes))
    score = keras.layers.Conv2D(num_classes, 1, use_bias=False)
    model = keras.Model(image, score(image))
    model.set_weights([np.eye(num_classes, dtype="float32")[None, None]])
    return model


def test_in_compile_fit_and_evaluate():
    truth, prediction = pixels(6)
    logits = logits_of(prediction, 7)
    model = identity_model(7)
    expected = oracle_scores(oracle_confusion(truth, prediction, 7))
    model.compile(
        keras.optimizers.SGD(0.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255),
        metrics=[SegmentationMetrics(7)],
        jit_compile=False,
    )
    history = model.fit(logits, truth, batch_size=1, epochs=2, validation_data=(logits, truth), verbose=0).history
    logs = model.evaluate(logits, truth, batch_size=1, verbose=0, return_dict=True)
    for name in METRICS:
        for value in (*history[name], *history[f"val_{name}"], logs[name]):
            assert value == pytest.approx(expected[name], rel=1e-6)


def test_under_a_distribution_strategy():
    """Two replicas, two logical CPUs: the confusion matrices of both add up to that of one."""
    script = textwrap.dedent("""
        import numpy as np, tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        import keras, fcn_keras

        generator = np.random.default_rng(0)
        logits = generator.normal(size=(12, 5, 6, 4)).astype("float32")
        truth = generator.choice([0, 1, 3, 255], (12, 5, 6)).astype("uint8")
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        assert strategy.num_replicas_in_sync == 2

        def evaluated():
            image = keras.Input((None, None, 4))
            model = keras.Model(image, keras.layers.Identity()(image))
            metric = fcn_keras.metrics.SegmentationMetrics(4)
            model.compile(loss=fcn_keras.losses.PixelCrossentropy(), metrics=[metric], jit_compile=False)
            logs = model.evaluate(logits, truth, batch_size=4, verbose=0, return_dict=True)
            return keras.ops.convert_to_numpy(metric.confusion), logs

        with strategy.scope():
            together, logs = evaluated()
        alone, expected = evaluated()
        assert alone.sum() == (truth != 255).sum()
        np.testing.assert_array_equal(together, alone)
        for name in fcn_keras.metrics.METRICS:
            np.testing.assert_allclose(logs[name], expected[name], rtol=1e-6)
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_round_trip():
    metric = SegmentationMetrics(2, ["sky", "road"], ignore_class=9, name="quality")
    copy = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert isinstance(copy, SegmentationMetrics)
    assert copy.get_config() == metric.get_config()
    assert (copy.class_names, copy.ignore_class, copy.name) == (["sky", "road"], 9, "quality")


def test_a_compiled_model_keeps_its_metric(tmp_path):
    model = identity_model(3)
    model.compile("sgd", "mse", metrics=[SegmentationMetrics(3, ["a", "b", "c"])])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    (metric,) = map(keras.metrics.deserialize, loaded.get_compile_config()["metrics"])
    assert metric.class_names == ["a", "b", "c"]


def test_as_many_names_as_classes():
    with pytest.raises(ValueError, match="2 class names: expected 3"):
        SegmentationMetrics(3, ["sky", "road"])


@pytest.mark.parametrize(("classes", "logits"), [(5, 11), (21, 11), (3, 1)])
def test_as_many_logits_as_classes(classes, logits):
    with pytest.raises(ValueError, match=rf"logits of {max(logits, 2)} classes.*expected {classes}"):
        SegmentationMetrics(classes).update_state(np.zeros((1, 2, 2), int), np.zeros((1, 2, 2, logits)))


@pytest.mark.parametrize("radius", [1, 2, 5])
def test_a_trimap_keeps_what_is_near_another_label(radius):
    """Pixel by pixel: is there another label in the square around it?"""
    masks = np.random.default_rng(radius).choice([0, 1, 255], size=(2, 4, 5), p=[0.6, 0.3, 0.1]).astype("uint8")
    masks = masks.repeat(4, axis=1).repeat(4, axis=2)
    expected = np.full(masks.shape, 255)
    for i, y, x in np.ndindex(masks.shape):
        around = masks[i, max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        if (around != masks[i, y, x]).any():
            expected[i, y, x] = masks[i, y, x]
    np.testing.assert_array_equal(trimap(masks, radius), expected)


def test_a_trimap_of_labels_that_are_none():
    """They are boundaries, as void is, and become void."""
    masks = np.array([[[0, 0, 0, np.nan, 0, 0, 0, 1.5, 1, 1, -3, 1, 2.0**24]]])
    expected = [255, 255, 0, 255, 0, 255, 0, 255, 1, 1, 255, 1, 255]
    np.testing.assert_array_equal(trimap(masks, 1)[0, 0], expected)


def test_a_trimap_of_nothing():
    assert np.all(np.array(trimap(np.full((1, 6, 6), 3), 2)) == 255)
    with pytest.raises(ValueError, match="radius=0: expected 1"):
        trimap(np.zeros((1, 6, 6), int), 0)
