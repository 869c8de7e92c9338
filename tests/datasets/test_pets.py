"""Oxford Pets: labels become ids; archives of TFDS; a machine without a network."""

import hashlib
import tarfile

import numpy as np
import PIL.Image
import pytest
import stand_ins
import tensorflow_datasets as tfds
from stand_ins import ids_of

from fcn_keras import datasets
from fcn_keras.datasets.pets import OxfordPets

TRAINVAL, TEST = [f"pug_{i}" for i in range(10)], ["pug_50"]
MAPS = {"pet": {1: 1, 2: 0, 3: 255}, "trimap": {1: 0, 2: 1, 3: 2}}


def assert_ids(builder, config):
    for split, names in {"train": [*TRAINVAL[:4], *TRAINVAL[5:9]], "validation": TRAINVAL[4::5], "test": TEST}.items():
        found = {e["file_name"].decode(): e for e in tfds.as_numpy(builder.as_dataset(split=split))}
        assert set(found) == {f"{name}.jpg" for name in names}
        for name in names:
            labels = ids_of(name, "pets", 1, 4, None)
            expected = np.vectorize(MAPS[config].get)(labels)
            np.testing.assert_array_equal(found[f"{name}.jpg"]["segmentation_mask"][..., 0], expected)


@pytest.mark.parametrize("config", MAPS)
def test_labels_become_ids(tmp_path, config):
    stand_ins.write_pets(tmp_path / "source", TRAINVAL, TEST)
    builder = datasets.prepare("pets", config, source=tmp_path / "source", data_dir=tmp_path / "data")
    assert_ids(builder, config)
    names = {"pet": ["background", "pet"], "trimap": ["pet", "background", "border"]}[config]
    assert datasets.get_class_names("pets", config=config, data_dir=tmp_path / "data") == names
    assert len(builder.info.metadata["palette"]) == len(names) and builder.info.metadata["void"] == 255
    images, masks = next(
        iter(datasets.load("pets", "train", config=config, data_dir=tmp_path / "data", size=(9, 9), batch=8))
    )
    assert images.shape == (8, 9, 9, 3) and set(np.unique(masks)) <= {0, 1, 2, 255}


def test_archives_in_a_folder(tmp_path, monkeypatch):
    """Archives in the folder are used if their checksums are right. Here the checksums are those of stand-ins."""
    stand_ins.write_pets(tmp_path / "unpacked", TRAINVAL, TEST)
    (tmp_path / "source").mkdir()
    infos = {}
    for url, info in OxfordPets.url_infos.items():
        path = tmp_path / "source" / info.filename
        with tarfile.open(path, "w") as tar:  # as the real ones: plain tar files, whatever their names say
            tar.add(tmp_path / "unpacked" / info.filename.split(".")[0], info.filename.split(".")[0])
        content = path.read_bytes()
        infos[url] = type(info)(len(content), hashlib.sha256(content).hexdigest(), info.filename)
    monkeypatch.setattr(OxfordPets, "url_infos", infos)
    builder = datasets.prepare("pets", source=tmp_path / "source", data_dir=tmp_path / "data")
    assert_ids(builder, "pet")


def test_archives_with_another_checksum(tmp_path):
    (tmp_path / "source").mkdir()
    for name in ("images", "annotations"):
        (tmp_path / "source" / f"{name}.tar.gz").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"images\.tar\.gz, has wrong checksum: .*67195c5e"):
        datasets.prepare("pets", source=tmp_path / "source", data_dir=tmp_path / "data")


def test_another_folder(tmp_path):
    (tmp_path / "source" / "images").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"source does not hold the data set\. Fix: pass source=.*images\.tar\.gz"):
        datasets.prepare("pets", source=tmp_path / "source", data_dir=tmp_path / "data")


def test_offline_it_says_what_it_would_load_and_the_mend(tmp_path, capsys):
    with pytest.raises(
        ValueError,
        match=r"Oxford-IIIT Pet could not be downloaded and unpacked\. Found: https://thor.*Fix: .*pass source=",
    ):
        datasets.prepare("pets", data_dir=tmp_path)
    told = capsys.readouterr().out
    assert "https://thor.robots.ox.ac.uk/~vgg/data/pets/images.tar.gz" in told and "0.8 GB" in told


def test_a_label_that_is_none(tmp_path):
    stand_ins.write_pets(tmp_path / "source", TRAINVAL, TEST)
    mask = tmp_path / "source/annotations/trimaps/pug_3.png"
    PIL.Image.fromarray(np.zeros((9, 10), "uint8")).save(mask)
    with pytest.raises(ValueError, match=r"pug_3\.png holds the labels \[0\]: expected 1"):
        datasets.prepare("pets", source=tmp_path / "source", data_dir=tmp_path / "data")
