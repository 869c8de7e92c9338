"""Shift-and-stitch and dilation equal each other, a sliding window, PyTorch and NumPy."""

import dataclasses

import keras
import numpy as np
import pytest
import pytorch_references
import tensorflow as tf

import fcn_keras
from fcn_keras import geometry
from fcn_keras.layers.pooling import DilatedPooling2D
from fcn_keras.models import backbones
from fcn_keras.models.any_size import allow_any_size
from fcn_keras.models.dilation import dilate, shift_and_stitch

layers = keras.layers


def photos(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def run(model, images):
    return np.asarray(model(keras.ops.convert_to_tensor(images)))


def randomize(model, seed=0):
    """Gives biases and statistics random values, and kernels that keep the size of the signal."""
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.name in ("bias", "beta", "moving_mean"):
            variable.assign(generator.normal(scale=0.1, size=variable.shape))
        elif variable.name in ("gamma", "moving_variance"):
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
        elif "kernel" in variable.name:
            fan_in = np.prod(variable.shape[:2] if "depthwise" in variable.path else variable.shape[:-1])
            variable.assign(generator.normal(scale=np.sqrt(2 / fan_in), size=variable.shape))
    return model


def network(*stages, channels=3, name="net"):
    return randomize(keras.Sequential([keras.Input((None, None, channels)), *stages], name=name))


def assert_close(found, expected, rtol=1e-5):
    """Compares up to `rtol` of the largest number. Maps in which all numbers are equal are refused."""
    assert found.shape == expected.shape
    units = expected.reshape(-1, expected.shape[-1])
    assert len(units) == 1 or np.ptp(units, axis=0).max() > 0.01 * np.abs(units).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * np.abs(expected).max())


# Networks without padding --------------------------------------------------------------------------------------------


def strided_convolutions():
    return network(
        layers.Conv2D(4, 3, strides=2, activation="relu"),
        layers.Conv2D(5, 3, strides=3, activation="relu"),
        layers.Conv2D(4, 2, dilation_rate=2, activation="relu"),
        layers.Conv2D(3, 1),
    )


