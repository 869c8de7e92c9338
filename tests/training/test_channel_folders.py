"""Folders of images with any channels: from the files through the command line to masks; and what is refused."""

import dataclasses
import json
import struct
import sys
import zlib

import numpy as np
import pytest
import stand_ins
import tensorflow as tf
from PIL import Image

import fcn_keras
from fcn_keras.cli import main
from fcn_keras.datasets.channels import read_pixels, read_stored
from fcn_keras.datasets.check import check
from fcn_keras.datasets.folder import make_builder
from fcn_keras.inference.predictor import get_predictor
from fcn_keras.models.channels import get_ranges
from fcn_keras.training import RECIPES, train

NAMES = [f"{number:02d}" for number in range(12)]
SMALL = ["--backbone", "mini_vgg", "--size", "48", "64", "--batch", "2", "--epochs", "16", "--learning-rate", "3e-3"]
SMALL += ["--scales", "1", "1", "--ema", "0"]


def write_png(path, values):
    """A PNG of 8 or 16 bits with any of the channels that PNG has, without a library."""
    height, width, channels = values.shape
    bits = 8 * values.dtype.itemsize
    rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in values)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def write_tiff(path, values):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")


def write_npy(path, values):
    np.save(path, values)


def scene(name):
    ids = np.zeros((48, 64), "uint8")
    generator = np.random.default_rng(int(name))
    for _ in range(2):
        top, left = generator.integers(0, 28), generator.integers(0, 40)
        ids[top : top + 18, left : left + 22] = 1
    return ids


def make_image(name, ids, low, high, channels, dtype):
    """The object only shows in the last channel. The others hold noise. The first row reaches from low to high."""
    noise = 0.5 + np.random.default_rng(int(name)).uniform(-0.1, 0.1, (*ids.shape, channels))
    noise[..., -1] += 0.5 * ids - 0.25
    noise[0, :8], noise[0, 8:16] = 0, 1
    return (low + noise * (np.asarray(high) - low)).astype(dtype)


def write_folder(root, write, suffix, low, high, channels, dtype, ranges=None):
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name in NAMES:
        ids = scene(name)
        write(root / "images" / f"{name}{suffix}", make_image(name, ids, low, high, channels, dtype))
        Image.fromarray(ids).save(root / "masks" / f"{name}.png")
    stand_ins.write_list(root / "train.txt", NAMES[:8])
    stand_ins.write_list(root / "validation.txt", NAMES[8:])
    (root / "classes.txt").write_text("ground\nobject\n")
    if ranges:
        (root / "ranges.txt").write_text("\n".join(f"{low} {high}" for low, high in ranges))
    return root


CASES = {
    "RGBA": (write_png, ".png", 0, 255, 4, "uint8", [(0, 255)] * 4),
    "grey of 12 bits": (write_png, ".png", 0, 4095, 1, "uint16", None),
    "colours of 16 bits": (write_png, ".png", 1000, 9000, 3, "uint16", None),
    "five floats": (write_npy, ".npy", -0.5, [1, 2, 3, 4, 5], 5, "float32", None),
    "four bands": (write_tiff, ".tif", 100, 2000, 4, "uint16", None),
}


@pytest.fixture(scope="module", params=CASES)
def trained(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param.replace(" ", "_"))
    folder = write_folder(root / "mine", *CASES[request.param])
    words = ["train", str(folder), "--directory", str(root / "run"), "--data-dir", str(root / "data"), *SMALL]
    assert main(words) == 0
    return CASES[request.param], folder, root


def test_from_files_to_masks(trained, tmp_path, capsys):
    (_, suffix, _, _, channels, _, stated), folder, root = trained
    model = root / "run" / "last.keras"
    net = fcn_keras.load_model(model)
    ranges = np.array(get_ranges(net))
    assert net.input_shape == (None, None, None, channels)
    if stated:
        np.testing.assert_array_equal(ranges, stated)
    else:
        images = [read_stored(folder / "images" / f"{name}{suffix}") for name in NAMES[:8]]
        measured = [np.percentile(image.reshape(-1, channels), (0.1, 99.9), axis=0) for image in images]
        wanted = np.stack([np.min(measured, 0)[0], np.max(measured, 0)[1]], axis=-1)
        np.testing.assert_allclose(ranges, wanted, rtol=1e-6)
    config = json.loads((root / "run" / "config.json").read_text())
    np.testing.assert_allclose(config["channels"], ranges, rtol=1e-6)
    images = folder / "images"
    assert (
        main(["segment", str(model), str(images), "--out", str(tmp_path / "masks"), "--overlays", "--tile", "32"]) == 0
    )
    shares = []
    for name in NAMES[8:]:
        mask = np.asarray(Image.open(tmp_path / "masks" / f"{name}.png"))
        np.testing.assert_array_equal(mask, fcn_keras.segment(net, read_stored(images / f"{name}{suffix}")))
        both = (mask == 1) & (scene(name) == 1)
        shares.append(both.sum() / ((mask == 1) | (scene(name) == 1)).sum())
        assert (tmp_path / "masks" / f"{name}.overlay.jpg").exists()
    assert np.mean(shares) > 0.5, shares
    capsys.readouterr()
    for extra in ([], ["--flip", "--scale", "1"]):
        assert main(["evaluate", str(model), str(folder), "--data-dir", str(root / "data"), "--json", *extra]) == 0
        assert json.loads(capsys.readouterr().out)["mean_iou"] > 0.6


