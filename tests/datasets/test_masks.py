"""Masks and data sets in folders: ids are read unchanged, and errors name the file."""

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from fcn_keras import datasets
from fcn_keras.datasets.builders import require_folder
from fcn_keras.datasets.camvid import COLORS
from fcn_keras.datasets.classes import Classes, voc_palette
from fcn_keras.datasets.masks import find_pairs, read_mask, require_same_size

tfds.disable_progress_bar()


def write_palette_png(path, ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = PIL.Image.fromarray(np.asarray(ids, "uint8"))
    image.putpalette(voc_palette().tobytes())
    image.save(path)


def write_photo(path, height, width, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(photo(height, width, seed)).save(path)


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), "uint8")


def some_ids(height, width, num_classes, void, seed=0):
    ids = np.random.default_rng(seed).integers(0, num_classes, (height, width)).astype("uint8")
    ids[0] = void
    return ids


def test_the_trap_of_palette_masks(tmp_path):
    """TensorFlow decodes a palette PNG to the grey of each id's colour: 1 → 38, 15 → 147, 255 → 220."""
    path = tmp_path / "mask.png"
    write_palette_png(path, [[0, 1, 15, 255]])
    np.testing.assert_array_equal(tf.io.decode_png(path.read_bytes(), channels=1)[..., 0], [[0, 38, 147, 220]])
    np.testing.assert_array_equal(read_mask(path, 21), [[0, 1, 15, 255]])


def test_a_mask_that_is_open_already(tmp_path):
    ids = some_ids(5, 7, 3, 255)
    write_palette_png(tmp_path / "mask.png", ids)
    with open(tmp_path / "mask.png", "rb") as file:
        np.testing.assert_array_equal(read_mask(file, 3), ids)


def test_masks_in_grey(tmp_path):
    ids = some_ids(5, 7, 21, 255)
    PIL.Image.fromarray(ids).save(tmp_path / "grey.png")
    found = read_mask(tmp_path / "grey.png", 21)
    assert found.dtype == np.uint8 and found.flags.writeable
    np.testing.assert_array_equal(found, ids)
    PIL.Image.fromarray(ids > 10).save(tmp_path / "binary.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "binary.png", 2), ids > 10)


def test_masks_with_ids_that_are_no_classes(tmp_path):
    write_palette_png(tmp_path / "odd.png", [[0, 20, 21, 99, 255]])
    with pytest.raises(
        ValueError, match=r"odd\.png holds the ids \[21, 99\]: expected 0–20, or 255 for void.*interpolation"
    ):
        read_mask(tmp_path / "odd.png", 21)
    with pytest.raises(ValueError, match=r"\[21, 99\]: expected 0–20, or 255"):
        read_mask(tmp_path / "odd.png", Classes(tuple(map(str, range(20))), void_id=20))


def test_masks_in_color(tmp_path):
    write_photo(tmp_path / "rgb.png", 4, 4)
    with pytest.raises(
        ValueError, match=r"rgb\.png: the mask is written in colours \(mode RGB\).*expected one id for each pixel"
    ):
        read_mask(tmp_path / "rgb.png", 21)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.9])
def test_masks_cut_off(tmp_path, share):
    write_palette_png(tmp_path / "whole.png", some_ids(80, 80, 21, 255))
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"cut\.png cannot be read as a mask.*expected a whole PNG"):
        read_mask(tmp_path / "cut.png", 21)


def test_masks_with_a_broken_chunk(tmp_path):
    write_palette_png(tmp_path / "broken.png", some_ids(80, 80, 21, 255))
    content = bytearray((tmp_path / "broken.png").read_bytes())
    at = content.index(b"IDAT")
    content[at : at + 4] = b"\0\1\2\3"
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.png cannot be read"):
        read_mask(tmp_path / "broken.png", 21)


def test_masks_that_are_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"none\.png is not a file"):
        read_mask(tmp_path / "none.png", 21)


def test_images_of_another_size(tmp_path):
    write_photo(tmp_path / "image.png", 4, 6)
    require_same_size(tmp_path / "image.png", np.zeros((4, 6)))
    with pytest.raises(ValueError, match=r"image\.png is 4×6, its mask 6×4"):
        require_same_size(tmp_path / "image.png", np.zeros((6, 4)))
    with pytest.raises(ValueError, match=r"none\.jpg cannot be read"):
        require_same_size(tmp_path / "none.jpg", np.zeros((6, 4)))


