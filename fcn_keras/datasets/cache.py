"""A cache of examples that may be killed: a file that is there is whole."""

import os
import pathlib

import tensorflow as tf

_IN_MEMORY = {}  # by what they are: each epoch of a training loads its examples anew


def cached(examples, place, origin=""):
    """Keeps the examples of a data set at hand, in memory or in a file.

    `tf.data.Dataset.cache` with a file name leaves a lock behind when it is killed in its first pass, and refuses to go
    on until someone deletes it. Here the file is written in full before the first example is handed on: beside, under
    another name, and renamed. In memory they stay as long as the process, for all who ask for the same `origin`.

    Args:
        examples: A `tf.data.Dataset` of dicts of tensors, of known length.
        place: ``"memory"``, or the path of a file.
        origin: Where they come from; written into the file, and compared when it is read.

    Returns:
        A `tf.data.Dataset` of the same examples in the same order.

    Raises:
        ValueError: If the file is one of other examples: of another origin, another number, or other features.

    Example:

    >>> first = cached(tf.data.Dataset.from_tensor_slices({"x": [1, 2]}), "numbers.cache")
    >>> [int(example["x"]) for example in first]
    [1, 2]
    """
    if place == "memory":
        return _IN_MEMORY.setdefault(_head(examples, origin), examples.cache()) if origin else examples.cache()
    path = pathlib.Path(place).expanduser()
    if not path.exists():
        _write(examples, path, origin)
    records = tf.data.TFRecordDataset(str(path), compression_type=None)
    head = next(iter(records), tf.constant(b"")).numpy().decode(errors="replace")
    if head != _head(examples, origin):
        raise ValueError(
            f"{path} holds other examples: found {head[:200]!r}, expected {_head(examples, origin)[:200]!r}. "
            "Fix: delete it, or name another file."
        )
    specs = examples.element_spec
    length = len(examples)

    def parsed(record):
        values = tf.io.parse_single_example(record, {name: tf.io.FixedLenFeature((), tf.string) for name in specs})
        return {
            name: tf.ensure_shape(tf.io.parse_tensor(values[name], spec.dtype), spec.shape)
            for name, spec in specs.items()
        }

    dataset = records.skip(1).map(parsed, tf.data.AUTOTUNE, deterministic=True)
    return dataset.apply(tf.data.experimental.assert_cardinality(length))


def _head(examples, origin):
    """What a file must be a cache of: the first record."""
    specs = sorted((name, spec.dtype.name, str(spec.shape)) for name, spec in examples.element_spec.items())
    return f"fcn_keras cache of {len(examples)} examples from {origin or 'somewhere'}: {specs}"


def _write(examples, path, origin):
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f"partial-*-{path.name}"):  # of a run that was killed
        process = left.name.split("-")[1]
        if process.isdecimal() and not _runs(int(process)):
            left.unlink(missing_ok=True)
    beside = path.with_name(f"partial-{os.getpid()}-{path.name}")
    try:
        with tf.io.TFRecordWriter(str(beside)) as file:
            file.write(_head(examples, origin).encode())
            for example in examples:
                features = {name: _feature(value) for name, value in example.items()}
                file.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())  # the bytes before the name: after a power cut, too
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _feature(value):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[tf.io.serialize_tensor(value).numpy()]))


def _runs(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
