"""Inference: files and arrays become images, images become masks of their own size."""

import gc
import weakref

import keras
import numpy as np
import pytest
from PIL import Image

from fcn_keras.inference import read_image, segment, to_numpy


def brightest_channel(num_classes=3):
    """A net whose logits are the image's channels: its argmax is known without running it."""
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


def test_torch_images_on_the_gradient_tape(model):
    torch = pytest.importorskip("torch")
    image = photo(6, 4)
    tensor = torch.tensor(image.astype("float32"), requires_grad=True)
    np.testing.assert_array_equal(segment(model, tensor), image.argmax(-1))
    assert isinstance(to_numpy(tensor), np.ndarray)


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


def test_png_in_rgb(tmp_path, model):
    image = photo(5, 7)
    path = tmp_path / "rgb.png"
    Image.fromarray(image).save(path)
    np.testing.assert_array_equal(read_image(path), image)
    np.testing.assert_array_equal(segment(model, str(path)), image.argmax(-1))


def test_grey_file_is_repeated(tmp_path):
    grey = photo(5, 7)[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.stack([grey] * 3, -1))


def test_palette_file_is_looked_up(tmp_path):
    colours = np.array([[0, 0, 0], [10, 200, 30], [250, 1, 99]], "uint8")
    ids = np.array([[0, 1, 2], [2, 1, 0]], "uint8")
    image = Image.fromarray(ids)
    image.putpalette(colours.tobytes())
    image.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), colours[ids])


@pytest.mark.parametrize(("alpha", "expected"), [(255, 40), (0, 255)])
def test_transparent_pixels_show_white(tmp_path, alpha, expected):
    pixels = np.full((2, 3, 4), 40, "uint8")
    pixels[..., 3] = alpha
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    assert (read_image(tmp_path / "alpha.png") == expected).all()


def test_exif_orientation_is_applied(tmp_path):
    image = photo(4, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 270 degrees to look at it
    Image.fromarray(image).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), np.rot90(image, 3))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), "uint8"), r"\(4, 4\).*np\.stack"),
        (np.zeros((4, 4, 1), "uint8"), r"np\.repeat"),
        (np.zeros((4, 4, 4), "uint8"), "alpha"),
        (np.zeros((3, 4, 5), "uint8"), "moveaxis"),
        (np.zeros((1, 4, 4, 3), "uint8"), r"batch\[i\]"),
        (np.zeros((0, 4, 3), "uint8"), "empty"),
        (np.zeros(5, "uint8"), r"expected \(H, W, 3\)"),
        (np.full((4, 4, 3), 0.5), r"255 \* image"),
        (np.full((4, 4, 3), np.nan), "NaN"),
        (np.full((4, 4, 3), np.inf), "infinite"),
        (np.full((4, 4, 3), -103.9), "before preprocessing"),
        (np.full((4, 4, 3), 300), "300"),
        (np.zeros((4, 4, 3), bool), "bool"),
    ],
)
def test_bad_arrays(model, image, message):
    with pytest.raises(ValueError, match=message):
        segment(model, image)


def test_black_float_image_is_an_image(model):
    assert (segment(model, np.zeros((4, 4, 3), "float32")) == 0).all()


def test_bad_files(tmp_path):
    with pytest.raises(ValueError, match=r"No image file at .*cat\.png"):
        read_image(tmp_path / "cat.png")
    with pytest.raises(ValueError, match="No image file"):
        read_image(tmp_path)
    (tmp_path / "notes.png").write_text("not an image")
    with pytest.raises(ValueError, match=r"notes\.png.*cannot be read"):
        read_image(tmp_path / "notes.png")
    Image.fromarray(photo(64, 64)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"cut\.png.*cannot be read"):
        read_image(tmp_path / "cut.png")
    Image.fromarray(np.full((4, 4), 4000, "uint16")).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"deep\.png.*more than 8 bits"):
        read_image(tmp_path / "deep.png")


def functional(outputs, shape=(None, None, 3)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, outputs(inputs), name="net")


@pytest.mark.parametrize(
    ("outputs", "shape", "message"),
    [
        (keras.layers.GlobalAveragePooling2D(), (None, None, 3), "net returns an output of shape"),
        (lambda x: [x, x], (None, None, 3), "several outputs"),
        (keras.layers.Conv2D(1, 1), (None, None, 3), "num_classes=2"),
        (keras.layers.AveragePooling2D(2), (None, None, 3), r"maps of 4 x 4 for .* 8 x 8"),
        (keras.layers.Conv2D(4, 1), (16, 16, 3), r"images of 16 x 16 only, this one is 8 x 8"),
        (keras.layers.Dense(4), (7,), r"\(None, 7\)"),
    ],
)
def test_bad_models(outputs, shape, message):
    with pytest.raises(ValueError, match=message):
        segment(functional(outputs, shape), photo(8, 8))
