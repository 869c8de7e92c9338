"""The whole set: every pair looked at, and what only all of them together show."""

import collections
import concurrent.futures
import itertools
import os
import re
import warnings

import numpy as np
import rich.progress
from rich.console import Console

from . import inspect
from .layouts import UNLISTED, read_layout
from .report import SEVERITIES, Finding, Report

RARE = 0.001  # share of the labelled pixels
# Correlation of thumbnails: across the splits of CamVid and VOC at most 0.931; of an image and itself at half its size,
# or as JPEG of quality 30, at least 0.998.
ALIKE = 0.995
NO_CLASS = re.compile(r"un?label+ed|ignored?|ignore[ _-]label|unknown|undefined|don'?t[ _-]?care", re.IGNORECASE)
FEW = 3  # images to validate on
# Kind of a problem in one pair → severity, message, mend.
KINDS = {
    "image": ("error", "Images that cannot be read.", "restore or remove them, with their masks."),
    "mask": ("error", "Masks that cannot be read as ids.", "save ids as grey or palette PNGs."),
    "colours": (
        "error",
        "Masks written in colours that cannot be turned into ids.",
        "name every class and its colour in classes.txt, a line each: `road 128 64 128`.",
    ),
    "ids": ("error", "Masks with ids of no class.", "map the ids; void is 255."),
    "size": ("error", "Image and mask differ in size.", "resize the mask to the nearest id, or export it again."),
    "interpolated": (
        "error",
        "Masks that were resized by interpolation: their outlines hold ids that no one drew.",
        'resize the originals with method="nearest".',
    ),
    "jpeg mask": ("error", "Masks saved as JPEG, which changes ids near every outline.", "export them as PNG."),
    "mask exif": (
        "error",
        "Masks with an EXIF orientation: masks are never turned.",
        "turn the pixels and remove the tag.",
    ),
    "exif unclear": (
        "warning",
        "Images that EXIF turns; their size does not show whether the mask was drawn before or after.",
        "look at one; save the images upright.",
    ),
    "exif": ("note", "Images that EXIF turns: the package turns them; other tools may not.", ""),
    "grey": ("note", "Grey images: repeated in three channels.", ""),
    "alpha": ("warning", "Images with transparency: it is shown on white.", "save them without."),
    "colour space": ("warning", "Images that are not RGB: converted, without a colour profile.", "save them as RGB."),
    "depth": ("note", "Images of 16 bits a channel: read as 8.", ""),
    "frames": ("warning", "Files with several pictures: the first is read.", "save that one alone."),
}


def check(source, layout=None, classes=None, progress=None):
    """Reads a data set and says what will go wrong.

    Args:
        source: A folder with ``images`` and ``masks`` (see `fcn_keras.datasets.folder`), CamVid's, or VOC's.
        layout: ``"folder"``, ``"camvid"`` or ``"voc"``; by default it is seen from the folders inside.
        classes: A `fcn_keras.datasets.classes.Classes` instead of the folder's ``classes.txt``.
        progress: Whether to show a progress bar on the terminal; by default where there is one.

    Returns:
        A `Report`: print it, or ask whether it is ``ok``. Bad files are findings, all of them; none is raised.

    Raises:
        ValueError: If `source` is no folder, or has no layout that is known.

    Example:

    >>> report = check("my_data")  # doctest: +SKIP
    >>> report.ok  # doctest: +SKIP
    True
    """
    found = read_layout(source, layout, classes)
    seen = _look_at_all(found, progress)
    names = _class_names(found, seen)
    counts = collections.Counter(pair.split for pair in found.pairs)
    pixels = {split: sum(s.pixels for s in seen if s.pixels is not None and s.pair.split == split) for split in counts}
    pixels = {split: counted for split, counted in pixels.items() if not np.isscalar(counted)}
    used = [one for one in seen if one.pair.split != UNLISTED]
    told = {finding.kind for finding in found.findings}
    findings = [
        *found.findings,
        *_of_files(seen, but="colours" if "classes.txt" in told else None),
        *_of_leakage(used),
        *_of_likeness(used),
        *_of_palettes(seen),
    ]
    findings += [*_of_classes(found, seen, names, pixels), *_of_sizes(seen), *_of_few(counts)]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Report(str(source), found.name, dict(counts), names, _shares(pixels, names, found.void), findings)


