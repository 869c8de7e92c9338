"""Masks of two values: 0/255, 0/128, 1-bit, alpha. They are never read as one class and void without a word."""

import numpy as np
import PIL.Image
import pytest

from fcn_keras import datasets
from fcn_keras.datasets.check import check
from fcn_keras.datasets.classes import Classes
from fcn_keras.datasets.masks import read_mask

NAMES = [f"{i:02d}" for i in range(8)]


def disc(name):
    """0 and 1, drawn from the name."""
    x, y = np.random.default_rng(int(name)).integers(10, 30, 2)
    rows, columns = np.mgrid[:40, :48]
    return ((columns - x) ** 2 + (rows - y) ** 2 < 64).astype("uint8")


def grey(high):
    return lambda ids: PIL.Image.fromarray(high * ids)


def rgb(ids):
    return PIL.Image.fromarray(np.repeat(255 * ids[..., None], 3, -1))


def red(ids):
    return PIL.Image.fromarray(ids[..., None] * np.array([200, 30, 0], "uint8"))


def alpha(ids):
    return PIL.Image.fromarray(np.dstack([np.full((*ids.shape, 3), 90, "uint8"), 255 * ids]))


def grey_alpha(ids):
    return PIL.Image.fromarray(np.dstack([255 * ids, np.full_like(ids, 255)]), "LA")


WAYS = {
    "0/1": (grey(1), 1),
    "0/128": (grey(128), 128),
    "0/255": (grey(255), 255),
    "1-bit": (lambda ids: PIL.Image.fromarray(ids.astype(bool)), 1),
    "RGB": (rgb, 255),
    "grey with alpha": (grey_alpha, 255),
    "alpha": (alpha, 255),
    "red on black": (red, None),
}


def write(root, draw, classes=None, suffix=".png"):
    draw = draw if isinstance(draw, list) else [draw]
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number, name in enumerate(NAMES):
        pixels = np.random.default_rng(int(name)).integers(0, 256, (40, 48, 3)).astype("uint8")
        PIL.Image.fromarray(pixels).save(root / "images" / f"{name}.png")
        draw[number % len(draw)](disc(name)).save(root / "masks" / f"{name}{suffix}")
    (root / "train.txt").write_text("\n".join(NAMES[:4]))
    (root / "validation.txt").write_text("\n".join(NAMES[4:]))
    if classes:
        (root / "classes.txt").write_text(classes)
    return root


def masks_of(root, **options):
    loaded = datasets.load(str(root), data_dir=root.parent / "data", **options)
    return {mask.tobytes() for _, mask in loaded.as_numpy_iterator()}


WANTED = {disc(name).tobytes() for name in NAMES[:4]}


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("classes", [None, "ground\ncell"])
def test_binary_reads_every_way_of_writing_two_values(way, classes, tmp_path):
    draw, level = WAYS[way]
    root = write(tmp_path / "mine", draw, classes)
    assert check(root, binary=True, progress=False).ok
    assert masks_of(root, binary=True) == WANTED
    metadata = datasets.prepare(str(root), data_dir=tmp_path / "data", binary=True).info.metadata
    assert list(metadata["class_names"]) == (["ground", "cell"] if classes else ["background", "object"])
    if level is not None:
        assert list(metadata["class_ids"]) == [0, level]


@pytest.mark.parametrize(("way", "high"), [("0/255", 255), ("RGB", 255), ("0/128", 128)])
def test_grey_colours_of_classes_txt_say_what_the_levels_are(way, high, tmp_path):
    root = write(tmp_path / "mine", WAYS[way][0], f"ground 0 0 0\ncell {high} {high} {high}")
    report = check(root, progress=False)
    assert report.ok and report.shares["train"]["cell"] > 0.05 and report.shares["train"]["void"] == 0
    assert masks_of(root) == WANTED
    metadata = datasets.prepare(str(root), data_dir=tmp_path / "data").info.metadata
    assert list(metadata["class_ids"]) == [0, high]