def test_the_batches_are_the_values_of_the_files(trained):
    (_, suffix, _, _, _, dtype, _), folder, root = trained
    builder = make_builder(folder, data_dir=root / "data")
    batches = fcn_keras.datasets.load(builder, "validation")
    examples = builder.as_dataset(split="validation")
    assert next(iter(examples))["image"].dtype == dtype
    for example, (image, mask) in zip(examples, batches, strict=True):
        name = example["file_name"].numpy().decode()
        np.testing.assert_array_equal(image, read_stored(folder / "images" / name))
        np.testing.assert_array_equal(mask, scene(name.removesuffix(suffix)))


def test_an_export_gives_the_same_logits(trained, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    (_, suffix, _, _, _, dtype, _), folder, root = trained
    net = fcn_keras.load_model(root / "run" / "last.keras")
    image = read_stored(folder / "images" / f"00{suffix}")[None].astype("float32")
    session = runtime.InferenceSession(fcn_keras.export_model(net, tmp_path / "net.onnx"))
    found, wanted = session.run(None, {"image": image})[0], np.asarray(net(image))
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())
    if dtype != "float32":  # one is enough, because it takes long
        return
    files = [folder / "images" / f"{name}{suffix}" for name in NAMES]
    small = fcn_keras.export_model(net, tmp_path / "int8.onnx", size=(48, 64), calibration=files)
    found = runtime.InferenceSession(small).run(None, {"image": image})[0]
    assert np.mean(found.argmax(-1) == wanted.argmax(-1)) > 0.9


def test_what_was_found_is_said_on_one_line(tmp_path, capsys):
    folder = write_folder(tmp_path / "mine", write_npy, ".npy", 0, [10, 3], 2, "float32", [(0, 10), (0.5, 3)])
    words = ["train", str(folder), "--directory", str(tmp_path / "run"), "--data-dir", str(tmp_path / "data")]
    assert main([*words, *SMALL, "--epochs", "1"]) == 0
    told = capsys.readouterr().err
    assert "Images of 2 channels, from low to high: 0–10, 0.5–3.\n" in told
    report = str(check(folder, progress=False))
    assert "Images of type float32 with 2 channels, from low to high: 0–10, 0.5–3." in report


def refuse(folder, tmp_path, match):
    """Both check and train name the problem."""
    report = check(folder, progress=False)
    assert not report.ok
    with pytest.raises(ValueError, match=match):
        make_builder(folder, data_dir=tmp_path / "data")
    assert "Fix: " in str(report)
    return str(report)


def test_files_with_other_channels_or_types_are_refused(tmp_path):
    folder = write_folder(tmp_path / "mine", write_npy, ".npy", 0, 9, 4, "float32")
    np.save(folder / "images" / "03.npy", np.zeros((48, 64, 3), "float32"))
    np.save(folder / "images" / "05.npy", np.zeros((48, 64, 4), "uint16"))
    told = refuse(folder, tmp_path, r"expected 4 of type float32\. Fix: (.|\n)*03\.npy: 3 of type float32")
    assert "05.npy: 4 of type uint16" in told


def test_nan_and_infinity_are_refused(tmp_path):
    folder = write_folder(tmp_path / "mine", write_npy, ".npy", 0, 9, 4, "float32")
    image = np.load(folder / "images" / "03.npy")
    image[0, :, 2] = np.nan
    np.save(folder / "images" / "03.npy", image)
    refuse(folder, tmp_path, r"03\.npy: holds NaN or infinite values in 2\.08% of its pixels: expected numbers\. Fix: ")
    net = fcn_keras.FCN32s(2, "mini_vgg", weights=None, channels=4)
    with pytest.raises(ValueError, match=r"holds NaN or infinite values in 2\.08% of its pixels: expected.*Fix: "):
        fcn_keras.segment(net, image)


