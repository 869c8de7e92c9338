"""Exported models in their own runtimes, compared with Keras: logits to 1e-4 of the largest, and equal classes."""

import keras
import numpy as np
import pytest
from PIL import Image

import fcn_keras
from fcn_keras.cli import main
from fcn_keras.export.formats import export_model

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="models are exported on TensorFlow")
CLASSES = 7
SIZES = [(1, 1), (33, 47), (97, 70)]
NAMES = {"saved_model": "net", "onnx": "net.onnx", "openvino": "net.xml", "litert": "net.tflite"}


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (1, height, width, 3)).astype("float32")


def net(backbone="mini_vgg", **options):
    model = fcn_keras.FCN8s(CLASSES, backbone, **options)
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if layer.name.startswith("score_"):
            layer.set_weights([generator.normal(0, 0.1, weights.shape) for weights in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def model():
    return net()


@pytest.fixture(scope="module")
def tiny():
    """Three convolutions, for tests that do not depend on the net. They are large enough for int8 to save space."""
    layers = [keras.layers.Conv2D(n, k, padding="same", activation=f) for n, k, f in ((64, 3, "relu"), (64, 3, "relu"))]
    tiny = keras.Sequential([keras.Input((None, None, 3)), *layers, keras.layers.Conv2D(CLASSES, 1)], name="tiny")
    generator = np.random.default_rng(0)
    tiny.set_weights([generator.normal(0, 0.1, weights.shape) for weights in tiny.get_weights()])
    return tiny


def run_saved_model(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    return lambda images: loaded.serve(images).numpy()


def run_onnx(path):
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    return lambda images: session.run(None, {"image": images})[0]


def run_openvino(path):
    openvino = pytest.importorskip("openvino")
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: compiled(images)[0]


def run_litert(path):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(path), num_threads=2)
    (image,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images):
        interpreter.resize_tensor_input(image["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(image["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"]).copy()

    return run


RUNTIMES = {"saved_model": run_saved_model, "onnx": run_onnx, "openvino": run_openvino, "litert": run_litert}


def assert_parity(found, expected):
    assert found.shape == expected.shape
    tolerance = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    first, second = np.sort(expected, axis=-1)[..., :-3:-1].transpose(3, 0, 1, 2)
    certain = first - second > 2 * tolerance
    np.testing.assert_array_equal(found.argmax(-1)[certain], expected.argmax(-1)[certain])


@pytest.mark.parametrize("format", NAMES)
def test_any_size(format, model, tmp_path):
    run = RUNTIMES[format](export_model(model, tmp_path / NAMES[format]))
    for size in SIZES:
        assert_parity(run(photo(*size)), np.asarray(model(photo(*size))))
    assert {path.name for path in tmp_path.iterdir()} <= {NAMES[format], "net.bin"}  # nothing half-written is left


@pytest.mark.parametrize("format", NAMES)
def test_masks_of_one_size(format, tiny, tmp_path):
    run = RUNTIMES[format](export_model(tiny, tmp_path / NAMES[format], size=(33, 47), labels=True))
    masks, logits = run(photo(33, 47)), np.asarray(tiny(photo(33, 47)))
    assert masks.dtype == "uint8" and masks.shape == (1, 33, 47)
    first, second = np.sort(logits, axis=-1)[..., :-3:-1].transpose(3, 0, 1, 2)
    certain = first - second > 1e-4 * np.abs(logits).max()
    np.testing.assert_array_equal(masks[certain], logits.argmax(-1)[certain])


@pytest.mark.parametrize(("labels", "name"), [(False, "logits"), (True, "mask")])
def test_what_goes_in_and_comes_out_has_a_name(labels, name, tiny, tmp_path):
    import onnx
    import openvino

    graph = onnx.load(export_model(tiny, tmp_path / "net.onnx", labels=labels)).graph
    (image,), (result,) = graph.input, graph.output
    words = [dimension.dim_param for dimension in result.type.tensor_type.shape.dim]
    assert (image.name, result.name, words[:3]) == ("image", name, ["batch", "height", "width"])
    read = openvino.Core().read_model(export_model(tiny, tmp_path / "net.xml", labels=labels))
    assert [end.get_names() for end in (*read.inputs, *read.outputs)] == [{"image"}, {name}]


@pytest.mark.parametrize("format", ["onnx", "litert"])
@pytest.mark.parametrize("upsampling", ["learned", "learned_depthwise"])
def test_kernels_that_have_learned(format, upsampling, tmp_path):
    learned = net(upsampling=upsampling)
    for name in ("upscore2", "upscore_pool4", "upscore8"):
        layer = learned.get_layer(name)
        layer.set_weights([1.1 * weights + 0.01 for weights in layer.get_weights()])
    run = RUNTIMES[format](export_model(learned, tmp_path / NAMES[format], size=(70, 45)))
    assert_parity(run(photo(70, 45)), np.asarray(learned(photo(70, 45))))


def separable():
    """A network like MobileNetV2: strides that pad on one side, depthwise convolutions, and residuals."""
    layers, image = keras.layers, keras.Input((None, None, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(image)
    for _ in range(4):
        y = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(16, 1, use_bias=False)(x)))
        y = layers.ReLU(6.0)(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y)))
        x = layers.Add()([x, layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False)(y))])
        x = layers.DepthwiseConv2D(3, strides=2, use_bias=False)(layers.ZeroPadding2D(((0, 1), (0, 1)))(x))
    network = keras.Model(image, layers.ReLU(6.0)(x))
    generator = np.random.default_rng(0)
    network.set_weights([np.abs(generator.normal(0.2, 0.3, w.shape)) for w in network.get_weights()])
    return network


