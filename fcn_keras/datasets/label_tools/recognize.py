"""Finds out which label tool wrote a folder, and pairs images with masks of similar names."""

import json
import pathlib
import re
import shlex
import unicodedata

from ..._files import user_path
from ..images import SUFFIXES, list_images, walk
from ..masks import SUFFIXES as MASK_SUFFIXES

NAMES = "images and masks whose names differ"
TAILS = re.compile(r"[_-](masks?|labels?|labelids|gt|seg|l)$", re.IGNORECASE)
MASK_FOLDER = re.compile(r"masks?|labels?|annotations?|segmentations?|gt|ground_?truth", re.IGNORECASE)
IMAGE_FOLDER = re.compile(r"images?|imgs?|photos?|jpegimages", re.IGNORECASE)


def recognize(source):
    """Finds out which label tool wrote a folder.

    Args:
        source: The folder.

    Returns:
        ``"CVAT"``, ``"PASCAL VOC"``, ``"Roboflow"``, ``"LabelMe"``, ``"COCO"``, ``"Label Studio"``, the text in
        `NAMES`, or None.

    Example:

    >>> pathlib.Path("export").mkdir()
    >>> _ = pathlib.Path("export/1.json").write_text('{"shapes": [], "imagePath": "1.jpg"}')
    >>> recognize("export")
    'LabelMe'
    """
    source = user_path(source)
    if folder := find_voc_masks(source):
        return "CVAT" if (folder.parent / "labelmap.txt").is_file() else "PASCAL VOC"
    if next(find_files(source, "_classes.csv"), None):
        return "Roboflow"
    for path in find_files(source, "*.json"):
        try:
            tool = name_tool(json.loads(path.read_text(encoding="utf-8-sig")))
        except (OSError, ValueError, RecursionError):
            continue
        if tool:
            return tool
    if next(find_files(source, "task-*-annotation-*-by-*.png"), None):
        return "Label Studio"
    return NAMES if pair_names(source)[0] else None


def advise_import(source):
    """A sentence with the command that imports a folder, or an empty string if no label tool is recognized.

    Args:
        source: The folder.

    Example:

    >>> advise_import("nowhere")
    ''
    """
    tool = recognize(source)
    what = {None: "", NAMES: f"holds {NAMES}"}.get(tool, f"is an export of {tool}")
    return what and f"{source} {what}. Fix: fcn-keras import {shlex.quote(str(source))} my_data; then use my_data."


def name_tool(content):
    """The label tool that writes JSON files of this structure, or None.

    Args:
        content: What the file holds.

    Example:

    >>> name_tool({"images": [], "annotations": [], "categories": []})
    'COCO'
    """
    if isinstance(content, dict):
        known = {"LabelMe": {"shapes", "imagePath"}, "COCO": {"images", "annotations", "categories"}}
        return next((tool for tool, keys in known.items() if keys <= content.keys()), None)
    tasks = content if isinstance(content, list) else []
    known = all(isinstance(task, dict) and {"annotations", "data"} <= task.keys() for task in tasks)
    return "Label Studio" if tasks and known else None


def find_voc_masks(source):
    """The folder ``SegmentationClass`` of CVAT or PASCAL VOC in `source`, or up to three folders deeper, or None.

    Args:
        source: A `pathlib.Path`.

    Example:

    >>> find_voc_masks(pathlib.Path("nowhere"))
    """
    names = ("SegmentationClassPNG", "SegmentationClass")  # LabelMe's converter puts NumPy files into the second
    return next((path for depth in ("", "*/", "*/*/") for name in names for path in source.glob(depth + name)), None)


def find_files(source, pattern):
    """Yields the files in a folder and its subfolders whose names match a pattern, such as ``"*.json"``.

    Example:

    >>> list(find_files("nowhere", "*.json"))
    []
    """
    return (path for path in walk(source) if path.match(pattern) and path.is_file())


def pair_names(source):
    """Pairs images with masks: ``001_mask.png``, ``001.jpg.png``, ``Masks/001.png``, ``masks/001-car-0.png``.

    Words such as ``mask`` at the end of a name, endings of image files inside a name, and folders called ``images``,
    ``masks`` and the like do not count. What follows the name of an image in a folder of masks is the name of a class:
    then there is one mask for each class.

    Args:
        source: A `pathlib.Path`.

    Returns:
        A list of ``(image, {class name: masks})``, where the class name of a mask of all classes is None, and a list of
        problems: files without a partner, and files of the same name.

    Example:

    >>> pair_names(pathlib.Path("nowhere"))
    ([], [])
    """
    images, masks, found, problems = {}, [], {}, []
    for path in list_images(source, (*SUFFIXES, *MASK_SUFFIXES)):
        *folders, name = path.relative_to(source).parts
        stem = unicodedata.normalize("NFC", pathlib.PurePath(name).stem)
        short = TAILS.sub("", stem)
        short = re.sub(r"(?<=.)\.(jpe?g|png|bmp|tiff?|webp)$", "", short, flags=re.IGNORECASE)
        in_masks = any(MASK_FOLDER.fullmatch(folder) for folder in folders)
        place = tuple(f for f in folders if not MASK_FOLDER.fullmatch(f) and not IMAGE_FOLDER.fullmatch(f))
        if path.suffix.lower() in MASK_SUFFIXES and (in_masks or short != stem):
            cuts = [match.start() for match in re.finditer("[_-]", short) if in_masks]
            masks.append((path, place, [stem, short, *(short[:cut] for cut in reversed(cuts))]))
        elif (place, stem) in images:
            problems.append(f"{path} has the name of {images[place, stem]}")
        else:
            images[place, stem] = path
    for path, place, stems in masks:
        stem = next((stem for stem in stems if (place, stem) in images), None)
        if stem is None:
            problems.append(f"{path} has no image")
            continue
        label = re.sub(r"-\d+$", "", stems[1][len(stem) + 1 :]) or None
        found.setdefault(images[place, stem], {}).setdefault(label, []).append(path)
    return sorted(found.items()), problems
