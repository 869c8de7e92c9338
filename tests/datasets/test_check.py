"""`check` finds each kind of mistake in each layout, gives the right numbers, and raises no false alarms."""

import io
import json
import os

import numpy as np
import PIL.Image
import pytest
import stand_ins
import tensorflow as tf

from fcn_keras.datasets.check import check
from fcn_keras.datasets.check.checks import ALIKE
from fcn_keras.datasets.check.inspect import make_thumbnail
from fcn_keras.datasets.check.interpolation import is_interpolated, measure_interpolation
from fcn_keras.datasets.check.layouts import split_by_hash
from fcn_keras.datasets.classes import Classes, voc_palette

NAMES = [f"{i:02d}" for i in range(10)]


def blocks(name, classes=3):
    """A mask as people draw it, with large areas and some void."""
    generator = np.random.default_rng(list(name.encode()))
    ids = np.kron(generator.integers(0, classes, (4, 5)), np.ones((10, 12), int)).astype("uint8")
    ids[:3] = 255
    return ids


def write(root, names=NAMES, classes=3):
    for name in names:
        ids = blocks(name, classes)
        pixels = np.random.default_rng(list(name.encode())).integers(0, 256, (*ids.shape, 3)).astype("uint8")
        for folder, array in (("images", pixels), ("masks", ids)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(array).save(root / folder / f"{name}.png")
    stand_ins.write_list(root / "train.txt", names[:-3])
    stand_ins.write_list(root / "validation.txt", names[-3:])
    return root


@pytest.fixture
def root(tmp_path):
    return write(tmp_path / "mine")


def kinds(report, severity=None):
    return {finding.kind for finding in report.findings if severity in (None, finding.severity)}


def files(report, kind):
    (finding,) = [finding for finding in report.findings if finding.kind == kind]
    return {name.rsplit("/", 1)[-1] for name, _ in finding.files}


def test_nothing_is_said_of_good_data(root):
    report = check(root, progress=False)
    assert report.ok and kinds(report) == {"unnamed"}, report  # a note: no classes.txt
    assert report.counts == {"train": 7, "validation": 3} and report.layout == "folder"
    masks = [blocks(name) for name in NAMES[:7]]
    labelled = np.concatenate([mask[mask != 255] for mask in masks])
    assert report.shares["train"]["class 1"] == pytest.approx((labelled == 1).mean())
    assert report.shares["train"]["void"] == pytest.approx(3 / 40)
    assert str(report).endswith("Ready to train: 0 errors, 0 warnings, 1 note.")
    assert json.loads(report.to_json())["ok"] is True


def save(root, name, array, folder="masks", suffix=".png", **options):
    PIL.Image.fromarray(array).save(root / folder / f"{name}{suffix}", **options)


def interpolated(root):
    for name in ("01", "02"):
        with PIL.Image.open(root / "masks" / f"{name}.png") as mask:
            small = mask.resize((30, 20), PIL.Image.Resampling.NEAREST)
        ids = np.asarray(small) * 4 % 251
        save(root, name, np.asarray(PIL.Image.fromarray(ids).resize((60, 40), PIL.Image.Resampling.BILINEAR)))


def turned(root):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    with PIL.Image.open(root / "images" / "01.png") as image:
        image.load()
    image.save(root / "images" / "01.png", exif=exif)


def turned_over(root, folder="images"):
    exif = PIL.Image.Exif()
    exif[0x0112] = 3  # by 180°, which leaves the size as it is
    with PIL.Image.open(root / folder / "01.png") as image:
        image.load()
    image.save(root / folder / "01.png", exif=exif)


def alike(root):
    """The same pictures in both splits, once as PNG and once as JPEG."""
    generator = np.random.default_rng(0)
    for name, other in (("00", "08"), ("01", "09")):
        pixels = np.kron(generator.integers(0, 256, (5, 6, 3)), np.ones((8, 10, 1))).astype("uint8")
        save(root, name, pixels, "images")
        (root / "images" / f"{other}.png").unlink()
        save(root, other, pixels, "images", ".jpg", quality=40)


def palettes(root):
    """Palette masks in which each file has its own order of the colours."""
    for number, name in enumerate(NAMES):
        image = PIL.Image.fromarray(blocks(name))
        image.putpalette(np.roll(voc_palette(), number == 1, axis=0).tobytes())
        image.save(root / "masks" / f"{name}.png")


def grey_levels(root):
    for name in NAMES:
        colored = PIL.Image.fromarray(voc_palette()[blocks(name)])
        colored.convert("L").save(root / "masks" / f"{name}.png")


def linked_folders(root):
    for folder in ("images", "masks"):
        (root.parent / folder).mkdir()
        (root / folder / "more").symlink_to(root.parent / folder)


def folders_like_files(root):
    for folder in ("images", "masks"):
        (root / folder / "x.png").mkdir()


def capitals(root):
    for folder, name, other in (("images", "Ab", "aB"), ("masks", "Ab", "aB")):
        (root / folder / "01.png").rename(root / folder / f"{name}.png")
        (root / folder / "02.png").rename(root / folder / f"{other}.png")
    stand_ins.write_list(root / "train.txt", ["Ab", "aB", *NAMES[3:7], "00"])


def nearly_void(root):
    ids = np.full((40, 60), 255, "uint8")
    ids[:3] = 1
    save(root, "01", ids)


def alone(root):
    (root / "masks" / "01.png").rename(root / "masks" / "01_mask.png")


def leak(root):
    with PIL.Image.open(root / "images" / "00.png") as image:  # the same pixels in another file format
        image.save(root / "images" / "09.bmp")
    (root / "images" / "09.png").unlink()


def twice(root):
    (root / "images" / "01.png").write_bytes((root / "images" / "00.png").read_bytes())


def rare(root):
    for name in NAMES:
        ids = blocks(name)
        ids[20, 20] = 3 if name == "00" else 0
        save(root, name, ids)


def one_name_two_endings(root):
    save(root, "01", blocks("01"), "images", ".jpg")


SPOILT = {
    "truncated image": (lambda root: cut(root / "images" / "01.png"), "image", "error", {"01.png"}),
    "truncated mask": (lambda root: cut(root / "masks" / "01.png"), "mask", "error", {"01.png"}),
    "another size": (lambda root: save(root, "01", blocks("01")[:30]), "size", "error", {"01.png"}),
    "colours": (lambda root: save(root, "01", voc_palette()[blocks("01")]), "colours", "error", {"01.png"}),
    "bilinear": (interpolated, "interpolated", "error", {"01.png", "02.png"}),
    "grey": (lambda root: save(root, "01", blocks("01"), "images"), "grey", "note", {"01.png"}),
    "alpha": (
        lambda root: save(root, "01", np.zeros((40, 60, 4), "uint8"), "images"),
        "alpha",
        "warning",
        {"01.png"},
    ),
    "turned": (turned, "size", "error", {"01.png"}),
    "turned, noted": (turned, "exif", "note", {"01.png"}),
    "void": (lambda root: save(root, "01", np.full((40, 60), 255, "uint8")), "void", "warning", {"01.png"}),
    "turned over": (turned_over, "exif unclear", "warning", {"01.png"}),
    "mask turned over": (lambda root: turned_over(root, "masks"), "mask exif", "error", {"01.png"}),
    "alike": (alike, "likeness", "warning", {"08.jpg", "09.jpg"}),
    "palettes": (palettes, "palettes", "warning", {"01.png"}),
    "grey levels": (grey_levels, "levels", "error", set()),
    "linked folders": (linked_folders, "links", "error", None),
    "folders like files": (folders_like_files, "ignored", "warning", None),
    "capitals": (capitals, "capitals", "warning", None),
    "nearly void": (nearly_void, "void", "warning", {"01.png"}),
    "not listed": (lambda root: stand_ins.write_list(root / "train.txt", NAMES[:6]), "unlisted", "note", {"06.png"}),
    "leakage": (leak, "leakage", "error", {"09.bmp"}),
    "duplicates": (twice, "duplicates", "warning", {"01.png"}),
    "rare": (rare, "rare", "note", {"class 3"}),
    "absent": (rare, "absent", "note", {"class 3"}),
    "two endings": (one_name_two_endings, "names", "error", {"01.png"}),
    "other files": (lambda root: (root / "masks" / "a.txt").write_text(""), "ignored", "warning", {"a.txt"}),
    "hidden": (lambda root: (root / "masks" / ".DS_Store").write_text(""), None, None, None),
}


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize("case", SPOILT)
def test_each_mistake_is_told_with_its_files(case, root):
    spoil, kind, severity, names = SPOILT[case]
    spoil(root)
    report = check(root, progress=False)
    if kind is None:
        assert kinds(report) == {"unnamed"}
        return
    assert kind in kinds(report, severity), report
    if names is None:  # in images and in masks
        assert sum(finding.kind == kind for finding in report.findings) == 2
        return
    assert files(report, kind) == names
    assert report.ok == ("error" not in {finding.severity for finding in report.findings})
    for name in names:
        assert name in str(report)


def test_missing_pairs_and_the_name_that_was_meant(root):
    alone(root)
    report = check(root, progress=False)
    text = str(report)
    assert (
        not report.ok and "have no mask of the same name: 1." in text and "have no image of the same name: 1." in text
    )
    assert f"01.png: did you mean {root / 'masks' / '01_mask.png'}?" in text


def test_classes_by_file_by_argument_and_by_the_ids(root):
    (root / "classes.txt").write_text("ground\nroad\n")
    report = check(root, progress=False)
    assert files(report, "ids") >= {"00.png"} and "ids 2, " in str(report) and "expected 0–1" in str(report)
    assert not report.ok
    assert check(root, classes=Classes(("a", "b", "c")), progress=False).ok
    (root / "classes.txt").write_text("ground\nground\n")
    assert "classes.txt" in kinds(check(root, progress=False), "error")
    for name in NAMES:
        save(root, name, np.where(blocks(name) > 1, 255, 0).astype("uint8"))
    (root / "classes.txt").unlink()
    assert "write 1 for the object" in str(check(root, progress=False))


def test_colors_that_classes_txt_names(root):
    lines = [f"{name} {r} {g} {b}" for name, (r, g, b) in zip("abc", voc_palette(3), strict=True)]
    (root / "classes.txt").write_text("\n".join([*lines, "void 224 224 192"]))
    for name in NAMES:
        save(root, name, voc_palette()[blocks(name)])
    assert not check(root, progress=False).findings
    save(root, "01", voc_palette()[blocks("01")], suffix=".jpg", quality=50)
    (root / "masks" / "01.png").unlink()
    report = check(root, progress=False)
    assert files(report, "colours") == {"01.jpg"} and "come from JPEG" in str(report)


def test_a_classes_txt_that_cannot_be_used_is_told_once(root):
    (root / "classes.txt").write_text("name,r,g,b\na,0,0,0")
    for name in NAMES:
        save(root, name, voc_palette()[blocks(name)])
    report = check(root, progress=False)
    assert kinds(report, "error") == {"classes.txt"} and "line 1: 'name,r,g,b' has no colour" in str(report)


def test_lists(root):
    stand_ins.write_list(root / "train.txt", ["00", "../../secret", "77"])
    report = check(root, progress=False)
    assert "lists" in kinds(report, "error") and "'../../secret'" in str(report) and "'77'" in str(report)
    assert sum(report.counts.values()) == 10  # the files are looked at, all the same


def test_a_list_that_is_wrong_in_one_line_is_followed_in_the_others(root):
    leak(root)
    stand_ins.write_list(root / "train.txt", [*NAMES[:7], "01", "02_mask", "07"])
    report = check(root, progress=False)
    text = str(report)
    assert "train.txt: names '01' 2 times" in text and "names '02_mask', which has no image: did you mean '02'?" in text
    assert "validation.txt: names '07', which train.txt names also" in text
    assert files(report, "leakage") == {"09.bmp"}  # known only where the splits are
    assert report.counts == {"train": 8, "validation": 2}


def test_an_image_without_mask_is_not_held_against_its_list(root):
    (root / "masks" / "01.png").unlink()
    assert kinds(check(root, progress=False)) == {"pairs", "unnamed"}


def test_other_layouts(tmp_path):
    stand_ins.write_camvid(tmp_path / "CamVid", NAMES[:5], NAMES[5:])
    report = check(tmp_path / "CamVid", progress=False)
    assert (
        report.layout == "camvid" and report.counts == {"train": 5, "validation": 5} and len(report.class_names) == 11
    )
    assert "interpolated" in kinds(report)  # noise has such borders everywhere
    stand_ins.write_voc(tmp_path / "VOCdevkit" / "VOC2012", NAMES[:5], NAMES[5:])
    (tmp_path / "VOCdevkit" / "VOC2012" / "SegmentationClass" / "00.png").unlink()
    report = check(tmp_path, progress=False)
    assert report.layout == "voc" and report.counts == {"train": 4, "validation": 5}
    assert files(report, "pairs") == {"00"}
    with pytest.raises(ValueError, match="no layout camvid: found CamVid, VOCdevkit; expected images/"):
        check(tmp_path, layout="camvid")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no layout that is known: found nothing"):
        check(tmp_path / "empty")
    with pytest.raises(ValueError, match="There is no CamVd in .*Did you mean 'CamVid'?"):
        check(tmp_path / "CamVd" / "train")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file is a file, not a folder"):
        check(tmp_path / "file")


def test_what_is_taken_for_granted_is_told(root):
    report = check(root, progress=False)
    shares = {name: f"{share:.1%}" for name, share in report.shares["validation"].items()}
    told = next(line for line in str(report).splitlines() if line.startswith("  validation: "))
    assert all(f"{share} {name}" in told for name, share in shares.items())
    assert "the ids 0 to 2 are the classes, and only 255 is void" in str(report)
    (root / "validation.txt").write_text("09")
    assert "Few images to validate on, 1:" in str(check(root, progress=False))
    (root / "train.txt").unlink()
    (root / "validation.txt").unlink()
    report = check(root, progress=False)
    assert "split" in kinds(report, "note")
    expected = split_by_hash(NAMES)
    assert report.counts == {split: len(names) for split, names in expected.items()}


def test_names_that_say_something_else(root):
    (root / "classes.txt").write_text("0 ground\n1 road\n2 unlabelled")
    report = check(root, progress=False)
    assert kinds(report) == {"scored"} and report.class_names == ["ground", "road", "unlabelled"]
    (root / "classes.txt").write_text("ground\nroad\nUnlabelled")
    assert files(check(root, progress=False), "scored") == {"Unlabelled"}
    (root / "classes.txt").write_text("ground\nroad\nVOID")
    assert not check(root, progress=False).findings


@pytest.mark.parametrize("void", range(3))
def test_an_id_that_classes_txt_makes_void(void, root):
    names = ["a", "b"]
    (root / "classes.txt").write_text("\n".join([*names[:void], "void", *names[void:]]))
    report = check(root, progress=False)
    assert report.ok and not report.findings and report.class_names == names
    masks = np.stack([blocks(name) for name in NAMES[:7]])
    assert report.shares["train"]["void"] == pytest.approx(np.isin(masks, (void, 255)).mean())
    first = min({0, 1, 2} - {void})
    share = (masks == first).sum() / np.isin(masks, (void, 255), invert=True).sum()
    assert report.shares["train"]["a"] == pytest.approx(share)
    save(root, "01", np.where(blocks("01") == 2, 3, blocks("01")).astype("uint8"))
    assert files(check(root, progress=False), "ids") == {"01.png"}


def test_borders_between():
    generator = np.random.default_rng(0)
    drawn = np.kron(generator.integers(0, 21, (6, 8)), np.ones((16, 16), int)).astype("uint8")
    assert measure_interpolation(drawn)[0] == 0
    for size in ((64, 48), (256, 192), (100, 77)):
        blurred = np.asarray(PIL.Image.fromarray(drawn).resize(size, PIL.Image.Resampling.BILINEAR))
        nearest = np.asarray(PIL.Image.fromarray(drawn).resize(size, PIL.Image.Resampling.NEAREST))
        assert measure_interpolation(blurred)[0] > 0.2 and measure_interpolation(nearest)[0] == 0
        assert is_interpolated(blurred) and not is_interpolated(nearest)
    assert measure_interpolation(np.zeros((1, 1), "uint8")) == (0, 0, 0)
    ramp = np.array([[0, 1, 9, 9, 1, 1, 0, 0]], "uint8")  # 1 is met between 0 and 9 once, and twice elsewhere
    assert measure_interpolation(ramp) == (0.5, 1, 1) and measure_interpolation(ramp, invented=True) == (0, 0, 0)


@pytest.mark.real_data
def test_thumbnails_know_a_photograph_again(shared_data):
    thumbnails = []
    for path in sorted((shared_data / "VOCdevkit" / "VOC2012" / "JPEGImages").glob("*.jpg"))[::20]:
        with PIL.Image.open(path) as image:
            half = image.resize((image.width // 2, image.height // 2))
        half.save(encoded := io.BytesIO(), "JPEG", quality=75)
        with PIL.Image.open(path) as image, PIL.Image.open(encoded) as other:
            thumbnails.append([make_thumbnail(np.asarray(picture)) for picture in (image, other)])
    whole, small = np.array(thumbnails).transpose(1, 0, 2)
    likeness = whole @ small.T
    assert np.diag(likeness).min() > ALIKE
    assert likeness[~np.eye(len(likeness), dtype=bool)].max() < ALIKE


@pytest.mark.real_data
@pytest.mark.parametrize("folder", ["camvid/trainannot", "VOCdevkit/VOC2012/SegmentationClass"])
def test_real_masks_by_nearest_and_by_interpolation(shared_data, folder):
    for path in sorted((shared_data / folder).glob("*.png"))[::12]:
        with PIL.Image.open(path) as file:
            ids = np.asarray(file)
        for factor in (1, 2, 3, 4, 6, 8):
            assert not is_interpolated(ids[::factor, ::factor]), (path, factor)
        for scale in (0.25, 0.5, 0.7, 1.3, 2):
            size = [int(scale * side) for side in ids.shape]
            resized = tf.image.resize(ids[..., None].astype("float32"), size).numpy()[..., 0]
            assert is_interpolated(np.round(resized).astype("uint8")), (path, scale)


def test_names_that_would_fool_a_terminal(root):
    (root / "images" / "bad\x1b[2J\nname.png").write_bytes(b"")
    text = str(check(root, progress=False))
    assert "\x1b" not in text and r"bad\x1b[2J\nname.png" in text
    (root / "masks" / "bad\x1b[2J\nname_mask.png").write_bytes(b"")
    text = str(check(root, progress=False))
    assert "\x1b" not in text and r"bad\x1b[2J\nname_mask.png?" in text
    (root / "images" / os.fsdecode(b"\xff.png")).write_bytes(b"")
    str(check(root, progress=False)).encode()  # no lone surrogate, which print would refuse


@pytest.mark.real_data
@pytest.mark.parametrize("folder", ["camvid", "."])
def test_no_alarm_on_real_photographs(shared_data, folder):
    report = check(shared_data / folder, progress=False)
    assert report.ok and sum(report.counts.values()) > 100
    assert kinds(report) <= {"sizes"}, report


def test_left_and_right_are_told_with_the_way_out(tmp_path):
    write(tmp_path)
    (tmp_path / "classes.txt").write_text("ground\nleft_eye\nright_eye\n")
    (found,) = [one for one in check(tmp_path).findings if one.kind == "sides"]
    assert found.severity == "warning" and [name for name, _ in found.files] == ["left_eye", "right_eye"]
    assert "--no-flip" in found.fix and "--exchange-sides" in found.fix
    (tmp_path / "classes.txt").write_text("ground\nleft_eye\nnose\n")
    (found,) = [one for one in check(tmp_path).findings if one.kind == "sides"]
    assert "--no-flip" in found.fix and "--exchange-sides" not in found.fix
    (tmp_path / "classes.txt").write_text("ground\nleftover\ncopyright\n")
    assert not [one for one in check(tmp_path).findings if one.kind == "sides"]
