"""Draws the labels of one image: its class ids, and the mask of each object."""

import contextlib

import numpy as np
import PIL.Image
import PIL.ImageOps

from ...layers.labels import VOID
from ..images import FORMATS, read_orientation
from ..masks import read_mask
from ..segmentations import draw_segmentation, import_pycocotools

IGNORED = ("void", "__ignore__")  # labels of pixels that belong to no class


def draw(sample, path, names, classes=None):
    """Draws the labels of an image, upright.

    Tools refer to the image as it is shown, or as it is stored, before EXIF turns it. The size of the labels tells it.
    If it does not, because the image is square or upside down, the labels are taken for those of the image as shown.

    Args:
        sample: A `fcn_keras.datasets.label_tools.samples.Sample`.
        path: The image file.
        names: The names of the classes, in the order of the ids.
        classes: The `fcn_keras.datasets.classes.Classes` that the file of the mask holds, or None.

    Returns:
        uint8 array ``(H, W)`` of ids, in which void is 255; and a list of objects, each as ``(id, crowd, mask)``.

    Raises:
        ValueError: If the labels and the image differ in size, or if files or shapes are damaged.

    Example:

    >>> ids, objects = draw(sample, "photo.jpg", ["background", "car"])  # doctest: +SKIP
    """
    with _explain(path), PIL.Image.open(path, formats=FORMATS) as file:
        stored, orientation = (file.height, file.width), read_orientation(file)
    shown = stored[::-1] if orientation > 4 else stored
    ids, objects = (None, None) if sample.mask is None else _read_files(sample, names, classes)
    told = (sample.size or shown) if ids is None else ids.shape
    if told not in (shown, stored):
        sizes = f"{shown[0]}×{shown[1]}, its labels {told[0]}×{told[1]}"
        raise ValueError(f"the image {path} is {sizes}. Fix: take the image that was labelled.")
    if ids is None:  # only now, because the files could tell any size
        ids, objects = _draw_shapes(sample, shown if told == shown else stored, names)
    if ids.shape == shown:
        return ids, objects
    return _turn(ids, orientation), [(id_, crowd, _turn(mask, orientation)) for id_, crowd, mask in objects]


def encode(id_, crowd, mask):
    """An annotation in COCO's format, whose mask is stored as run lengths.

    Args:
        id_: The class id.
        crowd: Whether it is a group of objects.
        mask: uint8 array ``(H, W)`` of 0 and 1.

    Returns:
        A dict.

    Example:

    >>> encode(1, False, np.ones((2, 3), "uint8"))["bbox"]
    [0.0, 0.0, 3.0, 2.0]
    """
    tools = import_pycocotools("mask")
    runs = tools.encode(np.asfortranarray(mask))
    box, area = tools.toBbox(runs).tolist(), int(tools.area(runs))
    runs = {"size": list(mask.shape), "counts": runs["counts"].decode()}
    return {"category_id": id_, "iscrowd": int(crowd), "segmentation": runs, "area": area, "bbox": box}


def _draw_shapes(sample, size, names):
    ids, objects = np.zeros(size, "uint8"), {}
    for shape in sample.shapes:
        is_function = callable(shape.segmentation)
        mask = shape.segmentation(*size) if is_function else draw_segmentation(shape.segmentation, *size)
        id_ = VOID if shape.label.lower() in IGNORED else names.index(shape.label)
        ids[mask > 0] = id_
        if shape.key is not None and 0 < id_ < VOID:
            whole = objects.setdefault(shape.key, (id_, shape.crowd, np.zeros(size, "uint8")))[2]
            np.maximum(whole, mask, out=whole)
    return ids, list(objects.values())


def _read_files(sample, names, classes):
    id_of = np.full(256, VOID, "uint8")
    id_of[: len(names)] = [names.index(name) for name in classes.names]
    ids = id_of[read_mask(sample.mask, classes)]
    if sample.objects is None:
        return ids, []
    with _explain(sample.objects), PIL.Image.open(sample.objects, formats=FORMATS) as file:
        colors = np.asarray(file.convert("RGB")).astype("int64") @ np.array([1 << 16, 1 << 8, 1])
    if colors.shape != ids.shape:
        raise ValueError(f"{sample.objects} and {sample.mask} differ in size. Fix: export them again.")
    colors[(ids == 0) | (ids == VOID)] = 0
    objects = []
    for color in np.unique(colors[colors > 0]):
        id_ = int(np.bincount(ids[colors == color]).argmax())
        objects.append((id_, False, ((colors == color) & (ids == id_)).astype("uint8")))
    return ids, objects


def _turn(array, orientation):
    """Turns an array as EXIF turns an image with this orientation."""
    image = PIL.Image.fromarray(array)
    image.getexif()[0x0112] = orientation
    return np.asarray(PIL.ImageOps.exif_transpose(image))


@contextlib.contextmanager
def _explain(path):
    try:
        yield
    except Exception as error:  # Pillow's decoders raise errors of many kinds on damaged files
        raise ValueError(f"{path} cannot be read ({error}). Fix: restore it.") from error