def poolings():
    return network(
        layers.Conv2D(4, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(5, 3, activation="relu"),
        layers.AveragePooling2D(3, strides=2),
        layers.Conv2D(4, 2, activation="relu"),
        layers.MaxPooling2D(2, strides=1),
        layers.Conv2D(3, 1),
    )


def separable():
    return network(
        layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.SeparableConv2D(5, 3, strides=2),
        layers.DepthwiseConv2D(2),
        layers.Dense(3),
    )


def branches():
    """Flat and tall kernels, a cropped shortcut, an operator, a layer that is used twice, and a nested model."""
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(4, (3, 1), strides=2, activation="relu")(image)
    shared = layers.Conv2D(4, (1, 3), activation="tanh")
    y = shared(shared(x))
    y = y + layers.Cropping2D(((0, 0), (1, 3)))(x)
    inner = network(layers.MaxPooling2D(2), layers.Conv2D(3, 2, activation="relu"), channels=4, name="inner")
    shortcut = layers.Cropping2D(((0, 1), (1, 0)))(layers.AveragePooling2D(2)(y))
    return randomize(keras.Model(image, layers.Concatenate()([inner(y), shortcut]), name="branches"))


VALID = {  # the factors that are products of last strides
    strided_convolutions: (3, 6),
    poolings: (2, 4),
    separable: (2, 4),
    branches: (2, 4),
}
CASES = [(make, factor) for make, factors in VALID.items() for factor in factors]


@pytest.mark.parametrize(("make", "factor"), CASES)
@pytest.mark.parametrize("extra", [(0, 0), (7, 12), (12, 5)])
def test_without_padding_both_are_the_network_on_every_window(make, factor, extra):
    model = make()
    place = geometry.trace_outputs(model)[0]
    step, side = place.stride // factor, place.receptive_field
    width = geometry.trace_outputs(model, axis=1)[0].receptive_field
    photo = photos(1, side + extra[0], width + extra[1], 3)
    rows, columns = (range(0, more + 1, step) for more in extra)
    windows = np.concatenate([photo[:, y : y + side, x : x + width] for y in rows for x in columns])
    expected = run(model, windows).reshape(1, len(rows), len(columns), -1)  # one unit for each window
    assert_close(np.asarray(shift_and_stitch(model, photo, factor)), expected)
    assert_close(run(dilate(model, factor), photo), expected)


def test_factors_that_split_a_stride_can_be_stitched_only():
    model = strided_convolutions()
    photo = photos(2, 41, 38, 3)
    stitched = shift_and_stitch(model, photo, 2)  # stride 6 → 3
    np.testing.assert_array_equal(stitched, shift_and_stitch(model, photo, 6)[:, ::3, ::3])
    with pytest.raises(
        ValueError, match=r"'conv2d.*' \(Conv2D\).*whole stride is kept or removed, but it goes from 2 to 6"
    ):
        dilate(model, 2)


def test_with_factor_1_both_are_the_network():
    model, photo = poolings(), photos(1, 30, 41, 3)
    np.testing.assert_array_equal(shift_and_stitch(model, photo, 1), run(model, photo))
    np.testing.assert_array_equal(run(dilate(model, 1), photo), run(model, photo))


def test_gradients_are_equal_too():
    """Both compute the same function, so you can train with the cheaper one."""
    model, photo = poolings(), tf.constant(photos(1, 26, 31, 3))
    dense = dilate(model, 4)
    weighting = photos(*shift_and_stitch(model, photo, 4).shape, seed=2)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(weighting * shift_and_stitch(model, photo, 4))
    expected = tape.gradient(loss, model.trainable_variables)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(weighting * dense(photo, training=True))
    for found, gradient in zip(tape.gradient(loss, dense.trainable_variables), expected, strict=True):
        assert_close(found.numpy(), gradient.numpy(), 1e-5)


# Independent references ----------------------------------------------------------------------------------------------


def two_layers():
    return network(
        layers.Conv2D(4, 3, strides=2, activation="relu", name="first"),
        layers.MaxPooling2D(3, strides=2),
        layers.Conv2D(2, 2, name="second"),
    )


def test_the_dilated_convolutions_of_pytorch():
    model, theirs = two_layers(), pytorch_references.stored("dilated_network")
    for name in ("first", "second"):
        model.get_layer(name).set_weights([theirs[f"{name}_kernel"].transpose(2, 3, 1, 0), theirs[f"{name}_bias"]])
    assert_close(run(dilate(model, 4), theirs["x"]), theirs["y"])


def test_the_papers_enlarged_filter():
    """§3.2: f'[i, j] = f[i / s, j / s] if s divides both, else 0. This reference only inserts zeros."""
    model = network(layers.Conv2D(4, 3, strides=2, name="first"), layers.Conv2D(2, 3, name="second"))
    photo = photos(1, 17, 22, 3)

    def convolve(x, kernel, bias):
        windows = np.lib.stride_tricks.sliding_window_view(x.astype("float64"), kernel.shape[:2], (1, 2))
        return np.einsum("bhwcij,ijco->bhwo", windows, kernel.astype("float64")) + bias

    kernel, bias = model.get_layer("second").get_weights()
    enlarged = np.zeros((5, 5, 4, 2))
    enlarged[::2, ::2] = kernel
    expected = convolve(convolve(photo, *model.get_layer("first").get_weights()), enlarged, bias)
    assert_close(run(dilate(model, 2), photo), expected)


# Networks with zero padding ------------------------------------------------------------------------------------------


def inside(model, factor, shape, size):
    """Rows and columns of the finer map whose receptive fields lie inside an image of this size."""
    kept = []
    for axis in (0, 1):
        place = geometry.trace_outputs(model, axis)[0]
        reach, step = (place.receptive_field - 1) / 2, place.stride / factor
        centres = place.offset + step * np.arange(shape[axis])
        kept.append((centres - reach >= 0) & (centres + reach <= size[axis] - 1))
    return np.ix_(*kept)


def small_vgg(*pools):
    """Zero-padded convolutions, and poolings that round down, as in VGG."""
    body = []
    for factor in pools:
        body += [layers.Conv2D(4, 3, padding="same", activation="relu"), layers.MaxPooling2D(factor)]
    return network(*body, layers.Conv2D(3, 3, padding="same", activation="relu"), layers.Conv2D(3, 1))


def same_everywhere():
    """All cases of ``same``: even kernels, kernels larger than the stride, and averages that ignore the padding."""
    return network(
        layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
        layers.MaxPooling2D(2, padding="same"),
        layers.SeparableConv2D(4, 4, padding="same", activation="relu"),
        layers.AveragePooling2D(3, strides=2, padding="same"),
        layers.DepthwiseConv2D(2, padding="same"),
        layers.MaxPooling2D(3, strides=1, padding="same"),
    )


def explicit_padding():
    """A ``ZeroPadding2D`` before a strided convolution without padding, as in MobileNet and ResNet."""
    return network(
        layers.ZeroPadding2D(((0, 1), (0, 1))),
        layers.Conv2D(4, 3, strides=2, activation="relu"),
        layers.ZeroPadding2D(1),
        layers.MaxPooling2D(3, strides=2),
        layers.ZeroPadding2D(((0, 1), (0, 1))),
        layers.DepthwiseConv2D(3, strides=2, activation="relu"),
        layers.Conv2D(3, 3, padding="same"),
    )


PADDED = [
    (lambda: small_vgg(2, 2, 2), 2, (63, 58)),
    (lambda: small_vgg(2, 2, 2), 4, (63, 58)),
    (lambda: small_vgg(2, 2, 2), 8, (62, 71)),
    (lambda: small_vgg(4, 2), 8, (95, 90)),
    (same_everywhere, 2, (56, 64)),
    (same_everywhere, 4, (56, 64)),
    (same_everywhere, 8, (56, 64)),
    (explicit_padding, 2, (61, 66)),
    (explicit_padding, 4, (61, 66)),
    (explicit_padding, 8, (64, 59)),
]


@pytest.mark.parametrize(("make", "factor", "size"), PADDED)
def test_with_padding_both_are_equal_inside_the_image(make, factor, size):
    model, photo = make(), photos(1, *size, 3)
    own, stitched, dense = run(model, photo), np.asarray(shift_and_stitch(model, photo, factor)), dilate(model, factor)
    dilated = run(dense, photo)
    place = inside(model, factor, dilated.shape[1:3], size)
    assert dilated[0][place].size > 0
    assert_close(stitched[0][place], dilated[0][place])
    # Every factor-th unit equals a unit of the network, also at the border.
    np.testing.assert_array_equal(stitched[:, ::factor, ::factor], own)
    assert_close(dilated[:, ::factor, ::factor], own)
    # The units between them differ if they depend on padding.
    assert stitched.shape == dilated.shape
    assert np.abs(stitched - dilated).max() > 0.01 * np.abs(dilated).max()


@pytest.fixture(scope="module")
def heatmaps():
    return fcn_keras.models.convolutionalize(fcn_keras.MiniVGG(), padding="same")


@pytest.mark.parametrize("factor", [2, 4])
def test_mini_vgg(heatmaps, factor):
    photo = np.random.default_rng(0).uniform(0, 255, (1, 251, 234, 3)).astype("float32")
    stitched, dilated = np.asarray(shift_and_stitch(heatmaps, photo, factor)), run(dilate(heatmaps, factor), photo)
    place = inside(heatmaps, factor, dilated.shape[1:3], photo.shape[1:3])
    assert dilated[0][place].size >= 9 * factor
    assert_close(stitched[0][place], dilated[0][place])
    assert_close(dilated[:, ::factor, ::factor], run(heatmaps, photo))
    assert stitched.shape == dilated.shape


@pytest.mark.parametrize("size", [(13, 14), (15, 16)])
def test_poolings_that_round_up(size):
    """As in the authors' nets: if a side is odd, the last window extends beyond the border."""
    model = network(layers.MaxPooling2D(2, padding="same"), layers.Conv2D(3, 2), layers.MaxPooling2D(2, padding="same"))
    photo = photos(1, *size, 3)
    stitched, dilated = np.asarray(shift_and_stitch(model, photo, 4)), run(dilate(model, 4), photo)
    assert stitched.shape == dilated.shape
    place = inside(model, 4, dilated.shape[1:3], size)
    assert_close(stitched[0][place], dilated[0][place])
    assert_close(dilated[:, ::4, ::4], run(model, photo))


def test_kernels_larger_than_their_stride_go_by_multiples_of_it():
    """Keras shifts the units of such a layer with the size of the image; the copy does not."""
    model = network(layers.Conv2D(3, 3, strides=2, padding="same"))
    dense = dilate(model, 2)
    even, odd = photos(1, 16, 16, 3), photos(1, 17, 17, 3)
    assert_close(run(dense, even)[:, ::2, ::2], run(model, even))
    for image in (even, odd):
        np.testing.assert_array_equal(shift_and_stitch(model, image, 2)[:, ::2, ::2], run(model, image))
    own = run(model, odd)  # half a stride earlier
    assert_close(run(dense, odd)[:, 1::2, 1::2], own[:, 1:, 1:])


# The copy ------------------------------------------------------------------------------------------------------------


def mobilenet():
    return allow_any_size(
        keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(96, 96, 3), alpha=0.35)
    )