def test_a_constant_channel_is_refused(tmp_path):
    folder = write_folder(tmp_path / "mine", write_npy, ".npy", 0, [9, 0, 9], 3, "float32")
    report = check(folder, progress=False)
    assert "Channel 1 is 0 in all training images: expected at least two values. Fix: remove" in str(report)
    words = ["train", str(folder), "--directory", str(tmp_path / "run"), "--data-dir", str(tmp_path / "data")]
    assert main([*words, *SMALL]) == 2
    assert main([*words, *SMALL, "--epochs", "1", "--force"]) == 0
    assert get_ranges(fcn_keras.load_model(tmp_path / "run" / "last.keras"))[1] == [0, 1]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["0 255"] * 3, r"expected 3 of type float32, as ranges\.txt has lines"),
        (["0 255"] * 3 + ["5 5"], r"line 4 is '5 5': expected two numbers"),
        (["0 255"] * 3 + ["depth"], r"line 4 is 'depth': expected two numbers"),
        (["0 255"] * 3 + ["nan 1"], r"line 4 is 'nan 1': expected two numbers"),
        (["0 255", "", "0 1", "0 1"], r"line 2 is '': expected two numbers"),
    ],
)
def test_wrong_ranges_are_refused(tmp_path, lines, told):
    folder = write_folder(tmp_path / "mine", write_npy, ".npy", 0, 9, 4, "float32")
    (folder / "ranges.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=told):
        make_builder(folder, data_dir=tmp_path / "data")
    assert not check(folder, progress=False).ok


def test_images_with_other_channels_than_the_net_are_refused(tmp_path, capsys):
    four = fcn_keras.FCN32s(2, "mini_vgg", weights=None, channels=4)
    rgb = np.random.default_rng(0).integers(0, 255, (40, 50, 3), "uint8")
    Image.fromarray(rgb).save(tmp_path / "photo.jpg")
    Image.fromarray(rgb).save(tmp_path / "photo.png")
    for image in (rgb, tmp_path / "photo.jpg", tmp_path / "photo.png"):
        with pytest.raises(ValueError, match=r"has the shape \(40, 50, 3\): expected \(H, W, 4\)\. Fix: "):
            fcn_keras.segment(four, image)
    with pytest.raises(ValueError, match=r"expected \(H, W, 4\)\. Fix: np\.moveaxis"):
        fcn_keras.segment(four, np.zeros((4, 40, 50), "uint8"))
    four.save(tmp_path / "four.keras")
    words = ["segment", str(tmp_path / "four.keras"), str(tmp_path / "photo.jpg"), "--out", str(tmp_path / "masks")]
    assert main(words) == 1 and "expected (H, W, 4). Fix:" in capsys.readouterr().out
    data = tf.data.Dataset.from_tensors((rgb[None].astype("float32"), rgb[None, ..., 0] * 0))
    with pytest.raises(ValueError, match=r"images with 3 channels: expected 4.*Fix: "):
        fcn_keras.evaluate(four, data)


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (
            np.full((9, 9, 1), 60000, "uint16"),
            r"runs from 60000 to 60000: expected 1 channel, from low to high: 0–4000",
        ),
        (np.full((9, 9), -9999, "float32"), r"runs from -9999 to -9999: expected .* Fix: .*without scaling"),
        (np.full((9, 9), 200, "uint8"), r"is of type uint8 and runs from 200 to 200: expected"),
        (np.full((9, 9), 5, "int64"), r"numbers of type int64: expected uint8, uint16 or float32\. Fix: "),
        (np.zeros((9, 9, 1, 1), "uint16"), r"shape \(9, 9, 1, 1\): expected \(H, W, channels\)\. Fix: "),
        (np.zeros((0, 9, 1), "uint16"), r"shape \(0, 9, 1\)"),
    ],
)
def test_values_of_another_kind_are_refused(image, told):
    with pytest.raises(ValueError, match=told):
        read_pixels(image, [(0, 4000)])


def test_values_that_were_scaled_are_told():
    with pytest.warns(UserWarning, match=r"runs from 0\.5 to 0\.5: expected .*lowest 1/255"):
        read_pixels(np.full((9, 9), 0.5, "float32"), [(0, 4000)])
    with pytest.warns(
        UserWarning, match=r"The first images run from 0 to 0\.9.*the ranges \[\[0\.0, 4000\.0\]\]\. Fix: "
    ):
        net = fcn_keras.FCN32s(2, "mini_vgg", weights=None, channels=[(0, 4000)])
        net.compile("sgd", fcn_keras.PixelCrossentropy())
        net.fit(
            np.linspace(0, 0.9, 1024, dtype="float32").reshape(1, 32, 32, 1), np.ones((1, 32, 32), "uint8"), verbose=0
        )
    assert read_pixels(np.full((9, 9), 5000, "uint16"), [(0, 4000)]).max() == 5000  # bright, but of the same kind


