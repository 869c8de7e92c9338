"""More than two hundred damaged inputs: the check reports every one, and none crashes it or makes it hang."""

import io
import os
import pathlib
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
import test_check as sound

from fcn_keras.datasets import load
from fcn_keras.datasets.check import check

CASES = {}
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype("uint8")


def encoded(array, kind, **options):
    file = io.BytesIO()
    PIL.Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


ORIGINAL = {
    ("images", ".jpg"): encoded(PIXELS, "JPEG"),
    ("images", ".png"): encoded(PIXELS, "PNG"),
    ("images", ".tif"): encoded(PIXELS, "TIFF", compression="tiff_lzw"),
    ("masks", ".png"): encoded(sound.blocks("01"), "PNG"),
}


def put(root, folder, suffix, content):
    """Replaces example 01. The content is bytes, or a function that makes something at a path."""
    for path in (root / folder).glob("01.*"):
        path.unlink()
    path = root / folder / f"01{suffix}"
    path.write_bytes(content) if isinstance(content, bytes) else content(path)


def case(name, folder, suffix, content, sure=True):
    CASES[name] = (folder, suffix, content, sure)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width, height):
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


def jpeg_of(width, height):
    whole = bytearray(ORIGINAL["images", ".jpg"])
    at = whole.index(b"\xff\xc0") + 5
    whole[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(whole)


def bmp_of(width, height):
    whole = bytearray(encoded(PIXELS, "BMP"))
    whole[18:26] = struct.pack("<ii", width, height)
    return bytes(whole)


for (folder, suffix), whole in ORIGINAL.items():
    where = f"{folder} {suffix}"
    for i, length in enumerate(np.linspace(1, len(whole) - 1, 22).astype(int)):
        case(f"{where} cut {i}", folder, suffix, whole[:length], sure=length < 0.6 * len(whole))
    generator = np.random.default_rng(len(whole))
    for i in range(22):
        spoilt = bytearray(whole)
        for place in generator.integers(0, len(whole), 1 + i % 4):
            spoilt[place] ^= 1 << generator.integers(0, 8)
        case(f"{where} flipped {i}", folder, suffix, bytes(spoilt), sure=False)
    for length in (1, 4, 8, 12, 16):
        case(f"{where} without its last {length} bytes", folder, suffix, whole[:-length], sure=False)
    for name, content in {
        "nothing": b"",
        "zeros": bytes(500),
        "text": b"this is no picture",
        "a web page": b"<!DOCTYPE html><html>404</html>",
        "a pickle": pickle.dumps({"a": 1}),
        "a pointer of git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "an empty archive": b"PK\x05\x06" + bytes(18),
        "noise": generator.bytes(2000),
        "a huge PNG": png_of(60_000, 60_000),
        "the hugest PNG": png_of(2**31 - 1, 2**31 - 1),
        "a PNG of no width": png_of(0, 40),
        "a huge JPEG": jpeg_of(65_500, 65_500),
        "a huge BMP": bmp_of(100_000, 100_000),
        "a folder": lambda path: path.mkdir(),
        "a pipe": lambda path: os.mkfifo(path),
        "a device": lambda path: path.symlink_to("/dev/zero"),
        "a link to nothing": lambda path: path.symlink_to(path.with_name("nothing.png")),
        "a link to itself": lambda path: path.symlink_to(path),
        "a link out": lambda path: path.symlink_to("/etc/hostname"),
    }.items():
        case(f"{where} {name}", folder, suffix, content)
three = encoded(PIXELS, "TIFF", save_all=True, append_images=[PIL.Image.fromarray(PIXELS)] * 2)
for share in (0.3, 0.4, 0.5, 0.6, 0.7, 0.9):
    case(f"several pictures, cut at {share}", "images", ".tif", three[: int(share * len(three))])
IDS = sound.blocks("01")
for name, content in {
    "16 bits": encoded(IDS.astype("uint16") * 200, "PNG"),
    "RGB": encoded(np.stack([IDS, IDS, 0 * IDS], -1), "PNG"),
    "RGBA": encoded(np.stack([IDS] * 4, -1), "PNG"),
    "grey and alpha": encoded(np.stack([IDS] * 2, -1), "PNG"),
    "floats": encoded(IDS.astype("float32") / 2, "TIFF"),
    "turned": encoded(IDS.T, "PNG"),
    "one pixel": encoded(IDS[:1, :1], "PNG"),
    "void alone": encoded(np.full_like(IDS, 255), "PNG"),
    "JPEG": encoded(IDS, "JPEG"),
}.items():
    case(f"mask of {name}", "masks", ".tif" if name == "floats" else ".png", content)
for name, content in {
    "CMYK": encoded(np.dstack([PIXELS, PIXELS[..., :1]]), "TIFF"),
    "16 bits": encoded(PIXELS[..., 0].astype("uint16") * 200, "PNG"),
    "32 bits": encoded(PIXELS[..., 0].astype("int32"), "TIFF"),
    "floats": encoded(PIXELS[..., 0].astype("float32"), "TIFF"),
    "1 bit": encoded(PIXELS[..., 0] > 99, "PNG"),
    "grey": encoded(PIXELS[..., 0], "PNG"),
    "grey and alpha": encoded(PIXELS[..., :2], "PNG"),
    "colours and alpha": encoded(np.dstack([PIXELS, PIXELS[..., :1]]), "PNG"),
    "several pictures": encoded(PIXELS, "TIFF", save_all=True, append_images=[PIL.Image.fromarray(PIXELS)]),
    "one pixel": encoded(PIXELS[:1, :1], "PNG"),
    "another size": encoded(PIXELS[:, 1:], "PNG"),
}.items():
    case(
        f"image of {name}",
        "images",
        ".tif" if name in ("CMYK", "32 bits", "floats", "several pictures") else ".png",
        content,
    )


def as_good_as_whole(folder, suffix, content):
    """Whether both Pillow and TensorFlow decode the whole file, to the right size and to ids that exist."""
    try:
        with PIL.Image.open(io.BytesIO(content)) as file:
            file.load()
            pixels = np.asarray(file)
    except Exception:
        return False
    if folder == "images" and suffix in (".jpg", ".png"):
        try:
            tf.io.decode_image(content)  # as training will: the bytes of these are kept
        except tf.errors.InvalidArgumentError:
            return False
    return pixels.shape[:2] == (40, 60) and (folder == "images" or set(np.unique(pixels)) <= {0, 1, 2, 255})


@pytest.fixture
def no_hang():
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("the check hangs"))
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture
def root(tmp_path):
    root = sound.write(tmp_path / "mine", sound.NAMES)
    (root / "classes.txt").write_text("a\nb\nc\n")
    return root


