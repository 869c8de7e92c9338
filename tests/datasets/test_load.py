"""`load` and `prepare`: the cache in memory, folders that begin with ``~``, and a process that is killed."""

import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
import stand_ins
import tensorflow as tf
import tensorflow_datasets as tfds

from fcn_keras import datasets
from fcn_keras._files import user_path, write_json
from fcn_keras.datasets.folder import make_builder
from fcn_keras.datasets.images import read_image
from fcn_keras.datasets.masks import find_pairs
from fcn_keras.datasets.pipeline import make_pipeline
from fcn_keras.datasets.progress import track


@pytest.fixture
def root(tmp_path):
    names = [f"{i:02d}" for i in range(9)]
    stand_ins.write_camvid(tmp_path / "CamVid", names, ["v"])
    return tmp_path


def load(root, **options):
    batches = datasets.load("camvid", source=root / "CamVid", data_dir=root / "data", **options)
    return list(batches.as_numpy_iterator())


def same(found, expected):
    assert len(found) == len(expected)
    for pair, other in zip(found, expected, strict=True):
        for a, b in zip(pair, other, strict=True):
            np.testing.assert_array_equal(a, b)


# --- the cache ---


def test_a_cached_split_is_read_from_the_disk_once(root):
    options = {"size": (8, 8), "augment": True, "batch": 2}
    expected = [load(root, seed=seed, **options) for seed in (3, 4)]
    same(load(root, seed=3, cache=True, **options), expected[0])
    for file in (root / "data").rglob("*.tfrecord*"):
        file.write_bytes(b"")
    same(load(root, seed=4, cache=True, **options), expected[1])  # a later epoch: another order, other crops
    assert len(datasets.load("camvid", data_dir=root / "data", cache=True, batch=2)) == 5
    with pytest.raises(tf.errors.OpError):
        load(root, cache=False)


def test_data_that_were_prepared_anew_are_not_taken_from_the_cache(root):
    before = load(root, cache=True)
    for file in (root / "data").rglob("*"):
        file.rename(file.with_name(f"old-{file.name}")) if file.name == "1.0.0" else None
    stand_ins.write_camvid(root / "CamVid", ["other"], ["v"])
    found = load(root, cache=True)
    assert len(before) == 9 and len(found) == 10


def test_a_cache_in_a_file_is_refused(root):
    with pytest.raises(ValueError, match=r"Found cache='train\.records': expected True.*Fix: cache=True"):
        load(root, cache="train.records")


def test_shuffling_needs_a_known_length():
    examples = tf.data.Dataset.from_tensors({"image": np.zeros((4, 4, 3), "uint8")}).filter(lambda example: True)
    with pytest.raises(ValueError, match=r"unknown length.*Fix: .*assert_cardinality"):
        make_pipeline(examples, seed=0)
    with pytest.raises(ValueError, match="infinite length"):
        make_pipeline(examples.repeat(), seed=0)


# --- the source of prepared data ---

PREPARE_AND_DIE = """
import os, signal, sys
import tensorflow_datasets as tfds
from fcn_keras import datasets
tfds.core.DatasetBuilder._post_download_and_prepare_hook = lambda builder: os.kill(os.getpid(), signal.SIGKILL)
datasets.prepare(sys.argv[1], source=sys.argv[2], data_dir=sys.argv[3])
"""


def test_killed_right_after_the_data_are_prepared(root):
    """The hook runs when the data have their final name, and before `prepare` returns."""
    arguments = ["camvid", str(root / "CamVid"), str(root / "data")]
    child = subprocess.run([sys.executable, "-c", PREPARE_AND_DIE, *arguments], capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert list((root / "data").rglob("dataset_info.json"))
    assert len(load(root)) == 9
    with pytest.raises(ValueError, match=r"was prepared from .*CamVid, not from .*elsewhere"):
        datasets.prepare("camvid", source=root / "elsewhere", data_dir=root / "data")


def test_data_that_another_program_prepared_name_their_source(root):
    from fcn_keras.datasets.camvid import CamVid

    builder = CamVid(data_dir=root / "data")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=root / "CamVid"))
    assert len(load(root)) == 9


def test_data_of_the_first_edition_name_their_source_in_a_file(root):
    builder = datasets.prepare("camvid", source=root / "CamVid", data_dir=root / "data")
    folder = pathlib.Path(builder.data_dir)
    metadata = {key: value for key, value in builder.info.metadata.items() if key != "source"}
    write_json(folder / "metadata.json", metadata)
    (folder / "source.txt").write_text(f"{root / 'CamVid'}\n")
    assert len(load(root)) == 9
    (folder / "source.txt").unlink()
    with pytest.raises(ValueError, match="was prepared from unknown"):
        load(root)


def test_generated_data_have_no_source(tmp_path):
    with pytest.raises(ValueError, match="shapes is generated, found the source"):
        datasets.prepare("shapes", source=tmp_path, data_dir=tmp_path)


# --- paths that begin with ~ ---


@pytest.fixture
def home(root, tmp_path_factory, monkeypatch):
    """Makes `root` the home folder. The process runs elsewhere, where no folder ``~`` may appear."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(root))
    yield root
    assert not list(elsewhere.iterdir())


def test_the_data_folder_of_the_environment(home, monkeypatch):
    monkeypatch.setenv("FCN_KERAS_DATA", "~/prepared")
    assert datasets.get_data_home() == home / "prepared"
    assert len(datasets.load("camvid", source="~/CamVid")) == 9
    assert list((home / "prepared").rglob("dataset_info.json"))
    monkeypatch.setenv("FCN_KERAS_DATA", "")  # as if it were not set
    assert datasets.get_data_home().name in ("data", "fcn_keras_data")


def test_arguments_that_name_folders(home):
    assert len(datasets.load("camvid", source="~/CamVid", data_dir="~/prepared")) == 9
    assert len(datasets.load("camvid", source=home / "CamVid", data_dir=home / "prepared")) == 9
    assert len(find_pairs("~/CamVid/train", "~/CamVid/trainannot")) == 9
    for folder, name in (("images", "train"), ("masks", "trainannot")):
        (home / "CamVid" / name).rename(home / "CamVid" / folder)
    assert datasets.resolve_data_set("~/CamVid") == ("folder", "~/CamVid")
    given = make_builder("~/CamVid", data_dir="~/prepared")
    assert given.data_dir == make_builder(home / "CamVid", data_dir=home / "prepared").data_dir
    assert len(datasets.load("~/CamVid", data_dir="~/prepared")) == len(
        datasets.load(str(home / "CamVid"), data_dir=home / "prepared")
    )


def test_files_to_read_and_to_write(home):
    write_json("~/notes.json", {"a": 1})
    assert (home / "notes.json").is_file()
    assert read_image("~/CamVid/train/00.png").shape == read_image(home / "CamVid" / "train" / "00.png").shape
    assert user_path("~nobody-of-that-name.png") == pathlib.Path("~nobody-of-that-name.png")


def test_items_of_unknown_number_are_tracked():
    numbers = tf.data.Dataset.range(5).filter(lambda number: number > 1)
    assert [int(number) for number in track(numbers, "numbers", show=False)] == [2, 3, 4]
