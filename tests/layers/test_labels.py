"""Labels from logits; nets with one logit, compared with NumPy's sigmoid and with the same net with two logits."""

import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras.layers.labels import argmax_labels, to_class_ids, two_class_logits


def logits(seed=0):
    return np.random.default_rng(seed).normal(0, 3, (2, 4, 5, 1)).astype("float32")


def masks(seed=0):
    return np.random.default_rng(seed).choice([0, 1, 255], (2, 4, 5)).astype("int32")


def test_more_logits_stay():
    x = keras.ops.convert_to_tensor(np.ones((1, 2, 3), "float32"))
    assert two_class_logits(x) is x


def test_the_loss_is_binary_crossentropy():
    z, labels = logits().astype("float64")[..., 0], masks()
    share = 1 / (1 + np.exp(-z))
    losses = -np.where(labels == 1, np.log(share), np.log(1 - share))
    expected = losses[labels != 255].mean()
    for loss in (fcn_keras.losses.PixelCrossentropy(), fcn_keras.losses.PixelCrossentropy(class_weights=[1, 1])):
        np.testing.assert_allclose(loss(labels, logits()), expected, rtol=1e-5)


def test_the_metric_counts_signs():
    metric = fcn_keras.metrics.SegmentationMetrics(2)
    metric.update_state(masks(), logits())
    counted, predicted = masks() != 255, (logits()[..., 0] > 0).astype(int)
    expected = [[((masks() == i) & (predicted == j) & counted).sum() for j in (0, 1)] for i in (0, 1)]
    np.testing.assert_array_equal(metric.confusion, expected)


def test_segmenting_takes_the_sign():
    image = np.random.default_rng(0).integers(0, 256, (6, 7, 3)).astype("uint8")
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1)(inputs / 128 - 1))
    score = np.asarray(model(image[None].astype("float32")))[0, :, :, 0]
    np.testing.assert_array_equal(fcn_keras.segment(model, image), score > 0)
    np.testing.assert_allclose(
        fcn_keras.inference.predict_probabilities(model, image)[..., 1], 1 / (1 + np.exp(-score)), atol=1e-5
    )


def thin_backbone():
    """Five convolutions with the strides and offsets of MiniVGG, so that the upsampling kernels are the same."""
    x = image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(x)
    for level in range(1, 6):
        x = keras.layers.Conv2D(8, 2, strides=2, activation="relu", name=f"level{level}")(x)
    trunk, layers = keras.Model(image, x), ("level3", "level4", "level5")
    return fcn_keras.Backbone(lambda weights: trunk, layers, pretrained=None)


@pytest.mark.parametrize("upsampling", ["frozen", "learned", "learned_depthwise"])
@pytest.mark.parametrize("net", [fcn_keras.FCN32s, fcn_keras.FCN8s])
def test_binary_fcns_train(net, upsampling):
    """With these batches and kernels, TensorFlow's own layer aborts the process."""
    keras.utils.set_random_seed(0)
    model = net(1, thin_backbone(), upsampling=upsampling)
    assert model.layers[-2].kernel_size[0] in (64, 32, 16)
    metric = fcn_keras.metrics.SegmentationMetrics(2)
    model.compile(
        keras.optimizers.Adam(3e-2), fcn_keras.losses.PixelCrossentropy(), metrics=[metric], jit_compile=False
    )
    images = np.zeros((4, 64, 96, 3), "float32")
    images[:, :, 48:] = 255
    labels = (images[..., 0] > 0).astype("uint8")
    history = model.fit(images, labels, batch_size=2, epochs=8, shuffle=False, verbose=0).history
    assert history["loss"][0] == pytest.approx(np.log(2), rel=0.3) and history["loss"][-1] < 0.8 * history["loss"][0]
    assert fcn_keras.segment(model, images[0].astype("uint8")).shape == (64, 96)


def test_evaluation_names_two_classes():
    import tensorflow as tf

    model = fcn_keras.FCN32s(1, "mini_vgg", weights=None)
    data = tf.data.Dataset.from_tensors((np.zeros((1, 8, 8, 3), "float32"), np.zeros((1, 8, 8), "uint8")))
    for scales in ((1.0,), (1.0, 1.5)):
        found = fcn_keras.inference.evaluate(model, data, ["ground", "object"], scales=scales)
        assert found.metrics["pixel_accuracy"] == 1 and found.class_names == ["ground", "object"]


@pytest.mark.parametrize("classes", [2, 5, 21])
def test_the_largest_logit_the_first_of_several(classes):
    """Small integers, so that most pixels have several largest logits."""
    x = np.random.default_rng(0).integers(0, 3, (2, 7, 6, classes)).astype("float32")
    np.testing.assert_array_equal(argmax_labels(keras.ops.convert_to_tensor(x)), x.argmax(-1))
    image = keras.Input((None, None, classes))
    np.testing.assert_array_equal(keras.Model(image, argmax_labels(image))(x), x.argmax(-1))


def test_ids_void_and_the_rest():
    labels = np.array([0, 1, 2, 3, 255, -1, 2**32, 2**32 + 1])
    np.testing.assert_array_equal(to_class_ids(labels, 3), [0, 1, 2, -2, -2, -2, -2, -2])
    np.testing.assert_array_equal(to_class_ids(labels, 3, ignore_class=255), [0, 1, 2, -2, -1, -2, -2, -2])
    np.testing.assert_array_equal(
        to_class_ids(labels.astype("uint8"), 300, ignore_class=-1), [0, 1, 2, 3, 255, 255, 0, 1]
    )
    np.testing.assert_array_equal(
        to_class_ids([0.0, 1.0, 1.5, -0.5, np.nan, np.inf], 3, ignore_class=1), [0, -1, -2, -2, -2, -2]
    )
    assert keras.ops.dtype(to_class_ids(labels, 3)) == "int32"
