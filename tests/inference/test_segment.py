"""Inference: files and arrays become images, and images become masks of the same size."""

import gc
import weakref

import keras
import numpy as np
import pytest
from PIL import Image

import fcn_keras
from fcn_keras.inference import predictor
from fcn_keras.inference.segment import predict_logits, predict_probabilities, segment


def brightest_channel(num_classes=3):
    """A net whose logits are the image's channels, so its argmax is known without running it."""
    kernel = np.zeros((1, 1, 3, num_classes), "float32")
    kernel[0, 0, range(3), range(3)] = 1
    inputs = keras.Input((None, None, 3))
    score = keras.layers.Conv2D(num_classes, 1, use_bias=False, name="score")
    model = keras.Model(inputs, score(inputs), name="brightest")
    score.set_weights([kernel])
    return model


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), "uint8")


@pytest.fixture(scope="module")
def model():
    return brightest_channel()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 5), (33, 64), (64, 33)])
def test_mask_is_the_argmax_at_the_image_size(model, size):
    image = photo(*size)
    mask = segment(model, image)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, image.argmax(-1))


@pytest.mark.parametrize("cast", [np.float32, np.float64, np.int64, keras.ops.convert_to_tensor])
def test_array_types_give_the_same_mask(model, cast):
    image = photo(6, 4)
    np.testing.assert_array_equal(segment(model, cast(image)), image.argmax(-1))


def test_files_and_bad_images(model, tmp_path):
    image = photo(6, 4)
    Image.fromarray(image).save(tmp_path / "photo.png")
    np.testing.assert_array_equal(segment(model, tmp_path / "photo.png"), image.argmax(-1))
    with pytest.raises(ValueError, match="alpha"):
        segment(model, np.zeros((4, 4, 4), "uint8"))


@pytest.mark.parametrize(("num_classes", "dtype"), [(255, "uint8"), (256, "int32")])
def test_mask_type_holds_every_class(num_classes, dtype):
    model = brightest_channel(num_classes)
    kernel = np.zeros((1, 1, 3, num_classes))
    kernel[..., -1] = 1
    model.get_layer("score").set_weights([kernel])
    mask = segment(model, np.full((2, 2, 3), 9, "uint8"))
    assert mask.dtype == dtype
    assert (mask == num_classes - 1).all()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="counts TensorFlow traces")
def test_one_trace_serves_every_size():
    traces = []

    class CountTraces(keras.layers.Layer):
        def call(self, x):
            traces.append(x.shape)
            return x

    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, CountTraces()(inputs))
    segment(model, photo(8, 8))
    after_one = len(traces)
    for side in range(20, 30):
        segment(model, photo(side, 2 * side))
    assert len(traces) == after_one


def test_layers_that_must_know_their_size():
    inputs = keras.Input((None, None, 3))
    halved = keras.layers.AveragePooling2D(2)(inputs)
    doubled = keras.layers.UpSampling2D(2, interpolation="bilinear")(halved)
    model = keras.Model(inputs, doubled)
    for side in (8, 10, 12):
        image = np.zeros((side, side, 3), "uint8")
        image[..., 2] = 9
        assert (segment(model, image) == 2).all()


def test_many_models_raise_no_tracing_warnings(caplog):
    for _ in range(8):
        segment(brightest_channel(), photo(4, 4))
    assert caplog.text == ""


def test_new_weights_count_at_once():
    model, image = brightest_channel(), photo(4, 4)
    segment(model, image)
    score = model.get_layer("score")
    score.set_weights([score.get_weights()[0][..., ::-1]])
    np.testing.assert_array_equal(segment(model, image), image[..., ::-1].argmax(-1))


def test_new_variables_count_at_once():
    model, image = brightest_channel(), photo(4, 4)
    segment(model, image)
    score = model.get_layer("score")
    score.enable_lora(3)
    score.lora_kernel_a.assign(np.eye(3)[None, None])
    score.lora_kernel_b.assign(-2 * np.eye(3))
    np.testing.assert_array_equal(segment(model, image), image.argmin(-1))