def test_one_bit_and_grey_and_rgb_masks_in_one_folder_mean_the_same(tmp_path):
    ways = [WAYS["1-bit"][0], WAYS["0/255"][0], rgb]
    assert masks_of(write(tmp_path / "colours", ways, "ground 0 0 0\ncell 255 255 255")) == WANTED
    assert masks_of(write(tmp_path / "binary", ways), binary=True) == WANTED
    ids = [WAYS["0/1"][0], lambda ids: PIL.Image.fromarray(np.repeat(ids[..., None], 3, -1))]
    assert masks_of(write(tmp_path / "ids", ids)) == WANTED


@pytest.mark.parametrize("way", ["0/255", "RGB"])
@pytest.mark.parametrize("classes", [None, "background\nobject", "a\nb\nc"])
def test_an_object_that_is_void_is_refused_with_the_way_out(way, classes, tmp_path):
    root = write(tmp_path / "mine", WAYS[way][0], classes)
    report = check(root, progress=False)
    if classes == "a\nb\nc":  # two names without a pixel
        assert not report.ok
        return
    assert not report.ok and "--binary" in str(report)
    with pytest.raises(ValueError, match="pass --binary"):
        masks_of(root)


@pytest.mark.parametrize("classes", [None, "a\nb"])
def test_0_128_is_refused_with_the_way_out(classes, tmp_path):
    report = check(write(tmp_path / "mine", grey(128), classes), progress=False)
    assert not report.ok and (classes or "--binary" in str(report))


def test_a_named_class_without_a_pixel_while_void_covers_many(tmp_path):
    def three(ids):
        ids = ids.copy()
        ids[:10] = 255  # a quarter of the pixels
        return PIL.Image.fromarray(ids)

    root = write(tmp_path / "mine", three, "ground\ncell\nsky")
    report = check(root, progress=False)
    (found,) = [finding for finding in report.findings if finding.severity == "error"]
    assert found.kind == "absent" and found.files[0][0] == "sky" and "write its id" in found.fix


@pytest.mark.parametrize("classes", ["leaf", "leaf 255 255 255"])
def test_one_class_is_refused(classes, tmp_path):
    root = write(tmp_path / "mine", grey(255), classes)
    report = check(root, progress=False)
    assert not report.ok
    with pytest.raises(ValueError, match=r"name the background in the first line|belong|no class"):
        masks_of(root)


def test_more_than_two_values_are_no_binary_mask(tmp_path):
    smooth = PIL.Image.fromarray(255 * disc("00")).resize((96, 80), PIL.Image.Resampling.BILINEAR)
    smooth.save(tmp_path / "smooth.png")
    with pytest.raises(ValueError, match=r"smooth\.png: the mask holds \d+ values.*without smooth outlines"):
        read_mask(tmp_path / "smooth.png", Classes(("a", "b"), binary=True))
    with pytest.raises(ValueError, match="expects two, the background and the object"):
        masks_of(write(tmp_path / "mine", grey(255), "a\nb\nc"), binary=True)


def test_grey_levels_that_are_ids_and_colours_are_refused(tmp_path):
    PIL.Image.fromarray(np.array([[0, 255]], "uint8")).save(tmp_path / "grey.png")
    snow = Classes(("ground", "house", "snow"), ((0, 0, 0), (200, 40, 40), (255, 255, 255)))
    with pytest.raises(ValueError, match=r"grey\.png: the grey levels \[0, 255\] .* also colours of other classes"):
        read_mask(tmp_path / "grey.png", snow)


def test_ids_below_zero_fractions_and_pages(tmp_path):
    PIL.Image.fromarray(np.array([[0, -1]], "int32")).save(tmp_path / "below.tif")
    with pytest.raises(ValueError, match=r"the id -1, which is below zero.*save void as 255"):
        read_mask(tmp_path / "below.tif")
    PIL.Image.fromarray(np.array([[0, 0.5]], "float32")).save(tmp_path / "half.tif")
    with pytest.raises(ValueError, match="holds fractions: expected 0–255"):
        read_mask(tmp_path / "half.tif")
    PIL.Image.fromarray(np.array([[0, 3]], "float32")).save(tmp_path / "whole.tif")
    assert read_mask(tmp_path / "whole.tif").tolist() == [[0, 3]]
    pages = [PIL.Image.fromarray(np.array([[0, id_]], "uint8")) for id_ in (1, 2)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match=r"pages\.tif: the mask holds 2 pictures: expected one"):
        read_mask(tmp_path / "pages.tif")
