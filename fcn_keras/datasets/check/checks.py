"""Checks a whole data set: inspects every pair, and finds the problems that only the pairs together show."""

import collections
import concurrent.futures
import itertools
import os
import re
import warnings

import numpy as np

from ...layers.labels import VOID
from ..left_right import find_pairs, find_sided
from ..progress import track
from .finding_kinds import KINDS, make_finding
from .inspect import inspect_pair
from .layouts import UNLISTED, read_layout
from .ranges import find_ranges
from .report import SEVERITIES, Report

RARE = 0.001  # share of the labelled pixels
# Correlation of thumbnails. Between images of different splits of CamVid and VOC, it is at most 0.931. Between an image
# and its copy at half the size, or as a JPEG of quality 30, it is at least 0.998.
ALIKE = 0.995
NO_CLASS = re.compile(r"un?label+ed|ignored?|ignore[ _-]label|unknown|undefined|don'?t[ _-]?care", re.IGNORECASE)
MUCH = 0.1  # share of the pixels. VOC has 5 % void, CamVid 4 %.
MANY = 64  # so many classes usually have names
FEW = 3  # with fewer validation images than this, the check warns


def check(source, layout=None, classes=None, progress=None, binary=False):
    """Reads a data set and reports what will go wrong in training.

    Args:
        source: A folder with ``images`` and ``masks`` (see `fcn_keras.datasets.folder`), CamVid's, or VOC's.
        layout: ``"folder"``, ``"camvid"`` or ``"voc"``; by default the folders inside decide.
        classes: A `fcn_keras.datasets.classes.Classes` instead of the folder's ``classes.txt``.
        progress: Whether to show a progress bar; by default it is shown on a terminal.
        binary: Whether the masks of a folder hold two values: 0 for the background, and any other for the object.

    Returns:
        A `fcn_keras.datasets.check.report.Report`, which you can print. Its property ``ok`` tells whether there are no
        errors. Bad files do not raise errors, but become findings in the report.

    Raises:
        ValueError: If `source` is not a folder, or if its layout is unknown.

    Example:

    >>> report = check("my_data")  # doctest: +SKIP
    >>> report.ok  # doctest: +SKIP
    True
    """
    found = read_layout(source, layout, classes, binary=binary)
    return make_report(source, found, inspect_all(found, progress))


def make_report(source, found, views):
    """Makes the report of a data set whose files have been read.

    Args:
        source: The folder.
        found: Its `fcn_keras.datasets.check.layouts.Layout`.
        views: What `inspect_all` returned.

    Returns:
        As `check`.

    Example:

    >>> report = make_report("my_data", layout, inspect_all(layout))  # doctest: +SKIP
    """
    pixels = _sum_pixels(views)
    names = _name_classes(found, views)
    counts = collections.Counter(pair.split for pair in found.pairs)
    used = [view for view in views if view.pair.split != UNLISTED]
    # If classes.txt cannot be used, do not also report the masks in colours, which may be correct.
    without = {"colours"} if any(one.kind == "classes.txt" for one in found.findings) else set()
    problems = [problem for view in views for problem in view.problems if problem[0] not in without]
    problems += [*_find_copies(used), *_find_likenesses(used), *_find_palettes(views), *_find_void_masks(views)]
    problems, thin = _separate_thin(found, views, problems)
    findings = [*found.findings, *group_by_kind(problems), *thin, *_check_names(found), *_check_void(found, used)]
    findings += _check_classes(found, names, pixels)
    findings += [*_find_void_splits(pixels), *_check_sizes(views), *find_ranges(found, views)[1]]
    if 0 < counts["validation"] < FEW:
        findings.append(make_finding("few", count=counts["validation"]))
    findings.sort(key=lambda one: SEVERITIES.index(one.severity))
    return Report(str(source), found.name, dict(counts), names, _compute_shares(pixels, names), findings)


