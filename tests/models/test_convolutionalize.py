"""The converted classifier gives the same scores as the classifier, on its own size and on larger images."""

import gc

import keras
import numpy as np
import pytest

from fcn_keras.models.any_size import allow_any_size
from fcn_keras.models.convolutionalize import convolutionalize
from fcn_keras.models.mini_vgg import MiniVGG

layers = keras.layers


def randomize(model, seed=0, scale=1.0):
    """Gives biases and statistics random values. Keras starts them at 0 and 1, which would hide mistakes."""
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.name in ("bias", "beta", "moving_mean"):
            variable.assign(generator.normal(scale=0.1 * scale, size=variable.shape))
        elif variable.name in ("gamma", "moving_variance"):
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))


def photos(*shape, seed=1):
    return np.random.default_rng(seed).uniform(0, 255, shape).astype("float32")


def run(model, images):
    return np.asarray(model(keras.ops.convert_to_tensor(images)))


def assert_close(found, expected, rtol):
    """Compares up to `rtol` of the largest score."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * np.abs(expected).max())


def on_own_size(classifier, rtol=1e-5):
    """At the classifier's own size, the mean of the converted network over its map is the classifier's output."""
    image = photos(1, *classifier.input_shape[1:])
    expected = run(classifier, image)
    assert np.ptp(expected) > 1e-3  # the random network does tell classes apart
    converted = convolutionalize(classifier)
    maps = run(converted, image)
    assert_close(maps.mean((1, 2)), expected, rtol)
    assert converted.input_shape == (None, None, None, 3)
    return maps.shape[1:3]


APPLICATIONS = {  # size of the map on images of 96 × 96 pixels: 1×1 where a window slides
    "VGG16": (1, 1),
    "MobileNet": (3, 3),
    "MobileNetV2": (3, 3),
    "ResNet50": (3, 3),
    "EfficientNetV2B0": (3, 3),
    "ConvNeXtTiny": (1, 1),
}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_classifiers_of_keras(name):
    options = {"weights": None, "classes": 11, "classifier_activation": None, "input_shape": (96, 96, 3)}
    classifier = getattr(keras.applications, name)(**options)
    randomize(classifier)
    assert on_own_size(classifier) == APPLICATIONS[name]
    keras.backend.clear_session()
    gc.collect()  # VGG16 and its copy hold 300 MB


@pytest.fixture
def mini():
    classifier = MiniVGG(weights=None)
    randomize(classifier)
    return classifier


def test_mini_vgg_with_softmax_kept_and_with_logits(mini):
    image = photos(2, 96, 96, 3)
    expected = run(mini, image)
    kept = run(convolutionalize(mini, logits=False), image)
    assert_close(kept[:, 0, 0], expected, 1e-5)
    logits = run(convolutionalize(mini), image)[:, 0, 0]
    assert logits.min() < 0 or logits.max() > 1
    assert_close(np.array(keras.ops.softmax(logits)), expected, 1e-5)


def test_classifier_and_copy_share_nothing(mini):
    image = photos(1, 96, 96, 3)
    before, converted = run(mini, image), convolutionalize(mini)
    converted.set_weights([0 * weights for weights in converted.get_weights()])
    np.testing.assert_array_equal(run(mini, image), before)
    assert mini.input_shape == (None, 96, 96, 3)


def test_weights_and_biases_are_the_classifiers(mini):
    converted = convolutionalize(mini, name="slid")
    assert converted.name == "slid" and convolutionalize(mini).name == "mini_vgg_fcn"
    kernel, bias = mini.get_layer("fc6").get_weights()
    np.testing.assert_array_equal(converted.get_layer("fc6").kernel, kernel.reshape(3, 3, 128, 160))
    np.testing.assert_array_equal(converted.get_layer("fc6").bias, bias)
    assert np.abs(bias).min() > 0
    np.testing.assert_array_equal(converted.get_layer("fc7").kernel[0, 0], mini.get_layer("fc7").kernel)
    assert converted.count_params() == mini.count_params()


def valid_classifier(head):
    """A network with stride 4 and without padding, so each unit depends on one crop of the image only."""
    x = image = keras.Input((20, 24, 3))
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Conv2D(6, 3, activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(5, 2, activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)  # 4 × 5
    for layer in head:
        x = layer(x)
    classifier = keras.Model(image, x, name="valid")
    randomize(classifier)
    return classifier


HEADS = {
    "flatten": lambda: [layers.Flatten(), layers.Dense(8, "relu"), layers.Dropout(0.5), layers.Dense(3)],
    "normalized": lambda: [layers.Flatten(), layers.Dense(8), layers.BatchNormalization(), layers.ReLU(), layers.Dense(3)],
    "hidden after an average": lambda: [layers.GlobalAveragePooling2D(), layers.Dense(8, "relu"), layers.Dense(3)],
    "layer normalization": lambda: [layers.GlobalAveragePooling2D(), layers.LayerNormalization(), layers.Dense(3)],
    "maximum": lambda: [layers.GlobalMaxPooling2D(), layers.Dense(3)],
    "kept dimensions": lambda: [layers.GlobalMaxPooling2D(keepdims=True), layers.Conv2D(3, 1), layers.Reshape((3,))],
    "flattened average": lambda: [
        layers.GlobalAveragePooling2D(keepdims=True), layers.Flatten(), layers.Dense(4, "tanh"), layers.Dense(3)
    ],
    "normalized scores": lambda: [layers.Flatten(), layers.Dense(3), layers.BatchNormalization()],
    "normalized average": lambda: [layers.GlobalAveragePooling2D(), layers.Dense(3), layers.LayerNormalization()],
}  # fmt: skip


@pytest.mark.parametrize("head", HEADS)
def test_sliding_it_equals_classifying_every_crop(head):
    classifier = valid_classifier(HEADS[head]())
    photo = photos(1, 20 + 4 * 3, 24 + 4 * 2, 3)
    maps = run(convolutionalize(classifier), photo)
    assert maps.shape == (1, 4, 3, 3)
    crops = [photo[0, 4 * i : 4 * i + 20, 4 * j : 4 * j + 24] for i in range(4) for j in range(3)]
    expected = run(classifier, np.stack(crops)).reshape(1, 4, 3, 3)
    assert_close(maps, expected, 1e-5)


@pytest.mark.parametrize("height", [32, 33])
def test_same_padding_gives_one_unit_per_unit_of_the_feature_map(mini, height):
    converted = convolutionalize(mini, padding="same")
    assert run(converted, photos(1, height, 160, 3)).shape == (1, 1, 5, 9)
    valid = run(convolutionalize(mini), photos(1, 128, 160, 3))
    same = run(converted, photos(1, 128, 160, 3))
    assert_close(same[:, 1:-1, 1:-1], valid, 1e-5)


def sequential_flatten():
    return [
        layers.Conv2D(4, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(8, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(5),
        layers.Activation("softmax"),
    ]


def sequential_nested():
    base = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.35)
    return [base, layers.GlobalAveragePooling2D(), layers.Dropout(0.2), layers.Dense(5, activation="softmax")]


def sequential_hidden():
    return [
        layers.Conv2D(4, 3, strides=2),
        layers.GlobalAveragePooling2D(),
        layers.Dense(8, activation="relu"),
        layers.Dense(5, activation="sigmoid"),
    ]


@pytest.mark.parametrize("make", [sequential_flatten, sequential_nested, sequential_hidden])
def test_sequential_classifiers(make):
    classifier = keras.Sequential([keras.Input((32, 32, 3)), *make()])
    randomize(classifier)
    image = photos(1, 32, 32, 3)
    expected = run(classifier, image)
    logits = run(convolutionalize(classifier), image).mean((1, 2))
    activation = keras.ops.sigmoid if make is sequential_hidden else keras.ops.softmax
    assert_close(np.array(activation(logits)), expected, 1e-5)
    kept = run(convolutionalize(classifier, logits=False), image)
    if kept.shape[1:3] == (1, 1):
        assert_close(kept[:, 0, 0], expected, 1e-5)
    assert run(convolutionalize(classifier), photos(1, 70, 45, 3)).shape[-1] == 5


def test_a_map_of_one_unit_is_flattened_too():
    """A network for 32×32 images with five poolings ends in 1×1."""
    base = MiniVGG(weights=None, include_top=False, input_shape=(32, 32, 3))
    classifier = keras.Sequential([*base.layers, layers.Flatten(), layers.Dense(4)])
    randomize(classifier)
    assert on_own_size(classifier) == (1, 1)


def test_adapted_normalization_and_augmentation_come_along():
    normalization = layers.Normalization()
    normalization.adapt(photos(64, 16, 16, 3) / 2 + 40)
    stages = [
        normalization,
        layers.RandomFlip(seed=1),
        layers.Conv2D(4, 3),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
    ]
    classifier = keras.Sequential([keras.Input((16, 16, 3)), *stages])
    on_own_size(classifier)


def test_a_layer_used_twice_and_branches():
    x = image = keras.Input((16, 16, 3))
    shared = layers.Conv2D(3, 3, padding="same")
    x = layers.Add()([shared(x), shared(shared(x))])
    classifier = keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))
    randomize(classifier)
    on_own_size(classifier)


def test_any_size_keeps_weights_and_names():
    x = image = keras.Input((8, 8, 3))
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3, name="conv"), layers.BatchNormalization()])
    model = keras.Model(image, inner(x), name="fixed")
    randomize(model)
    free = allow_any_size(model)
    assert (free.name, free.input_shape, free.output_shape) == ("fixed", (None, None, None, 3), (None, None, None, 4))
    for ours, theirs in zip(free.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    image = photos(2, 8, 8, 3)
    np.testing.assert_allclose(run(free, image), run(model, image), rtol=1e-6)
    assert run(free, photos(1, 30, 9, 3)).shape == (1, 28, 7, 4)


def test_mixed_precision_stays(mini):
    image = keras.Input((8, 8, 3))
    hidden = layers.Dense(4, dtype="mixed_float16", name="half")(layers.Flatten()(image))
    classifier = keras.Model(image, layers.Dense(2, dtype="float32", name="whole")(hidden))
    converted = convolutionalize(classifier)
    assert converted.get_layer("half").compute_dtype == "float16"
    assert converted.get_layer("whole").compute_dtype == "float32"


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="own_kind")
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(keras.ops.mean(x, (1, 2)))


def network(*stages, shape=(16, 16, 3), name="net"):
    return keras.Sequential([keras.Input(shape), *stages], name=name)


def two_outputs():
    image = keras.Input((8, 8, 3))
    flat = layers.Flatten()(image)
    return keras.Model(image, [layers.Dense(2)(flat), layers.Dense(3)(flat)], name="twins")


def joined():
    image = keras.Input((8, 8, 3))
    flat = layers.Flatten()(image)
    return keras.Model(image, layers.Concatenate(name="join")([layers.Dense(2)(flat), layers.Dense(3)(flat)]))


CHANNELS_FIRST = {"data_format": "channels_first"}
REFUSED = {
    "subclassed": (Subclassed, "'own_kind'.*Functional or Sequential"),
    "no model": (lambda: "vgg16", "'vgg16'.*Functional or Sequential"),
    "not built": (lambda: keras.Sequential([layers.Dense(2)], name="raw"), "'raw'.*built"),
    "two outputs": (two_outputs, "'twins'.*one output"),
    "two branches": (joined, r"'join' \(Concatenate\)"),
    "no top": (lambda: network(layers.Conv2D(3, 3)), r"'net'.*include_top=True"),
    "recurrent": (
        lambda: network(layers.Reshape((-1, 3)), layers.LSTM(4, name="memory"), layers.Dense(2)),
        r"'memory' \(LSTM\)",
    ),
    "recurrent after flatten": (
        lambda: network(layers.Flatten(), layers.Reshape((-1, 3)), layers.LSTM(4, name="memory"), layers.Dense(2)),
        r"'memory' \(LSTM\)",
    ),
    "normalized positions": (
        lambda: network(layers.Conv2D(2, 3), layers.Flatten(), layers.BatchNormalization(name="norm"), layers.Dense(2)),
        r"'norm' \(BatchNormalization\)",
    ),
    "softmax over positions": (
        lambda: network(layers.Conv2D(2, 3), layers.Flatten(), layers.Softmax(name="soft"), layers.Dense(2)),
        r"'soft' \(Softmax\)",
    ),
    "no weights": (lambda: network(layers.GlobalAveragePooling2D(name="pool")), "'pool'.*Dense"),
    "channels first": (
        lambda: network(layers.ReLU(), layers.Flatten(**CHANNELS_FIRST, name="flat"), layers.Dense(2)),
        "'flat'.*channels_first",
    ),
    "nested top": (
        lambda: network(network(layers.Flatten(), layers.Dense(2), name="inner")),
        r"'inner' \(Sequential\)",
    ),
    "size unknown": (
        lambda: network(layers.GlobalMaxPooling2D(name="pool"), layers.Dense(2), shape=(None, None, 3)),
        r"'pool'.*input_shape",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case):
    make, message = REFUSED[case]
    with pytest.raises(ValueError, match=f"(?s)Cannot convert.*{message}"):
        convolutionalize(make())


@pytest.mark.parametrize("padding", ["full", None])
def test_padding_of_another_kind(mini, padding):
    with pytest.raises(ValueError, match=f"padding={padding!r}: expected"):
        convolutionalize(mini, padding=padding)
