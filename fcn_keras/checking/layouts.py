"""Which files belong together, in the three layouts that are known; what does not pair is kept, not raised."""

import dataclasses
import os
import pathlib
import re

from ..datasets import camvid, lists, own_folder, voc, voc_folders
from ..datasets.classes import Classes, read_classes
from ..datasets.features import VOID
from .report import Finding

TAILS = re.compile(r"[_-]?(mask|masks|label|labels|labelids|gt|seg|l)$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Pair:
    """An image and its mask, paths, under a name in a split."""

    split: str
    name: str
    image: pathlib.Path
    mask: pathlib.Path


@dataclasses.dataclass
class Layout:
    """What a folder holds, before any file is opened; `classes` is None where no one named them."""

    name: str
    pairs: list
    classes: Classes | None
    void: int
    findings: list


def read_layout(source, layout=None, classes=None):
    """Finds the layout of a folder and its pairs.

    Args:
        source: The folder.
        layout: ``"folder"``, ``"camvid"`` or ``"voc"``; by default it is seen from the folders inside.
        classes: A `Classes` instead of the ``classes.txt``.

    Raises:
        ValueError: If there is no such folder, or it has no layout that is known.
    """
    source = pathlib.Path(source).expanduser()
    if not source.is_dir():
        raise ValueError(f"{source} is no folder: expected one that holds images/ and masks/, CamVid's, or VOCdevkit.")
    year = next((year for year in ("2012", "2011") if voc_folders.find_voc(source, year)), None)
    seen = {
        "folder": (source / "images").is_dir() or (source / "masks").is_dir(),
        "camvid": (source / "trainannot").is_dir(),
        "voc": year is not None,
    }
    found = layout or next((name for name, here in seen.items() if here), None)
    if found not in seen or not seen[found]:
        inside = ", ".join(sorted(path.name for path in source.iterdir())[:10]) or "nothing"
        raise ValueError(
            f"{source} has no layout {layout or 'that is known'}: found {inside}; expected images/ and masks/, or "
            "CamVid's train, trainannot, val and valannot, or VOCdevkit/VOC2012."
        )
    if found == "voc":
        return _voc(voc_folders.find_voc(source, year))
    return _camvid(source) if found == "camvid" else _own(source, classes)


def _own(source, classes):
    findings = []
    path = source / "classes.txt"
    if classes is None and path.exists():
        try:
            classes = read_classes(path)
        except ValueError as error:
            findings.append(Finding("classes.txt", "error", str(error)))
    images = _files(source / "images", own_folder.IMAGE_SUFFIXES, findings)
    masks = _files(source / "masks", (*own_folder.MASK_SUFFIXES, ".jpg", ".jpeg"), findings)
    names = _paired(images, masks, findings)
    splits = _own_splits(source, names, findings)
    pairs = [Pair(splits.get(name, "no list"), name, images[name], masks[name]) for name in names]
    return Layout("folder", pairs, classes, VOID, findings)


def _own_splits(source, names, findings):
    """Split of each name; what is wrong with the lists is told, and the others are split by their hash."""
    try:
        chosen = own_folder.find_splits(source, names)
    except (ValueError, OSError, UnicodeDecodeError) as error:
        if names:
            findings.append(Finding("lists", "error", str(error)))
        chosen = {"all": names}
    return {name: split for split, members in chosen.items() for name in members}


def _camvid(source):
    pairs, findings = [], []
    for split, folder in {"train": "train", "validation": "val", "test": "test"}.items():
        if split == "test" and not (source / "testannot").exists():
            continue
        images = _files(source / folder, (".png", ".jpg"), findings)
        masks = _files(source / f"{folder}annot", (".png",), findings)
        pairs += [Pair(split, name, images[name], masks[name]) for name in _paired(images, masks, findings)]
    colours = tuple(camvid.CLASSES.values())
    return Layout("camvid", pairs, Classes(tuple(camvid.CLASSES), colours), camvid.FILE_VOID, findings)


def _voc(root):
    pairs, findings = [], []
    images = _files(root / "JPEGImages", (".jpg",), [])
    masks = _files(root / "SegmentationClass", (".png",), findings)
    for split, file in {"train": "train", "validation": "val"}.items():
        try:
            names = lists.read_list(root / voc_folders.LISTS / f"{file}.txt")
        except (ValueError, OSError, UnicodeDecodeError) as error:
            findings.append(Finding("lists", "error", str(error)))
            continue
        lost = [(name, f"has no {kind}") for kind, files in (("image", images), ("mask", masks)) for name in names
                if name not in files]  # fmt: skip
        if lost:
            findings.append(Finding("pairs", "error", f"{file}.txt names files that are not there.", "", tuple(lost)))
        pairs += [Pair(split, n, images[n], masks[n]) for n in names if n in images and n in masks]
    return Layout("voc", pairs, Classes(voc.CLASS_NAMES), VOID, findings)


def _files(folder, suffixes, findings):
    """Regular files under a folder by name; what is there besides is told."""
    found, odd, links, alike = {}, [], [], {}
    if not folder.is_dir():
        findings.append(Finding("folder", "error", f"There is no folder {folder}.", "make it, or rename yours."))
        return found
    home = folder.resolve()
    for place, _, files in os.walk(folder):
        for file in sorted(files):
            path = pathlib.Path(place) / file
            below = path.relative_to(folder)
            if any(part.startswith(".") for part in below.parts):
                continue
            if path.suffix.lower() not in suffixes:
                odd.append((str(path), "" if path.is_file() else "no regular file"))
            elif path.is_symlink() and not own_folder.stays_in(path, home):
                links.append((str(path), f"leads to {os.path.realpath(path)}"))
            else:
                name = below.with_suffix("").as_posix()
                alike.setdefault(name.lower(), []).append(str(path))
                found.setdefault(name, path)
    add = findings.append
    if odd:
        kinds = ", ".join(suffixes)
        add(
            Finding("ignored", "warning", f"Files in {folder} that do not end in {kinds} are not read.", "", tuple(odd))
        )
    if links:
        add(
            Finding(
                "links", "error", "Links that lead out of the folder are not followed.", "copy the files.", tuple(links)
            )
        )
    twice = tuple((path, f"beside {paths[0]}") for paths in alike.values() for path in paths[1:])
    if twice:
        add(Finding("names", "error", "Names that differ in the ending, or in capitals alone.", "rename one.", twice))
    return found


def _paired(images, masks, findings):
    """Names that have both; those that have one are told, with the name that was perhaps meant."""
    for kind, ours, theirs in (("mask", images, masks), ("image", masks, images)):
        near = {_plain(name): name for name in theirs if name not in ours}
        lost = [
            (str(path), f"is {theirs[near[_plain(name)]]} meant?" if _plain(name) in near else "")
            for name, path in ours.items()
            if name not in theirs
        ]
        if lost:
            message = f"{len(lost)} files have no {kind} of the same name."
            findings.append(Finding("pairs", "error", message, "rename, add or remove them.", tuple(lost)))
    names = sorted(set(images) & set(masks))
    if not names:
        findings.append(Finding("pairs", "error", "There is no image that has a mask."))
    return names


def _plain(name):
    """A name without capitals and without what masks are often called besides."""
    return TAILS.sub("", name).lower()