def _look_at_all(found, progress):
    """In threads: Pillow and zlib decode outside Python's lock. Few at a time, so that memory stays bounded."""
    console = Console(stderr=True)
    shown = console.is_terminal if progress is None else progress
    with warnings.catch_warnings(), concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")  # Pillow's name no file
        seen = pool.map(lambda pair: inspect.look(pair, found), found.pairs)
        bar = rich.progress.track(seen, "checking", len(found.pairs), console=console, disable=not shown)
        return list(bar)


def _class_names(found, seen):
    if found.classes is not None:
        return list(found.classes.names)
    present = sum((s.pixels for s in seen if s.pixels is not None), np.zeros(256, int))
    present[found.void] = 0
    return [f"class {id_}" for id_ in range(int(np.nonzero(present)[0].max(initial=-1)) + 1)]


def _of_files(seen, but):
    """A finding for each kind of problem, with all its files; one kind may have been told in another way."""
    files = collections.defaultdict(list)
    for one in seen:
        for kind, path, detail in one.problems:
            files[kind].append((str(path), detail))
    return [Finding(kind, *KINDS[kind][:3], tuple(files[kind])) for kind in KINDS if kind in files and kind != but]


def _of_leakage(seen):
    """The same picture in two splits, or twice in one, by its decoded pixels: a copy in another format counts."""
    first, leaks, twice = {}, [], []
    for one in seen:
        before = first.setdefault(one.digest, one.pair) if one.digest else one.pair
        if before is not one.pair:
            apart = before.split != one.pair.split
            told = f"is {before.image} ({before.split})" if apart else f"is {before.image}"
            (leaks if apart else twice).append((str(one.pair.image), told))
    if leaks:
        message = "The same pictures stand in two splits: what is measured on them is remembered, not recognised."
        yield Finding("leakage", "error", message, "remove them from one.", tuple(leaks))
    if twice:
        yield Finding("duplicates", "warning", "The same picture twice in a split.", "remove one.", tuple(twice))


def _of_likeness(seen):
    """Pictures of two splits that are alike when made small: the same, encoded again or resized."""
    splits = collections.defaultdict(list)
    for one in seen:
        if one.thumbnail is not None:
            splits[one.pair.split].append(one)
    files = []
    for ours, theirs in itertools.combinations(splits.values(), 2):
        known = np.stack([one.thumbnail for one in ours])
        for one in theirs:
            likeness = known @ one.thumbnail
            best = ours[int(likeness.argmax())]
            if likeness.max() > ALIKE and best.digest != one.digest:
                files.append((str(one.pair.image), f"is like {best.pair.image} ({best.pair.split})"))
    if files:
        message = "Pictures of two splits that look the same: encoded again, resized, or taken a moment apart."
        yield Finding("likeness", "warning", message, "look at them, and remove them from one.", tuple(files))


def _of_palettes(seen):
    """An id that has another colour in another file means another class there, or the palette means nothing."""
    colours = collections.defaultdict(collections.Counter)
    for one in seen:
        for id_, colour in one.palette.items():
            colours[id_][colour] += 1
    usual = {id_: counted.most_common(1)[0][0] for id_, counted in colours.items()}
    files = []
    for one in seen:
        other = next((id_ for id_, colour in one.palette.items() if colour != usual[id_]), None)
        if other is not None:
            told = f"id {other} is {one.palette[other]}, elsewhere {usual[other]}"
            files.append((str(one.pair.mask), told))
    if files:
        message = "Palettes that differ from file to file: the ids are taken, which may mean another class in each."
        mend = "if the colours are the classes, save the masks as RGB and name the colours in classes.txt."
        yield Finding("palettes", "warning", message, mend, tuple(files))


