"""Image files whose conversion to RGB would be a guess: each is read rightly, or named and refused."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from fcn_keras.datasets.check import check
from fcn_keras.datasets.folder import make_builder
from fcn_keras.datasets.images import UNREAD, VIDEOS, read_image


def photo(seed=0, channels=3):
    return np.random.default_rng(seed).integers(1, 255, (12, 16, channels), "uint8")


def write_deep_png(path, values, kind):
    """Writes 16 bits for each channel, which Pillow cannot do."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
    body = b"".join(
        struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in [*chunks, (b"IEND", b"")]
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def write_tiff(path, values, planar=1):
    """Writes an uncompressed TIFF of 16 bits, band by band if `planar` is 2."""
    height, width, channels = values.shape
    bands = [values] if planar == 1 else [values[..., i] for i in range(channels)]
    data = [np.ascontiguousarray(band).tobytes() for band in bands]
    tags = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    tags[256], tags[257], tags[258], tags[259], tags[262] = width, height, (16,) * channels, 1, 2
    tags[277], tags[278], tags[284] = channels, height, planar
    tags[279] = tuple(len(part) for part in data)
    with open(path, "wb") as file:
        file.write(b"II*\0" + struct.pack("<I", 8))
        length = len(tags.tobytes(8)) if len(data) == 1 else 2000
        places = [4000 + sum(map(len, data[:i])) for i in range(len(data))]
        tags[273] = tuple(places)
        assert length <= 2000
        file.write(tags.tobytes(8).ljust(4000 - 8, b"\0"))
        file.writelines(data)


def write_refused(folder, kind):
    path = folder / {"deep png": "a.png", "deep alpha": "a.png", "webp": "a.webp", "gif": "a.gif", "apng": "a.png"}.get(
        kind, "a.tif"
    )
    twelve = photo().astype("uint16") * 16
    frames = [Image.fromarray(photo(i)) for i in range(3)]
    if kind == "deep png":
        write_deep_png(path, twelve, 2)
    elif kind == "deep alpha":
        write_deep_png(path, np.dstack([twelve, np.full((12, 16), 65535)]), 6)
    elif kind in ("deep tiff", "deep planar tiff"):
        write_tiff(path, twelve, 2 if "planar" in kind else 1)
    elif kind in ("infrared", "infrared, unmarked"):
        Image.fromarray(photo(channels=4)).save(path)
        if "unmarked" in kind:  # without the tag that says what the fourth band is
            path.write_bytes(path.read_bytes().replace(struct.pack("<HH", 338, 3), struct.pack("<HH", 65000, 3)))
    else:
        frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


KINDS = {
    "deep png": "more than 8 bits",
    "deep alpha": "more than 8 bits",
    "deep tiff": "more than 8 bits",
    "deep planar tiff": "more than 8 bits",
    "infrared": "near infrared",
    "infrared, unmarked": "near infrared",
    "pages": "holds 3 pictures",
    "webp": "holds 3 pictures",
    "gif": "holds 3 pictures",
    "apng": "holds 3 pictures",
}


@pytest.mark.parametrize(("kind", "told"), KINDS.items())
def test_files_that_would_be_read_by_a_guess_are_refused(tmp_path, kind, told):
    path = write_refused(tmp_path, kind)
    with pytest.raises(ValueError, match=rf"a\.\w+' cannot be read as an image: .*{told}.*Fix: "):
        read_image(path)


@pytest.mark.parametrize("suffix", [*UNREAD, *VIDEOS])
def test_formats_that_are_not_read_are_named(tmp_path, suffix):
    path = tmp_path / f"a{suffix.upper()}"
    Image.fromarray(photo()).save(path, "TIFF")  # a .dng holds a preview that Pillow would take for the image
    with pytest.raises(ValueError, match=rf"a{suffix.upper()}' cannot be read as an image: .*Fix: "):
        read_image(path)


@pytest.mark.parametrize(("suffix", "kind"), [(".jfif", "JPEG"), (".ppm", "PPM"), (".gif", "GIF"), (".tif", "TIFF")])
def test_other_endings_are_read(tmp_path, suffix, kind):
    colors = np.array([[[250, 3, 3], [5, 5, 250]]], "uint8").repeat(8, 0).repeat(8, 1)
    Image.fromarray(colors).save(tmp_path / f"a{suffix}", kind)
    assert np.abs(read_image(tmp_path / f"a{suffix}").astype(int) - colors).mean() < 12


def test_previews_and_smaller_copies_are_no_further_pictures(tmp_path):
    image = photo()
    small = Image.fromarray(image[::2, ::2])
    Image.fromarray(image).save(tmp_path / "phone.jpg", "MPO", save_all=True, append_images=[small], quality=100)
    assert read_image(tmp_path / "phone.jpg").shape == image.shape
    with TiffImagePlugin.AppendingTiffWriter(tmp_path / "overviews.tif", True) as file:
        Image.fromarray(image).save(file, "TIFF")
        file.newFrame()
        small.save(file, "TIFF", tiffinfo={254: 1})
    np.testing.assert_array_equal(read_image(tmp_path / "overviews.tif"), image)


def test_soft_edges_of_a_cut_out_are_transparency(tmp_path):
    pixels = np.zeros((40, 40, 4), "uint8")
    pixels[10:30, 10:30, 3] = 255
    pixels[9:31, 9, 3] = 128
    Image.fromarray(pixels).save(tmp_path / "cut_out.png")
    assert read_image(tmp_path / "cut_out.png")[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("kind", ["deep png", "infrared", "pages", "heic"])
def test_check_and_train_name_them(tmp_path, kind):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name in "abcdefgh":
        Image.fromarray(photo(ord(name))).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(np.eye(12, 16, dtype="uint8")).save(tmp_path / "masks" / f"{name}.png")
    (tmp_path / "images" / "a.png").unlink()
    if kind == "heic":
        (tmp_path / "images" / "a.heic").write_bytes(b"ftypheic")
        path = tmp_path / "images" / "a.heic"
    else:
        path = write_refused(tmp_path / "images", kind)
    report = check(tmp_path, progress=False)
    found = [file for one in report.findings if one.kind == "image" for file, _ in one.files]
    assert found == [str(path)] and not report.ok
    with pytest.raises(ValueError, match=path.name):
        make_builder(tmp_path, data_dir=tmp_path / "data")
