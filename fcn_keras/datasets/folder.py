"""A folder of one's own: which images and masks it holds, in which splits, and what a mask file says.

::

    my_data/
      images/       photographs: JPEG, PNG, …; folders inside are fine
      masks/        for each a PNG, BMP or TIFF of the same name: ids, or colours that classes.txt names
      classes.txt   optional: a line for each class, in the order of the ids: `road`, or `road 128 64 128`
      train.txt, validation.txt, test.txt   optional: a name in each line, as `day/001`
"""

import hashlib
import os
import pathlib

import numpy as np
import PIL.ExifTags
import PIL.Image
import tensorflow as tf

from .._files import did_you_mean, user_path
from ..layers.labels import VOID
from .classes import colours_to_ids, read_classes
from .images import FORMATS, SUFFIXES, read_image

MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")
SPLIT_FILES = ("train", "validation", "test")
VALIDATION_SHARE = 0.2


def files_by_name(folder, suffixes):
    """Files under a folder by their name: the path below it, without the ending; hidden ones are left out.

    Raises:
        ValueError: If two files differ in nothing but their ending.
    """
    found = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        below = path.relative_to(folder)
        if path.suffix.lower() in suffixes and not any(part.startswith(".") for part in below.parts):
            name = below.with_suffix("").as_posix()
            if name in found:
                raise ValueError(f"{found[name]} and {path} have the same name: expected one. Fix: rename one.")
            found[name] = path
    return found


def stays_in(path, home):
    """Whether a path, links followed, lies below `home`; a link that goes in a circle stays."""
    return pathlib.Path(os.path.realpath(path)).is_relative_to(home)  # Path.resolve raises on a circle


def find_pairs(source):
    """Images and masks of the same name.

    Args:
        source: The folder that holds ``images`` and ``masks``.

    Returns:
        Dict from name to ``(image, mask)``, sorted.

    Raises:
        ValueError: If a folder is missing or empty, or an image or a mask stands alone: all are named; or if a link
            leads out of them.
    """
    source = user_path(source)
    if not source.exists():
        raise ValueError(f"{did_you_mean(source)} Fix: pass the folder that holds images/ and masks/.")
    missing = [name for name in ("images", "masks") if not (source / name).is_dir()]
    if missing:
        raise ValueError(f"{source} lacks {' and '.join(missing)}. Fix: pass the folder that holds images/ and masks/.")
    images, masks = (
        files_by_name(source / folder, suffixes)
        for folder, suffixes in (("images", SUFFIXES), ("masks", MASK_SUFFIXES))
    )
    problems = [f"{images[name]} has no mask" for name in images if name not in masks]
    problems += [f"{masks[name]} has no image" for name in masks if name not in images]
    files = (*images.values(), *masks.values())
    problems += [f"{path} is a link to nothing" for path in files if path.is_symlink() and not os.path.exists(path)]
    for folder, files in (("images", images), ("masks", masks)):
        home = (source / folder).resolve()
        problems += [f"{path} leads out of {home}" for path in files.values() if not stays_in(path, home)]
    if not images and not masks:
        problems.append(f"{source / 'images'} and {source / 'masks'} are empty")
    require_none(problems, f"{source}: images/ and masks/ do not pair")
    return {name: (images[name], masks[name]) for name in sorted(images)}


def find_splits(source, names, share=VALIDATION_SHARE):
    """The splits of a folder: those of its lists, or a share that a hash of each name chooses.

    The hash keeps every image in its split when others are added.

    Args:
        source: The folder.
        names: Names of its pairs.
        share: Share of the images to validate on, where there are no lists; in (0, 1).

    Returns:
        Dict from split to names.

    Raises:
        ValueError: If ``train.txt`` or ``validation.txt`` is there without the other; a name in a list has no image, or
            stands in two lists; or a split is empty.

    Example:

    >>> {split: len(chosen) for split, chosen in find_splits(".", [f"{i:03d}" for i in range(100)]).items()}
    {'train': 80, 'validation': 20}
    """
    if not 0 < share < 1:
        raise ValueError(f"Found a validation share of {share}: expected a number between 0 and 1.")
    source = user_path(source)
    lists = {split: source / f"{split}.txt" for split in SPLIT_FILES if (source / f"{split}.txt").exists()}
    if not lists:
        chosen = {name: int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) < share * 16**8 for name in names}
        splits = {"train": [name for name in names if not chosen[name]], "validation": [n for n in names if chosen[n]]}
    else:
        missing = [f"{split}.txt" for split in ("train", "validation") if split not in lists]
        if missing:
            raise ValueError(
                f"{source} has {', '.join(p.name for p in lists.values())}, and lacks {', '.join(missing)}."
            )
        splits = {split: names_in(path) for split, path in lists.items()}
        _require_apart(splits, set(names), source)
    empty = [split for split, chosen in splits.items() if not chosen]
    if empty:
        raise ValueError(
            f"{source}: {len(names)} images, none of them for {' and '.join(empty)}. Fix: name them in train.txt and "
            "validation.txt, a name in each line."
        )
    return splits


