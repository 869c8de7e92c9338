"""The pixel loss against NumPy and frozen numbers of PyTorch, with void and with labels that are no classes."""

import keras
import numpy as np
import pytest
import pytorch_references
import tensorflow as tf

from fcn_keras.losses import (
    LOSSES,
    PixelCrossentropy,
    PixelDice,
    PixelFocalCrossentropy,
    count_pixels,
    median_frequency_weights,
)

CLASSES = 5


def batch(seed=0, void_share=0.3, shape=(2, 6, 7)):
    generator = np.random.default_rng(seed)
    masks = generator.integers(0, CLASSES, shape).astype("uint8")
    masks[generator.uniform(size=shape) < void_share] = 255
    return masks, generator.normal(scale=3, size=(*shape, CLASSES)).astype("float32")


def oracle(masks, logits, void=255):
    """Cross-entropy of every labelled pixel."""
    logits = logits.astype("float64")
    shifted = logits - logits.max(-1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    labelled = masks != void
    return -np.take_along_axis(log_softmax[labelled], masks[labelled][:, None].astype(int), 1)


def test_mean_and_sum_run_over_the_labelled_pixels():
    masks, logits = batch()
    expected = oracle(masks, logits)
    assert float(PixelCrossentropy()(masks, logits)) == pytest.approx(expected.mean(), rel=1e-5)
    assert float(PixelCrossentropy(reduction="sum")(masks, logits)) == pytest.approx(expected.sum(), rel=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32"])
def test_masks_of_any_type_with_or_without_a_channel_axis(dtype):
    masks, logits = batch()
    expected = oracle(masks, logits).mean()
    assert float(PixelCrossentropy()(masks.astype(dtype), logits)) == pytest.approx(expected, rel=1e-5)
    assert float(PixelCrossentropy()(masks[..., None].astype(dtype), logits)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("void", [0, 4, -1])
def test_another_void(void):
    masks, logits = batch()
    masks = np.where(masks == 255, void, masks.astype("int32"))
    expected = oracle(masks, logits, void).mean()
    assert float(PixelCrossentropy(ignore_class=void)(masks, logits)) == pytest.approx(expected, rel=1e-5)


def test_void_pixels_have_no_gradient():
    masks, logits = batch()
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = PixelCrossentropy()(masks, logits)
    gradient = tape.gradient(loss, logits).numpy()
    labelled = masks != 255
    assert (gradient[~labelled] == 0).all()
    softmax = np.exp(logits[labelled]) / np.exp(logits[labelled]).sum(-1, keepdims=True)
    expected = (softmax - np.eye(CLASSES)[masks[labelled]]) / labelled.sum()
    np.testing.assert_allclose(gradient[labelled], expected, atol=1e-7)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_batch_that_is_all_void_costs_exactly_nothing(reduction):
    masks, logits = batch(void_share=1.1)
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = PixelCrossentropy(reduction=reduction)(masks, logits)
    assert float(loss) == 0
    assert (tape.gradient(loss, logits).numpy() == 0).all()


def test_the_authors_summed_loss_starts_at_pixels_times_log_classes():
    """500 × 375 pixels of VOC, 21 classes, score layers at zero: 187,500 ln 21 ≈ 5.7e5; more than float16 holds."""
    loss = float(
        PixelCrossentropy(reduction="sum")(np.zeros((1, 375, 500), "uint8"), np.zeros((1, 375, 500, 21), "float32"))
    )
    assert loss == pytest.approx(187_500 * np.log(21), rel=1e-5)
    assert loss > float(np.finfo("float16").max)


@pytest.mark.parametrize("label", [CLASSES, 254, -1, 1.5, -0.5, float("nan")])
def test_labels_outside_the_classes_stop_the_training(label):
    masks, logits = batch()
    masks = masks.astype("float32" if isinstance(label, float) else "int32")
    masks[0, 0, 0] = label
    message = rf"(?s)outside \[0, {CLASSES}\).*void \(255\).*Fix.*{label}"
    with pytest.raises(ValueError, match=message):
        PixelCrossentropy()(masks, logits)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        tf.function(PixelCrossentropy())(tf.constant(masks), tf.constant(logits))


@pytest.mark.parametrize("shape", [(1, 6, 7), (2, 7, 6), (2, 6, 7, 5), (2, 6), (2, 1, 1)])
def test_masks_of_another_size_are_not_broadcast(shape):
    _, logits = batch()
    with pytest.raises(ValueError, match=r"(?s)masks of shape .*expected masks of shape \(2, 6, 7\).*Fix"):
        PixelCrossentropy()(np.zeros(shape, "uint8"), logits)


def scorer():
    image = keras.Input((None, None, 3))
    return keras.Model(image, keras.layers.Conv2D(CLASSES, 1)(image))


def test_labels_outside_the_classes_stop_fit():
    masks, _ = batch()
    images = np.zeros((*masks.shape, 3), "float32")
    model = scorer()
    model.compile("sgd", PixelCrossentropy(), jit_compile=False)
    model.fit(images, masks, verbose=0)
    masks[1, 2, 3] = 200
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"labels outside \[0, 5\)"):
        model.fit(images, masks, verbose=0)


def test_it_learns_inside_fit():
    generator = np.random.default_rng(1)
    images = generator.uniform(size=(4, 8, 8, 3)).astype("float32")
    masks = images.argmax(-1).astype("uint8")
    masks[:, :2] = 255
    model = scorer()
    model.compile(keras.optimizers.Adam(0.1), PixelCrossentropy(), jit_compile=False)
    history = model.fit(images, masks, epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


def test_saved_inside_a_model(tmp_path):
    model = scorer()
    model.compile("sgd", PixelCrossentropy(ignore_class=7, reduction="sum", name="pixels"))
    model.save(tmp_path / "model.keras")
    loss = keras.saving.load_model(tmp_path / "model.keras").loss
    assert isinstance(loss, PixelCrossentropy)
    assert loss.get_config() == {"ignore_class": 7, "reduction": "sum", "name": "pixels"}
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert copy.get_config() == loss.get_config()


@pytest.mark.parametrize("reduction", ["none", None, "sum_over_batch_size"])
def test_reductions_of_another_kind(reduction):
    with pytest.raises(ValueError, match=f"{reduction!r}: expected"):
        PixelCrossentropy(reduction=reduction)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_weights_and_smoothing_are_pytorchs(weighted, smoothing, reduction):
    theirs, case = pytorch_references.stored("pixel_losses"), f"{reduction}_{smoothing}_{weighted}"
    masks, weights = theirs["masks"], theirs["weights"].tolist() if weighted else None
    loss = PixelCrossentropy(reduction=reduction, class_weights=weights, label_smoothing=smoothing)
    for shaped in (masks, masks[..., None]):
        logits = tf.constant(theirs["logits"])
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(shaped, logits)
        assert float(value) == pytest.approx(float(theirs[f"loss_{case}"]), rel=1e-5)
        gradient = tape.gradient(value, logits).numpy()
        np.testing.assert_allclose(gradient, theirs[f"gradient_{case}"], rtol=1e-4, atol=1e-6)


def test_weighted_and_all_void_costs_nothing():
    masks, logits = batch(void_share=1.1)
    assert float(PixelCrossentropy(class_weights=[1, 2, 3, 4, 5], label_smoothing=0.1)(masks, logits)) == 0


def test_weights_survive_saving():
    loss = PixelCrossentropy(class_weights=(1, 2), label_smoothing=0.1)
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert copy.class_weights == [1.0, 2.0] and copy.label_smoothing == 0.1


def test_counts_of_many_classes_and_of_labels_that_are_none():
    labels = np.array([[0.0, 0.5, -0.5, np.nan, 299, 300, 2.0**32]])
    expected = np.zeros(300, int)
    expected[[0, 299]] = 1
    np.testing.assert_array_equal(count_pixels([(None, labels)], 300), expected)


def test_median_frequency_weights_and_counts():
    pixels = count_pixels([(None, np.array([[0, 0, 1, 255]])), (None, np.array([[1, 0, 0, 7]], "uint8"))], 3)
    assert pixels.tolist() == [4, 2, 0]
    assert median_frequency_weights(pixels) == [0.75, 1.5, 1.0]
    assert median_frequency_weights(pixels, power=0) == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="expected one count for each class"):
        median_frequency_weights([0, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_smoothing": 1}, r"label_smoothing=1: expected a share in \[0, 1\)"),
        ({"class_weights": [1, -1]}, "at least 0"),
        ({"class_weights": [0, 0]}, "not all 0"),
    ],
)
def test_weights_and_smoothing_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        PixelCrossentropy(**options)


def test_weights_for_another_number_of_classes():
    with pytest.raises(ValueError, match="Found 2 class weights for logits of 5 classes"):
        PixelCrossentropy(class_weights=[1, 1])(*batch())


@pytest.mark.parametrize(("weights", "expected"), [(None, 3), ([1, 4], 9)])
def test_what_the_mean_divides_by(weights, expected, monkeypatch):
    seen = []
    monkeypatch.setattr(PixelCrossentropy, "total", lambda self, weight: (seen.append(float(weight)), weight)[1])
    PixelCrossentropy(class_weights=weights)(np.array([[[0, 1, 1, 255]]], "uint8"), np.zeros((1, 1, 4, 2), "float32"))
    assert seen == [expected]


def softmax(logits):
    raised = np.exp(logits.astype("float64") - logits.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def dice_oracle(masks, logits):
    """The Dice loss of each class, over the labelled pixels alone."""
    p, own = softmax(logits)[masks != 255], np.eye(logits.shape[-1])[masks[masks != 255]]
    return 1 - 2 * (own * p).sum(0) / (own.sum(0) + p.sum(0))


@pytest.mark.parametrize("weights", [None, [1, 2, 0, 4, 0.5]])
@pytest.mark.parametrize("void_share", [0.0, 0.3])
def test_dice_and_focal_loss_are_numpys_over_the_labelled_pixels(void_share, weights):
    masks, logits = batch(void_share=void_share)
    w, own = np.array(weights or [1.0] * CLASSES), masks[masks != 255]
    dice = dice_oracle(masks, logits)
    assert float(PixelDice(class_weights=weights)(masks, logits)) == pytest.approx((w * dice).sum() / w.sum(), rel=1e-4)
    p = np.take_along_axis(softmax(logits)[masks != 255], own[:, None].astype(int), 1)[:, 0]
    focal = 0.5 * (1 - p) ** 1.5 * -np.log(p) * w[own]
    options = {"gamma": 1.5, "alpha": 0.5, "class_weights": weights}
    found = PixelFocalCrossentropy(**options)(masks, logits)
    assert float(found) == pytest.approx(focal.sum() / w[own].sum(), rel=1e-4)
    summed = PixelFocalCrossentropy(reduction="sum", **options)(masks, logits)
    assert float(summed) == pytest.approx(focal.sum(), rel=1e-4)


def test_without_void_they_are_keras_own():
    masks, logits = batch(void_share=0)
    target, p = keras.ops.one_hot(masks, CLASSES), keras.ops.softmax(logits)
    theirs = float(keras.losses.Dice(axis=(0, 1, 2))(target, p))
    assert float(PixelDice()(masks, logits)) == pytest.approx(theirs, rel=1e-5)
    theirs = float(keras.losses.CategoricalFocalCrossentropy(from_logits=True)(target, logits))
    assert float(PixelFocalCrossentropy()(masks, logits)) == pytest.approx(theirs, rel=1e-5)


def test_dice_and_focal_loss_of_one_logit():
    masks, logits = batch(void_share=0)
    masks, logit = masks % 2, logits[..., :1]
    both = np.concatenate([0 * logit, logit], -1)
    assert float(PixelDice()(masks, logit)) == pytest.approx(dice_oracle(masks, both).mean(), rel=1e-5)
    theirs = keras.losses.BinaryFocalCrossentropy(gamma=2.0, from_logits=True)(masks[..., None], logit)
    assert float(PixelFocalCrossentropy(alpha=1.0)(masks, logit)) == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES.values())
@pytest.mark.parametrize("channels", [1, CLASSES])
def test_void_changes_neither_loss_nor_gradient(loss, channels):
    masks, logits = batch()
    masks[masks != 255] %= max(channels, 2)
    logits = logits[..., :channels]
    other = np.where((masks == 255)[..., None], 50 * logits[::-1], logits).astype("float32")
    found = []
    for each in map(tf.constant, (logits, other)):
        with tf.GradientTape() as tape:
            tape.watch(each)
            value = loss()(masks, each)
        found.append((float(value), tape.gradient(value, each).numpy()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert not found[0][1][masks == 255].any() and not found[1][1][masks == 255].any()
    assert float(loss()(np.full_like(masks, 255), logits)) == 0


@pytest.mark.parametrize("loss", LOSSES.values())
def test_every_loss_is_saved_and_learns_inside_fit(loss, tmp_path):
    generator = np.random.default_rng(0)
    images = generator.uniform(size=(4, 8, 8, 3)).astype("float32")
    masks = images.argmax(-1).astype("uint8")
    masks[:, 0] = 255
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 1)])
    model.compile(keras.optimizers.Adam(0.1), loss(class_weights=[1, 2, 3], label_smoothing=0.1))
    history = model.fit(images, masks, epochs=10, verbose=0).history["loss"]
    assert history[-1] < history[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").loss
    assert type(loaded) is loss and loaded.get_config() == model.loss.get_config()


@pytest.mark.parametrize("loss", [PixelDice, PixelFocalCrossentropy])
def test_dice_and_focal_loss_refuse_what_the_crossentropy_refuses(loss):
    masks, logits = batch()
    with pytest.raises(ValueError, match="labels outside"):
        loss()(np.where(masks == 255, 77, masks), logits)
    with pytest.raises(ValueError, match="2 class weights for logits of 5 classes"):
        loss(class_weights=[1, 2])(masks, logits)
