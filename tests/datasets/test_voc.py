"""VOC and SBD: masks are read unchanged, splits are those of the papers, and errors say what is missing."""

import numpy as np
import PIL.Image
import pytest
import scipy.io
import stand_ins
import tensorflow_datasets as tfds
from stand_ins import ids_of

from fcn_keras import datasets
from fcn_keras.datasets.voc import lists
from fcn_keras.datasets.voc.layout import find_voc, make_example, read_sbd_mask

tfds.disable_progress_bar()


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "source"
    stand_ins.write_voc(root / "VOCdevkit" / "VOC2012", ["a", "b", "c"], ["v", "w"])
    stand_ins.write_voc(root / "VOCdevkit" / "VOC2011", ["a", "b"], ["c", "v", "x"])
    stand_ins.write_sbd(root / "benchmark_RELEASE" / "dataset", ["a", "v", "d", "e"], ["c", "f"])
    return root


def read(builder, split):
    found = tfds.as_numpy(builder.as_dataset(split=split))
    return {e["file_name"].decode().removesuffix(".jpg"): e for e in found}


# Which data set the mask of each image comes from, written by hand for the fixture above.
EXPECTED = {
    "2012": {"train": {"a": "voc", "b": "voc", "c": "voc"}, "validation": {"v": "voc", "w": "voc"}},
    "2011": {"train": {"a": "voc", "b": "voc"}, "validation": {"c": "voc", "v": "voc", "x": "voc"}},
    "sbd": {"train": dict.fromkeys("avde", "sbd"), "validation": {"c": "sbd", "f": "sbd"}},
    "2011_sbd": {"sbd_train": dict.fromkeys("avde", "sbd"), "seg11valid": {"c": "voc", "x": "voc"}},
    "2012_sbd": {
        "trainaug": {"a": "voc", "b": "voc", "c": "voc", "d": "sbd", "e": "sbd", "f": "sbd"},
        "validation": {"v": "voc", "w": "voc"},
    },
}


@pytest.mark.parametrize("config", EXPECTED)
def test_every_image_has_the_masks_it_should(source, tmp_path, config):
    builder = datasets.prepare("voc", config, source=source, data_dir=tmp_path / "data")
    assert set(builder.info.splits) == set(EXPECTED[config])
    for split, origins in EXPECTED[config].items():
        found = read(builder, split)
        assert {name: None for name in found}.keys() == origins.keys()
        for name, origin in origins.items():
            void = {"voc": 255, "sbd": None}[origin]
            classes, objects = found[name]["segmentation_mask"][..., 0], found[name]["instance_mask"][..., 0]
            np.testing.assert_array_equal(classes, ids_of(name, origin, 0, 21, void))
            np.testing.assert_array_equal(objects, ids_of(name, f"{origin} objects", 0, 5, void))
            assert found[name]["image"].shape == (*classes.shape, 3)
    assert builder.info.metadata["class_names"][15] == "person" and builder.info.metadata["void"] == 255


def test_a_split_names_its_config(source, tmp_path):
    for split, count in {"sbd_train": 4, "seg11valid": 2, "trainaug[:5]": 5, "train": 3}.items():
        found = datasets.load("voc", split, source=source, data_dir=tmp_path / "data")
        assert len(found) == count
    images, masks = next(iter(datasets.load("voc", "trainaug", data_dir=tmp_path / "data", size=(16, 16), batch=6)))
    assert images.shape == (6, 16, 16, 3) and masks.shape == (6, 16, 16)


def test_without_instance_masks_they_are_void(tmp_path):
    stand_ins.write_voc(tmp_path / "VOC2012", ["a"], ["v"], instances=False)
    stand_ins.write_sbd(tmp_path / "dataset", ["d"], ["f"], instances=False)
    builder = datasets.prepare("voc", "2012_sbd", source=tmp_path, data_dir=tmp_path / "data")
    found = read(builder, "trainaug")
    for name, origin, void in (("a", "voc", 255), ("d", "sbd", None)):
        np.testing.assert_array_equal(found[name]["segmentation_mask"][..., 0], ids_of(name, origin, 0, 21, void))
        assert (found[name]["instance_mask"] == 255).all()


def test_one_missing_instance_mask_is_named(source, tmp_path):
    (source / "VOCdevkit/VOC2012/SegmentationObject/b.png").unlink()
    with pytest.raises(ValueError, match=r"SegmentationObject/b\.png is not a file"):
        datasets.prepare("voc", source=source, data_dir=tmp_path / "data")
    (source / "benchmark_RELEASE/dataset/inst/d.mat").unlink()
    with pytest.raises(ValueError, match=r"1 of 12 files are missing: .*inst/d\.mat"):
        datasets.prepare("voc", "sbd", source=source, data_dir=tmp_path / "data")


