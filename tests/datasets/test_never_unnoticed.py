"""What must not go unnoticed: levels, smooth outlines, JPEG, two Unicode forms, stale copies, names that collide."""

import io
import os
import unicodedata

import numpy as np
import PIL.Image
import pytest
import stand_ins

from fcn_keras import datasets
from fcn_keras.cli import main
from fcn_keras.datasets.check import check
from fcn_keras.inference.files import find_images

NAMES = [f"{i:02d}" for i in range(8)]


def cells(name):
    """0 ground, 2 two cells, and 1 their border, one pixel wide."""
    generator = np.random.default_rng(int(name))
    ids = np.zeros((100, 120), "uint8")
    for left in (5, 60):
        top, side = generator.integers(5, 20), generator.integers(20, 40)
        ids[top : top + side, left : left + side] = 1
        ids[top + 1 : top + side - 1, left + 1 : left + side - 1] = 2
    return ids


def areas(name):
    return np.kron(np.random.default_rng(int(name)).integers(0, 3, (5, 6)), np.ones((20, 20), int)).astype("uint8")


def resize(ids):
    return np.asarray(PIL.Image.fromarray(ids).resize((160, 130), PIL.Image.Resampling.BILINEAR))


def jpeg(levels):
    buffer = io.BytesIO()
    PIL.Image.fromarray(levels).save(buffer, "JPEG", quality=60)
    return np.asarray(PIL.Image.open(buffer))


def write(root, mask_of, classes=None, names=NAMES):
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number, name in enumerate(names):
        ids = mask_of(NAMES[number])
        pixels = np.random.default_rng(number).integers(0, 256, (*ids.shape, 3)).astype("uint8")
        PIL.Image.fromarray(pixels).save(root / "images" / f"{name}.png")
        PIL.Image.fromarray(ids).save(root / "masks" / f"{name}.png")
    stand_ins.write_list(root / "train.txt", names[:4])
    stand_ins.write_list(root / "validation.txt", names[4:])
    if classes:
        (root / "classes.txt").write_text(classes)
    return root


def kinds(report, severity):
    return {finding.kind for finding in report.findings if finding.severity == severity}


def test_a_border_drawn_one_pixel_wide_is_no_interpolated_mask(tmp_path):
    report = check(write(tmp_path / "mine", cells, "ground\nborder\ncell"), progress=False)
    assert report.ok and "thin" in kinds(report, "warning") and "'border'" in str(report)


@pytest.mark.parametrize("classes", [None, "ground\nborder\ncell"])
def test_masks_resized_by_interpolation_stay_an_error(classes, tmp_path):
    root = write(tmp_path / "mine", lambda name: resize(areas(name)), classes)
    assert "interpolated" in kinds(check(root, progress=False), "error")


@pytest.mark.parametrize(
    ("mask_of", "kind"),
    [
        (lambda name: 128 * (areas(name) > 0).astype("uint8"), "levels"),  # 129 "classes"
        (lambda name: np.array([0, 7, 15], "uint8")[areas(name)], "levels"),
        (lambda name: resize(120 * areas(name)), "interpolated"),  # smooth outlines
        (lambda name: jpeg(np.array([0, 100, 250], "uint8")[areas(name)]), ("levels", "interpolated")),
        (lambda name: jpeg(254 * (areas(name) > 0).astype("uint8")), ("levels", "interpolated")),
        (lambda name: np.full((100, 120), 255, "uint8"), "void"),
    ],
)
def test_levels_smooth_outlines_jpeg_and_void_are_errors(mask_of, kind, tmp_path):
    report = check(write(tmp_path / "mine", mask_of), progress=False)
    assert kinds(report, "error") & {*([kind] if isinstance(kind, str) else kind)}, report


def test_noise_of_all_levels_is_told(tmp_path):
    def noise(name):
        return np.random.default_rng(int(name)).integers(0, 255, (40, 50)).astype("uint8")

    report = check(write(tmp_path / "mine", noise), progress=False)
    assert "levels" in kinds(report, "error") | kinds(report, "warning")


def test_a_split_that_is_all_void(tmp_path):
    root = write(tmp_path / "mine", lambda name: areas(name) if name > "03" else np.full((100, 120), 255, "uint8"))
    report = check(root, progress=False)
    assert "All pixels in train are void: nothing can be learned." in str(report) and not report.ok


