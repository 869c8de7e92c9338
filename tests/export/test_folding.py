"""Folding keeps the numbers, and an exported graph has no bilinear transposed convolution."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import fcn_keras
from fcn_keras.export.folding import fold_batch_norm, fold_bilinear
from fcn_keras.layers._keras import get_all_layers
from fcn_keras.layers.bilinear import Bilinear
from fcn_keras.layers.upsampling import BilinearConv2DTranspose, BilinearUpsampling2D, is_bilinear

layers = keras.layers
TRANSPOSED = "Conv2DBackpropInput"  # the operation of TensorFlow
UPSCORES = ("upscore2", "upscore_pool4", "upscore8")
FACTORS = [(factor, kernel) for factor in (1, 2, 3, 8) for kernel in (2 * factor - 1, 2 * factor)]


def maps(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).normal(size=(1, height, width, channels)).astype("float32")


def run(model, images):
    return np.asarray(model(keras.ops.convert_to_tensor(images)))


def kinds(model, names):
    return [type(model.get_layer(name)).__name__ for name in names]


def upsampler(make, channels=3):
    image = keras.Input((None, None, channels))
    return keras.Model(image, make()(image))


def transposed(**arguments):
    """A bilinear layer of Keras, changed by `arguments`."""
    arguments = {"filters": 3, "kernel_size": 4, "strides": 2, "kernel_initializer": Bilinear(), **arguments}
    return upsampler(lambda: layers.Conv2DTranspose(**arguments, name="up"))


@pytest.mark.parametrize(("factor", "kernel"), FACTORS)
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_the_layer_of_keras(factor, kernel, padding, use_bias):
    model = transposed(kernel_size=kernel, strides=factor, padding=padding, use_bias=use_bias)
    folded = fold_bilinear(model)
    assert kinds(folded, ["up"]) == ["BilinearUpsampling2D"] and folded.count_params() == 0
    for size in ((1, 1), (5, 7)):
        expected = run(model, maps(*size))
        np.testing.assert_allclose(run(folded, maps(*size)), expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_mixed_precision_stays():
    model = transposed(dtype="mixed_float16", padding="same")
    folded, x = fold_bilinear(model), maps(5, 7)
    assert folded.get_layer("up").compute_dtype == "float16"
    assert run(folded, x).dtype == run(model, x).dtype == np.float16
    np.testing.assert_allclose(run(folded, x), run(model, x), atol=5e-3)


def changed(change):
    model = transposed()
    kernel, bias = model.get_layer("up").get_weights()
    model.get_layer("up").set_weights(change(kernel, bias))
    return model


def mixing(kernel, bias):
    kernel[0, 0, 0, 1] += 1e-5
    return [kernel, bias]


STAY = {
    "another tent": lambda: changed(lambda kernel, bias: [kernel * (1 + 1e-5), bias]),
    "channels that mix": lambda: changed(mixing),
    "a bias": lambda: changed(lambda kernel, bias: [kernel, bias + 1e-5]),
    "random": lambda: transposed(kernel_initializer="glorot_uniform"),
    "an activation": lambda: transposed(activation="relu"),
    "a wide kernel": lambda: transposed(kernel_size=6),
    "a narrow kernel": lambda: transposed(strides=4),
    "two strides": lambda: transposed(strides=(2, 1)),
    "output padding": lambda: transposed(output_padding=1),
    "dilated": lambda: transposed(kernel_size=1, strides=1, dilation_rate=2),
    "one to many": lambda: transposed(filters=5, kernel_initializer="zeros"),
}


@pytest.mark.parametrize("case", STAY)
def test_what_is_not_bilinear_stays(case):
    model = STAY[case]()
    assert not is_bilinear(model.get_layer("up"))
    folded = fold_bilinear(model)
    assert kinds(folded, ["up"]) == ["Conv2DTranspose"]
    try:
        expected = run(model, maps(5, 7))
    except tf.errors.InvalidArgumentError as error:
        if "do not yet support dilation rates" not in str(error):
            raise
        pytest.skip("TensorFlow cannot run dilated transposed convolutions on this CPU")  # where oneDNN is off
    np.testing.assert_array_equal(run(folded, maps(5, 7)), expected)


def test_to_a_millionth():
    """Kernels may differ from the tent by rounding, as after a file or an optimizer without a learning rate."""
    assert is_bilinear(changed(lambda kernel, bias: [kernel * (1 + 1e-7), bias]).get_layer("up"))


@pytest.fixture(scope="module")
def trained():
    """An FCN-8s in which the inner upsampling has learned something and the last has not. Its scores are not zero."""
    model = fcn_keras.FCN8s(4, "mini_vgg", weights=None, upsampling="learned")
    generator = np.random.default_rng(0)
    for name in ("score_fr", "score_pool4", "score_pool3"):
        layer = model.get_layer(name)
        layer.set_weights([generator.normal(scale=0.3, size=w.shape) for w in layer.get_weights()])
    inner = model.get_layer("upscore2")
    inner.set_weights([inner.get_weights()[0] + generator.normal(scale=0.01, size=inner.kernel.shape)])
    return model


def photo(height, width, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (1, height, width, 3)).astype("float32")


def assert_same_logits(found, expected):
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_an_fcn_keeps_what_it_has_learned(trained):
    folded = fold_bilinear(trained)
    assert kinds(folded, UPSCORES) == ["BilinearConv2DTranspose", "BilinearUpsampling2D", "BilinearUpsampling2D"]
    assert [layer.name for layer in folded.layers] == [layer.name for layer in trained.layers]
    assert_same_logits(run(folded, photo(45, 70)), run(trained, photo(45, 70)))
    before = run(trained, photo(33, 33))
    folded.set_weights([0 * weights for weights in folded.get_weights()])
    np.testing.assert_array_equal(run(trained, photo(33, 33)), before)


def test_models_inside_models_and_sequential_ones():
    inner = keras.Sequential([keras.Input((None, None, 3)), BilinearConv2DTranspose(3, 2, name="up")], name="inner")
    model = keras.Sequential([keras.Input((9, 12, 3)), layers.Conv2D(3, 3), inner], name="outer")
    folded = fold_bilinear(model)
    assert (folded.name, folded.input_shape) == ("outer", (None, 9, 12, 3))
    assert fold_bilinear(model, name="export").name == "export"
    assert isinstance(folded.get_layer("inner").get_layer("up"), BilinearUpsampling2D)
    expected = run(model, maps(9, 12))
    np.testing.assert_allclose(run(folded, maps(9, 12)), expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_inputs_and_outputs_keep_their_structure():
    images = {"left": keras.Input((None, None, 2), name="left"), "right": keras.Input((None, None, 2), name="right")}
    up = BilinearConv2DTranspose(2, 2)
    model = keras.Model(images, {"sum": up(images["left"]) + up(images["right"]), "left": images["left"]})
    x = {"left": maps(3, 4, 2, seed=1), "right": maps(3, 4, 2, seed=2)}
    found, expected = fold_bilinear(model)(x), model(x)
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(found["sum"], expected["sum"], atol=1e-6)


def operations(path):
    """Returns all operations of an exported model's serving function, and the function."""
    loaded = tf.saved_model.load(path)
    graph = loaded.signatures["serving_default"].graph.as_graph_def()
    names = {node.op for node in graph.node}
    names |= {node.op for function in graph.library.function for node in function.node_def}
    return names, loaded


