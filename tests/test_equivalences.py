"""What the paper says is the same, computed both ways: windows and whole images, sampling, transposition."""

import importlib.util
import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_keras.layers.bilinear import bilinear_kernel
from fcn_keras.layers.upsampling import BilinearConv2DTranspose, BilinearUpsampling2D
from fcn_keras.losses import PixelCrossentropy
from fcn_keras.models.convolutionalize import convolutionalize

layers = keras.layers
SIDE, STRIDE, CLASSES = 14, 4, 5  # of the classifier below
VOID = 255


def classifier():
    """No padding, so that a unit sees a window and nothing else; weights of no special value."""
    stages = [
        layers.Conv2D(6, 3, activation="tanh", name="conv1"),
        layers.MaxPooling2D(2),
        layers.Conv2D(7, 3, activation="tanh", name="conv2"),
        layers.AveragePooling2D(2),
        layers.Flatten(),
        layers.Dense(8, activation="relu", name="fc"),
        layers.Dense(CLASSES, name="score"),
    ]
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), *stages])
    generator = np.random.default_rng(0)
    for weights in model.trainable_variables:
        scale = np.sqrt(2 / max(np.prod(weights.shape[:-1]), 4))
        weights.assign(generator.normal(scale=scale, size=weights.shape))
    return model


def photo(rows, columns, seed=1):
    """An image in which the classifier has this many windows."""
    shape = (1, SIDE + STRIDE * (rows - 1), SIDE + STRIDE * (columns - 1), 3)
    return tf.constant(np.random.default_rng(seed).normal(size=shape).astype("float32"))


def windows(image, rows, columns):
    """All windows of the image, as a batch, row by row."""
    corners = [(STRIDE * i, STRIDE * j) for i in range(rows) for j in range(columns)]
    return tf.concat([image[:, y : y + SIDE, x : x + SIDE] for y, x in corners], axis=0)


def labels(rows, columns, void_share=0.0, seed=2):
    generator = np.random.default_rng(seed)
    mask = generator.integers(0, CLASSES, (1, rows, columns)).astype("uint8")
    mask[generator.uniform(size=mask.shape) < void_share] = VOID
    return mask


