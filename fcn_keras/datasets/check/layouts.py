"""Which files belong together, in the three layouts that are known; what does not pair is kept, not raised."""

import collections
import dataclasses
import os
import pathlib
import re

from ..._files import did_you_mean, user_path
from ...layers.labels import VOID
from .. import camvid, folder, lists, voc, voc_folders
from ..classes import Classes, read_classes
from ..images import SUFFIXES
from .inspect import require_file
from .report import Finding

UNLISTED = "no list"  # the split of what no list names
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
    source = user_path(source)
    if not source.is_dir():
        found = f"{source} is a file, no folder." if source.exists() else did_you_mean(source)
        raise ValueError(f"{found} Expected a folder that holds images/ and masks/, CamVid's, or VOCdevkit.")
    if not os.access(source, os.R_OK | os.X_OK):
        raise ValueError(f"{source} may not be read. Fix: chmod u+rx, or run as its owner.")
    if classes is not None:
        _require_few(classes, "classes")
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
    if classes is None and os.path.lexists(path):  # a link to nothing is told
        try:
            require_file(path)
            classes = _require_few(read_classes(path), path)
        except (ValueError, OSError) as error:
            files = ((str(path), str(error).removeprefix(str(path)).lstrip(" :,")),)
            findings.append(Finding("classes.txt", "error", "The file of classes cannot be used.", "", files))
    images = _files(source / "images", SUFFIXES, findings)
    masks = _files(source / "masks", (*folder.MASK_SUFFIXES, ".jpg", ".jpeg"), findings)
    there = (source / "images").is_dir() and (source / "masks").is_dir()
    names = _paired(images, masks, findings) if there else []
    splits = _own_splits(source, names, images, findings)
    pairs = [Pair(splits.get(name, UNLISTED), name, images[name], masks[name]) for name in names]
    return Layout("folder", pairs, classes, VOID, findings)


def _require_few(classes, where):
    if len(classes.names) > VOID:
        raise ValueError(f"{where} names {len(classes.names)} classes: expected at most {VOID}; ids are bytes.")
    return classes


def _own_splits(source, names, images, findings):
    """Split of each name, by the lists or by its hash; what is wrong with a list spoils no other line."""
    lists = {split: source / f"{split}.txt" for split in folder.SPLIT_FILES}
    lists = {split: path for split, path in lists.items() if os.path.lexists(path)}
    if not lists:
        try:
            chosen = folder.find_splits(source, names)
        except ValueError as error:
            if names:
                findings.append(Finding("lists", "error", str(error)))
            chosen = {"all": names}
        else:
            message = "No train.txt and validation.txt: about a fifth, by a hash of the names, is for validation."
            findings.append(Finding("split", "note", message))
        return {name: split for split, members in chosen.items() for name in members}
    problems = [(str(source / f"{split}.txt"), "is missing") for split in ("train", "validation") if split not in lists]
    splits = {}
    for split, path in lists.items():
        problems += [(str(path), problem) for problem in _read_split(path, split, images, splits)]
    if problems:
        message = "Lists that are wrong."
        findings.append(
            Finding("lists", "error", message, "a name of images/, without its ending, a line.", tuple(problems))
        )
    unlisted = tuple((str(images[name]), "") for name in names if name not in splits)
    if unlisted:
        findings.append(Finding("unlisted", "note", "Images that no list names are not used.", "", unlisted))
    return splits


def _read_split(path, split, images, splits):
    """Enters a list's names into `splits`; yields what is wrong with them."""
    try:
        require_file(path)
        names = folder.names_in(path)
    except (ValueError, OSError) as error:
        yield str(error).removeprefix(f"{path} ")
        return
    if not names:
        yield "names no image"
    near = {_plain(name): name for name in images}
    for name, count in collections.Counter(names).items():
        told = f"names {name[:100]!r}"
        if count > 1:
            yield f"{told} {count} times"
        if name not in images:
            stem = _plain(pathlib.PurePosixPath(name).stem)
            yield f"{told}, which has no image" + (f": is {near[stem]!r} meant?" if stem in near else "")
        elif splits.setdefault(name, split) != split:
            yield f"{told}, as {splits[name]}.txt does"


def _camvid(source):
    pairs, findings = [], []
    for split, part in {"train": "train", "validation": "val", "test": "test"}.items():
        if split == "test" and not (source / "testannot").exists():
            continue
        images = _files(source / part, (".png", ".jpg"), findings)
        masks = _files(source / f"{part}annot", (".png",), findings)
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
    if not folder.is_dir():
        found = did_you_mean(folder) if not folder.exists() else f"{folder} is no folder."
        findings.append(Finding("folder", "error", found, "make it, or rename yours."))
        return {}
    odd, links, closed, alike = [], [], [], {}
    home = folder.resolve()
    for path in _walk(folder, closed):
        if path.is_dir() and not path.is_symlink():
            if path.suffix.lower() in suffixes:
                odd.append((str(path), "is a folder"))
        elif path.is_symlink() and (path.is_dir() or not folder.stays_in(path, home)):
            links.append((str(path), f"leads to {os.path.realpath(path)}"))
        elif path.suffix.lower() not in suffixes:
            odd.append((str(path), "" if path.is_file() else "no regular file"))
        else:
            name = path.relative_to(folder).with_suffix("").as_posix()
            alike.setdefault(name.lower(), {}).setdefault(name, []).append(path)
    endings, capitals = [], []
    for group in alike.values():
        endings += [(str(path), f"beside {first}") for first, *others in group.values() for path in others]
        first, *others = group
        capitals += [(str(group[name][0]), f"beside {group[first][0]}") for name in others]
    kinds = ", ".join(suffixes)
    for kind, severity, message, mend, files in (
        ("folder", "error", "Folders that may not be read.", "chmod u+rx.", closed),
        ("ignored", "warning", f"What does not end in {kinds}, or is a folder, is not read.", "", odd),
        ("links", "error", "Links that lead out, or to folders, are not followed.", "copy the files.", links),
        ("names", "error", "Names that differ in the ending alone.", "rename one.", endings),
        ("capitals", "warning", "Names that differ in capitals alone: many disks hold one.", "rename one.", capitals),
    ):
        if files:
            findings.append(Finding(kind, severity, message, mend, tuple(files)))
    return {name: paths[0] for group in alike.values() for name, paths in group.items()}


def _walk(folder, closed):
    """All that lies under a folder, sorted, without what is hidden; folders that may not be read go to `closed`."""

    def tell(error):
        closed.append((str(error.filename), error.strerror))

    for place, folders, files in os.walk(folder, onerror=tell):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (pathlib.Path(place) / name for name in sorted([*folders, *files]) if not name.startswith("."))


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
            message = f"Files that have no {kind} of the same name: {len(lost)}."
            findings.append(Finding("pairs", "error", message, "rename, add or remove them.", tuple(lost)))
    names = sorted(set(images) & set(masks))
    if not names:
        findings.append(Finding("pairs", "error", "There is no image that has a mask."))
    return names


def _plain(name):
    """A name without capitals and without what masks are often called besides."""
    return TAILS.sub("", name).lower()