def test_segmenting_leaves_the_model_as_it_was(tmp_path):
    model, image = brightest_channel(), photo(4, 4)
    model.compile("sgd", "mse")
    layers, variables = len(model.layers), len(model.variables)
    mask = segment(model, image)
    assert (len(model.layers), len(model.variables)) == (layers, variables)
    assert model.compiled
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(segment(keras.saving.load_model(tmp_path / "model.keras"), image), mask)


def test_segmenting_keeps_no_model_alive():
    model = brightest_channel()
    segment(model, photo(4, 4))
    ghost = weakref.ref(model)
    del model
    keras.backend.clear_session()
    gc.collect()
    assert ghost() is None


def test_subclassed_models():
    class Shifted(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = brightest_channel()

        def call(self, x):
            return self.inner(x) + 1.0

    image = photo(5, 6)
    np.testing.assert_array_equal(segment(Shifted(), image), image.argmax(-1))


def test_a_mask_inside_a_training_callback():
    model, image = brightest_channel(), photo(4, 4)
    masks = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: masks.append(segment(model, image)))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    batch = image[None].astype("float32")
    model.fit(batch, batch, epochs=2, verbose=0, callbacks=[watch])
    np.testing.assert_array_equal(masks, [image.argmax(-1)] * 2)


def functional(outputs, shape=(None, None, 3)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, outputs(inputs), name="net")


@pytest.mark.parametrize(
    ("outputs", "shape", "message"),
    [
        (keras.layers.GlobalAveragePooling2D(), (None, None, 3), "net returns an output of shape"),
        (lambda x: [x, x], (None, None, 3), "several outputs"),
        (keras.layers.AveragePooling2D(2), (None, None, 3), r"maps of 4 x 4 for .* 8 x 8"),
        (keras.layers.Conv2D(4, 1), (16, 16, 3), r"images of 16 x 16 only, this one is 8 x 8"),
        (keras.layers.Dense(4), (7,), r"\(None, 7\)"),
    ],
)
def test_bad_models(outputs, shape, message):
    with pytest.raises(ValueError, match=message):
        segment(functional(outputs, shape), photo(8, 8))


def score_net(seed=0, classes=4):
    """A net with strides, padding, a receptive field and random weights."""
    generator = np.random.default_rng(seed)
    image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 128, -1)(image)
    x = fcn_keras.layers.padding.PadToStride(4)(x)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    x = keras.layers.Conv2DTranspose(classes, 8, strides=4, padding="same")(x)
    model = keras.Model(image, fcn_keras.layers.cropping.CropLike()([x, image]))
    for layer in model.layers:
        layer.set_weights([generator.normal(scale=0.3, size=w.shape) for w in layer.get_weights()])
    return model


def composed(model, image, scales, flips):
    """Computes the same in plain Keras, on the whole image."""
    height, width = image.shape[:2]
    found = []
    for scale in scales:
        size = (round(scale * height), round(scale * width))
        resized = keras.ops.image.resize(image[None].astype("float32"), size, antialias=True)
        for flip in flips:
            scores = model(keras.ops.flip(resized, 2) if flip else resized)
            scores = keras.ops.softmax(keras.ops.flip(scores, 2) if flip else scores)
            found.append(keras.ops.image.resize(scores, (height, width), antialias=True)[0])
    return np.mean(found, axis=0)


@pytest.mark.parametrize("tile", [None, 12, (20, 16)])
@pytest.mark.parametrize(("scales", "flip"), [((0.75, 1, 1.25), False), ((1,), True), ((0.5, 1.7), True)])
def test_averages_over_scales_and_flips(scales, flip, tile):
    model, image = score_net(), photo(41, 53)
    expected = composed(model, image, scales, [False, True] if flip else [False])
    found = predict_probabilities(model, image, tile, scales, flip, progress=False)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    mask = segment(model, image, tile, scales, flip, progress=False)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, found.argmax(-1))
    assert (mask != segment(model, image)).any()


