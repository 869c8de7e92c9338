"""One image and its mask, opened and decoded: what is wrong with them, and the numbers that the whole set needs."""

import dataclasses
import hashlib
import os
import pathlib
import stat

import numpy as np
import PIL.ExifTags
import PIL.Image

from .. import folder
from ..images import read_image

SMALL = 80  # pixels, a side of a mask
ENOUGH = 5  # places


@dataclasses.dataclass
class Look:
    """What was seen of a pair; `problems` are ``(kind, path, detail)``, kinds those of `fcn_keras.datasets.check.checks`."""

    pair: object
    problems: list
    size: tuple | None = None
    digest: str | None = None
    thumbnail: np.ndarray | None = None  # 256 numbers
    pixels: np.ndarray | None = None  # of each id, 256 counts
    palette: dict = dataclasses.field(default_factory=dict)  # of the ids in use, where a palette goes with them


def look(pair, layout):
    """Opens an image and its mask.

    Args:
        pair, layout: Of `fcn_keras.datasets.check.layouts`.

    Returns:
        A `Look`; nothing is raised for what is in a file.
    """
    seen = Look(pair, [])
    image = _image(pair.image, layout, seen)
    ids = _mask(pair.mask, layout, seen)
    if image is not None:
        seen.size = image.shape[:2]
        seen.digest = hashlib.sha256(np.ascontiguousarray(image)).hexdigest() + str(image.shape)
        seen.thumbnail = thumbnail(image)
    if image is not None and ids is not None and ids.shape != image.shape[:2]:
        told = f"image {image.shape[0]}×{image.shape[1]}, mask {ids.shape[0]}×{ids.shape[1]}"
        turned = ids.shape == image.shape[1::-1]
        told += ": the mask was drawn on the image before EXIF turned it" if turned and _exif(pair.image) > 4 else ""
        seen.problems.append(("size", pair.image, told))
    return seen


def between(ids, invented=False):
    """Share of the borders in a mask that pass through ids between those of their two sides: 4, between 0 and 9.

    That is what interpolation makes of a border. Measured on 501 masks of VOC and 468 of CamVid: as they are, at most
    0.7 % and 5.5 %; resized by nearest down to a quarter, at most 12 %; by `tf.image.resize`, bilinear, to anything
    between a quarter and the double, at least 23 %.

    Args:
        ids: uint8 array ``(H, W)``.
        invented: Whether to count such places only for ids that stand there with half of their pixels or more.

    Returns:
        ``(share, number of places, number of ids in them)``.

    Example:

    >>> between(np.array([[0, 0, 4, 9, 9]], "uint8"))
    (1.0, 1, 1)
    """
    through, passed, borders = np.zeros(ids.shape, bool), np.zeros(256, int), 0
    for rows, middle in ((ids, through), (ids.T, through.T)):
        up, down = rows[:, 1:] > rows[:, :-1], rows[:, 1:] < rows[:, :-1]
        twice = up[:, :-1] & up[:, 1:] | down[:, :-1] & down[:, 1:]
        middle[:, 1:-1] |= twice
        passed += np.bincount(rows[:, 1:-1][twice], minlength=256)
        borders += int(np.count_nonzero(up) + np.count_nonzero(down))
    if invented:
        there = np.bincount(ids[through], minlength=256)
        passed[2 * there < np.bincount(ids.ravel(), minlength=256)] = 0
    count = int(passed.sum())
    return min(2 * count / max(borders, 1), 1.0), count, int((passed > 0).sum())


def is_interpolated(ids):
    """Whether a mask was resized by interpolation.

    In small masks things one pixel wide lie between others often; there, three ids or more must be met hardly anywhere
    else. That finds, of bilinear masks at a tenth, five of six on VOC and one of four on CamVid; and, like the rule for
    large ones, none of the masks that were resized by nearest, to 1/2, 1/3 … 1/8.

    Example:

    >>> is_interpolated(np.zeros((100, 100), "uint8"))
    False
    """
    small = min(ids.shape) < SMALL
    share, count, kinds = between(ids, invented=small)
    return count >= ENOUGH and (share > 0.08 and kinds >= 3 if small else share > 0.15)


