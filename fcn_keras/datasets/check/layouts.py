"""Finds out which files belong together, in three layouts. Files that do not fit become findings, not errors."""

import collections
import dataclasses
import hashlib
import os
import pathlib
import re
import unicodedata

from ..._files import explain_missing, user_path
from ...layers.labels import VOID
from .. import camvid, masks
from ..classes import Classes, read_classes, read_lines
from ..images import SUFFIXES, UNREAD, walk
from ..label_tools.recognize import advise_import
from ..voc import layout as voc
from ..voc.lists import read_list
from .finding_kinds import make_finding
from .inspect import require_file, strip_path
from .ranges import find_stated

LISTS = ("train", "validation", "test")
VALIDATION_SHARE = 0.2
UNLISTED = "no list"  # the split of images that no list names
TAILS = re.compile(r"[_-]?(mask|masks|label|labels|labelids|gt|seg|l)$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Pair:
    """The paths of an image and its mask, with their name and split."""

    split: str
    name: str
    image: pathlib.Path
    mask: pathlib.Path


@dataclasses.dataclass
class Layout:
    """The contents of a folder, before its images are opened. If the classes have no names, `classes` is None.

    `ranges` is what `fcn_keras.datasets.channels.find_stated_ranges` found.
    """

    name: str
    pairs: list
    classes: Classes | None
    findings: list
    ranges: list | None = None


def read_layout(source, layout=None, classes=None, share=VALIDATION_SHARE, binary=False):
    """Finds the layout of a folder and its pairs of images and masks.

    Args:
        source: The folder.
        layout: ``"folder"``, ``"camvid"`` or ``"voc"``; by default the folders inside decide.
        classes: A `fcn_keras.datasets.classes.Classes` instead of the ``classes.txt``.
        share: Share of the images to use for validation, if there are no lists.
        binary: Whether the masks of a folder hold two values, background and object, such as 0 and 255.

    Returns:
        A `Layout`.

    Raises:
        ValueError: If there is no such folder, or if its layout is unknown.

    Example:

    >>> layout = read_layout("my_data")  # doctest: +SKIP
    >>> layout.name, len(layout.pairs)  # doctest: +SKIP
    ('folder', 120)
    """
    source = user_path(source)
    if not source.is_dir():
        found = f"{source} is a file, not a folder." if source.exists() else explain_missing(source)
        raise ValueError(f"{found} Expected a folder that holds images/ and masks/, CamVid's, or VOCdevkit.")
    if not os.access(source, os.R_OK | os.X_OK):
        raise ValueError(f"There is no permission to read {source}. Fix: chmod u+rx, or run as its owner.")
    if classes is not None:
        _require_few(classes, "classes")
    root = voc.find_voc(source, "2012") or voc.find_voc(source, "2011")
    seen = {
        "folder": (source / "images").is_dir() or (source / "masks").is_dir(),
        "camvid": (source / "trainannot").is_dir(),
        "voc": root is not None and not (root / "labelmap.txt").exists(),  # CVAT's folder has its own classes
    }
    found = layout or next((name for name, here in seen.items() if here), None)
    if not seen.get(found):
        inside = ", ".join(sorted(path.name for path in source.iterdir())[:10]) or "nothing"
        raise ValueError(
            ("" if layout else advise_import(source))
            or f"{source} has no layout {layout or 'that is known'}: found {inside}; expected images/ and masks/, or "
            "CamVid's train, trainannot, val and valannot, or VOCdevkit/VOC2012."
        )
    if found == "voc":
        read = _read_voc(root)
    else:
        read = _read_camvid(source) if found == "camvid" else _read_folder(source, classes, share, binary)
    if not read.pairs and not layout and (advice := advise_import(source)):
        raise ValueError(advice)
    return read


def split_by_hash(names, share=VALIDATION_SHARE):
    """Chooses a share of the images for validation, by a hash of each name.

    When you add more images, every image stays in its split.

    Args:
        names: Names of the images.
        share: Share of the images to use for validation, in (0, 1].

    Returns:
        Dict from split to names.

    Example:

    >>> {split: len(names) for split, names in split_by_hash([f"{i:03d}" for i in range(100)]).items()}
    {'train': 80, 'validation': 20}
    """
    chosen = {name: int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) < share * 16**8 for name in names}
    split_of = {False: "train", True: "validation"}
    return {split: [name for name in names if chosen[name] == held] for held, split in split_of.items()}


