"""VOC's official folder: where it lies below a folder, and what it holds of an image."""

import pathlib

import numpy as np

from .._files import user_path
from ..layers.labels import VOID
from .lists import read_list
from .masks import pairs, read_mask, require_folder, require_same_size

CLASSES = 21
LISTS = "ImageSets/Segmentation"
# Below the folder that a user names: itself, its years, what the archives of 2012 and of 2011 unpack to.
PLACES = (".", "VOC{year}", "VOCdevkit/VOC{year}", "TrainVal/VOCdevkit/VOC{year}")


def find_voc(source, year):
    """The folder of a year's VOC below `source`, or None.

    Args:
        source: Folder that holds ``VOC2012``, ``VOCdevkit/VOC2012`` or ``TrainVal/VOCdevkit/VOC2012``, or is it.
        year: ``"2012"`` or ``"2011"``. A folder named after another year is not taken.

    Example:

    >>> find_voc("VOCdevkit", "2012")  # doctest: +SKIP
    PosixPath('VOCdevkit/VOC2012')
    """
    for place in PLACES:
        folder = user_path(source) / place.format(year=year)
        other = folder.resolve().name.startswith("VOC2") and folder.resolve().name != f"VOC{year}"
        if (folder / "JPEGImages").is_dir() and not other:
            return folder
    return None


class VocFolder:
    """A year of VOC on disk.

    Args:
        root: The folder with ``JPEGImages``, ``SegmentationClass`` and ``ImageSets/Segmentation``.

    Raises:
        ValueError: If one of them is missing.
    """

    def __init__(self, root):
        self.root = pathlib.Path(root)
        require_folder(self.root, ("JPEGImages", "SegmentationClass", LISTS), "VOC")
        self.lists = {name: read_list(self.root / LISTS / f"{name}.txt") for name in ("train", "val")}

    def examples(self, names):
        """Yields ``(name, example)``.

        Where there is no folder ``SegmentationObject``, nobody said which object a pixel belongs to: the instance
        masks are void throughout, so that the features do not depend on the folder.
        """
        objects = self.root / "SegmentationObject"
        for name, image, mask in pairs(self.root / "JPEGImages", self.root / "SegmentationClass", names):
            ids = read_mask(mask, num_classes=CLASSES)
            require_same_size(image, ids)
            instances = read_mask(objects / mask.name, num_classes=VOID) if objects.is_dir() else None
            yield name, example(image, ids, instances)


def example(image, ids, instances=None):
    """An example of `VocSegmentation`; without `instances`, they are void.

    Raises:
        ValueError: If the two masks differ in size.
    """
    instances = np.full_like(ids, VOID) if instances is None else instances
    if instances.shape != ids.shape:
        raise ValueError(
            f"{image.name}: its class mask is {ids.shape[0]}×{ids.shape[1]}, its instance mask "
            f"{instances.shape[0]}×{instances.shape[1]}: expected one size."
        )
    return {
        "image": image,
        "segmentation_mask": ids[..., None],
        "instance_mask": instances[..., None],
        "file_name": image.name,
    }