def gradients(model, inputs, targets, loss):
    """Of the loss, with respect to every weight, flattened kernels as the classifier has them, and to the input."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = loss(targets, model(inputs))
    *of_weights, of_input = tape.gradient(value, [*model.trainable_variables, inputs])
    return value.numpy(), [g.numpy().reshape(-1, g.shape[-1]) for g in of_weights], of_input.numpy()


def assert_close(found, expected, rtol=1e-5):
    """To `rtol` of the largest number."""
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * np.abs(expected).max())


@pytest.mark.parametrize("rows_and_columns", [(1, 1), (3, 4), (6, 5)])
def test_gradient_over_the_image_is_the_sum_over_all_windows(rows_and_columns):
    """§3.4: the whole image is one batch of patches, each patch a training example of its own."""
    patchwise, loss = classifier(), PixelCrossentropy(reduction="sum")
    image, mask = photo(*rows_and_columns), labels(*rows_and_columns)
    whole = gradients(convolutionalize(patchwise), image, mask, loss)
    value, of_weights, of_input = 0, 0, np.zeros(image.shape)
    for index, window in enumerate(windows(image, *rows_and_columns)):  # one by one
        i, j = divmod(index, rows_and_columns[1])
        one = gradients(patchwise, window[None], mask[:, i, j], loss)
        value, of_weights = value + one[0], [total + g for total, g in zip(of_weights or [0] * 8, one[1], strict=True)]
        of_input[:, STRIDE * i : STRIDE * i + SIDE, STRIDE * j : STRIDE * j + SIDE] += one[2]
    assert whole[0] == pytest.approx(value, rel=1e-5)
    for found, expected in zip(whole[1], of_weights, strict=True):
        assert_close(found, expected)
    assert_close(whole[2], of_input)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("void_share", [0.3, 0.9])
def test_ignoring_units_is_sampling_patches(reduction, void_share):
    """§3.4: "patchwise training is loss sampling": a unit left out of the loss is a patch left out of the batch."""
    rows, columns = 6, 7
    patchwise, loss = classifier(), PixelCrossentropy(reduction=reduction)
    image, mask = photo(rows, columns), labels(rows, columns, void_share)
    sampled = np.flatnonzero(mask != VOID)
    assert 0 < len(sampled) < mask.size
    patches = tf.gather(windows(image, rows, columns), sampled)
    value, of_weights, _ = gradients(patchwise, patches, mask.ravel()[sampled], loss)
    whole = gradients(convolutionalize(patchwise), image, mask, loss)
    assert whole[0] == pytest.approx(value, rel=1e-5)
    for found, expected in zip(whole[1], of_weights, strict=True):
        assert_close(found, expected)


def test_training_on_images_with_void_is_training_on_patches():
    """The same weights after a few steps with momentum, each on a new image and a new sample of its windows."""
    rows, columns = 5, 6
    patchwise = classifier()
    whole = convolutionalize(patchwise)
    for model in (patchwise, whole):
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9), PixelCrossentropy())
    start = patchwise.get_weights()
    for step in range(4):
        image, mask = photo(rows, columns, seed=step), labels(rows, columns, 0.6, seed=step)
        sampled = np.flatnonzero(mask != VOID)
        patches = tf.gather(windows(image, rows, columns), sampled)
        assert whole.train_on_batch(image, mask) == pytest.approx(
            patchwise.train_on_batch(patches, mask.ravel()[sampled]), rel=1e-4
        )
    for found, expected, first in zip(whole.get_weights(), patchwise.get_weights(), start, strict=True):
        moved = np.abs(expected - first).max()
        np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=0, atol=1e-4 * moved)


# Upsampling ----------------------------------------------------------------------------------------------------------

BILINEAR = [(1, 2), (2, 3), (2, 4), (3, 6), (8, 15), (8, 16), (32, 64)]


def canvas(units, factor, size):
    return factor * (units - 1) + size


def strided_convolution(x, kernel, stride):
    """In NumPy, without padding: kernel ``(size, size, in, out)``."""
    views = np.lib.stride_tricks.sliding_window_view(x.astype("float64"), kernel.shape[:2], (1, 2))
    return np.tensordot(views[:, ::stride, ::stride], kernel.astype("float64"), ([4, 5, 3], [0, 1, 2]))


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize(("factor", "size"), BILINEAR)
def test_gradients_of_the_twins_are_a_strided_convolution_border_included(factor, size):
    """The backward pass of both layers, against the kernel slid over the loss's gradient in steps of the factor."""
    x = tf.constant(normal(2, 3, 5, 4))
    upstream = normal(2, canvas(3, factor, size), canvas(5, factor, size), 4, seed=1)
    kernel = bilinear_kernel(size)[:, :, None, None] * np.eye(4)
    expected = strided_convolution(upstream, kernel, factor)
    assert expected.shape == x.shape
    for layer in (BilinearConv2DTranspose(4, factor, size), BilinearUpsampling2D(factor, size)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(upstream * layer(x))
        assert_close(tape.gradient(loss, x).numpy(), expected)


@pytest.mark.parametrize(("factor", "size"), BILINEAR)
@pytest.mark.parametrize("learned", [False, True])
def test_transposed_convolution_is_the_backward_pass_of_a_strided_one(factor, size, learned):
    """§3.3: "simply reverses the forward and backward passes of convolution", with a kernel that mixes channels too."""
    x, layer = normal(1, 3, 4, 3), BilinearConv2DTranspose(3, factor, size)
    layer.build(x.shape)
    if learned:
        layer.kernel.assign(normal(*layer.kernel.shape, seed=2))
    image = tf.zeros((1, canvas(3, factor, size), canvas(4, factor, size), 3))
    with tf.GradientTape() as tape:
        tape.watch(image)
        forward = keras.ops.conv(image, layer.kernel, strides=factor, padding="valid")
    backward = tape.gradient(forward, image, output_gradients=tf.constant(x))
    assert_close(layer(x).numpy(), backward.numpy())


@pytest.mark.parametrize(("factor", "size"), BILINEAR[:-1])
@pytest.mark.parametrize("learned", [False, True])
def test_transposed_convolution_is_convolution_with_a_fractional_stride(factor, size, learned):
    """§3.3: a stride of 1 / f: the units moved f pixels apart, zeros between them, and the kernel slid by pixels."""
    x, layer = normal(1, 3, 4, 3), BilinearConv2DTranspose(3, factor, size)
    layer.build(x.shape)
    if learned:
        layer.kernel.assign(normal(*layer.kernel.shape, seed=2))
    stuffed = np.zeros((1, canvas(3, factor, 1), canvas(4, factor, 1), 3))
    stuffed[:, ::factor, ::factor] = x
    padded = np.pad(stuffed, [(0, 0), (size - 1, size - 1), (size - 1, size - 1), (0, 0)])
    flipped = np.asarray(layer.kernel)[::-1, ::-1].transpose(0, 1, 3, 2)  # convolution in the mathematician's sense
    assert_close(layer(x).numpy(), strided_convolution(padded, flipped, 1))


# Other backends ------------------------------------------------------------------------------------------------------

SCRIPT = textwrap.dedent("""
    import sys
    import numpy as np, keras
    from fcn_keras.export.folding import fold_bilinear
    from fcn_keras.models.dilation import dilate, shift_and_stitch
    from fcn_keras.layers import Bilinear, BilinearConv2DTranspose, BilinearDepthwiseConv2DTranspose

    assert keras.backend.backend() == sys.argv[1]
    keras.utils.set_random_seed(0)
    layers, image = keras.layers, np.random.default_rng(0).normal(size=(1, 27, 32, 3)).astype("float32")

    def equal(found, expected):
        found, expected = keras.ops.convert_to_numpy(found), keras.ops.convert_to_numpy(expected)
        assert np.ptp(expected) > 0.1
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())

    net = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3), layers.MaxPooling2D(2),
                            layers.DepthwiseConv2D(2), layers.AveragePooling2D(2), layers.Conv2D(3, 2)])
    equal(dilate(net, 4)(image), shift_and_stitch(net, image, 4))
    up = keras.Sequential([keras.Input((None, None, 3)), BilinearConv2DTranspose(3, 2),
                           BilinearDepthwiseConv2DTranspose(3, padding="same"), BilinearConv2DTranspose(3, 2, 3, "same"),
                           layers.Conv2DTranspose(3, 8, 4, "same", kernel_initializer=Bilinear())])
    folded = fold_bilinear(up)
    assert folded.count_params() == 0
    equal(folded(image), up(image))
""")


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_equivalences_hold_on_other_backends(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"tests Keras' {backend} backend, and {backend} is not installed")
    command = [sys.executable, "-c", SCRIPT, backend]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