def test_there_are_two_hundred():
    assert len(CASES) > 200


@pytest.mark.parametrize("name", CASES)
def test_what_is_damaged_is_named(name, root, no_hang):
    folder, suffix, content, sure = CASES[name]
    put(root, folder, suffix, content)
    report = check(root, progress=False)
    named = {pathlib.Path(file).name for finding in report.findings for file, _ in finding.files}
    found = {n.partition(".")[0] for n in named}
    if sure or not as_good_as_whole(folder, suffix, content):
        assert "01" in found, report
    # There are no findings about other files, except that a list names the missing one, or that a class is missing.
    assert found <= {"01", "train", "c"}, report


@pytest.mark.parametrize("damage", ["truncated", "a link out", "a pipe"])
def test_loading_refuses_what_check_refuses(damage, root, no_hang):
    content = {"truncated": ORIGINAL["images", ".png"][:500]}.get(damage) or CASES[f"images .png {damage}"][2]
    put(root, "images", ".png", content)
    with pytest.raises(ValueError, match=r"01\.png"):
        load("folder", source=root, data_dir=root.parent / "data")


LISTS = {
    "a path out": "00\n../../../../etc/passwd\n",
    "an absolute path": "00\n/etc/passwd\n",
    "a name that is not there": "00\nnowhere\n",
    "a name twice": "00\n00\n",
    "a name of the other list": "00\n09\n",
    "nothing": "",
    "a zero byte": "00\n01\0\n",
    "another encoding": b"00\n\xff\xfe\n",
    "a long line": "00\n" + "x" * 100_000,
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_that_are_wrong_are_told(name, root, no_hang):
    content = LISTS[name]
    (root / "train.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    report = check(root, progress=False)
    assert not report.ok and "lists" in sound.kinds(report, "error"), report


@pytest.mark.parametrize("file", ["train.txt", "classes.txt"])
@pytest.mark.parametrize("kind", ["a pipe", "a device", "a link to nothing", "a link to itself", "a folder"])
def test_text_files_that_are_none(file, kind, root, no_hang):
    (root / file).unlink()
    CASES[f"images .png {kind}"][2](root / file)
    report = check(root, progress=False)
    assert sound.files(report, "lists" if file == "train.txt" else "classes.txt") == {file} and not report.ok


CLASSES = [
    "".join(f"c{i}\n" for i in range(300)).encode(),
    b"",
    b"a\na\n",
    b"a 1 2 300\n",
    b"a 1 2 3\nb\n",
    b"\xff\xfe\0",
    b"a 1 2 3\nb 1 2 3\n",
]


@pytest.mark.parametrize("content", CLASSES)
def test_classes_that_are_wrong_are_told(content, root, no_hang):
    (root / "classes.txt").write_bytes(content)
    assert "classes.txt" in sound.kinds(check(root, progress=False), "error")


@pytest.mark.parametrize("missing", ["images", "masks"])
def test_a_folder_that_is_missing_or_a_file(missing, root, no_hang):
    for path in (root / missing).iterdir():
        path.unlink()
    (root / missing).rmdir()
    report = check(root, progress=False)
    assert not report.ok and f"There is no {missing} in {root}" in str(report)
    (root / missing).write_text("a file")
    assert not check(root, progress=False).ok


def test_an_archive_in_place_of_a_folder(tmp_path, no_hang):
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("images/a.png", b"")
    with pytest.raises(ValueError, match="is a file, not a folder"):
        check(tmp_path / "data.zip")


def test_what_may_not_be_read_is_named(root, no_hang):
    (root / "images" / "closed").mkdir()
    closed = [root / path for path in ("images/01.png", "masks/02.png", "images/closed", "train.txt", "classes.txt")]
    command = [
        sys.executable,
        "-c",
        "import sys; from fcn_keras.datasets.check import check; print(check(sys.argv[1]))",
        root,
    ]
    if os.geteuid() == 0:  # root may read everything, unless it gives that up
        if not shutil.which("setpriv"):
            pytest.skip("root may read everything")
        command = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", *command]
    for path in closed:
        path.chmod(0)
    run = subprocess.run(command, capture_output=True, text=True, timeout=50)
    for path in closed:
        path.chmod(0o700)
    assert run.returncode == 0, run.stderr
    assert all(str(path) in run.stdout for path in closed) and "Not ready" in run.stdout, run.stdout
