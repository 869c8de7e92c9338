"""Masks of many image files: which images, under which names, as palette PNGs."""

import functools
import itertools
import pathlib

import numpy as np
from PIL import Image, PngImagePlugin

from .._files import atomic_write, explain_missing, user_path
from ..datasets.channels import make_preview, read_pixels
from ..datasets.classes import voc_palette
from ..datasets.images import SUFFIXES, UNREAD, VIDEOS, list_images
from ..datasets.masks import read_mask
from ..visualization.colors import make_color_table, require_ids
from ..visualization.overlays import overlay
from .predictor import get_predictor
from .segment import choose_classes, find_threshold, predict_probabilities, segment


def find_images(sources, out=None):
    """Finds image files, and the names that their masks get below an output folder.

    Args:
        sources: Paths of files and folders. Every file in this list counts as an image. In a folder and its subfolders,
            images are the files that end in one of `SUFFIXES`, in lower or upper case. Hidden files do not count.
            Files in other formats of images, and videos, are also in the list, so that an error names them. Of a folder
            that holds ``images`` and ``masks``, only ``images`` counts.
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
            files = drop_outputs(list_images(source, (*SUFFIXES, *UNREAD, *VIDEOS)), out, source)
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


def write_mask(path, mask, palette=None, class_ids=None, *, made_by=None):
    """Writes a mask as VOC does: a PNG whose pixels are the class ids, with a palette that shows them in colours.

    Args:
        path: File to write. Its folder is created if it does not exist.
        mask: Integer array ``(H, W)``, ids in ``[0, 256)``.
        palette: Colours ``(C, 3)`` in 0–255 of the first ``C`` ids; by default VOC's.
        class_ids: Value to write for each of the first ``C`` ids, 0–255; by default the id itself.
        made_by: Name of the model, for the text ``Model`` in the file. Pillow shows it as ``image.text["Model"]``.

    Raises:
        ValueError: If `mask` does not contain ids, if an id needs more than 8 bits, or if `palette` has another shape.
        OSError: If the file cannot be written.

    Example:

    >>> write_mask("photo.png", segment(model, "photo.jpg"))  # doctest: +SKIP
    """
    ids = require_ids(mask)
    if ids.max() > 255:
        raise ValueError(f"Found ids up to {ids.max()} in the mask: expected 0–255, because a PNG palette has 256.")
    picture = Image.fromarray(to_file_values(ids, class_ids).astype("uint8"))
    colors = voc_palette().copy()
    if palette is not None:
        values = to_file_values(np.arange(min(len(palette), 256)), class_ids)
        colors[values] = make_color_table(palette)[: len(values)]
    picture.putpalette(colors.tobytes())
    text = PngImagePlugin.PngInfo()
    if made_by is not None:
        text.add_itxt("Model", str(made_by))
    atomic_write(path, lambda file: picture.save(file, "PNG", pnginfo=text))


def to_file_values(mask, class_ids=None, inverse=False):
    """Turns class ids into the values that stand for them in the user's mask files.

    Args:
        mask: Integer array of class ids.
        class_ids: The value of each class. Other ids keep their value. With None, all do.
        inverse: Whether to turn the values of a file into class ids instead.

    Example:

    >>> to_file_values([0, 1, 1, 255], class_ids=[1, 2]).tolist()
    [1, 2, 2, 255]
    >>> to_file_values([1, 2, 2, 255], class_ids=[1, 2], inverse=True).tolist()
    [0, 1, 1, 255]
    """
    if class_ids is None:
        return np.asarray(mask)
    table, ids = np.arange(256), range(len(class_ids))
    table[class_ids if inverse else ids] = ids if inverse else class_ids
    return table[mask]


#: The files that `segment_files` can write for each image: the argument that asks for them, and the ending.
OUTPUTS = {"masks": ".png", "overlays": ".overlay.jpg", "ids": ".ids.png", "probabilities": ".npy"}


def segment_files(
    model,
    sources,
    out,
    *,
    palette=None,
    overlays=False,
    ids=False,
    probabilities=False,
    areas=False,
    made_by=None,
    again=False,
    **options,
):
    """Segments image files and folders of images. Images whose masks exist are skipped.

    Args:
        model: Keras model from images to logits.
        sources: Paths of images and folders, as in `find_images`.
        out: Folder for the masks: palette PNGs, ``name.png``.
        palette: Colours ``(C, 3)`` of the classes; by default VOC's.
        overlays: Whether to also write the image with its classes in colour, ``name.overlay.jpg``.
        ids: Whether to also write the class ids as a plain grey PNG without a palette, ``name.ids.png``.
        probabilities: Whether to also write the probabilities, ``name.npy``: float16 ``(H, W, C)``.
        areas: Whether each dict also holds ``areas``, the number of pixels of each class.
        made_by: Name of the model, which each mask carries; by default ``model.name``. See `write_mask`.
        again: Whether to segment an image again if its mask exists.
        **options: ``tile``, ``scales``, ``flip``, ``threshold``: see `fcn_keras.segment`.

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
    wanted = {"masks": True, "overlays": overlays, "ids": ids, "probabilities": probabilities}
    class_ids = getattr(model, "class_ids", None)
    measure = functools.partial(measure_areas, class_names=getattr(model, "class_names", None), class_ids=class_ids)
    for image, name in find_images(sources, out):
        files = {kind: out / f"{name}{suffix}" for kind, suffix in OUTPUTS.items() if wanted[kind]}
        record = {"image": str(image), "mask": str(files["masks"])}
        if all(path.exists() for path in files.values()) and not again:
            found = {"areas": measure(read_mask(files["masks"]))} if areas else {}
            yield {**record, "status": "skipped", **found}
            continue
        ranges = get_predictor(model).ranges
        try:
            pixels = read_pixels(image, ranges)
        except ValueError as error:
            yield {**record, "status": "bad", "error": str(error)}
            continue
        mask = _segment(model, pixels, files.get("probabilities"), **options)
        if overlays:
            picture = overlay(make_preview(pixels, ranges), mask, palette=palette)
            atomic_write(files["overlays"], Image.fromarray(picture).save)
        values = to_file_values(mask, class_ids)
        if ids:
            atomic_write(files["ids"], Image.fromarray(values.astype("uint8" if values.max() < 256 else "uint16")).save)
        write_mask(files["masks"], mask, palette, class_ids, made_by=made_by or model.name)
        yield {**record, "status": "done", **({"areas": measure(values)} if areas else {})}


