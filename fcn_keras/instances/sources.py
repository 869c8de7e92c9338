"""Sources of examples. Examples are small while they are shuffled, and are decoded afterwards."""

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from .. import datasets


@dataclasses.dataclass(frozen=True)
class Source:
    """Examples that are not decoded yet, and the function that decodes one of them.

    A decoded image with its masks takes about a hundred times the memory of its files, and its number takes almost no
    memory. So examples are shuffled as files or as numbers.

    Args:
        undecoded: A `tf.data.Dataset` of known length. Its elements are the bytes of an example's files, or its number.
        decode: Function from an element to a dict of ``image`` uint8 ``(H, W, 3)``, ``masks`` uint8 ``(M, H, W)`` and
            ``classes`` int32 ``(M,)``, −1 for a crowd.
        class_names: Names of the classes, ``background`` first.
        identity: Description of the data, as JSON. A training run only continues with data of the same identity.

    Example:

    >>> source = open_prepared("shapes", "validation")
    >>> sorted(source.decode(next(iter(source.undecoded))))
    ['classes', 'image', 'masks']
    """

    undecoded: tf.data.Dataset
    decode: Callable
    class_names: Sequence[str]
    identity: dict


def open_prepared(name, split, **where):
    """Opens a data set that has instance masks.

    The class of an object is the class of its pixels in the class mask.

    Args:
        name: ``"shapes"`` or ``"voc"``.
        split: As in `fcn_keras.datasets.load`.
        **where: ``config``, ``source`` and ``data_dir``, as in `fcn_keras.datasets.prepare`.

    Returns:
        A `Source` whose elements are the bytes of the files.

    Raises:
        ValueError: If the data set has no instance masks, or as in `fcn_keras.datasets.prepare`.

    Example:

    >>> open_prepared("shapes", "validation").class_names[:2]
    ['background', 'disc']
    """
    builder = datasets.prepare(name, **{"config": datasets.find_config(name, split), **where})
    features = builder.info.features
    if "instance_mask" not in features:
        raise ValueError(
            f"{builder.info.full_name} has no instance masks. Fix: take shapes or voc, or files in COCO's format."
        )
    void = int(builder.info.metadata["void"])
    undecoded = datasets.read_undecoded(builder, split, "image", "segmentation_mask", "instance_mask")
    for example in undecoded.take(1):
        if tf.reduce_all(features["instance_mask"].decode_example(example["instance_mask"]) == void):
            raise ValueError(
                f"{builder.info.full_name} was prepared from a folder without instance masks. Fix: take a folder with "
                "SegmentationObject (of SBD: inst), and another data_dir."
            )

    def decode(example):
        decoded = {key: features[key].decode_example(value) for key, value in example.items()}
        ids, classes = (tf.cast(decoded[key][..., 0], tf.int32) for key in ("instance_mask", "segmentation_mask"))
        count = tf.reduce_max(tf.where(ids == void, 0, ids))
        masks = ids[None] == tf.range(1, count + 1)[:, None, None]
        own = tf.where(tf.logical_and(masks, classes[None] != void), classes[None], 0)
        return {
            "image": decoded["image"],
            "masks": tf.cast(masks, tf.uint8),
            "classes": tf.reduce_max(own, axis=(1, 2)),
        }

    identity = {
        "prepared": builder.info.full_name,
        "split": split,
        "examples": len(undecoded),
        "bytes": int(builder.info.dataset_size),
    }
    return Source(undecoded, decode, list(builder.info.metadata["class_names"]), identity)
