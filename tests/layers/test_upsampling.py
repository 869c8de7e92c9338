"""Bilinear upsampling, compared with formulas, with a reference in NumPy, with Keras and with PyTorch."""

import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import pytorch_references

from fcn_keras.geometry import Geometry, trace
from fcn_keras.layers.bilinear import Bilinear, bilinear_kernel
from fcn_keras.layers.depthwise import BilinearDepthwiseConv2DTranspose
from fcn_keras.layers.upsampling import BilinearConv2DTranspose, BilinearUpsampling2D

LAYERS = [(factor, kernel) for factor in (1, 2, 3, 8, 16, 32) for kernel in (2 * factor - 1, 2 * factor)]


def scores(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).normal(size=(2, height, width, channels)).astype("float32")


def placed(x, factor, kernel):
    """Figure 14-27 in NumPy: adds up one copy of the kernel for each unit, multiplied by its value."""
    batch, height, width, channels = x.shape
    size = kernel.shape[0]
    canvas = np.zeros((batch, factor * (height - 1) + size, factor * (width - 1) + size, channels))
    for i in range(height):
        for j in range(width):
            rows, columns = slice(factor * i, factor * i + size), slice(factor * j, factor * j + size)
            canvas[:, rows, columns] += kernel[:, :, None] * x[:, None, None, i, j].astype("float64")
    return canvas


def kinds(factor, kernel, padding, channels=3):
    yield BilinearConv2DTranspose(channels, factor, kernel, padding)
    yield BilinearDepthwiseConv2DTranspose(factor, kernel, padding)
    yield BilinearUpsampling2D(factor, kernel, padding)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("factor", "kernel"), LAYERS)