def _segment(model, pixels, file, threshold=None, **options):
    """Segments an image. If there is a path for its probabilities, they are written, and decide on the classes."""
    if file is None:
        return segment(model, pixels, progress=False, threshold=threshold, **options)
    values = predict_probabilities(model, pixels, progress=False, **options)
    atomic_write(file, lambda part: np.save(part, values.astype("float16")))
    return choose_classes(values, find_threshold(threshold, values.shape[-1], getattr(model, "class_names", None)))


def measure_areas(values, class_names=None, class_ids=None):
    """Counts the pixels of each class in a mask file.

    Args:
        values: Integer array ``(H, W)``, as it stands in the file.
        class_names: Names of the classes; by default the values that occur.
        class_ids: The value of each class in the file; by default its place among the names.

    Returns:
        Dict from class name to number of pixels.

    Example:

    >>> measure_areas(np.array([[0, 1, 1]]), ["road", "sky", "tree"])
    {'road': 1, 'sky': 2, 'tree': 0}
    """
    counts = np.bincount(np.ravel(values), minlength=256).tolist()
    if class_names is None:
        return {str(value): count for value, count in enumerate(counts) if count}
    return {name: counts[value] for name, value in zip(class_names, class_ids or itertools.count(), strict=False)}


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
        for path in (out / f"{name}{suffix}" for suffix in OUTPUTS.values()):
            if path.resolve() in images:
                raise ValueError(
                    f"A file made from {image} would replace the image {path}. Fix: choose another folder for masks."
                )