def test_what_lacks_is_named(source, tmp_path):
    for config, folder, message in [
        ("2012_sbd", source / "VOCdevkit", r"VOCdevkit lacks SBD \(benchmark_RELEASE/dataset.*Fix: pass the folder that holds VOC2012 .* and SBD"),
        ("2011_sbd", source / "benchmark_RELEASE", r"lacks VOC2011"),
        ("2011", source / "VOCdevkit" / "VOC2012", r"VOC2012 lacks VOC2011"),
        ("sbd", source / "VOCdevkit", r"voc/sbd: .* lacks SBD"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            datasets.prepare("voc", config, source=folder, data_dir=tmp_path / "data")


@pytest.mark.parametrize("below", [".", "VOC2011", "VOCdevkit/VOC2011", "TrainVal/VOCdevkit/VOC2011"])
def test_where_voc_is_found(tmp_path, below):
    root = tmp_path / "somewhere" / below
    stand_ins.write_voc(root, ["a"], ["v"])
    assert find_voc(tmp_path / "somewhere", "2011") == tmp_path / "somewhere" / below
    assert find_voc(tmp_path, "2011") is None


def test_a_subset_is_told(source, tmp_path, capsys):
    datasets.prepare("voc", "2012_sbd", source=source, data_dir=tmp_path / "data")
    assert (
        "found a subset of {'trainaug': 6, 'validation': 2} images, published are {'trainaug': 10582"
        in capsys.readouterr().out
    )


def numbered(prefix, count):
    return [f"{prefix}{i}" for i in range(count)]


def whole_lists():
    """Lists with the official lengths that overlap as the real ones do."""
    val11 = numbered("val11_", 1111)
    sbd_train = val11[:375] + numbered("sbd_", 8498 - 375)
    train12, val12 = numbered("train12_", 1464), numbered("val12_", 1449)
    # 8,498 + 2,857 images of SBD; 10,582 = 1,464 + (11,355 - those of VOC2012's train and val among them)
    shared = 1464 + 11355 - 10582
    sbd_val = (train12 + val12)[:shared] + numbered("only_", 2857 - shared)
    return (
        {"train": [f"t{i}" for i in range(1112)], "val": val11},
        {"train": train12, "val": val12},
        {"train": sbd_train, "val": sbd_val},
    )


def test_whole_lists_give_the_published_counts():
    voc11, voc12, sbd = whole_lists()
    assert lists.count_names(lists.make_splits("2011_sbd", voc11, sbd)) == {"sbd_train": 8498, "seg11valid": 736}
    found = lists.make_splits("2012_sbd", voc12, sbd)
    assert lists.count_names(found) == {"trainaug": 10582, "validation": 1449}
    assert not set(found["trainaug"]) & set(found["validation"]) and len(set(found["trainaug"])) == 10582
    assert set(lists.make_splits("2011_sbd", voc11, sbd)["seg11valid"]) == set(voc11["val"][375:])
    assert lists.is_whole("2011_sbd", voc11, sbd) and not lists.is_whole("2012_sbd", voc11, sbd)


def test_whole_lists_that_overlap_otherwise_are_refused():
    voc11, _, sbd = whole_lists()
    sbd["train"][0] = "another"
    with pytest.raises(ValueError, match=r"'seg11valid': 737.*expected .*736.*official length"):
        lists.make_splits("2011_sbd", voc11, sbd)


def test_matlab_files_that_are_none(tmp_path):
    good = tmp_path / "good.mat"
    stand_ins.write_mat(good, "GTcls", ids_of("name", "sbd", 0, 21, None), 20)
    np.testing.assert_array_equal(read_sbd_mask(good, "GTcls", 21), ids_of("name", "sbd", 0, 21, None))
    with pytest.raises(ValueError, match=r"good\.mat has no GTinst\.Segmentation"):
        read_sbd_mask(good, "GTinst", 255)
    with pytest.raises(ValueError, match=r"holds the ids 0 to 20: expected 0–9"):
        read_sbd_mask(good, "GTcls", 10)
    scipy.io.savemat(tmp_path / "float.mat", {"GTcls": {"Segmentation": np.zeros((3, 3))}})
    with pytest.raises(ValueError, match=r"GTcls\.Segmentation is float64 of shape \(3, 3\): expected integers"):
        read_sbd_mask(tmp_path / "float.mat", "GTcls", 21)
    scipy.io.savemat(tmp_path / "flat.mat", {"GTcls": np.zeros((3, 3), "uint8")})
    with pytest.raises(ValueError, match=r"has no GTcls\.Segmentation"):
        read_sbd_mask(tmp_path / "flat.mat", "GTcls", 21)


def test_damaged_matlab_files_are_named(tmp_path):
    """Cuts the file at 40 places and adds noise 60 times: the mask is right, or an error names the file."""
    stand_ins.write_mat(tmp_path / "whole.mat", "GTcls", ids_of("name", "sbd", 0, 21, None), 20)
    content = (tmp_path / "whole.mat").read_bytes()
    generator = np.random.default_rng(0)
    damaged = [content[:at] for at in np.linspace(0, len(content) - 1, 40).astype(int)]
    for _ in range(60):
        noisy = bytearray(content)
        at = int(generator.integers(0, len(content) - 8))
        noisy[at : at + 8] = generator.bytes(8)
        damaged.append(bytes(noisy))
    refused = 0
    for i, data in enumerate(damaged):
        path = tmp_path / f"damaged{i}.mat"
        path.write_bytes(data)
        try:
            ids = read_sbd_mask(path, "GTcls", 21)
        except ValueError as error:
            assert path.name in str(error)
            refused += 1
        else:
            np.testing.assert_array_equal(ids, ids_of("name", "sbd", 0, 21, None))
    assert refused > 60


def test_masks_of_two_sizes(tmp_path):
    with pytest.raises(ValueError, match=r"a\.jpg: its class mask is 3×4, its instance mask 4×3"):
        make_example(tmp_path / "a.jpg", np.zeros((3, 4), "uint8"), np.zeros((4, 3), "uint8"))


@pytest.mark.real_data
def test_the_real_subset(shared_data, tmp_path):
    """Compares the masks with what Pillow reads. The data set has no instance masks."""
    builder = datasets.prepare("voc", source=shared_data / "VOCdevkit", data_dir=tmp_path)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "train": 330,
        "validation": 171,
    }
    for name, found in read(builder, "validation[:5]").items():
        with PIL.Image.open(shared_data / "VOCdevkit/VOC2012/SegmentationClass" / f"{name}.png") as file:
            np.testing.assert_array_equal(found["segmentation_mask"][..., 0], np.asarray(file))
        assert (found["instance_mask"] == 255).all()