def inspect_all(layout, progress=None):
    """Inspects every pair of a layout in threads. Pillow and zlib release Python's lock, so this uses all cores.

    Args:
        layout: A `fcn_keras.datasets.check.layouts.Layout`.
        progress: As in `check`.

    Returns:
        List of `fcn_keras.datasets.check.inspect.View`, in the order of the pairs.

    Example:

    >>> views = inspect_all(read_layout("my_data"))  # doctest: +SKIP
    """
    with warnings.catch_warnings(), concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")  # Pillow's warnings name no file
        views = pool.map(lambda pair: inspect_pair(pair, layout), layout.pairs)
        return list(track(views, "checking", len(layout.pairs), show=progress))


def group_by_kind(problems, kinds=KINDS):
    """A finding for each kind of problem, with all the files that have it.

    Args:
        problems: Triples ``(kind, path, detail)``.
        kinds: The kinds to take, in this order.

    Returns:
        List of `fcn_keras.datasets.check.report.Finding`.

    Example:

    >>> print(*group_by_kind([("size", "a.png", "image 2×3, mask 3×2")]))
    ERROR    Image and mask differ in size. Fix: resize the mask to the nearest id, or export it again.
               a.png: image 2×3, mask 3×2
    """
    files = collections.defaultdict(list)
    for kind, path, detail in problems:
        files[kind].append((path, detail))
    return [make_finding(kind, files[kind]) for kind in kinds if kind in files]


def _sum_pixels(views):
    """A dict from split to the number of pixels of each id."""
    pixels = {}
    for view in views:
        if view.pixels is not None:
            pixels[view.pair.split] = pixels.get(view.pair.split, 0) + view.pixels
    return pixels


def _name_classes(found, views):
    if found.classes is not None:
        return list(found.classes.names)
    present = sum((view.pixels for view in views if view.pixels is not None), np.zeros(256, int))
    return [f"class {id_}" for id_ in range(int(np.nonzero(present[:VOID])[0].max(initial=-1)) + 1)]


def _find_copies(views):
    """Finds pictures with equal decoded pixels in two splits, or twice in one. The file formats may differ."""
    first = {}
    for view in views:
        before = first.setdefault(view.digest, view.pair) if view.digest else view.pair
        if before.split != view.pair.split:
            yield "leakage", view.pair.image, f"is {before.image} ({before.split})"
        elif before is not view.pair:
            yield "duplicates", view.pair.image, f"is {before.image}"


def _find_likenesses(views):
    """Finds pictures in two splits that have similar thumbnails, because one was encoded again or resized."""
    splits = collections.defaultdict(list)
    for view in views:
        if view.thumbnail is not None:
            splits[view.pair.split].append(view)
    for ours, theirs in itertools.combinations(splits.values(), 2):
        known = np.stack([view.thumbnail for view in ours])
        for view in theirs:
            likeness = known @ view.thumbnail
            best = ours[int(likeness.argmax())]
            if likeness.max() > ALIKE and best.digest != view.digest:
                yield "likeness", view.pair.image, f"is like {best.pair.image} ({best.pair.split})"


def _find_palettes(views):
    """Finds ids that have different colours in different files. They may mean different classes there."""
    colors = collections.defaultdict(collections.Counter)
    for view in views:
        for id_, color in view.palette.items():
            colors[id_][color] += 1
    usual = {id_: counted.most_common(1)[0][0] for id_, counted in colors.items()}
    for view in views:
        other = next((id_ for id_, color in view.palette.items() if color != usual[id_]), None)
        if other is not None:
            yield "palettes", view.pair.mask, f"id {other} is {view.palette[other]}, elsewhere {usual[other]}"


def _find_void_masks(views):
    for view in views:
        if view.pixels is not None and view.pixels[VOID] > 0.9 * view.pixels.sum():
            yield "void", view.pair.mask, f"{view.pixels[VOID] / view.pixels.sum():.1%} void"


def _find_void_splits(pixels):
    for split, counted in pixels.items():
        if split != UNLISTED and counted.any() and not counted[:VOID].any():
            yield make_finding("void, all", split=split, use="learned" if split == "train" else "measured")
        elif counted[VOID] > 0.5 * counted.sum():
            yield make_finding("void, split", split=split, share=counted[VOID] / counted.sum())