@pytest.mark.parametrize("format", ["onnx", "litert"])
def test_depthwise_convolutions_and_residuals(format, tmp_path):
    model = net(separable())
    run = RUNTIMES[format](export_model(model, tmp_path / NAMES[format]))
    assert_parity(run(photo(65, 90)), np.asarray(model(photo(65, 90))))


@pytest.mark.parametrize("format", ["onnx", "litert"])
def test_int8(format, tiny, tmp_path):
    """The file has less than 40 % of the size, and its errors are less than a tenth of the logits' spread."""
    images = [photo(48, 64, seed)[0] for seed in range(8)]
    whole = export_model(tiny, tmp_path / f"whole-{NAMES[format]}", size=(48, 64))
    small = export_model(tiny, tmp_path / NAMES[format], size=(48, 64), calibration=images)
    assert small.stat().st_size < 0.4 * whole.stat().st_size
    expected = np.asarray(tiny(photo(48, 64, 100)))
    found = RUNTIMES[format](small)(photo(48, 64, 100))
    assert 0 < np.abs(found - expected).mean() < 0.1 * expected.std()


@pytest.mark.parametrize("format", ["onnx", "litert"])
def test_int8_from_photographs_of_any_kind(format, tiny, tmp_path):
    """They are scaled until they cover the size, and then cut. Images that we scale and cut here give the same file."""
    whole = photo(96, 160, 0)[0].repeat(2, 0).repeat(2, 1).astype("uint8")  # 192 x 320: scaled by a third to 64 x 106
    Image.fromarray(whole).save(tmp_path / "a.png")
    Image.fromarray(whole[:, :, 0]).save(tmp_path / "grey.png")
    alpha = np.dstack([whole, np.full(whole.shape[:2], 255, "uint8")])
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    Image.new("RGB", (1, 1), (9, 8, 7)).save(tmp_path / "tiny.png")
    by_hand = [
        np.asarray(Image.fromarray(x).resize((64, 64), Image.Resampling.BILINEAR, box=(64, 0, 256, 192)))
        for x in (whole, whole[:, :, :1].repeat(3, 2), whole)
    ] + [np.full((64, 64, 3), (9, 8, 7), "uint8")]
    files = [tmp_path / f"{name}.png" for name in ("a", "grey", "alpha", "tiny")]
    images = [
        RUNTIMES[format](export_model(tiny, tmp_path / NAMES[format], size=(64, 64), calibration=given))(photo(64, 64))
        for given in (files, by_hand)
    ]
    np.testing.assert_array_equal(*images)


def test_int8_of_any_size(tiny, tmp_path):
    """The images for calibration have different sizes. A large one is scaled down."""
    images = [photo(48, 64)[0], photo(30, 20, 1)[0], photo(8, 2000, 2)[0]]
    found = run_onnx(export_model(tiny, tmp_path / "net.onnx", calibration=images))(photo(40, 50, 100))
    expected = np.asarray(tiny(photo(40, 50, 100)))
    assert 0 < np.abs(found - expected).mean() < 0.1 * expected.std()


def test_int8_of_a_model_of_one_size(tmp_path):
    image = keras.Input((16, 24, 3))
    fixed = keras.Model(image, keras.layers.Conv2D(2, 1)(image), name="fixed")
    found = run_onnx(export_model(fixed, tmp_path / "net.onnx", calibration=[photo(50, 50)[0]]))(photo(16, 24))
    assert found.shape == (1, 16, 24, 2)


