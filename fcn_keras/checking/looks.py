"""One image and its mask, opened and decoded: what is wrong with them, and the numbers that the whole set needs."""

import dataclasses
import hashlib
import os
import pathlib
import stat

import numpy as np
import PIL.Image

from ..datasets.own_folder import read_own_mask
from ..images import read_image

ORIENTATION = 0x0112  # of EXIF
BETWEEN = 0.08  # share of borders; real masks of VOC and CamVid reach 0.003 and 0.028, bilinear ones start at 0.2
ENOUGH = 10  # borders between


@dataclasses.dataclass
class Look:
    """What was seen of a pair; `problems` are ``(kind, detail)``, in the kinds of `fcn_keras.checking.checks.KINDS`."""

    pair: object
    problems: list
    size: tuple | None = None
    digest: str | None = None
    pixels: np.ndarray | None = None  # of each id, 256 counts


def look(pair, layout):
    """Opens an image and its mask.

    Args:
        pair, layout: Of `fcn_keras.checking.layouts`.

    Returns:
        A `Look`; nothing is raised for what is in a file.
    """
    seen = Look(pair, [])
    image = _image(pair.image, seen)
    ids = _mask(pair.mask, layout, seen)
    if image is not None:
        seen.size = image.shape[:2]
        seen.digest = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()
    if image is not None and ids is not None and ids.shape != image.shape[:2]:
        told = f"image {image.shape[0]}×{image.shape[1]}, mask {ids.shape[0]}×{ids.shape[1]}"
        turned = ids.shape == image.shape[1::-1]
        told += ": the mask was drawn on the image before EXIF turned it" if turned and _exif(pair.image) > 4 else ""
        seen.problems.append(("size", told))
    return seen


def between(ids):
    """Share of the borders in a mask that pass through ids between those of their two sides: 4, between 0 and 9.

    That is what interpolation makes of a border. Resized by `tf.image.resize` to a half, 20–40 % of borders are such;
    with antialiasing, or enlarged, 30–70 %; to a tenth without antialiasing 3–15 %. Masks that people drew hold hardly
    any: at most 0.3 % in 250 masks of VOC, 2.8 % in 468 of CamVid.

    Args:
        ids: Array ``(H, W)``.

    Returns:
        ``(share, number)``.

    Example:

    >>> between(np.array([[0, 0, 4, 9, 9]]))
    (1.0, 2)
    """
    count = borders = 0
    for rows in (ids.astype("int16"), ids.T.astype("int16")):
        steps = np.sign(np.diff(rows, axis=1))
        up_twice = (steps[:, :-1] != 0) & (steps[:, :-1] == steps[:, 1:])
        count += 2 * int(up_twice.sum())
        borders += int((steps != 0).sum())
    return (min(count / borders, 1.0) if borders else 0.0), count


def _image(path, seen):
    try:
        require_file(path)
        pixels = read_image(path)
    except (ValueError, OSError) as error:
        seen.problems.append(("image", str(error)))
        return None
    with PIL.Image.open(path) as file:
        mode, frames = file.mode, getattr(file, "n_frames", 1)
        transparent = file.has_transparency_data
    if transparent:
        seen.problems.append(("alpha", f"mode {mode}"))
    elif mode not in ("RGB", "P"):
        seen.problems.append(("grey" if mode in ("L", "1") else "colour space", f"mode {mode}"))
    if frames > 1:
        seen.problems.append(("frames", f"{frames} pictures"))
    if _exif(path) != 1:
        seen.problems.append(("exif", f"orientation {_exif(path)}"))
    return pixels


def _mask(path, layout, seen):
    try:
        require_file(path)
        coloured = layout.classes is not None and layout.classes.colours and layout.name == "folder"
        ids = read_own_mask(path, layout.classes if coloured else None)
    except (ValueError, OSError) as error:
        kind = "colours" if "colours" in str(error) else "mask"
        seen.problems.append((kind, str(error)))
        return None
    with PIL.Image.open(path) as file:
        if file.format == "JPEG":
            seen.problems.append(("jpeg mask", "JPEG"))
    seen.pixels = np.bincount(ids.ravel(), minlength=256)
    share, count = between(ids)
    if share > BETWEEN and count >= ENOUGH:
        seen.problems.append(("interpolated", f"{share:.0%} of its borders pass through ids that lie between"))
    if layout.classes is not None:
        known = {*range(len(layout.classes.names)), layout.void}
        unknown = sorted(set(np.nonzero(seen.pixels)[0].tolist()) - known)
        if unknown:
            ids_of = ", ".join(map(str, unknown[:10]))
            share = seen.pixels[unknown].sum() / ids.size
            seen.problems.append(("ids", f"ids {ids_of}{' …' if len(unknown) > 10 else ''}: {share:.1%} of its pixels"))
    return ids


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
            return int(file.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow raises errors of many kinds on damaged EXIF; then nothing is turned
        return 1