def _read_folder(source, classes, share, binary):
    findings = []
    path = source / "classes.txt"
    if classes is None and os.path.lexists(path):  # a broken link is reported
        try:
            require_file(path)
            classes = _require_few(read_classes(path), path)
        except (ValueError, OSError) as error:
            findings.append(make_finding("classes.txt", [(path, strip_path(error, path))]))
    if binary:
        classes = _make_binary(classes, path, findings)
    images = _find_files(source / "images", SUFFIXES, findings, UNREAD)
    ids = _find_files(source / "masks", (*masks.SUFFIXES, ".jpg", ".jpeg"), findings)
    names = [] if images is None or ids is None else _pair_names(images, ids, findings)
    splits = _assign_splits(source, names, images or {}, share, findings)
    pairs = [Pair(splits.get(name, UNLISTED), name, images[name], ids[name]) for name in names]
    return Layout("folder", pairs, classes, findings, find_stated(source, pairs, findings))


def _make_binary(classes, path, findings):
    names = ("background", "object") if classes is None else classes.names
    if len(names) != 2 or (classes is not None and classes.void_id is not None):
        found = f"names {len(names)} classes, and --binary expects two, the background and the object"
        findings.append(make_finding("classes.txt", [(path, found)]))
        return classes
    return dataclasses.replace(classes or Classes(names), binary=True)


def _require_few(classes, where):
    if len(classes.names) > VOID:
        raise ValueError(f"{where} names {len(classes.names)} classes: expected at most {VOID}, as an id is one byte.")
    return classes


def _assign_splits(source, names, images, share, findings):
    """The split of each name, from the lists or from its hash. If a line in a list is wrong, the others still count."""
    lists = {split: source / f"{split}.txt" for split in LISTS if os.path.lexists(source / f"{split}.txt")}
    if os.path.lexists(source / "val.txt"):
        if "validation" in lists:
            found = f"{source} holds val.txt and validation.txt: expected one of them. Fix: remove the other."
            findings.append(make_finding("lists, file", found=found))
        lists.setdefault("validation", source / "val.txt")
    if not lists:
        splits = split_by_hash(names, share)
        empty = [split for split, chosen in splits.items() if not chosen]
        if names and empty and share < 1:
            found = f"Found {len(names)} images, none of them for {' and '.join(empty)}: expected one for each split."
            findings.append(
                make_finding("lists, file", found=f"{found} Fix: name them in train.txt and validation.txt.")
            )
        elif names:
            findings.append(make_finding("split", share=share))
        return {name: split for split, chosen in splits.items() for name in chosen}
    problems = [(source / f"{split}.txt", "is missing") for split in LISTS[:2] if split not in lists]
    splits = {}
    for split, path in lists.items():
        problems += [(path, problem) for problem in _read_split(path, split, images, splits)]
    if problems:
        findings.append(make_finding("lists", problems))
    unlisted = [images[name] for name in names if name not in splits]
    if unlisted:
        findings.append(make_finding("unlisted", unlisted))
    return splits


def _read_split(path, split, images, splits):
    """Adds the names of a list to `splits`, and yields the problems that it finds."""
    try:
        require_file(path)
        lines = read_lines(path, "a name in each line")
    except (ValueError, OSError) as error:
        yield strip_path(error, path)
        return
    names = [_normalize(pathlib.PurePosixPath(line.strip())) for line in lines if line.strip()]
    if not names:
        yield "names no image"
    near = {_simplify(name): name for name in images}
    for name, count in collections.Counter(names).items():
        if count > 1:
            yield f"names {name[:100]!r} {count} times"
        if name not in images:
            meant = near.get(_simplify(pathlib.PurePosixPath(name).stem))
            yield f"names {name[:100]!r}, which has no image" + (f": did you mean {meant!r}?" if meant else "")
        elif splits.setdefault(name, split) != split:
            yield f"names {name[:100]!r}, which {splits[name]}.txt names also"


