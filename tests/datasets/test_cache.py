"""The cache gives what the data gives, is read the second time, and survives a kill in its first pass."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import stand_ins
import tensorflow as tf

from fcn_keras import datasets
from fcn_keras.datasets.cache import cached


@pytest.fixture
def root(tmp_path):
    names = [f"{i:02d}" for i in range(9)]
    stand_ins.write_camvid(tmp_path / "CamVid", names, ["v"])
    return tmp_path


def load(root, **options):
    pairs = datasets.load("camvid", source=root / "CamVid", data_dir=root / "data", **options)
    return list(pairs.as_numpy_iterator())


def same(found, expected):
    assert len(found) == len(expected)
    for pair, other in zip(found, expected, strict=True):
        for a, b in zip(pair, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("place", ["memory", "file"])
def test_the_same_batches_twice(root, place):
    place = place if place == "memory" else str(root / "cache" / "train.records")
    options = {"size": (8, 8), "augment": True, "seed": 3, "batch": 2}
    expected = load(root, **options)
    same(load(root, cache=place, **options), expected)
    same(load(root, cache=place, **options), expected)
    assert len(datasets.load("camvid", data_dir=root / "data", cache=place, batch=2)) == 5


def test_a_file_of_another_split(root):
    load(root, cache=str(root / "c"))
    with pytest.raises(ValueError, match="train.*expected.*validation"):
        load(root, cache=str(root / "c"), split="validation")


def test_a_file_is_read_the_second_time(tmp_path):
    reads = []

    def numbers():
        reads.append(1)
        yield from ({"x": np.int64(i)} for i in range(3))

    examples = tf.data.Dataset.from_generator(numbers, output_signature={"x": tf.TensorSpec((), tf.int64)})
    examples = examples.apply(tf.data.experimental.assert_cardinality(3))
    for _ in range(2):
        assert [int(example["x"]) for example in cached(examples, tmp_path / "c")] == [0, 1, 2]
    assert len(reads) == 1 and [path.name for path in tmp_path.iterdir()] == ["c"]


def test_memory_serves_every_epoch(tmp_path):
    reads = []

    def numbers():
        reads.append(1)
        yield from ({"x": np.int64(i)} for i in range(3))

    for _ in range(3):  # each epoch is loaded anew
        examples = tf.data.Dataset.from_generator(numbers, output_signature={"x": tf.TensorSpec((), tf.int64)})
        examples = examples.apply(tf.data.experimental.assert_cardinality(3))
        assert [int(example["x"]) for example in cached(examples, "memory", str(tmp_path))] == [0, 1, 2]
    assert len(reads) == 1
    other = tf.data.Dataset.from_tensor_slices({"x": np.arange(3) + 7})
    assert [int(example["x"]) for example in cached(other, "memory", f"{tmp_path} of another")] == [7, 8, 9]


def test_files_of_others_stay(tmp_path):
    (tmp_path / "partial-notes-c").write_text("mine")
    cached(tf.data.Dataset.from_tensor_slices({"x": [1]}), tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "partial-notes-c"]


def test_a_file_of_other_examples(tmp_path):
    cached(tf.data.Dataset.from_tensor_slices({"x": [1, 2]}), tmp_path / "c")
    for other in ({"x": [1, 2, 3]}, {"y": [1, 2]}, {"x": [1.0, 2.0]}):
        with pytest.raises(ValueError, match="holds other examples: found .fcn_keras cache of 2 examples.*Mend"):
            cached(tf.data.Dataset.from_tensor_slices(other), tmp_path / "c")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ValueError, match="found ''"):
        cached(tf.data.Dataset.from_tensor_slices({"x": [1]}), tmp_path / "empty")


SLOW = """
import sys, time, pathlib, tensorflow as tf
from fcn_keras.datasets.cache import cached
def slow():
    for i in range(1000):
        time.sleep(0.01)
        print(i, flush=True)
        yield {"x": i}
examples = tf.data.Dataset.from_generator(slow, output_signature={"x": tf.TensorSpec((), tf.int64)})
cached(examples.apply(tf.data.experimental.assert_cardinality(1000)), sys.argv[1])
"""


def test_killed_in_its_first_pass(tmp_path):
    path = tmp_path / "c"
    with subprocess.Popen([sys.executable, "-c", SLOW, str(path)], stdout=subprocess.PIPE, text=True) as child:
        while int(child.stdout.readline()) < 20:
            pass
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert not path.exists() and len(list(tmp_path.iterdir())) == 1  # what it had written, under no final name
    examples = tf.data.Dataset.from_tensor_slices({"x": np.arange(5)})
    assert [int(example["x"]) for example in cached(examples, path)] == list(range(5))
    assert [left.name for left in tmp_path.iterdir()] == ["c"]


TRAINING = """
import os, signal, sys
import tensorflow as tf
from fcn_keras import datasets
write, count = tf.io.TFRecordWriter.write, 0
def counted(*args):
    global count
    count += 1
    if count == 5:  # the head and four of nine examples
        os.kill(os.getpid(), signal.SIGKILL)
    write(*args)
tf.io.TFRecordWriter.write = counted
root = sys.argv[1]
options = {"size": (8, 8), "augment": True, "seed": 3, "batch": 2}
list(datasets.load("camvid", data_dir=root + "/data", cache=root + "/cache/c", **options))
"""


def test_batches_after_a_kill_are_the_same(root):
    options = {"size": (8, 8), "augment": True, "seed": 3, "batch": 2}
    expected = load(root, **options)
    child = subprocess.run([sys.executable, "-c", TRAINING, str(root)], capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert [left.name.split("-")[0] for left in (root / "cache").iterdir()] == ["partial"]
    same(load(root, cache=str(root / "cache" / "c"), **options), expected)
    assert [left.name for left in (root / "cache").iterdir()] == ["c"]