def test_pairs(tmp_path):
    for name in ("b.jpg", "a.JPG", "c.png"):
        write_photo(tmp_path / "images" / name, 2, 2)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    for name in ("a", "b", "c"):
        write_palette_png(tmp_path / "masks" / f"{name}.png", [[0]])
    found = find_pairs(tmp_path / "images", tmp_path / "masks")
    assert [(stem, image.name, mask.name) for stem, image, mask in found] == [
        ("a", "a.JPG", "a.png"), ("b", "b.jpg", "b.png"), ("c", "c.png", "c.png")
    ]  # fmt: skip
    assert [stem for stem, *_ in find_pairs(tmp_path / "images", tmp_path / "masks", ["c", "a"])] == ["c", "a"]


def test_files_that_are_missing_are_named(tmp_path):
    for name in ("a", "b"):
        write_photo(tmp_path / "images" / f"{name}.jpg", 2, 2)
    write_palette_png(tmp_path / "masks" / "a.png", [[0]])
    with pytest.raises(ValueError, match=r"1 of 4 files are missing: .*masks/b\.png"):
        find_pairs(tmp_path / "images", tmp_path / "masks")
    with pytest.raises(ValueError, match=r"2 of 4 files are missing: .*images/z\.\*.*masks/z\.png"):
        find_pairs(tmp_path / "images", tmp_path / "masks", ["a", "z"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="0 files"):
        find_pairs(tmp_path / "empty", tmp_path / "masks")


def test_folders_that_are_missing_are_named(tmp_path):
    (tmp_path / "train").mkdir()
    require_folder(tmp_path, ("train",), "CamVid")
    with pytest.raises(ValueError, match=r"CamVid: .* lacks val, valannot"):
        require_folder(tmp_path, ("train", "val", "valannot"), "CamVid")
    with pytest.raises(ValueError, match="found none.*source="):
        require_folder(None, ("train",), "CamVid")


def camvid_stand_in(folder, counts):
    """Writes noise in CamVid's layout, and returns it."""
    written = {}
    for split, count in counts.items():
        for i in range(count):
            ids = some_ids(12, 16, len(COLORS), void=len(COLORS), seed=i)
            write_photo(folder / split / f"{split}_{i}.png", 12, 16, seed=i)
            (folder / f"{split}annot").mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(ids).save(folder / f"{split}annot" / f"{split}_{i}.png")
            written[f"{split}_{i}.png"] = (photo(12, 16, seed=i), np.where(ids == len(COLORS), 255, ids))
    return written


def voc_stand_in(root, year="2012"):
    written = {}
    for i, split in enumerate(["train", "train", "val"]):
        ids = some_ids(10 + i, 14, 21, void=255, seed=i)
        write_photo(root / "JPEGImages" / f"{year}_{i}.jpg", 10 + i, 14, seed=i)
        write_palette_png(root / "SegmentationClass" / f"{year}_{i}.png", ids)
        lists = root / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True, exist_ok=True)
        with (lists / f"{split}.txt").open("a") as file:
            file.write(f"{year}_{i}\n")
        with PIL.Image.open(root / "JPEGImages" / f"{year}_{i}.jpg") as file:
            written[f"{year}_{i}.jpg"] = (np.asarray(file), ids)
    return written


def examples_of(builder, split):
    return {e["file_name"].decode(): e for e in tfds.as_numpy(builder.as_dataset(split=split))}


def assert_as_written(found, written, tolerance=0):
    assert set(found) == set(written)
    for name, (image, ids) in written.items():
        np.testing.assert_array_equal(found[name]["segmentation_mask"][..., 0], ids)
        assert np.abs(found[name]["image"].astype(int) - image).mean() <= tolerance


@pytest.mark.parametrize("test_set", [{}, {"test": 2}])
def test_camvid(tmp_path, test_set):
    written = camvid_stand_in(tmp_path / "CamVid", {"train": 3, "val": 1, **test_set})
    builder = datasets.prepare("camvid", source=tmp_path / "CamVid", data_dir=tmp_path / "data")
    expected = {"train": "train", "validation": "val", **dict.fromkeys(test_set, "test")}
    assert set(builder.info.splits) == set(expected)
    for split, folder in expected.items():
        of_split = {name: pair for name, pair in written.items() if name.startswith(folder)}
        assert_as_written(examples_of(builder, split), of_split)
    metadata = builder.info.metadata
    assert metadata["class_names"][:2] == ["sky", "building"] and len(metadata["palette"]) == 11
    assert metadata["void"] == 255

    batches = datasets.load("camvid", "train", data_dir=tmp_path / "data", batch=2, size=(16, 16))
    images, masks = next(iter(batches))
    assert images.shape == (2, 16, 16, 3) and masks.shape == (2, 16, 16)
    assert set(np.unique(masks)) <= {*range(11), 255}
    assert datasets.get_class_names("camvid", data_dir=tmp_path / "data") == list(COLORS)