GEOMETRIES = [
    *[(make, factors[-1], 0) for make, factors in VALID.items()],
    (lambda: small_vgg(2, 2, 2, 2, 2), 8, 0),
    (same_everywhere, 8, 0),
    (explicit_padding, 4, 0),
    (mobilenet, 8, 0),
]


@pytest.mark.parametrize(("make", "factor", "axis"), [*GEOMETRIES, (branches, 4, 1)])
def test_stride_shrinks_receptive_field_and_offset_stay(make, factor, axis):
    model = make()
    dense = dilate(model, factor)
    (place,) = geometry.trace_outputs(model, axis)
    finest = place.stride // factor
    assert geometry.trace_outputs(dense, axis) == [dataclasses.replace(place, stride=finest)]
    own = geometry.trace(model, axis)
    names = own.keys() & geometry.trace(dense, axis).keys()
    assert len(names) >= len(model.layers) - 1
    for name in names:
        expected = dataclasses.replace(own[name], stride=min(own[name].stride, finest))
        assert geometry.trace(dense, axis)[name] == expected, name


def test_a_network_of_keras():
    model, photo = mobilenet(), photos(1, 64, 96, 3)
    own = run(model, photo)
    dense = dilate(model, 16)
    assert (dense.name, dense.count_params()) == (f"{model.name}_dilated", model.count_params())
    assert_close(run(dense, photo)[:, ::16, ::16], own)


