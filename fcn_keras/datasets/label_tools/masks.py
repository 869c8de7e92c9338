"""Reads the masks that CVAT, PASCAL VOC and Roboflow export, and folders in which the names of masks have suffixes."""

import collections
import dataclasses
import functools

import numpy as np
import PIL.Image

from ..classes import read_classes
from ..images import FORMATS, list_images
from ..voc import layout as voc
from ..voc.lists import read_list
from .recognize import NAMES, find_files, find_voc_masks, pair_names
from .samples import Sample, Shape

NAME_FILES = ("classes.txt", "labels.txt", "class_names.txt", "labelmap.txt")
LISTS = {"train.txt": "train", "Train.txt": "train", "val.txt": "validation", "Validation.txt": "validation",
         "test.txt": "test", "Test.txt": "test"}  # fmt: skip


def read_names(folder):
    """The classes that a text file in a folder names, as a `fcn_keras.datasets.classes.Classes`, or None.

    Example:

    >>> read_names(pathlib.Path("nowhere"))
    """
    path = next((folder / name for name in NAME_FILES if (folder / name).is_file()), None)
    return path and read_classes(path)


def read_masks(source, tool):
    """Reads the masks in a folder.

    Args:
        source: A `pathlib.Path`.
        tool: ``"CVAT"``, ``"PASCAL VOC"``, ``"Roboflow"``, or `fcn_keras.datasets.label_tools.recognize.NAMES`.

    Returns:
        A list of `fcn_keras.datasets.label_tools.samples.Sample`; a `fcn_keras.datasets.classes.Classes`, or None if
        there is none; and a `collections.Counter` of what is left out.

    Raises:
        ValueError: If names of classes are missing or contradict each other.

    Example:

    >>> samples, classes, left_out = read_masks(pathlib.Path("export"), "CVAT")  # doctest: +SKIP
    """
    read = {NAMES: _read_pairs, "Roboflow": _read_roboflow}.get(tool, _read_voc)
    return *read(source), collections.Counter()


def _read_voc(source):
    masks = find_voc_masks(source)
    root = masks.parent
    classes = read_names(root) or (voc.CLASSES if root.name.startswith("VOC20") else None)
    if classes is None:
        raise ValueError(
            f"{root} does not name the classes of its masks. Fix: write them into {root / 'classes.txt'}, one name in "
            "each line, in the order of the ids."
        )
    if classes.colors and (0, 0, 0) not in (
        *classes.colors,
        classes.void_color,
    ):  # pixels that nobody labelled are black
        classes = dataclasses.replace(
            classes, names=("background", *classes.names), colors=((0, 0, 0), *classes.colors)
        )
    folder = root / "ImageSets" / "Segmentation"
    splits = {
        name: split for file, split in LISTS.items() if (folder / file).is_file() for name in read_list(folder / file)
    }
    objects, samples = root / "SegmentationObject", []
    for path in list_images(masks, (".png",)):
        own = objects / path.relative_to(masks)
        name = path.relative_to(masks).with_suffix("").as_posix()
        own = own if own.is_file() else None
        samples.append(Sample(str(path), (name,), root / "JPEGImages", mask=path, objects=own, split=splits.get(name)))
    return samples, classes


def _read_roboflow(source):
    files = list(find_files(source, "_classes.csv"))
    classes = [read_classes(path) for path in files]
    other = next((path for path, found in zip(files, classes, strict=True) if found != classes[0]), None)
    if other:
        raise ValueError(f"{other} and {files[0]} name different classes. Fix: export both with the same classes.")
    samples = []
    for csv in files:
        for path in list_images(csv.parent, (".png",)):
            if path.stem.endswith("_mask"):
                name = path.stem.removesuffix("_mask")
                samples.append(Sample(str(path), (name,), path.parent, mask=path))
    return samples, classes[0]


def _read_pairs(source):
    pairs, problems = pair_names(source)
    samples = []
    for image, masks in pairs:
        files = sorted((label or "", path) for label, paths in masks.items() for path in paths)
        sample = functools.partial(Sample, str(image), (image.name,), image.parent)
        if None not in masks:
            shapes = [
                Shape(label, functools.partial(_read_two_values, path), path, thing=False) for label, path in files
            ]
            samples.append(sample(shapes=shapes))
        elif len(files) > 1:
            problems.append(f"{image} has the masks {files[0][1]} and {files[1][1]}")
        else:
            samples.append(sample(mask=files[0][1]))
    if problems:
        raise ValueError(
            f"{source}: {'; '.join(problems[:5])}{' …' * (len(problems) > 5)}. Expected one image of a name, and for "
            "it one mask, or one for each class, such as masks/001-car.png. Fix: rename, add or remove files."
        )
    return samples, read_names(source)


def _read_two_values(path, height, width):
    with PIL.Image.open(path, formats=FORMATS) as file:
        mask = np.asarray(file.convert("L"))
    if mask.shape != (height, width) or len(np.unique(mask)) > 2:
        raise ValueError(f"{path} is {mask.shape[0]}×{mask.shape[1]} and holds {len(np.unique(mask))} values: expected "
                         f"{height}×{width}, and two values.")  # fmt: skip
    return (mask > 0).astype("uint8")