def _separate_thin(found, views, problems):
    """Turns "interpolated" into a warning where the id in between is one named class that occurs nowhere else.

    People draw such classes, one pixel wide: the borders of cells. In masks that were resized by interpolation, the ids
    in between are many, or they also are the ids of larger areas.
    """
    thin = sum((view.thin for view in views if view.thin is not None), np.zeros(256, int))
    if found.classes is None or not thin.any():
        return problems, []
    total = sum(view.pixels for view in views if view.pixels is not None)
    middle = int(thin.argmax())
    class_ = middle if found.classes.colors else int(found.classes.id_of_level[middle])
    drawn = class_ < len(found.classes.names) and thin[middle] > 0.9 * thin.sum() and 2 * thin[middle] > total[class_]
    if not drawn:
        return problems, []
    name = found.classes.names[class_]
    return [problem for problem in problems if problem[0] != "interpolated"], [make_finding("thin", name=name)]


def _check_void(found, views):
    """Finds named classes without a pixel, where the value 255 may have been meant to be their id."""
    views = [view for view in views if view.pixels is not None]
    if found.name != "folder" or found.classes is None or not views:
        return
    names = found.classes.names
    if len(names) == 1:
        yield make_finding("classes, one", name=names[0])
        return
    total = sum(view.pixels for view in views)
    share = sum(view.unnamed_void for view in views) / total.sum()
    absent = [names[id_] for id_ in np.nonzero(total[: len(names)] == 0)[0]]
    if absent and share and len(absent) == len(names) - 1:
        yield make_finding("object", name=absent[0], share=share)
    elif absent and share > MUCH:
        yield make_finding("absent, void", absent, share=share)


def _check_names(found):
    """Finds names in ``classes.txt`` that probably do not have the effect that the user expects."""
    names = [] if found.classes is None else found.classes.names
    scored = [name for name in names if NO_CLASS.fullmatch(name.lstrip("0123456789:.- "))]
    if scored:
        yield make_finding("scored", scored)
    if sided := find_sided(names):
        pairs = "; or --exchange-sides, which exchanges these classes in mirrored masks" if find_pairs(names) else ""
        yield make_finding("sides", sided, fix=f"train --no-flip, which mirrors no image{pairs}.")


def _check_classes(found, names, pixels):
    """Finds classes that have no name, that never occur, or that hardly ever occur."""
    labelled = {split: counted[:VOID][: len(names)] for split, counted in pixels.items() if split != UNLISTED}
    if found.classes is None:
        if len(names) > 1:
            yield make_finding("unnamed", last=len(names) - 1)
        total = sum(labelled.values(), np.zeros(len(names), int))
        ids = np.nonzero(total)[0]
        if labelled and not total[1:].any():
            yield make_finding("classes")
            return
        if len(ids) and ids[-1] + 1 > 2 * len(ids):
            yield make_finding("levels", count=len(ids), last=ids[-1])
            return
        if len(ids) >= MANY:
            yield make_finding("levels, many", count=len(ids))
    for split, counted in labelled.items():
        absent = [names[id_] for id_ in np.nonzero(counted == 0)[0]]
        if absent:
            fix = f"name images that show them in {split}.txt." if found.name == "folder" else ""
            yield make_finding("absent, train" if split == "train" else "absent", absent, split=split, fix=fix)
    counted = labelled.get("train", np.zeros(0))
    shares = counted / max(counted.sum(), 1)
    rare = np.nonzero((shares > 0) & (shares < RARE))[0]
    if len(rare):
        yield make_finding("rare", [(names[id_], f"{shares[id_]:.3%} of the labelled pixels") for id_ in rare])


def _check_sizes(views):
    sizes = collections.Counter(view.size for view in views if view.size)
    if len(sizes) > 1:
        common = ", ".join(f"{height}×{width} ({count})" for (height, width), count in sizes.most_common(3))
        yield make_finding("sizes", count=len(sizes), common=common)


def _compute_shares(pixels, names):
    """For each split, the share of each class in its labelled pixels, and the share of void in all its pixels."""
    shares = {}
    for split, counted in pixels.items():
        labelled = max(int(counted[:VOID].sum()), 1)
        shares[split] = {name: float(counted[id_] / labelled) for id_, name in enumerate(names)}
        shares[split]["void"] = float(counted[VOID] / max(int(counted.sum()), 1))
    return shares
