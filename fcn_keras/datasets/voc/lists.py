"""The official lists of PASCAL VOC and SBD, and the splits that papers make from them.

Reference: Everingham et al. (IJCV 2015), PASCAL VOC; Hariharan et al. (ICCV 2011), the Semantic Boundaries Dataset
(SBD); Long, Shelhamer & Darrell (CVPR 2015), the note on the 736 images; Chen et al. (ICLR 2015), ``trainaug``.
"""

from ..._files import user_path

LENGTHS = {
    "VOC2012": {"train": 1464, "val": 1449},
    "VOC2011": {"train": 1112, "val": 1111},
    "SBD": {"train": 8498, "val": 2857},
}
SEG11VALID, TRAINAUG = 736, 10582
SPLITS = {
    "2012": {"train": 1464, "validation": 1449},
    "2011": {"train": 1112, "validation": 1111},
    "sbd": {"train": 8498, "validation": 2857},
    "2011_sbd": {"sbd_train": 8498, "seg11valid": SEG11VALID},
    "2012_sbd": {"trainaug": TRAINAUG, "validation": 1449},
}


def read_list(path):
    """The names in a text file, in order. If a name is written twice, the second one is ignored.

    Raises:
        ValueError: If there is no such file.

    Example:

    >>> names = read_list("VOC2012/ImageSets/Segmentation/val.txt")  # doctest: +SKIP
    """
    path = user_path(path)
    if not path.is_file():
        raise ValueError(f"No list at {path}. Fix: check the path and its spelling.")
    return list(dict.fromkeys(path.read_text().split()))


def select_seg11valid(voc_val, sbd_train):
    """VOC2011's validation list without the images in SBD's training list, in the order of VOC2011.

    Example:

    >>> select_seg11valid(["a", "b", "c"], ["b", "x"])
    ['a', 'c']
    """
    trained_on = set(sbd_train)
    return [name for name in voc_val if name not in trained_on]


def select_trainaug(voc_train, voc_val, sbd_train, sbd_val):
    """All images with a mask in VOC2012's ``train`` or in SBD that are not in VOC2012's ``val``, sorted.

    Example:

    >>> select_trainaug(["a"], ["v"], ["a", "c"], ["v", "b"])
    ['a', 'b', 'c']
    """
    return sorted({*voc_train, *sbd_train, *sbd_val} - set(voc_val))


def make_splits(config, voc=None, sbd=None):
    """The splits of a config of `fcn_keras.datasets.voc.builder.VocSegmentation`, from the lists in the folders.

    Args:
        config: A key of `SPLITS`.
        voc, sbd: Dicts of the lists ``train`` and ``val``, if the config needs them.

    Returns:
        Dict from split to list of names.

    Raises:
        ValueError: If every list has its official length, but a split made from them does not.

    Example:

    >>> make_splits("2011_sbd", {"train": [], "val": ["a", "b"]}, {"train": ["b"], "val": []})
    {'sbd_train': ['b'], 'seg11valid': ['a']}
    """
    if config == "2011_sbd":
        found = {"sbd_train": sbd["train"], "seg11valid": select_seg11valid(voc["val"], sbd["train"])}
    elif config == "2012_sbd":
        all_lists = (voc["train"], voc["val"], sbd["train"], sbd["val"])
        found = {"trainaug": select_trainaug(*all_lists), "validation": voc["val"]}
    else:
        lists = sbd if config == "sbd" else voc
        found = {"train": lists["train"], "validation": lists["val"]}
    if is_whole(config, voc, sbd) and count_names(found) != SPLITS[config]:
        raise ValueError(
            f"{config}: found splits of {count_names(found)} images, expected {SPLITS[config]}, although each list has "
            "its official length: at least one names other images. Fix: take the official lists, unchanged."
        )
    return found


def is_whole(config, voc=None, sbd=None):
    """Whether every list has its official length. If not, the folder holds a subset.

    Example:

    >>> is_whole("2012", {"train": ["a"], "val": ["b"]})
    False
    """
    lists = [] if voc is None else [(voc, LENGTHS[f"VOC{config[:4]}"])]
    lists += [] if sbd is None else [(sbd, LENGTHS["SBD"])]
    return all(count_names(found) == official for found, official in lists)


def count_names(lists):
    """The number of names in each list of a dict.

    Example:

    >>> count_names({"train": ["a", "b"], "val": []})
    {'train': 2, 'val': 0}
    """
    return {name: len(names) for name, names in lists.items()}