@pytest.mark.parametrize("words", [["net.tflite", "--size", "24", "32"], ["net.onnx"]])
def test_the_command_calibrates_on_a_folder_of_photographs(words, tmp_path, capsys):
    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.Conv2D(2, 3, padding="same")(image)).save(tmp_path / "tiny.keras")
    (tmp_path / "photos").mkdir()
    command = ["export", str(tmp_path / "tiny.keras"), str(tmp_path / words[0]), *words[1:]]
    command += ["--calibration", str(tmp_path / "photos")]
    assert main(command) == 2 and "photos holds no image: expected files" in capsys.readouterr().err
    for number, size in enumerate([(100, 40), (20, 20), (32, 24)]):
        Image.fromarray(photo(*size)[0].astype("uint8")).save(tmp_path / "photos" / f"{number}.jpg")
    assert main([*command, "--json"]) == 0
    assert '"int8": true' in capsys.readouterr().out
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no picture")
    assert main(command) == 2
    assert "broken.jpg' cannot be read as an image" in capsys.readouterr().err


def test_an_export_replaces_an_export_and_nothing_else(tiny, tmp_path):
    folder = export_model(tiny, tmp_path / "net")
    export_model(tiny, folder, labels=True)
    assert run_saved_model(folder)(photo(5, 6)).dtype == "uint8"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("kept")
    with pytest.raises(ValueError, match="is not a SavedModel"):
        export_model(tiny, tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "kept"


def test_a_failed_export_leaves_what_was_there(tiny, tmp_path):
    path = export_model(tiny, tmp_path / "net.tflite", size=(32, 32))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"The image has shape \(32, 32\): expected \(H, W, 3\)"):
        export_model(tiny, path, size=(32, 32), calibration=[np.zeros((32, 32))])
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["net.tflite"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("net.pb", {}, r"path .*net.pb.* and format None: expected one of onnx, openvino, litert, saved_model"),
        ("net.onnx", {"format": "litert"}, "format 'litert'"),
        ("net.onnx", {"format": "coreml"}, "format 'coreml'"),
        ("net.xml", {"calibration": [photo(8, 8)[0]]}, "calibration for openvino: expected onnx or litert"),
        ("net.tflite", {"calibration": [photo(8, 8)[0]]}, r"without a size. Fix: pass size=\(height, width\)"),
        ("net.onnx", {"calibration": []}, "no image to calibrate with: expected images"),
        ("net.onnx", {"calibration": "photos"}, "type str: expected a list of images, paths or arrays"),
        ("net.onnx", {"calibration": photo(8, 8)[0]}, "calibration of type ndarray: expected a list"),
        ("net.onnx", {"size": (0, 8)}, r"size=\(0, 8\): expected \(height, width\) in pixels, each at least 1"),
        ("net.onnx", {"size": 8}, "size=8: expected"),
    ],
)
def test_what_cannot_be(name, options, message, tiny, tmp_path):
    with pytest.raises(ValueError, match=message):
        export_model(tiny, tmp_path / name, **options)


@pytest.mark.parametrize("format", ["openvino", "litert"])
def test_what_a_converter_refuses_is_told_in_one_line(format, tmp_path):
    class Python(keras.layers.Layer):
        def call(self, x):
            import tensorflow as tf

            return tf.ensure_shape(tf.py_function(lambda y: y, [x], tf.float32), x.shape)

    image = keras.Input((None, None, 3))
    model = keras.Model(image, Python()(image), name="odd")
    path = tmp_path / NAMES[format]
    path.write_bytes(b"of before")
    with pytest.raises(ValueError, match=rf"^odd cannot be written as {format}: .*Fix: choose another format") as told:
        export_model(model, path)
    assert "\n" not in str(told.value)
    assert path.read_bytes() == b"of before" and list(tmp_path.iterdir()) == [path]


def test_a_model_of_one_size_keeps_it(tmp_path):
    image = keras.Input((16, 24, 3))
    fixed = keras.Model(image, keras.layers.Conv2D(2, 1)(image), name="fixed")
    with pytest.raises(ValueError, match="fixed takes images of 16 x 24 only, the size to export for is 32 x 32"):
        export_model(fixed, tmp_path / "net.onnx", size=(32, 32))
    run = run_onnx(export_model(fixed, tmp_path / "net.onnx"))
    np.testing.assert_allclose(run(photo(16, 24)), fixed(photo(16, 24)), rtol=1e-4, atol=1e-3)


def test_missing_packages_give_the_line_for_pip(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(ImportError, match=r'openvino needs openvino.*pip install "fcn-keras\[export\]"'):
        export_model(tiny, tmp_path / "net.xml")


def test_nothing_of_it_is_loaded_unless_asked():
    import subprocess
    import sys

    code = "import sys, fcn_keras; assert not {'onnx', 'openvino', 'onnxruntime', 'tf2onnx'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