@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_all_layers_place_kernels_and_add(factor, kernel, size, padding):
    """The layers give the same numbers and the same geometry as Keras' layer with the bilinear kernel."""
    x = scores(*size)
    expected = placed(x, factor, bilinear_kernel(kernel))
    if padding == "same":
        (top, left), (height, width) = [(kernel - factor) // 2] * 2, (factor * n for n in size)
        expected = expected[:, top : top + height, left : left + width]
    keras_own = keras.layers.Conv2DTranspose(
        3, kernel, factor, padding, use_bias=False, kernel_initializer=Bilinear(), name="own"
    )
    np.testing.assert_allclose(keras_own(x), expected, atol=2e-6)
    for layer in kinds(factor, kernel, padding):
        result = layer(x)
        assert tuple(result.shape) == expected.shape == tuple(layer.compute_output_shape(x.shape))
        np.testing.assert_allclose(result, expected, atol=2e-6)
        assert (layer.strides, layer.kernel_size) == (keras_own.strides, keras_own.kernel_size)
        place = Geometry(32, 212, 15.5)
        own = trace(keras.Sequential([keras.Input((None, None, 3)), keras_own]))["own"]
        assert layer.compute_geometry([Geometry()]) == own and layer.compute_geometry([place]).stride == 32 / factor


@pytest.mark.parametrize("factor", [2, 8, 32])
def test_same_padding_puts_an_even_kernel_back_on_the_image(factor):
    """Unit ``i`` of a VGG has its centre at ``factor * i + (factor - 1) / 2``; pixel 0 of the output lies on pixel 0."""
    place = Geometry(factor, 1, (factor - 1) / 2)
    for layer in kinds(factor, None, "same"):
        assert layer.compute_geometry([place]) == Geometry(1, 1 + factor, 0)


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_cropped_it_is_keras_bilinear_upsampling_but_for_the_border(factor):
    x, border = scores(5, 7), factor // 2
    expected = keras.layers.UpSampling2D(factor, interpolation="bilinear")(x)
    canvas = BilinearUpsampling2D(factor)(x)[:, border:-border, border:-border]
    assert canvas.shape == expected.shape
    inside = (slice(None), slice(border, -border), slice(border, -border))
    np.testing.assert_allclose(canvas[inside], expected[inside], atol=1e-5)
    assert not np.allclose(canvas[:, 0], expected[:, 0], atol=1e-3)  # Keras repeats the edge, the canvas fades out


@pytest.mark.parametrize(("factor", "kernel"), [(2, 3), (2, 4), (8, 16), (8, 15)])
def test_a_transposed_convolution_of_pytorch(factor, kernel):
    theirs = pytorch_references.stored("transposed_convolution")
    np.testing.assert_allclose(
        BilinearUpsampling2D(factor, kernel)(theirs["x"]), theirs[f"y_{factor}_{kernel}"], atol=1e-6
    )


@pytest.mark.parametrize(("factor", "kernel"), [(2, 4), (2, 3), (32, 64), (32, 63)])
def test_straight_lines_stay_straight(factor, kernel):
    """Between the units the result is linear, and constants stay constant. This is what bilinear means."""
    ramp = np.broadcast_to(np.arange(6, dtype="float32")[None, :, None, None], (1, 6, 6, 1))
    canvas = np.asarray(BilinearUpsampling2D(factor, kernel)(ramp))[0, :, :, 0]
    centres = factor * np.arange(6) + (kernel - 1) / 2
    inside = slice(int(np.ceil(centres[0])), int(centres[-1]) + 1)
    expected = (np.arange(canvas.shape[0]) - centres[0]) / factor
    np.testing.assert_allclose(canvas[inside, canvas.shape[1] // 2], expected[inside], atol=1e-5)


def test_gradients_flow_to_scores_and_kernel():
    import tensorflow as tf

    x, layer = tf.constant(scores(3, 4)), BilinearConv2DTranspose(3, 2)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        slow = tf.reduce_sum(tf.square(layer(x)))
        fast = tf.reduce_sum(tf.square(BilinearUpsampling2D(2)(x)))
    np.testing.assert_allclose(tape.gradient(slow, x), tape.gradient(fast, x), rtol=1e-4, atol=1e-4)
    gradient = np.abs(tape.gradient(slow, layer.kernel))
    assert np.isfinite(gradient).all() and (gradient > 0).all()  # channels may learn to mix


def test_gradient_of_the_fast_twin_under_mixed_precision():
    layer = BilinearUpsampling2D(2, dtype="mixed_float16")
    assert layer(scores(3, 3)).dtype == "float16"


@pytest.mark.parametrize(("factor", "kernel"), [(2, 3), (2, 4), (3, 6), (8, 15)])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_depthwise_is_the_dense_layer_with_a_diagonal_kernel(factor, kernel, padding):
    """The values, and the gradients on the diagonal, are equal for kernels that are no longer bilinear."""
    import tensorflow as tf

    x, kernels = tf.constant(scores(4, 3)), np.random.default_rng(1).normal(size=(kernel, kernel, 3)).astype("float32")
    dense, depthwise, _ = kinds(factor, kernel, padding)
    dense.build(x.shape), depthwise.build(x.shape)
    dense.set_weights([kernels[..., None] * np.eye(3)])
    depthwise.set_weights([kernels])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        results = [layer(x) for layer in (dense, depthwise)]
        sums = [tf.reduce_sum(tf.square(result)) for result in results]
    np.testing.assert_allclose(*results, atol=1e-5)
    by_x = [tape.gradient(total, x) for total in sums]
    by_dense, by_depthwise = tape.gradient(sums[0], dense.kernel), tape.gradient(sums[1], depthwise.kernel)
    diagonal = np.asarray(by_dense)[:, :, range(3), range(3)]
    np.testing.assert_allclose(*by_x, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(diagonal, by_depthwise, rtol=1e-4, atol=1e-3)


def test_depthwise_under_mixed_precision_and_xla():
    import tensorflow as tf

    layer = BilinearDepthwiseConv2DTranspose(2, dtype="mixed_bfloat16")
    assert layer(scores(3, 3)).dtype == "bfloat16" and layer.kernel.dtype == "float32"
    layer, x = BilinearDepthwiseConv2DTranspose(8), scores(3, 5)
    compiled = tf.function(layer, jit_compile=True)
    np.testing.assert_allclose(compiled(x), layer(x), atol=1e-6)


ONE_CHANNEL = """
import keras, numpy, fcn_keras
up = {up}
model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 1), up])
model.compile("sgd", "mse", jit_compile=False)
y = numpy.ones((2, *model.output_shape[1:]), "float32")
print("trained", model.train_on_batch(numpy.ones((2, 8, 8, 3), "float32"), y))
"""


def trained(up):
    """Runs a process that trains a transposed convolution with one output channel on a batch of two."""
    command = [sys.executable, "-c", ONE_CHANNEL.format(up=up)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"})


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="an abort of TensorFlow's")
def test_one_channel_does_not_abort_the_process():
    ours = trained("fcn_keras.layers.upsampling.BilinearConv2DTranspose(1, 32)")
    assert ours.returncode == 0 and "trained" in ours.stdout, ours.stderr[-2000:]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="an abort of TensorFlow's")
def test_the_abort_that_one_channel_avoids():
    """Keras' own layer aborts on TensorFlow 2.21 with oneDNN. If this test skips, `BilinearConv2DTranspose.call` can go."""
    plain = trained("keras.layers.Conv2DTranspose(1, 64, strides=32, padding='same')")
    if plain.returncode == 0:
        pytest.skip("this TensorFlow trains it")
    assert plain.returncode == -signal.SIGABRT and "uint8 expected, got float" in plain.stderr


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_one_channel_from_several(padding):
    """The call that avoids the abort gives the same numbers as the call of Keras."""
    x, layer = scores(3, 4), BilinearConv2DTranspose(1, 2, padding=padding)
    layer.build(x.shape)
    layer.set_weights([np.random.default_rng(2).normal(size=layer.kernel.shape)])
    expected = keras.ops.conv_transpose(x, layer.kernel, 2, padding)
    np.testing.assert_allclose(layer(x), expected, atol=1e-6)


@pytest.mark.parametrize("number", range(3))
def test_save_and_load(tmp_path, number):
    layer = list(kinds(4, 7, "same"))[number]
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layer(image))
    model.set_weights([2 * weights + 0.1 for weights in model.get_weights()])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model(scores(3, 4)), loaded(scores(3, 4)))
    assert loaded.layers[-1].get_config() == model.layers[-1].get_config()


@pytest.mark.parametrize(
    "make", [lambda **k: BilinearConv2DTranspose(2, 2, **k), lambda **k: BilinearDepthwiseConv2DTranspose(2, **k)]
)
def test_initializer_regularizer_and_constraint_of_the_kernel(make):
    """All weights start at 1 and cost 0.25 each. After a step with learning rate 0, their norm is 0.5."""
    layer = make(
        kernel_initializer="ones",
        kernel_regularizer=keras.regularizers.L2(0.25),
        kernel_constraint=keras.constraints.MaxNorm(0.5, axis=(0, 1)),
    )
    model = keras.Sequential([keras.Input((3, 3, 2)), layer])
    assert (layer.get_weights()[0] == 1).all()
    np.testing.assert_allclose(model.losses[0], 0.25 * layer.count_params())
    copy = type(layer).from_config(layer.get_config())
    copy.build((None, 3, 3, 2))
    assert (copy.get_weights()[0] == 1).all() and len(copy.losses) == 1
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
    model.train_on_batch(np.ones((1, 3, 3, 2)), np.ones((1, 8, 8, 2)))
    np.testing.assert_allclose(np.sqrt((layer.get_weights()[0] ** 2).sum((0, 1))), 0.5, rtol=1e-5)


def test_sizes_known_only_when_run():
    image = keras.Input((None, None, 2))
    model = keras.Model(image, BilinearUpsampling2D(2)(image))
    assert model.output_shape == (None, None, None, 2)
    for size in (1, 4, 9):
        assert model.predict(scores(size, size + 1, 2), verbose=0).shape[1:3] == (2 * size + 2, 2 * size + 4)


@pytest.mark.parametrize(
    ("strides", "kernel", "padding", "message"),
    [
        (2, 2, "valid", "strides=2, kernel_size=2: expected kernel_size=4 .* or 3"),
        (2, 5, "valid", "strides=2, kernel_size=5: expected"),
        (32, 32, "valid", "strides=32, kernel_size=32: expected"),
        (0, None, "valid", "strides=0: expected"),
        (-1, None, "valid", "strides=-1: expected"),
        ((2, 4), None, "valid", r"strides=\(2, 4\): expected .* two that are equal"),
        (2.0, None, "valid", "strides=2.0: expected an integer"),
        (2, (4, 3), "valid", r"kernel_size=\(4, 3\): expected"),
        (2, 4, "full", "padding='full': expected"),
    ],
)
def test_arguments_that_do_not_interpolate(strides, kernel, padding, message):
    for kind in (
        lambda *arguments: BilinearConv2DTranspose(3, *arguments),
        BilinearDepthwiseConv2DTranspose,
        BilinearUpsampling2D,
    ):
        with pytest.raises(ValueError, match=message):
            kind(strides, kernel, padding)


def test_other_wrong_shapes():
    with pytest.raises(ValueError, match="size 0"):
        bilinear_kernel(0)
    with pytest.raises(ValueError, match=r"(?s)\(4, 3, 2, 2\).*square"):
        Bilinear()((4, 3, 2, 2))
    with pytest.raises(ValueError, match=r"\(4, 4, 5, 3\).*no more filters than"):
        BilinearConv2DTranspose(5, 2)(scores(2, 2))


def test_inputs_beyond_the_filters_start_with_zero_weights():
    x = scores(3, 4, channels=5)
    layer = BilinearConv2DTranspose(2, 3)
    np.testing.assert_allclose(layer(x), BilinearUpsampling2D(3)(x[..., :2]), atol=1e-6)
    assert layer.kernel.shape == (6, 6, 2, 5) and not np.any(layer.kernel[:, :, :, 2:])
