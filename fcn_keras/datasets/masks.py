"""Reading images and masks from the folders that data sets are handed out in."""

import pathlib

import numpy as np
import PIL.Image

from .._files import user_path
from ..layers.labels import VOID


def read_mask(path, num_classes, ignore_class=VOID):
    """Reads a mask file as integer ids, palette PNGs among them.

    Pillow gives the ids of a palette PNG; `tf.io.decode_png` would give the grey level of each id's colour.

    Args:
        path: A PNG file of mode P or L.
        num_classes: Number of classes ``C``.
        ignore_class: The one id outside ``[0, C)`` that is allowed.

    Returns:
        uint8 array ``(H, W)``.

    Raises:
        ValueError: If the file is no such image, or holds other ids; the message names file and ids.

    Example:

    >>> read_mask("VOC2012/SegmentationClass/2007_000032.png", num_classes=21)  # doctest: +SKIP
    """
    try:
        with PIL.Image.open(path) as file:
            mode, ids = file.mode, np.asarray(file)
    except OSError as error:
        raise ValueError(f"Mask {path} cannot be read ({error}): expected a whole PNG file.") from error
    if mode not in ("P", "L", "1"):
        raise ValueError(f"Mask {path} has mode {mode}: expected one id per pixel, a palette (P) or grey (L) PNG.")
    ids = ids.astype(np.uint8)
    unknown = sorted(set(np.unique(ids).tolist()) - set(range(num_classes)) - {ignore_class})
    if unknown:
        raise ValueError(
            f"Mask {path} holds the ids {unknown[:10]}: expected 0–{num_classes - 1}, or {ignore_class} for void. "
            "Fix: map the ids; ids that no one wrote come from masks resized by interpolation."
        )
    return ids


def require_same_size(image, mask):
    """Raises a clear error unless an image file is as large as its mask.

    Args:
        image: Path of an image file.
        mask: Array ``(H, W)``.

    Raises:
        ValueError: If the sizes differ, or the image cannot be read.
    """
    try:
        with PIL.Image.open(image) as file:
            size = (file.height, file.width)
    except OSError as error:
        raise ValueError(f"Image {image} cannot be read ({error}): expected a whole JPEG or PNG file.") from error
    if size != mask.shape:
        raise ValueError(
            f"Image {image} is {size[0]}×{size[1]}, its mask {mask.shape[0]}×{mask.shape[1]}: expected one size."
        )


def require_folder(found, needed, what):
    """Raises a clear error unless every folder or file in `needed` exists under `found`.

    Raises:
        ValueError: If the folder is not given, or lacks something.
    """
    if found is None:
        raise ValueError(
            f"{what} is read from a folder: found none. Fix: pass source=, the folder that holds {', '.join(needed)}."
        )
    missing = [name for name in needed if not (pathlib.Path(found) / name).exists()]
    if missing:
        raise ValueError(
            f"{what}: {found} lacks {', '.join(missing)}. Fix: pass the folder that holds {', '.join(needed)}."
        )


def pairs(images, masks, stems=None, suffixes=(".jpg", ".png")):
    """Image and mask files with the same stem, as a list of ``(stem, image, mask)``.

    Args:
        images, masks: Folders.
        stems: Names to look for; by default every image in the folder, sorted.
        suffixes: Endings of image files.

    Raises:
        ValueError: If an image or a mask is missing, all named at once.
    """
    images, masks = user_path(images), user_path(masks)
    files = {path.stem: path for path in sorted(images.iterdir()) if path.suffix.lower() in suffixes}
    stems = list(files) if stems is None else stems
    missing = [f"{images / stem}.*" for stem in stems if stem not in files]
    missing += [str(masks / f"{stem}.png") for stem in stems if not (masks / f"{stem}.png").exists()]
    if missing or not stems:
        raise ValueError(f"{images} and {masks}: {len(missing)} of {2 * len(stems)} files are missing: {missing[:5]}.")
    return [(stem, files[stem], masks / f"{stem}.png") for stem in stems]


def source_of(builder, dl_manager):
    """The folder that the user named, or None for a download; written into the metadata of the prepared data.

    TFDS writes the metadata and the examples into one temporary folder and renames it at the end: prepared data always
    name their source, even if the process is killed.
    """
    try:
        source = user_path(dl_manager.manual_dir).resolve()
    except AssertionError:  # TFDS' answer to an absent or empty folder
        source = None
    builder.info.metadata["source"] = str(source or "the download")
    return source
