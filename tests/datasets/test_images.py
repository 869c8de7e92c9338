"""Reads images from files and arrays."""

import os
import struct
import zlib

import keras
import numpy as np
import pytest
from PIL import Image

from fcn_keras.datasets.images import list_images, read_image, walk
from fcn_keras.layers.labels import to_numpy


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), "uint8")


def test_png_in_rgb(tmp_path):
    image = photo(5, 7)
    path = tmp_path / "rgb.png"
    Image.fromarray(image).save(path)
    np.testing.assert_array_equal(read_image(path), image)
    np.testing.assert_array_equal(read_image(str(path)), image)


def test_grey_file_is_repeated(tmp_path):
    grey = photo(5, 7)[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.stack([grey] * 3, -1))


def test_palette_file_is_looked_up(tmp_path):
    colors = np.array([[0, 0, 0], [10, 200, 30], [250, 1, 99]], "uint8")
    ids = np.array([[0, 1, 2], [2, 1, 0]], "uint8")
    image = Image.fromarray(ids)
    image.putpalette(colors.tobytes())
    image.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), colors[ids])


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
    ("cast", "dtype"), [(np.float64, "float32"), (np.int64, "uint8"), (keras.ops.convert_to_tensor, "uint8")]
)
def test_arrays_become_bytes_or_floats(cast, dtype):
    image = read_image(cast(photo(5, 7)))
    assert image.dtype == dtype
    np.testing.assert_array_equal(image, photo(5, 7))


def test_arrays_are_not_copied(tmp_path):
    image = photo(5, 7)
    assert np.shares_memory(read_image(image), image)
    image.tofile(tmp_path / "image")
    assert isinstance(read_image(np.memmap(tmp_path / "image", "uint8", "r", shape=(5, 7, 3))), np.memmap)


def test_torch_images_on_the_gradient_tape():
    torch = pytest.importorskip("torch", reason="takes PyTorch's tensors, and it is not installed")
    tensor = torch.tensor(photo(6, 4).astype("float32"), requires_grad=True)
    assert isinstance(to_numpy(tensor), np.ndarray)
    np.testing.assert_array_equal(read_image(tensor), photo(6, 4))


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
        (np.full((4, 4, 3), -103.9), "without preprocessing"),
        (np.full((4, 4, 3), 300), "300"),
        (np.zeros((4, 4, 3), bool), "bool"),
    ],
)
def test_bad_arrays(image, message):
    with pytest.raises(ValueError, match=message):
        read_image(image)


def test_black_float_image_is_an_image():
    assert (read_image(np.zeros((4, 4, 3), "float32")) == 0).all()


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


def test_files_larger_than_pil_trusts(tmp_path, monkeypatch):
    Image.fromarray(photo(64, 64)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"large\.png.*MAX_IMAGE_PIXELS = None, or pass an array"):
        read_image(tmp_path / "large.png")


def declared(path, width, height):
    """A PNG of a hundred bytes whose header declares any size."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(100))),
        (b"IEND", b""),
    ]
    body = b"".join(struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("size", [(20_000, 9_000), (2**32 - 1, 1), (2**31 - 1, 2**31 - 1)])
def test_headers_too_large_are_refused_undecoded(tmp_path, size):
    with pytest.raises(ValueError, match=r"bomb\.png.*larger than Pillow reads"):
        read_image(declared(tmp_path / "bomb.png", *size))


@pytest.mark.parametrize("size", [(100, 100), (12_000, 9_000), (0, 5)])
def test_headers_that_lie_are_damage(tmp_path, size):
    with pytest.raises(ValueError, match=r"lies\.png.*cannot be read as an image"):
        read_image(declared(tmp_path / "lies.png", *size))


def test_eight_thousand_by_six_thousand_is_read(tmp_path):
    Image.new("1", (8000, 6000)).save(tmp_path / "large.png")
    assert read_image(tmp_path / "large.png").shape == (6000, 8000, 3)


def test_pipes_and_devices_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "device.png", "\0"):
        with pytest.raises(ValueError, match="No image file at"):
            read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("mode", "suffix"), [("CMYK", "jpg"), ("YCbCr", "jpg"), ("LA", "png"), ("1", "png"), ("L", "gif")]
)
def test_other_modes_become_rgb(tmp_path, mode, suffix):
    path = tmp_path / f"image.{suffix}"
    Image.new("RGB", (8, 8), "white").convert("RGBA" if mode == "LA" else "RGB").convert(mode).save(path)
    assert (read_image(path) >= 254).all()


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp"])
def test_files_cut_off_anywhere_are_read_or_refused(tmp_path, suffix):
    Image.fromarray(photo(40, 50)).save(tmp_path / f"whole.{suffix}")
    content = (tmp_path / f"whole.{suffix}").read_bytes()
    refused = 0
    for share in range(10):
        (tmp_path / f"cut.{suffix}").write_bytes(content[: share * len(content) // 10])
        try:
            assert read_image(tmp_path / f"cut.{suffix}").shape == (40, 50, 3)
        except ValueError as error:
            assert "cannot be read as an image" in str(error)
            refused += 1
    assert refused >= 9


def test_kinds_of_files_that_would_start_another_program_are_not_opened(tmp_path, monkeypatch):
    (tmp_path / "photo.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF")
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: pytest.fail("Ghostscript was started"))
    with pytest.raises(ValueError, match=r"photo\.jpg' cannot be read as an image"):
        read_image(tmp_path / "photo.jpg")


# --- folders ---


def test_a_folder_is_walked_without_hidden_files_and_without_following_links(tmp_path):
    root, outside = tmp_path / "photos", tmp_path / "outside"
    for path in (root / "b" / "2.JPG", root / "1.png", root / ".hidden" / "3.png", root / ".4.png", outside / "5.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (root / "notes.txt").touch()
    (root / "folder.png").mkdir()
    (root / "link").symlink_to(outside)
    (root / "broken.png").symlink_to(tmp_path / "nowhere.png")
    found = [path.relative_to(root).as_posix() for path in walk(root)]
    assert found == ["1.png", "b", "broken.png", "folder.png", "link", "notes.txt", "b/2.JPG"]
    names = [path.relative_to(root).as_posix() for path in list_images(root)]
    assert names == ["1.png", "b/2.JPG", "broken.png"]
    assert [path.name for path in list_images(root, (".jpg",))] == ["2.JPG"]


def test_folders_that_may_not_be_read_are_told(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    scandir, told = os.scandir, []

    def closed(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert [path.name for path in walk(tmp_path, told.append)] == ["closed"]
    assert [error.filename for error in told] == [str(tmp_path / "closed")]