def _of_classes(found, seen, names, pixels):
    yield from _of_void(found, seen, pixels)
    yield from _of_names(found)
    if found.classes is None and len(names) > 1:
        message = f"No classes.txt: the ids 0 to {len(names) - 1} are the classes, and 255 alone is void."
        mend = "write one, a name for each id, a line each; the name `void` makes its id void."
        yield Finding("unnamed", "note", message, mend)
    labelled = {split: np.delete(counted, found.void)[: len(names)] for split, counted in pixels.items()}
    labelled.pop(UNLISTED, None)
    if labelled and found.classes is None and not sum(labelled.values())[1:].any():
        message = "The masks hold no ids but 0, and 255, which is void: one class alone."
        yield Finding("classes", "error", message, "write 1 for the object, or name the colours in classes.txt.")
        return
    ids = np.nonzero(sum(labelled.values()))[0] if labelled and found.classes is None else []
    if len(ids) and ids[-1] >= 20 and ids[-1] + 1 > 2 * len(ids):
        message = (
            f"The masks hold {len(ids)} ids, up to {ids[-1]}, so that most classes never occur: grey levels, not ids?"
        )
        yield Finding("ids", "warning", message, "map them to 0, 1, 2 …, or name the classes in classes.txt.")
        return
    for split, counted in labelled.items():
        absent = tuple((names[id_], "") for id_ in np.nonzero(counted == 0)[0])
        if absent:
            severity = "warning" if split == "train" else "note"
            effect = "they cannot be learned" if split == "train" else "they do not count in its metrics"
            mend = f"name images that show them in {split}.txt." if found.name == "folder" else ""
            yield Finding("absent", severity, f"Classes without a pixel in {split}: {effect}.", mend, absent)
    counted = labelled.get("train")
    if counted is not None and counted.sum():
        shares = counted / counted.sum()
        rare = tuple((names[id_], f"{shares[id_]:.3%} of the labelled pixels") for id_ in np.nonzero(shares < RARE)[0]
                     if counted[id_])  # fmt: skip
        if rare:
            mend = "more such images, class weights (train --class-weights 1), larger crops (--size)."
            yield Finding("rare", "note", "Rare classes in train.", mend, rare)


def _of_names(found):
    """Names in ``classes.txt`` that say something else than their writer meant."""
    names = [] if found.classes is None else found.classes.names
    scored = tuple((name, "") for name in names if NO_CLASS.fullmatch(name.lstrip("0123456789:.- ")))
    if scored:
        message = "Names that sound like no class, and are trained and scored like any other."
        yield Finding("scored", "warning", message, "if they are none, name them `void` in classes.txt.", scored)
    if len(names) > 1 and all(re.match(r"\d+\W", name) for name in names):
        message = f"Numbers are a part of the names: {names[0]!r}. A line's place is its id."
        yield Finding("numbered", "note", message, "names alone in classes.txt.")


def _of_void(found, seen, pixels):
    share_of = {one.pair.mask: one.pixels[found.void] / one.pixels.sum() for one in seen if one.pixels is not None}
    bare = tuple((str(mask), f"{share:.1%} void") for mask, share in share_of.items() if share > 0.9)
    if bare:
        yield Finding("void", "warning", "Masks that are nearly all void: next to nothing is learned there.", "", bare)
    for split, counted in pixels.items():
        share = counted[found.void] / counted.sum()
        if share > 0.5:
            yield Finding("void", "warning", f"{share:.0%} of the pixels in {split} are void: little is left to learn.")


def _of_sizes(seen):
    sizes = collections.Counter(one.size for one in seen if one.size)
    if len(sizes) > 1:
        common = ", ".join(f"{height}×{width} ({count})" for (height, width), count in sizes.most_common(3))
        message = f"{len(sizes)} sizes of images, most often {common}: batches need crops, or one image each."
        yield Finding("sizes", "note", message)


def _of_few(counts):
    if 0 < counts["validation"] < FEW:
        message = f"Few images to validate on, {counts['validation']}: metrics say little."
        mend = "name more in validation.txt, and the rest in train.txt."
        yield Finding("few", "warning", message, mend)


def _shares(pixels, names, void):
    """Of each split: class → share of its labelled pixels; void → share of all."""
    shares = {}
    for split, counted in pixels.items():
        labelled = np.where(np.arange(256) == void, 0, counted)
        total = max(int(labelled.sum()), 1)
        shares[split] = {name: float(labelled[id_] / total) for id_, name in enumerate(names)}
        shares[split]["void"] = float(counted[void] / max(int(counted.sum()), 1))
    return shares
