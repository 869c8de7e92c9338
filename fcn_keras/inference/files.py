"""Masks of many image files: which images, under which names, as palette PNGs."""

import pathlib

import numpy as np
from PIL import Image

from .._files import atomic_write, explain_missing, user_path
from ..datasets.classes import voc_palette
from ..datasets.images import SUFFIXES, list_images, read_image
from ..visualization.colors import make_color_table, require_ids
from ..visualization.overlays import overlay
from .segment import segment


def find_images(sources, out=None):
    """Finds image files, and the names that their masks get below an output folder.

    Args:
        sources: Paths of files and folders. Every file in this list counts as an image. In a folder and its subfolders,
            images are the files that end in one of `SUFFIXES`, in lower or upper case. Hidden files do not count. Of a
            folder that holds ``images`` and ``masks``, only ``images`` counts.
        out: The output folder. If it lies in a folder of `sources`, its files do not count, because they are masks.

    Returns:
        List of ``(image, name)``: the path of an image, and the path of its mask below `out`, without suffix. The name
        of an image in a folder is its path below that folder.

    Raises:
        ValueError: If a path does not exist, if a folder holds no image, if two images would share a mask, if a mask
            would replace an image, or if `out` is a folder ``masks`` next to a folder ``images``.

    Example:

    >>> find_images(["photos"])  # doctest: +SKIP
    [(PosixPath('photos/day/a.jpg'), PosixPath('day/a'))]
    """
    found = []
    for source in map(user_path, sources):
        if (source / "images").is_dir() and (source / "masks").is_dir():
            source = source / "images"
        if source.is_dir():
            files = drop_outputs(list_images(source), out, source)
            if not files:
                raise ValueError(f"Folder {source} holds no image: expected files that end in {', '.join(SUFFIXES)}.")
            found += [(path, path.relative_to(source).with_suffix("")) for path in files]
        elif source.exists():
            found.append((source, pathlib.Path(source.stem)))
        else:
            expected = "expected an image file or a folder of images"
            raise ValueError(f"Found nothing at {source}: {expected}. {explain_missing(source)}")
    require_distinct_masks(found, out)
    return found


def drop_outputs(files, out, source):
    """Removes the files in `out` from a list if `out` lies inside `source`: they are masks of an earlier run."""
    if out is None or user_path(source).resolve() not in user_path(out).resolve().parents:
        return files
    out = user_path(out).resolve()
    return [path for path in files if not path.resolve().is_relative_to(out)]


def write_mask(path, mask, palette=None, class_ids=None):
    """Writes a mask as VOC does: a PNG whose pixels are the class ids, with a palette that shows them in colours.

    Args:
        path: File to write. Its folder is created if it does not exist.
        mask: Integer array ``(H, W)``, ids in ``[0, 256)``.
        palette: Colours ``(C, 3)`` in 0–255 of the first ``C`` ids; by default VOC's.
        class_ids: Value to write for each of the first ``C`` ids, 0–255; by default the id itself.

    Raises:
        ValueError: If `mask` does not contain ids, if an id needs more than 8 bits, or if `palette` has another shape.
        OSError: If the file cannot be written.

    Example:

    >>> write_mask("photo.png", segment(model, "photo.jpg"))  # doctest: +SKIP
    """
    ids = require_ids(mask)
    if ids.max() > 255:
        raise ValueError(f"Found ids up to {ids.max()} in the mask: expected 0–255, because a PNG palette has 256.")
    value_of = np.arange(256, dtype="uint8")
    value_of[: len(class_ids or ())] = class_ids or ()
    picture = Image.fromarray(value_of[ids.astype("uint8")])
    colors = voc_palette().copy()
    if palette is not None:
        colors[value_of[: len(palette)]] = make_color_table(palette)[: min(len(palette), 256)]
    picture.putpalette(colors.tobytes())
    atomic_write(path, picture.save)


def segment_files(model, sources, out, *, palette=None, overlays=False, again=False, **options):
    """Segments image files and folders of images. Images whose masks exist are skipped.

    Args:
        model: Keras model from images to logits.
        sources: Paths of images and folders, as in `find_images`.
        out: Folder for the masks: palette PNGs, ``name.png``.
        palette: Colours ``(C, 3)`` of the classes; by default VOC's.
        overlays: Whether to also write the image with its classes in colour, ``name.overlay.jpg``.
        again: Whether to segment an image again if its mask exists.
        **options: ``tile``, ``scales``, ``flip``: see `fcn_keras.segment`.

    Yields:
        A dict for each image, in order. ``image`` and ``mask`` are paths. ``status`` is ``"done"``, ``"skipped"`` if
        its files exist, or ``"bad"`` if it cannot be read; then ``error`` says why.

    Raises:
        ValueError: As in `find_images` and `fcn_keras.segment`.
        OSError: If a file cannot be written.

    Example:

    >>> for file in segment_files(model, ["photos"], "masks"):  # doctest: +SKIP
    ...     print(file["image"], file["status"])
    """
    out = user_path(out)
    for image, name in find_images(sources, out):
        mask, picture = out / f"{name}.png", out / f"{name}.overlay.jpg"
        record = {"image": str(image), "mask": str(mask)}
        if mask.exists() and (picture.exists() or not overlays) and not again:
            yield {**record, "status": "skipped"}
            continue
        try:
            pixels = read_image(image)
        except ValueError as error:
            yield {**record, "status": "bad", "error": str(error)}
            continue
        ids = segment(model, pixels, progress=False, **options)
        if overlays:
            atomic_write(picture, Image.fromarray(overlay(pixels, ids, palette=palette)).save)
        write_mask(mask, ids, palette, getattr(model, "class_ids", None))
        yield {**record, "status": "done"}


def require_distinct_masks(found, out=None):
    """Raises a ValueError if two images would share a mask, or if a file below `out` would replace an image."""
    first = {}
    for image, name in found:
        if first.setdefault(name, image) != image:
            raise ValueError(
                f"{first[name]} and {image} would share the mask {name}.png. Fix: pass the folder that holds both, so "
                "that masks keep their subfolders; or rename one image; or segment them into two folders."
            )
    if out is None:
        return
    out = user_path(out)
    if out.resolve().name == "masks" and (out.resolve().parent / "images").is_dir():
        raise ValueError(
            f"{out} is next to a folder images/, so it may hold the labels of a data set. Fix: choose another folder."
        )
    images = {image.resolve() for image, _ in found}
    for image, name in found:
        for path in (out / f"{name}.png", out / f"{name}.overlay.jpg"):
            if path.resolve() in images:
                raise ValueError(
                    f"A file made from {image} would replace the image {path}. Fix: choose another folder for masks."
                )