def test_damaged_files_are_named(tmp_path):
    for name, content in {"a.npy": b"\x93NUMPY", "b.npy": b"", "c.png": b"\x89PNG\r\n\x1a\n" + b"x" * 40}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}' cannot be read as an image: it is damaged.*Fix: "):
            read_stored(tmp_path / name)
    np.save(tmp_path / "d.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"d\.npy' cannot be read as an image: .*holds no array of numbers.*Fix: "):
        read_stored(tmp_path / "d.npy")
    with pytest.raises(ValueError, match="No image file"):
        read_stored(tmp_path / "nothing.npy")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_is_read_as_it_is_stored(tmp_path, channels, dtype):
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (7, 9, channels), dtype)
    write_png(tmp_path / "a.png", values)
    found = read_stored(tmp_path / "a.png")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("order", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [">u2", "<u2", "uint8", "float32", "float64", "int16"])
def test_tiff_is_read_as_it_is_stored(tmp_path, order, dtype):
    tifffile = pytest.importorskip("tifffile")
    values = np.random.default_rng(0).integers(0, 200, (7, 9, 5)).astype(dtype)
    stored = values if order == "contig" else np.moveaxis(values, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, planarconfig=order, photometric="minisblack", compression="zlib")
    found = read_stored(tmp_path / "a.tif")
    assert found.dtype == {"u2": "uint16", "t8": "uint8"}.get(dtype[-2:], "float32") and found.dtype.isnative
    np.testing.assert_array_equal(found, values)


def test_pages_of_a_tiff_are_refused(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 7, 9), "uint16"), photometric="minisblack")
    with pytest.raises(ValueError, match=r"a\.tif' cannot be read as an image: it holds several pictures.*Fix: "):
        read_stored(tmp_path / "a.tif")
    (tmp_path / "b.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"b\.tif' cannot be read as an image: it is damaged\. Fix: "):
        read_stored(tmp_path / "b.tif")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    Image.fromarray(np.zeros((7, 9), "uint16")).save(tmp_path / "a.tif")
    with pytest.raises(
        ValueError, match=r"a\.tif' cannot be read as an image: .*Fix: pip install \"fcn-keras\[tiff\]\""
    ):
        read_stored(tmp_path / "a.tif")


def test_a_folder_of_arrays_in_rgb_is_a_folder_of_photographs(tmp_path):
    folder = write_folder(tmp_path / "mine", write_npy, ".npy", 0, 255, 3, "uint8")
    words = ["train", str(folder), "--directory", str(tmp_path / "run"), "--data-dir", str(tmp_path / "data")]
    assert main([*words, *SMALL, "--epochs", "1"]) == 0
    net = fcn_keras.load_model(tmp_path / "run" / "last.keras")
    assert get_predictor(net).ranges is None and "scaling" not in [layer.name for layer in net.layers]
    assert main(["segment", str(tmp_path / "run" / "last.keras"), str(folder), "--out", str(tmp_path / "out")]) == 0
    np.save(folder / "images" / "03.npy", np.zeros((48, 64, 4), "uint8"))
    assert "03.npy: 4 of type uint8" in str(check(folder, progress=False))


def test_an_array_among_photographs_is_read(tmp_path):
    folder = write_folder(tmp_path / "mine", write_png, ".png", 0, 255, 3, "uint8")
    values = make_image("03", scene("03"), 0, 255, 3, "uint8")
    (folder / "images" / "03.png").unlink()
    np.save(folder / "images" / "03.npy", values)
    assert check(folder, progress=False).ok
    builder = fcn_keras.datasets.prepare(str(folder), data_dir=tmp_path / "data")
    stored = {str(e["file_name"].numpy(), "utf8"): e["image"].numpy() for e in builder.as_dataset(split="train")}
    np.testing.assert_array_equal(stored["03.npy"], values)


def test_batches_of_your_own_take_channels(tmp_path):
    recipe = dataclasses.replace(RECIPES["light"], backbone="mini_vgg", epochs=1, class_weights="none")
    image = np.random.default_rng(0).uniform(0, 10, (2, 48, 64, 2)).astype("float32")
    data = tf.data.Dataset.from_tensors((image, np.stack([scene("00"), scene("01")])))
    options = {"class_names": ["ground", "object"], "channels": [(0, 10), (0, 20)], "samples": 1, "verbose": 0}
    for _ in range(2):  # the second call finds the same settings
        run = train(recipe, (data, data), tmp_path / "run", **options)
    assert get_ranges(run.model()) == [[0, 10], [0, 20]]
    with pytest.raises(ValueError, match=r"channels is \[\[0, 10\], \[0, 20\]\] there"):
        train(recipe, (data, data), tmp_path / "run", **options | {"channels": [(0, 10), (0, 30)]})
    with pytest.raises(ValueError, match="channels for 'shapes', which has its own"):
        train(recipe, "shapes", tmp_path / "other", channels=2)