def _read_camvid(source):
    pairs, findings = [], []
    for split, folder in camvid.SPLITS.items():
        if split == "test" and not (source / "testannot").exists():
            continue
        images = _find_files(source / folder, (".png", ".jpg"), findings) or {}
        ids = _find_files(source / f"{folder}annot", (".png",), findings) or {}
        pairs += [Pair(split, name, images[name], ids[name]) for name in _pair_names(images, ids, findings)]
    return Layout("camvid", pairs, camvid.CLASSES, findings)


def _read_voc(root):
    pairs, findings = [], []
    images = _find_files(root / "JPEGImages", (".jpg",), []) or {}
    ids = _find_files(root / "SegmentationClass", (".png",), findings) or {}
    for split, file in {"train": "train", "validation": "val"}.items():
        try:
            names = read_list(root / voc.LISTS / f"{file}.txt")
        except (ValueError, OSError, UnicodeDecodeError) as error:
            findings.append(make_finding("lists, file", found=error))
            continue
        lost = [(name, "has no image") for name in names if name not in images]
        lost += [(name, "has no mask") for name in names if name not in ids]
        if lost:
            findings.append(make_finding("pairs, list", lost, file=f"{file}.txt"))
        pairs += [Pair(split, name, images[name], ids[name]) for name in names if name in images and name in ids]
    return Layout("voc", pairs, voc.CLASSES, findings)


def _find_files(folder, suffixes, findings, unread=()):
    """A dict from name to file, or None if there is no folder. Everything else in the folder becomes a finding.

    Files that end in one of `unread` are also in the dict. An error names them when they are opened.
    """
    if not folder.is_dir():
        found = explain_missing(folder) if not folder.exists() else f"{folder} is not a folder."
        findings.append(make_finding("folder", found=found))
        return None
    home, found, first, other = folder.resolve(), {}, {}, collections.defaultdict(list)
    for path in walk(folder, lambda error: other["folder, closed"].append((error.filename, error.strerror))):
        name = _normalize(path.relative_to(folder).with_suffix(""))
        suits, is_folder = path.suffix.lower() in (*suffixes, *unread), path.is_dir()
        if path.is_symlink() and (is_folder or not _stays_in(path, home)):
            other["links"].append((path, f"leads to {os.path.realpath(path)}"))
        elif is_folder and suits:
            other["ignored"].append((path, "is a folder"))
        elif not is_folder and not suits:
            other["ignored"].append((path, "" if path.is_file() else "is not a regular file"))
        elif not is_folder and name in found:
            other["names"].append((path, f"has the name of {found[name]}"))
        elif not is_folder:
            found[name] = path
            if first.setdefault(name.lower(), path) != path:
                other["capitals"].append((path, f"is like {first[name.lower()]}"))
    findings += [make_finding(kind, files, suffixes=", ".join(suffixes)) for kind, files in other.items()]
    return found


def _normalize(path):
    """A path as text, with one form for accents and Korean syllables. macOS and Windows write different ones."""
    return unicodedata.normalize("NFC", path.as_posix())


def _stays_in(path, home):
    """Whether a path lies inside `home` after following links. This is also true for a link in a circle."""
    return pathlib.Path(os.path.realpath(path)).is_relative_to(home)  # Path.resolve raises an error on a circle


def _pair_names(images, ids, findings):
    """The names that have both an image and a mask. If one of them is missing, a finding suggests a similar name."""
    for kind, ours, theirs in (("mask", images, ids), ("image", ids, images)):
        near = {_simplify(name): name for name in theirs if name not in ours}
        lost = [(path, near.get(_simplify(name))) for name, path in ours.items() if name not in theirs]
        if lost:
            files = [(path, f"did you mean {theirs[name]}?" if name else "") for path, name in lost]
            findings.append(make_finding("pairs", files, kind=kind, count=len(files)))
    names = sorted(set(images) & set(ids))
    if not names:
        findings.append(make_finding("pairs, none"))
    return names


def _simplify(name):
    """A name in lower case, without the words that mask files often have at the end."""
    return TAILS.sub("", name).lower()