@pytest.mark.parametrize("which", ["masks", "lists", "both"])
def test_names_in_two_unicode_forms_are_the_same_names(which, tmp_path):
    names = [unicodedata.normalize("NFD", f"사진 é{number}") for number in range(8)]
    root = write(tmp_path / "mine", areas, names=names)
    if which != "lists":
        for path in list((root / "masks").iterdir()):
            path.rename(path.with_name(unicodedata.normalize("NFC", path.name)))
    if which != "masks":
        for path in root.glob("*.txt"):
            path.write_text(unicodedata.normalize("NFC", path.read_text(encoding="utf-8")), encoding="utf-8")
    report = check(root, progress=False)
    assert report.ok and report.counts == {"train": 4, "validation": 4}
    assert len(datasets.load(str(root), data_dir=tmp_path / "data")) == 4


def test_two_images_whose_names_differ_only_in_the_unicode_form(tmp_path):
    root = write(tmp_path / "mine", areas)
    for form in ("NFC", "NFD"):
        name = unicodedata.normalize(form, "é.png")
        PIL.Image.new("RGB", (4, 4)).save(root / "images" / name)
    assert "names" in kinds(check(root, progress=False), "error")


def test_val_txt_is_known(tmp_path):
    root = write(tmp_path / "mine", areas)
    (root / "validation.txt").rename(root / "val.txt")
    report = check(root, progress=False)
    assert report.ok and report.counts == {"train": 4, "validation": 4}
    assert len(datasets.load(str(root), "validation", data_dir=tmp_path / "data")) == 4
    stand_ins.write_list(root / "validation.txt", NAMES[4:])
    assert "holds val.txt and validation.txt" in str(check(root, progress=False))


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_a_file_changed_in_place_with_the_same_size_and_time(folder, tmp_path):
    root = write(tmp_path / "mine", areas)
    for path in (root / folder).iterdir():  # bitmaps all have the same size
        PIL.Image.open(path).save(path.with_suffix(".bmp"))
        path.unlink()
    before = datasets.prepare(str(root), data_dir=tmp_path / "data").info.full_name
    path = root / folder / "00.bmp"
    state = path.stat()
    PIL.Image.open(path).transpose(PIL.Image.Transpose.ROTATE_180).save(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size and path.stat().st_mtime_ns == state.st_mtime_ns
    assert datasets.prepare(str(root), data_dir=tmp_path / "data").info.full_name != before


def test_files_that_are_only_touched_are_not_prepared_again(tmp_path):
    root = write(tmp_path / "mine", areas)
    before = datasets.prepare(str(root), data_dir=tmp_path / "data").info.full_name
    os.utime(root / "masks" / "00.png")
    assert datasets.prepare(str(root), data_dir=tmp_path / "data").info.full_name == before


@pytest.mark.parametrize("name", ["shapes", "pets", "voc", "camvid"])
def test_a_folder_with_the_name_of_a_data_set(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert datasets.resolve_data_set(name) == (name, None)
    (tmp_path / name).mkdir()
    assert datasets.resolve_data_set(name) == (name, None)  # nothing in it
    (tmp_path / name / "images").mkdir()
    with pytest.raises(ValueError, match=rf"Found '{name}'.*also a folder here.*write \./{name}"):
        datasets.resolve_data_set(name)
    for path in (f"./{name}", f"{name}/", str(tmp_path / name)):
        assert datasets.resolve_data_set(path) == ("folder", path)
    assert datasets.resolve_data_set(name, "elsewhere") == (name, "elsewhere")


def test_segment_of_a_data_folder_takes_its_images(tmp_path):
    root = write(tmp_path / "mine", areas)
    assert [path for path, _ in find_images([root])] == sorted((root / "images").iterdir())


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_console_that_cannot_write_korean(encoding, tmp_path, monkeypatch):
    root = write(tmp_path / "mine", areas)
    (root / "classes.txt").write_text("땅\n길\n하늘", encoding="utf-8")
    console = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", console)
    assert main(["check", str(root)]) == 0
    console.flush()
    assert b"\\ub545" in console.buffer.getvalue()