@pytest.mark.parametrize("below", ["VOCdevkit/VOC2012", "VOC2012", "."])
def test_voc_wherever_the_folder_begins(tmp_path, below):
    written = voc_stand_in(tmp_path / "voc" / below)
    builder = datasets.prepare("voc", source=tmp_path / "voc", data_dir=tmp_path / "data")
    found = {**examples_of(builder, "train"), **examples_of(builder, "validation")}
    assert_as_written(found, written, tolerance=3)  # two JPEG decoders
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == {"train": 2, "validation": 1}
    assert builder.info.metadata["class_names"][15] == "person"
    np.testing.assert_array_equal(builder.info.metadata["palette"], voc_palette(21))


def test_voc_of_the_paper(tmp_path):
    written = voc_stand_in(tmp_path / "VOCdevkit" / "VOC2011", "2011")
    builder = datasets.prepare("voc", "2011", source=tmp_path, data_dir=tmp_path / "data")
    assert_as_written({**examples_of(builder, "train"), **examples_of(builder, "validation")}, written, tolerance=3)


def test_data_prepared_from_another_folder_are_refused(tmp_path):
    camvid_stand_in(tmp_path / "one", {"train": 1, "val": 1})
    camvid_stand_in(tmp_path / "two", {"train": 2, "val": 1})
    datasets.prepare("camvid", source=tmp_path / "one", data_dir=tmp_path / "data")
    datasets.prepare("camvid", source=tmp_path / "one", data_dir=tmp_path / "data")
    with pytest.raises(ValueError, match=r"prepared from .*one, not from .*two\. Fix: delete"):
        datasets.load("camvid", source=tmp_path / "two", data_dir=tmp_path / "data")
    assert len(datasets.load("camvid", source=tmp_path / "two", data_dir=tmp_path / "other")) == 2


def test_a_bad_file_stops_the_preparation_by_name_and_mended_it_goes_on(tmp_path):
    source = tmp_path / "CamVid"
    camvid_stand_in(source, {"train": 2, "val": 1})
    mask = source / "trainannot" / "train_1.png"
    good = mask.read_bytes()
    PIL.Image.fromarray(np.full((12, 16), 12, "uint8")).save(mask)
    with pytest.raises(ValueError, match=r"train_1\.png holds the ids \[12\]: expected 0–11, or 255"):
        datasets.prepare("camvid", source=source, data_dir=tmp_path / "data")
    PIL.Image.fromarray(np.zeros((16, 12), "uint8")).save(mask)
    with pytest.raises(ValueError, match=r"train_1\.png is 12×16, its mask 16×12"):
        datasets.prepare("camvid", source=source, data_dir=tmp_path / "data")
    mask.unlink()
    with pytest.raises(ValueError, match=r"missing: .*trainannot/train_1\.png"):
        datasets.prepare("camvid", source=source, data_dir=tmp_path / "data")
    mask.write_bytes(good)
    assert datasets.prepare("camvid", source=source, data_dir=tmp_path / "data").info.splits["train"].num_examples == 2


@pytest.mark.parametrize("name", ["camvid", "voc"])
def test_a_source_is_needed_the_first_time(name, tmp_path):
    with pytest.raises(ValueError, match="source="):
        datasets.prepare(name, data_dir=tmp_path)
    with pytest.raises(ValueError, match=r"lacks|missing"):
        datasets.prepare(name, source=tmp_path / "nowhere", data_dir=tmp_path)


def test_unknown_data_sets():
    with pytest.raises(ValueError, match="There is no cityscapes in .* Expected one of shapes, camvid, voc"):
        datasets.load("cityscapes")
    with pytest.raises(ValueError, match="'camvit'. Did you mean 'camvid'"):
        datasets.load("camvit")


def test_where_data_lie(monkeypatch, tmp_path):
    monkeypatch.setenv("FCN_KERAS_DATA", str(tmp_path))
    assert datasets.get_data_home() == tmp_path
    monkeypatch.delenv("FCN_KERAS_DATA")
    assert datasets.get_data_home().name in ("data", "fcn_keras_data")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "folder", "counts", "num_classes"),
    [("camvid", "camvid", (367, 101), 11), ("voc", "VOCdevkit", (330, 171), 21)],
)
def test_real_photographs_and_masks(shared_data, tmp_path, name, folder, counts, num_classes):
    splits = [
        datasets.load(name, split, source=shared_data / folder, data_dir=tmp_path) for split in ("train", "validation")
    ]
    assert tuple(len(split) for split in splits) == counts
    seen = set()
    for split in splits:
        for image, mask in split.as_numpy_iterator():
            assert image.shape == (*mask.shape, 3) and image.min() >= 0 and image.max() <= 255
            seen |= set(np.unique(mask).tolist())
    assert seen == {*range(num_classes), 255}