def read_own_mask(path, classes=None):
    """Reads a mask of one's own as ids.

    Where the classes have colours, colours decide, those of a palette too; a grey file holds ids.

    Args:
        path: A PNG, BMP or TIFF file.
        classes: A `fcn_keras.datasets.classes.Classes`; None takes any id.

    Returns:
        uint8 array ``(H, W)``; void is 255.

    Raises:
        ValueError: If the file cannot be read, or holds ids or colours of no class. The message goes on from the name
            of the file, which it leaves to its reader.

    Example:

    >>> PIL.Image.fromarray(np.array([[0, 1, 255]], "uint8")).save("mask.png")
    >>> read_own_mask("mask.png").tolist()
    [[0, 1, 255]]
    """
    path = user_path(path)
    if not path.is_file():
        raise ValueError("is no file: expected a PNG, BMP or TIFF image")
    try:
        with PIL.Image.open(path, formats=FORMATS) as file:
            if file.mode in ("RGB", "RGBA") or (file.mode == "P" and classes is not None and classes.colours):
                return _from_colours(file, classes)
            levels = _from_levels(file)
    except ValueError:
        raise
    except Exception as error:  # Pillow's decoders raise errors of many kinds on damaged files
        raise ValueError(f"cannot be read as an image: {error}") from error
    return levels if classes is None else _of_classes(levels, classes)


def _from_colours(file, classes):
    if file.mode == "RGBA" and file.getextrema()[3] != (255, 255):
        raise ValueError("is transparent in places: expected opaque colours")
    if classes is None or classes.colours is None:
        raise ValueError(
            "is written in colours, which no classes.txt names. Fix: write one, a line a class: `road 128 64 128`"
        )
    return colours_to_ids(np.asarray(file.convert("RGB")), classes)


def _from_levels(file):
    if file.mode not in ("P", "L", "1", "I", "I;16"):
        raise ValueError(f"has mode {file.mode}: expected ids (P, L) or colours (RGB)")
    ids = np.asarray(file)
    if ids.max(initial=0) > 255 or ids.min(initial=0) < 0:
        raise ValueError(f"holds ids up to {ids.max()}: expected 0–255")
    return ids.astype("uint8")


def _of_classes(levels, classes):
    ids = classes.id_of_level[levels]
    unknown = sorted(set(np.unique(ids).tolist()) - set(range(len(classes.names))) - {VOID})
    if unknown:
        last = len(classes.names) - (classes.void_id is None)
        raise ValueError(f"holds the ids {unknown[:10]}: expected 0–{last}, or {VOID} for void")
    return ids


def is_plain(path):
    """Whether TensorFlow decodes an image file as people see it: a JPEG or PNG in RGB, upright, opaque."""
    with PIL.Image.open(path) as file:
        return (
            file.format in ("JPEG", "PNG")
            and file.mode == "RGB"
            and "transparency" not in file.info
            and (file.getexif().get(PIL.ExifTags.Base.Orientation, 1) == 1)
        )


def require_tensorflow_reads(path):
    """Decodes a file as training will, which keeps its bytes: TensorFlow refuses some damage that Pillow forgives."""
    try:
        with tf.device("CPU"):
            tf.io.decode_image(pathlib.Path(path).read_bytes(), channels=3, expand_animations=False)
    except tf.errors.OpError as error:
        told = error.message.partition("}} ")[2].partition(" [Op:")[0]
        raise ValueError(f"{str(path)!r} is damaged: Pillow reads it, TensorFlow does not ({told})") from error


def examine(pair, classes):
    """What is wrong with an image and its mask, as text, or None; and the largest id of the mask."""
    image, mask = pair
    try:
        pixels = read_image(image)
        if is_plain(image):
            require_tensorflow_reads(image)
    except ValueError as error:
        return str(error), None
    try:
        ids = read_own_mask(mask, classes)
    except ValueError as error:
        return f"{mask} {error}", None
    if pixels.shape[:2] != ids.shape:
        return f"{image} is {pixels.shape[0]}×{pixels.shape[1]}, its mask {ids.shape[0]}×{ids.shape[1]}", None
    labelled = ids[ids != VOID]
    return None, int(labelled.max()) if labelled.size else -1


def classes_of(source):
    """The classes of a folder's ``classes.txt``, or None."""
    path = user_path(source) / "classes.txt"
    return read_classes(path) if path.exists() else None


def require_none(problems, where):
    """Raises one error that tells all problems; the first twenty in words."""
    if problems:
        more = f"\n  and {len(problems) - 20} more" if len(problems) > 20 else ""
        told = "".join(f"\n  {problem}" for problem in problems[:20])
        raise ValueError(
            f"{where}: {len(problems)} problem{'s' * (len(problems) > 1)}; fcn-keras check tells more.{told}{more}"
        )


def names_in(path):
    """The names in a list, one a line, in order and as often as they stand there.

    Raises:
        ValueError: If it is no regular file, or not UTF-8.
    """
    if not path.is_file():  # a pipe would wait for ever
        raise ValueError(f"{path} is no regular file: expected a text file, a name in each line.")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # some editors begin a file with a mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}): expected a text file, a name in each line.") from error
    return [pathlib.PurePosixPath(line.strip()).as_posix() for line in lines if line.strip()]


def _require_apart(splits, known, source):
    """Every name in a list has an image and stands in that list alone, once."""
    problems, first = [], {}
    for split, names in splits.items():
        for name in names:
            if name not in known:
                problems.append(f"{split}.txt names {name!r}, which has no image in images/")
            before = first.setdefault(name, split)
            if before != split:
                problems.append(f"{name} stands in {before}.txt and in {split}.txt")
        if len(set(names)) < len(names):
            problems.append(f"{split}.txt names an image twice")
    require_none(problems, f"{source}: the lists")
