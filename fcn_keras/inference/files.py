"""Masks of many image files: which files, under which names, as palette PNGs that are whole or not there."""

import os
import pathlib

from PIL import Image

from .._files import did_you_mean, user_path
from ..datasets.images import SUFFIXES, read_image
from ..datasets.palettes import voc_palette
from ..visualization.colors import class_ids, color_table, overlay
from .segment import segment


def find_images(sources, out=None):
    """Image files in files and folders, with the places that their masks have below an output folder.

    Args:
        sources: Paths. A file is taken as it is; of a folder, every file under it that ends in one of `SUFFIXES`
            (upper case too), sorted, but not the hidden ones.
        out: The output folder. If it lies in a folder of `sources`, what is in it is not taken for images.

    Returns:
        List of ``(image, place)``: paths, `place` relative and without suffix. A file in a folder keeps its place below
        that folder.

    Raises:
        ValueError: If a path does not exist, a folder holds no image, two images would share a mask, a mask would take
            the place of an image, or `out` is a folder ``masks`` beside ``images``.

    Example:

    >>> find_images(["photos"])  # doctest: +SKIP
    [(PosixPath('photos/day/a.jpg'), PosixPath('day/a'))]
    """
    found = []
    for source in map(user_path, sources):
        if source.is_dir():
            files = [path for path in sorted(source.rglob("*")) if _is_image(path.relative_to(source))]
            files = outside(files, out, source)
            if not files:
                raise ValueError(f"Folder {source} holds no image: expected files that end in {', '.join(SUFFIXES)}.")
            found += [(path, path.relative_to(source).with_suffix("")) for path in files]
        elif source.exists():
            found.append((source, pathlib.Path(source.stem)))
        else:
            expected = "expected an image file or a folder of them"
            raise ValueError(f"Found nothing at {source}: {expected}. {did_you_mean(source)}")
    require_places_of_their_own(found, out)
    return found


def outside(files, out, source):
    """Those of the files that do not lie in `out`, where that is a folder inside of `source`: the masks of before."""
    if out is None or user_path(source).resolve() not in user_path(out).resolve().parents:
        return files
    out = user_path(out).resolve()
    return [path for path in files if not path.resolve().is_relative_to(out)]


def write_mask(path, mask, palette=None):
    """Writes a mask as a PNG whose pixels are the class ids and whose palette makes them visible, as VOC's are.

    Written beside and renamed, so that a file with the final name is whole.

    Args:
        path: File to write; its folder is made when missing.
        mask: Integer array ``(H, W)``, ids in ``[0, 256)``.
        palette: Colours ``(C, 3)`` in 0–255 of the first ``C`` ids; by default VOC's.

    Raises:
        ValueError: If `mask` is no mask of ids, an id needs more than 8 bits, or `palette` is no palette.

    Example:

    >>> write_mask("photo.png", segment(model, "photo.jpg"))  # doctest: +SKIP
    """
    ids = class_ids(mask)
    if ids.max() > 255:
        raise ValueError(f"The mask holds ids up to {ids.max()}: expected 0–255, as many as a PNG palette has.")
    picture = Image.fromarray(ids.astype("uint8"))
    colours = voc_palette().copy()
    if palette is not None:
        colours[: len(palette)] = color_table(palette)[: min(len(palette), 256)]
    picture.putpalette(colours.tobytes())
    write_picture(path, picture)


def write_picture(path, picture):
    """Writes a `PIL.Image.Image` beside its final name, then renames it."""
    path = user_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"partial-{os.getpid()}-{path.name}")
    try:
        picture.save(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def segment_files(model, sources, out, *, palette=None, overlays=False, again=False, **options):
    """Segments image files and folders of them; what is there already is skipped, what cannot be read is told.

    Args:
        model: Keras model from images to logits.
        sources: Paths of images and folders, as in `find_images`.
        out: Folder for the masks: ``place.png``, palette PNGs.
        palette: Colours ``(C, 3)`` of the classes; by default VOC's.
        overlays: Whether to write ``place.overlay.jpg`` besides: the image under its classes.
        again: Whether to do finished files again.
        **options: ``tile``, ``scales``, ``flip``: see `fcn_keras.segment`.

    Yields:
        One dict a file, in order: ``image``, ``mask`` (paths) and ``status``: ``"done"``, ``"skipped"`` (its files are
        there) or ``"bad"``, with the reason as ``error``.

    Raises:
        ValueError: As `find_images`; or if an option is none of `segment`'s.

    Example:

    >>> for file in segment_files(model, ["photos"], "masks"):  # doctest: +SKIP
    ...     print(file["image"], file["status"])
    """
    out = user_path(out)
    for image, place in find_images(sources, out):
        mask, picture = out / f"{place}.png", out / f"{place}.overlay.jpg"
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
            write_picture(picture, Image.fromarray(overlay(pixels, ids, palette=palette)))
        write_mask(mask, ids, palette)
        yield {**record, "status": "done"}


def _is_image(path):
    return path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)


def require_places_of_their_own(found, out=None):
    """Raises a ValueError if two images would share a mask, or what is written below `out` would replace an image."""
    first = {}
    for image, place in found:
        if first.setdefault(place, image) != image:
            raise ValueError(
                f"{first[place]} and {image} would share the mask {place}.png. Fix: name their common folder, whose "
                "tree is kept, or rename one, or segment them into two folders."
            )
    if out is None:
        return
    out = user_path(out)
    if out.resolve().name == "masks" and (out.resolve().parent / "images").is_dir():
        raise ValueError(f"{out} stands beside images/: it may hold the truth of a data set. Fix: another folder.")
    images = {image.resolve() for image, _ in found}
    for image, place in found:
        for path in (out / f"{place}.png", out / f"{place}.overlay.jpg"):
            if path.resolve() in images:
                raise ValueError(
                    f"What is made of {image} would take the place of the image {path}. Fix: another folder for the "
                    "masks."
                )
