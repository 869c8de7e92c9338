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
        uint8 array ``(H, W)`` of ids, in which void is 255; and a list of objects, as annotations in COCO's format.
        Objects are stored as run lengths, because the masks of many objects would fill the memory.

    Raises:
        ValueError: If the labels and the image differ in size, or if files or shapes are damaged.

    Example:

    >>> ids, objects = draw(sample, "photo.jpg", ["background", "car"])  # doctest: +SKIP
    """
    with _explain(path), PIL.Image.open(path, formats=FORMATS) as file:
        stored, orientation = (file.height, file.width), read_orientation(file)
    shown = stored[::-1] if orientation > 4 else stored
    ids = None if sample.mask is None else _read_ids(sample, names, classes)
    told = (sample.size or shown) if ids is None else ids.shape
    if told not in (shown, stored):  # before anything is drawn, because a file could tell any size
        sizes = f"{shown[0]}×{shown[1]}, its labels {told[0]}×{told[1]}"
        raise ValueError(f"the image {path} is {sizes}. Fix: take the image that was labelled.")
    size, orientation = (shown, 1) if told == shown else (stored, orientation)
    objects = {}
    if ids is not None:
        ids = _turn(ids, orientation)
        for color, mask in _read_objects(sample, ids, orientation):
            objects[color] = int(ids[mask > 0][0]), False, [_encode(mask)]
        return ids, [_annotate(*one) for one in objects.values()]
    ids = np.zeros(shown, "uint8", order="F")  # the order of COCO's masks: ten times as fast in large images
    for shape in sample.shapes:
        function = shape.segmentation if callable(shape.segmentation) else None
        mask = function(*size) if function else draw_segmentation(shape.segmentation, *size)
        mask = _turn(mask, orientation)
        id_ = VOID if shape.label.lower() in IGNORED else names.index(shape.label)
        np.copyto(ids, id_, where=mask.view(bool))
        if shape.key is not None and 0 < id_ < VOID:
            objects.setdefault(shape.key, (id_, shape.crowd, []))[2].append(_encode(mask))
    return ids, [_annotate(*one) for one in objects.values()]


def _read_ids(sample, names, classes):
    id_of = np.full(256, VOID, "uint8")
    id_of[: len(names)] = [names.index(name) for name in classes.names]
    return id_of[read_mask(sample.mask, classes)]


def _read_objects(sample, ids, orientation):
    """Yields each colour of the file of objects, and its mask: the pixels of its most frequent class."""
    if sample.objects is None:
        return
    with _explain(sample.objects), PIL.Image.open(sample.objects, formats=FORMATS) as file:
        colors = (np.asarray(file.convert("RGB")) @ np.array([1 << 16, 1 << 8, 1])).astype("int32")
    colors = _turn(colors, orientation)
    if colors.shape != ids.shape:
        raise ValueError(f"{sample.objects} and {sample.mask} differ in size. Fix: export them again.")
    colors[(ids == 0) | (ids == VOID)] = 0
    for color in np.unique(colors[colors > 0]).tolist():
        own = colors == color
        yield color, (own & (ids == np.bincount(ids[own]).argmax())).astype("uint8")


def _encode(mask):
    return import_pycocotools("mask").encode(np.asfortranarray(mask))


def _annotate(id_, crowd, runs):
    tools = import_pycocotools("mask")
    whole = tools.merge(runs)
    counts = {"size": [int(side) for side in whole["size"]], "counts": whole["counts"].decode()}
    about = {"area": int(tools.area(whole)), "bbox": tools.toBbox(whole).tolist()}
    return {"category_id": id_, "iscrowd": int(crowd), "segmentation": counts, **about}


def _turn(array, orientation):
    """Turns an array as EXIF turns an image with this orientation."""
    if orientation == 1:
        return array
    image = PIL.Image.fromarray(array)
    image.getexif()[0x0112] = orientation
    return np.array(PIL.ImageOps.exif_transpose(image))


@contextlib.contextmanager
def _explain(path):
    try:
        yield
    except Exception as error:  # Pillow's decoders raise errors of many kinds on damaged files
        raise ValueError(f"{path} cannot be read ({error}). Fix: restore it.") from error