def _image(path, layout, seen):
    add = seen.problems.append
    try:
        require_file(path)
        pixels = read_image(path)
        kept = layout.name != "folder" or folder.is_plain(path)
        if kept:
            folder.require_tensorflow_reads(path)
        with PIL.Image.open(path) as file:
            mode, frames, transparent = file.mode, _frames(file), file.has_transparency_data
            deep = any(";16" in str(tile[3]) for tile in file.tile)
    except Exception as error:  # Pillow's decoders raise errors of many kinds on damaged files
        add(("image", path, str(error).removeprefix(f"{str(path)!r} ")))  # the finding names it
        return None
    if transparent:
        add(("alpha", path, f"mode {mode}"))
    elif mode not in ("RGB", "P"):
        add(("grey" if mode in ("L", "1") else "colour space", path, f"mode {mode}"))
    if deep:
        add(("depth", path, ""))
    if frames:
        add(("frames", path, frames))
    turn = _exif(path)
    if turn != 1:
        unclear = layout.name != "folder" or turn < 5 or pixels.shape[0] == pixels.shape[1]
        add(("exif unclear" if unclear else "exif", path, f"orientation {turn}"))
    return pixels


def _frames(file):
    """What is told of further pictures in a file; they may be damaged where the first is not."""
    try:
        count = getattr(file, "n_frames", 1)
    except Exception:
        return "further pictures that cannot be read"
    return f"{count} pictures" if count > 1 else ""


def _mask(path, layout, seen):
    add = seen.problems.append
    coloured = layout.name == "folder" and layout.classes is not None and layout.classes.colours
    try:
        require_file(path)
        ids = folder.read_own_mask(path, layout.classes if coloured else None)
        with PIL.Image.open(path) as file:
            kind, frames = file.format, _frames(file)
            palette = file.getpalette("RGB") if file.mode == "P" and not coloured else None
    except Exception as error:
        add(("colours" if "colours" in str(error) else "mask", path, str(error)))
        return None
    if kind == "JPEG":
        add(("jpeg mask", path, ""))
    if frames:
        add(("frames", path, frames))
    if _exif(path) != 1:
        add(("mask exif", path, f"orientation {_exif(path)}"))
    if is_interpolated(ids):
        add(("interpolated", path, f"{between(ids)[0]:.0%} of its borders pass through ids that lie between"))
    class_of = np.arange(256) if coloured or layout.classes is None else layout.classes.id_of_level
    ids = class_of[ids].astype("uint8")
    seen.pixels = np.array(PIL.Image.fromarray(ids).histogram())  # bincount would need eight bytes a pixel
    if palette:
        colours = np.array(palette).reshape(-1, 3)[:256].tolist()
        seen.palette = {int(class_of[id_]): tuple(colour) for id_, colour in enumerate(colours)}
        seen.palette = {id_: colour for id_, colour in seen.palette.items() if seen.pixels[id_]}
    if layout.classes is not None:
        known = {*range(len(layout.classes.names)), layout.void}
        unknown = sorted(set(np.nonzero(seen.pixels)[0].tolist()) - known)
        if unknown:
            told = ", ".join(map(str, unknown[:10])) + (" …" if len(unknown) > 10 else "")
            share, last = seen.pixels[unknown].sum() / ids.size, max(known - {layout.void})
            add(("ids", path, f"ids {told}, {share:.1%} of its pixels: expected 0–{last}"))
    return ids


def thumbnail(pixels):
    """256 grey levels that stay nearly the same at another size or encoding, centred, of norm 1.

    Args:
        pixels: uint8 array ``(H, W, 3)``.

    Returns:
        float32 array ``(256,)``; None of a picture that is all but one grey.
    """
    small = PIL.Image.fromarray(pixels).convert("L").resize((16, 16), PIL.Image.Resampling.BOX)
    levels = np.asarray(small, "float32").ravel()
    levels -= levels.mean()
    return None if levels.std() < 2 else levels / np.linalg.norm(levels)


def require_file(path):
    """Raises a clear error for what would not be read to its end: pipes, devices, empty files."""
    state = os.stat(path)
    if not stat.S_ISREG(state.st_mode):
        raise ValueError("is no regular file")
    if state.st_size == 0:
        raise ValueError("is empty: 0 bytes")
    with open(pathlib.Path(path), "rb"):
        pass  # permission


def _exif(path):
    try:
        with PIL.Image.open(path) as file:
            return int(file.getexif().get(PIL.ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises errors of many kinds on damaged EXIF; then nothing is turned
        return 1