def test_taps_of_one_stride():
    """A backbone with several outputs: the strides 16 and 32 become 8."""
    backbone = backbones.get("mini_vgg").feature_extractor(weights=None)
    photo = photos(1, 96, 128, 3)
    dense = dilate(backbone, 4)
    assert [place.stride for place in geometry.trace_outputs(dense)] == [8, 8, 8]
    for factor, ours, theirs in zip((1, 2, 4), dense(photo), backbone(photo), strict=True):
        assert_close(ours.numpy()[:, ::factor, ::factor], theirs.numpy())


def test_dilated_twice():
    model, photo = poolings(), photos(1, 30, 41, 3)
    twice, once = dilate(dilate(model, 2), 2), dilate(model, 4)
    assert_close(run(twice, photo), run(once, photo))
    pools = [layer.get_config() for layer in twice.layers if isinstance(layer, DilatedPooling2D)]
    assert [(pool["dilation_rate"], pool["mode"]) for pool in pools] == [((2, 2), "average"), ((4, 4), "max")]


def test_copy_and_network_share_nothing():
    model, photo = branches(), photos(1, 30, 30, 3)
    before, dense = run(model, photo), dilate(model, 2, name="dense")
    assert dense.name == "dense" and [layer.name for layer in dense.layers][1:] == [x.name for x in model.layers][1:]
    dense.set_weights([0 * weights for weights in dense.get_weights()])
    np.testing.assert_array_equal(run(model, photo), before)


def test_a_network_of_one_size_becomes_one_of_any_size():
    model = keras.Sequential([keras.Input((16, 16, 3)), layers.MaxPooling2D(2), layers.Conv2D(2, 3)])
    dense = dilate(model, 2)
    assert dense.input_shape == (None, None, None, 3)
    free = allow_any_size(model)
    assert_close(run(dense, photos(1, 19, 23, 3)), np.asarray(shift_and_stitch(free, photos(1, 19, 23, 3), 2)))
    with pytest.raises(ValueError, match=r"\(None, 16, 16, 3\).*images of any size.*Fix: fcn_keras.convolutionalize"):
        shift_and_stitch(model, photos(1, 16, 16, 3), 2)