def test_exported_without_a_transposed_convolution(trained, tmp_path):
    before = trained.get_layer("upscore2").get_weights()
    trained.get_layer("upscore2").set_weights([Bilinear()(before[0].shape)])
    trained.export(tmp_path / "whole", verbose=False)
    assert TRANSPOSED in operations(tmp_path / "whole")[0]  # so the search finds one where there is one
    fold_bilinear(trained).export(tmp_path / "folded", verbose=False)
    found, loaded = operations(tmp_path / "folded")
    assert TRANSPOSED not in found and "Conv2D" in found
    for size in ((33, 47), (65, 21)):
        assert_same_logits(loaded.serve(photo(*size)).numpy(), run(trained, photo(*size)))
    trained.get_layer("upscore2").set_weights(before)


def test_frozen_models_need_no_folding(tmp_path):
    model = fcn_keras.FCN8s(4, "mini_vgg", weights=None)
    model.get_layer("score_fr").set_weights([w + 0.1 for w in model.get_layer("score_fr").get_weights()])
    model.export(tmp_path / "frozen", verbose=False)
    found, loaded = operations(tmp_path / "frozen")
    assert TRANSPOSED not in found and "Conv2D" in found
    expected = run(model, photo(33, 47))
    np.testing.assert_allclose(loaded.serve(photo(33, 47)), expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_other_models():
    class Subclassed(keras.Model):
        pass

    with pytest.raises(ValueError, match="'own_kind' of type Subclassed: expected a Functional or Sequential"):
        fold_bilinear(Subclassed(name="own_kind"))


def with_random_norms(model):
    """Gives batch normalisations values as after training, none of them 0 or 1."""
    generator = np.random.default_rng(0)
    for layer in get_all_layers(model):
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([generator.uniform(0.5, 1.5, size=weight.shape) for weight in layer.get_weights()])
    return model


def norms(model):
    return sum(isinstance(layer, layers.BatchNormalization) for layer in get_all_layers(model))


def test_a_net_without_batch_norm_computes_the_same(tmp_path):
    model = with_random_norms(fcn_keras.FCN8s(3, "mobilenet_v2", weights=None))
    for name in ("score_fr", "score_pool4", "score_pool3"):
        layer = model.get_layer(name)
        layer.set_weights([np.random.default_rng(1).normal(size=weight.shape) for weight in layer.get_weights()])
    before, folded = model.get_weights(), fold_batch_norm(model)
    assert norms(folded) == 0 and norms(model) == 52
    images = np.random.default_rng(2).uniform(0, 255, (1, 45, 70, 3)).astype("float32")
    expected = run(model, images)
    np.testing.assert_allclose(run(folded, images), expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    folded.save(tmp_path / "folded.keras")
    np.testing.assert_array_equal(run(fcn_keras.load_model(tmp_path / "folded.keras"), images), run(folded, images))


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(("scale", "center"), [(True, True), (False, True), (True, False)])
@pytest.mark.parametrize("kind", ["full", "depthwise"])
def test_each_kind_of_convolution_and_norm(kind, scale, center, use_bias):
    image = keras.Input((None, None, 3))
    make = {
        "full": lambda: layers.Conv2D(5, 3, use_bias=use_bias, bias_initializer="normal"),
        "depthwise": lambda: layers.DepthwiseConv2D(
            3, depth_multiplier=2, use_bias=use_bias, bias_initializer="normal"
        ),
    }[kind]
    x = layers.BatchNormalization(scale=scale, center=center, epsilon=0.01)(make()(image))
    model = with_random_norms(keras.Model(image, layers.ReLU()(x)))
    folded = fold_batch_norm(model)
    assert norms(folded) == 0
    np.testing.assert_allclose(run(folded, maps(9, 8)), run(model, maps(9, 8)), atol=1e-5)


@pytest.mark.parametrize("why", ["activation", "two followers", "an output", "shared", "shared norm"])
def test_what_cannot_be_folded_stays(why):
    image = keras.Input((None, None, 3))
    conv = layers.Conv2D(3, 3, padding="same", activation="relu" if why == "activation" else None)
    x = conv(image)
    y = layers.BatchNormalization()(x)
    outputs = {"two followers": layers.Add()([x, y]), "an output": [x, y]}.get(why, y)
    if why == "shared":
        outputs = layers.Add()([layers.BatchNormalization()(conv(y)), y])
    if why == "shared norm":
        norm = layers.BatchNormalization()
        outputs = norm(layers.ReLU()(norm(x)))
    model = with_random_norms(keras.Model(image, outputs))
    folded = fold_batch_norm(model)
    assert norms(folded) == norms(model)
    for a, b in zip(keras.tree.flatten(folded(maps(6, 5))), keras.tree.flatten(model(maps(6, 5))), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_models_that_were_used_before_are_folded():
    """A model that another model has called, as in `fcn_keras.segment`, can still be folded."""
    image = keras.Input((None, None, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(image))
    model = with_random_norms(keras.Model(image, layers.Conv2D(2, 1)(x)))
    fcn_keras.segment(model, np.zeros((5, 6, 3), "uint8"))
    assert norms(fold_batch_norm(model)) == 0