def test_logits_and_probabilities_of_one_pass():
    model, image = score_net(), photo(30, 41)
    expected = keras.ops.convert_to_numpy(model(image[None].astype("float32")))[0]
    np.testing.assert_allclose(predict_logits(model, image), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(predict_probabilities(model, image).sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(segment(model, image), expected.argmax(-1))


def test_averaging_a_net_that_cannot_be_tiled():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Lambda(lambda x: x / 50)(image))
    found = predict_probabilities(model, photo(9, 12), scales=(1, 2), flip=True, progress=False)
    np.testing.assert_allclose(found, composed(model, photo(9, 12), (1, 2), (False, True)), rtol=0, atol=1e-5)


def test_tiny_images_at_small_scales():
    found = predict_probabilities(score_net(), photo(1, 2), scales=(0.1,), progress=False)
    np.testing.assert_allclose(found.sum(-1), np.ones((1, 2)), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "target"),
    [
        ({}, None),
        ({"tile": 64}, None),
        ({"tile": 16}, 12),
        ({"flip": True}, 2),
        ({"tile": 16, "scales": (1, 2), "progress": False}, None),
        ({"progress": True}, 1),
    ],
)
def test_progress_is_shown_where_it_takes_long(capsys, monkeypatch, arguments, target):
    monkeypatch.setenv("FORCE_COLOR", "1")  # for rich, the error stream is a terminal
    segment(score_net(), photo(61, 83), **arguments)
    shown = capsys.readouterr()
    assert shown.out == "" and ((f"{target}/{target}" in shown.err) if target else shown.err == "")


def test_progress_is_not_shown_in_a_log(capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    segment(score_net(), photo(61, 83), tile=16)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scales": 0.5}, r"scales=0\.5: expected positive numbers"),
        ({"scales": ()}, r"scales=\(\)"),
        ({"scales": (1, 0)}, r"scales=\(1, 0\)"),
        ({"scales": ("1",)}, "scales"),
        ({"scales": (1, float("inf"))}, "scales"),
        ({"flip": "both"}, "flip='both': expected True or False"),
        ({"progress": "yes"}, "progress='yes': expected True, False or None"),
    ],
)
def test_bad_arguments(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        segment(model, photo(8, 8), **arguments)


@pytest.mark.parametrize("model", ["best.keras", None, lambda x: x])
def test_what_is_no_model_is_told(model):
    with pytest.raises(ValueError, match="expected a Keras model") as told:
        segment(model, np.zeros((4, 4, 3), "uint8"))
    assert ("Fix: fcn_keras.load_model('best.keras')" in str(told.value)) == (model == "best.keras")


def test_a_model_of_grey_images_takes_no_others():
    grey = keras.Input((None, None, 1))
    model = keras.Model(grey, keras.layers.Conv2D(2, 1)(grey))
    assert segment(model, np.zeros((4, 4), "uint8")).shape == (4, 4)
    with pytest.raises(ValueError, match=r"has the shape \(4, 4, 3\): expected \(H, W, 1\)\. Fix: "):
        segment(model, np.zeros((4, 4, 3), "uint8"))


@pytest.mark.parametrize("words", ["RESOURCE_EXHAUSTED: Out of memory while trying to allocate", "CUDA out of memory."])
def test_an_image_larger_than_the_memory_is_told(words):
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])

    def full(pixels):
        raise RuntimeError(words)

    predictor.get_predictor(model).functions["argmax"] = full
    with pytest.raises(ValueError, match="needs more memory than there is for 4 x 5 pixels at once. Fix: tile=1024"):
        segment(model, np.zeros((4, 5, 3), "uint8"))
