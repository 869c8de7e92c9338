"""Reads the masks that CVAT, PASCAL VOC and Roboflow export, and folders in which the names of masks have suffixes."""

import dataclasses
import functools

import numpy as np
import PIL.Image

from ..classes import read_classes
from ..images import FORMATS, list_images
from ..voc import layout as voc
from ..voc.lists import read_list
from .recognize import NAMES, find_files, find_voc_masks, pair_names
from .samples import Sample, Shape, find_split

NAME_FILES = ("classes.txt", "labels.txt", "class_names.txt", "labelmap.txt")


def find_names(folder):
    """The text file in a folder that names the classes, or None.

    Example:

    >>> import pathlib
    >>> pathlib.Path("labels.txt").touch()
    >>> find_names(pathlib.Path()).name
    'labels.txt'
    """
    return next((folder / name for name in NAME_FILES if (folder / name).is_file()), None)


def read_masks(source, tool):
    """Reads the masks in a folder.

    Args:
        source: A `pathlib.Path`.
        tool: ``"CVAT"``, ``"PASCAL VOC"``, ``"Roboflow"``, or `fcn_keras.datasets.label_tools.recognize.NAMES`.

    Returns:
        A list of `fcn_keras.datasets.label_tools.samples.Sample`; and a `fcn_keras.datasets.classes.Classes`, or None
        if nothing names the classes.

    Raises:
        ValueError: If names of classes are missing or contradict each other.

    Example:

    >>> samples, classes = read_masks(pathlib.Path("export"), "CVAT")  # doctest: +SKIP
    """
    return {NAMES: _read_pairs, "Roboflow": _read_roboflow}.get(tool, _read_voc)(source)


def _read_voc(source):
    masks = find_voc_masks(source)
    root, names = masks.parent, find_names(masks.parent)
    if names is None and not root.name.startswith("VOC20"):
        raise ValueError(f"{root} does not name its classes. Fix: write {root / 'classes.txt'}, a line for each id.")
    classes = read_classes(names) if names else voc.CLASSES
    if classes.colors and (0, 0, 0) not in (*classes.colors, classes.void_color):  # what nobody labelled is black
        named, colors = ("background", *classes.names), ((0, 0, 0), *classes.colors)
        classes = dataclasses.replace(classes, names=named, colors=colors)
    lists = sorted((root / "ImageSets" / "Segmentation").glob("*.txt"))
    splits = {name: split for path in lists if (split := find_split(path.stem)) for name in read_list(path)}
    samples = []
    for mask in list_images(masks, (".png",)):
        own = mask.relative_to(masks)
        name, objects = own.with_suffix("").as_posix(), root / "SegmentationObject" / own
        objects = objects if objects.is_file() else None
        samples.append(Sample(str(mask), (name,), root / "JPEGImages", None, (), mask, objects, splits.get(name)))
    return samples, classes


def _read_roboflow(source):
    files = list(find_files(source, "_classes.csv"))
    classes = [read_classes(path) for path in files]
    for path, found in zip(files, classes, strict=True):
        if found != classes[0]:
            raise ValueError(f"{path} and {files[0]} name different classes. Fix: export both with the same classes.")
    masks = [mask for path in files for mask in list_images(path.parent, (".png",)) if mask.stem.endswith("_mask")]
    return [Sample(str(m), (m.stem.removesuffix("_mask"),), m.parent, mask=m) for m in dict.fromkeys(masks)], classes[0]


def _read_pairs(source):
    samples, (pairs, problems) = [], pair_names(source)
    for image, masks in pairs:
        sample = functools.partial(Sample, str(image), (image.name,), image.parent)
        if None not in masks:
            files = [(label, path) for label in sorted(masks) for path in masks[label]]
            samples.append(
                sample(shapes=[Shape(label, functools.partial(_read_object, path)) for label, path in files])
            )
        elif len(masks) == len(masks[None]) == 1:
            samples.append(sample(mask=masks[None][0]))
        else:
            problems.append(f"{image} has {sum(map(len, masks.values()))} masks")
    if problems:
        expected = "Expected one image of a name and one mask of it, or one for each class, such as masks/001-car.png."
        found = "; ".join(problems[:5]) + " …" * (len(problems) > 5)
        raise ValueError(f"{found}. {expected} Fix: rename or remove files.")
    names = find_names(source)
    return samples, names and read_classes(names)


def _read_object(path, height, width):
    with PIL.Image.open(path, formats=FORMATS) as file:
        mask = np.asarray(file.convert("L"))
    if mask.shape != (height, width) or len(np.unique(mask)) > 2:
        found = f"{mask.shape[0]}×{mask.shape[1]} and holds {len(np.unique(mask))} values"
        raise ValueError(f"{path} is {found}: expected {height}×{width}, and two values. Fix: export it again.")
    return (mask > 0).astype("uint8")