def test_save_and_load(tmp_path):
    dense, photo = dilate(same_everywhere(), 8), photos(1, 33, 47, 3)
    dense.save(tmp_path / "dense.keras")
    loaded = keras.saving.load_model(tmp_path / "dense.keras")
    np.testing.assert_array_equal(run(loaded, photo), run(dense, photo))
    assert geometry.trace_outputs(loaded) == geometry.trace_outputs(dense)


# Errors --------------------------------------------------------------------------------------------------------------


def shared_across_strides():
    image = keras.Input((None, None, 3))
    shared = layers.Conv2D(3, 3, name="shared")
    return keras.Model(image, shared(layers.MaxPooling2D(2)(shared(image))))


def two_images():
    images = [keras.Input((None, None, 3)), keras.Input((None, None, 3))]
    return keras.Model(images, layers.MaxPooling2D(2)(layers.Add()(images)), name="pair")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="own_kind")


@keras.saving.register_keras_serializable(package="test_rarefaction")
class Shifting(layers.Layer):
    def compute_geometry(self, incoming):
        return incoming[0].shift(1)

    def call(self, x):
        return x[:, 1:, 1:]


def after_a_pool(layer):
    return lambda: network(layers.MaxPooling2D(2), layer())


REFUSED = {
    "transposed": (after_a_pool(lambda: layers.Conv2DTranspose(3, 4, 2, name="up")), "'up' \\(Conv2DTranspose\\)"),
    "upsampled": (after_a_pool(lambda: layers.UpSampling2D(2, name="up")), "'up' \\(UpSampling2D\\)"),
    "own upsampling": (
        lambda: network(layers.MaxPooling2D(4), fcn_keras.layers.upsampling.BilinearUpsampling2D(2, name="up")),
        "'up' \\(BilinearUpsampling2D\\): expected a layer that does not upsample",
    ),
    "flattened": (
        lambda: keras.Sequential([keras.Input((8, 8, 3)), layers.MaxPooling2D(2), layers.Flatten(name="flat")]),
        "'flat' \\(Flatten\\): expected .* up to one map",
    ),
    "global": (
        after_a_pool(lambda: layers.GlobalAveragePooling2D(name="mean")),
        "'mean' \\(GlobalAveragePooling2D\\)",
    ),
    "nested": (lambda: network(network(layers.GlobalMaxPooling2D(name="top"))), "'top' \\(GlobalMaxPooling2D\\)"),
    "channels first": (
        after_a_pool(lambda: layers.AveragePooling2D(2, data_format="channels_first", name="first")),
        "'first' .*channels last",
    ),
    "shared": (shared_across_strides, "'shared' .*used at one stride only"),
    "flat pool": (
        lambda: network(layers.MaxPooling2D(2), layers.MaxPooling2D((1, 3), strides=1, name="flat")),
        r"'flat' .*a square pool, found \(1, 3\)",
    ),
    "two strides": (
        lambda: network(layers.MaxPooling2D(2, strides=(2, 1), name="uneven"), layers.Conv2D(2, 3)),
        r"'uneven' .*one stride along both axes, found \[\(1, 1\), \(2, 1\)\]",
    ),
    "unknown": (after_a_pool(lambda: Shifting(name="own")), "'own' \\(Shifting\\): expected convolutions"),
    "two images": (two_images, "'pair' with 2 inputs: expected one image"),
    "subclassed": (Subclassed, "'own_kind' of type Subclassed: expected a Functional or Sequential"),
    "not built": (lambda: keras.Sequential([layers.MaxPooling2D(2)], name="raw"), "'raw' .*built"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case):
    make, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        dilate(make(), 2)


@pytest.mark.parametrize("factor", [3, 8, 0, -2])
def test_factors_that_do_not_divide_the_stride(factor):
    for make in (dilate, lambda model, factor: shift_and_stitch(model, photos(1, 30, 30, 3), factor)):
        with pytest.raises(ValueError, match=f"factor={factor} for model 'net': expected a divisor of its stride"):
            make(poolings(), factor)
