"""XLA compiles the right functions and gives the same numbers, and images of all sizes share one trace."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_keras.layers._xla import compile_with_xla
from fcn_keras.losses import PixelCrossentropy
from fcn_keras.metrics import SegmentationMetrics


@pytest.fixture
def batch():
    generator = np.random.default_rng(0)
    masks = generator.choice([0, 1, 2, 3, 255], (2, 13, 11)).astype("uint8")
    return masks, generator.normal(size=(2, 13, 11, 4)).astype("float32")


@pytest.mark.parametrize(
    ("signature", "compiled"), [((2, 13, 11), True), ((None, 13, 11), True), ((None, None, None), False)]
)
def test_xla_is_for_known_sizes_within_graphs(batch, signature, compiled):
    seen = []

    @compile_with_xla
    def work(masks, logits):
        seen.append(logits.shape)
        return keras.ops.sum(logits)

    graph = tf.function(work, input_signature=[tf.TensorSpec(signature, "uint8"), tf.TensorSpec((*signature, 4))])
    text = str(graph.get_concrete_function().graph.as_graph_def())
    assert ("_XlaMustCompile" in text) == compiled and len(seen) == 1
    np.testing.assert_allclose(graph(*batch), batch[1].sum(), rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"class_weights": [1, 2, 0, 0.5]}, {"label_smoothing": 0.1}])
def test_loss_and_its_gradient_do_not_depend_on_it(batch, options):
    loss, (masks, logits) = PixelCrossentropy(**options), map(tf.constant, batch)

    def both(masks, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(masks, logits)
        return value, tape.gradient(value, logits)

    for found, expected in zip(tf.function(both)(masks, logits), both(masks, logits), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_metric_does_not_depend_on_it(batch):
    eager, graph = SegmentationMetrics(4), SegmentationMetrics(4)
    ties = batch[1].round()  # half of the pixels have more than one largest logit
    eager.update_state(batch[0], ties)
    tf.function(graph.update_state)(tf.constant(batch[0]), tf.constant(ties))
    np.testing.assert_array_equal(eager.confusion, graph.confusion)
    first = ties.argmax(-1)
    expected = np.zeros((4, 4), int)
    np.add.at(expected, (batch[0][batch[0] < 4], first[batch[0] < 4]), 1)
    np.testing.assert_array_equal(graph.confusion, expected)
