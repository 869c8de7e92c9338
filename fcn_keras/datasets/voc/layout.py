"""Finds the folders of PASCAL VOC and of SBD, and reads the images and masks in them.

Reference: Everingham et al. (IJCV 2015), PASCAL VOC; Hariharan et al., *Semantic Contours from Inverse Detectors*
(ICCV 2011), the Semantic Boundaries Dataset (SBD).
"""

import numpy as np
import scipy.io

from ..._files import user_path
from ...layers.labels import VOID
from ..classes import Classes
from ..masks import find_pairs, read_mask, require_same_size
from .lists import read_list

# fmt: off
CLASS_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)
# fmt: on
CLASSES = Classes(CLASS_NAMES)
LISTS = "ImageSets/Segmentation"
# Places inside the user's folder: the folder itself, the folder of a year, and the folders in the archives of 2012 and
# of 2011.
VOC_PLACES = (".", "VOC{year}", "VOCdevkit/VOC{year}", "TrainVal/VOCdevkit/VOC{year}")
SBD_PLACES = (".", "dataset", "benchmark_RELEASE/dataset", "benchmark/benchmark_RELEASE/dataset")


def find_voc(source, year):
    """The folder of VOC for a year, inside `source`, or None.

    Args:
        source: The folder itself, or a folder that holds it as ``VOC2012``, ``VOCdevkit/VOC2012`` or
            ``TrainVal/VOCdevkit/VOC2012``.
        year: ``"2012"`` or ``"2011"``. Folders that are named after a different year are ignored.

    Example:

    >>> find_voc("VOCdevkit", "2012")  # doctest: +SKIP
    PosixPath('VOCdevkit/VOC2012')
    """
    for place in VOC_PLACES:
        folder = user_path(source) / place.format(year=year)
        other = folder.resolve().name.startswith("VOC2") and folder.resolve().name != f"VOC{year}"
        if (folder / "JPEGImages").is_dir() and not other:
            return folder
    return None


def find_sbd(source):
    """SBD's folder with ``img``, ``cls`` and the lists, inside ``source``, or None.

    Args:
        source: The folder itself, or a folder that holds it as ``dataset`` or ``benchmark_RELEASE/dataset``.

    Example:

    >>> find_sbd("benchmark_RELEASE")  # doctest: +SKIP
    PosixPath('benchmark_RELEASE/dataset')
    """
    folders = [user_path(source) / place for place in SBD_PLACES]
    return next((f for f in folders if all((f / part).exists() for part in ("img", "cls", "train.txt"))), None)


class VocFolder:
    """The folder of VOC for one year.

    Args:
        root: The folder with ``JPEGImages``, ``SegmentationClass`` and ``ImageSets/Segmentation``.

    Raises:
        ValueError: If a list is missing.

    Example:

    >>> len(VocFolder("VOCdevkit/VOC2012").lists["train"])  # doctest: +SKIP
    1464
    """

    def __init__(self, root):
        self.root = user_path(root)
        self.lists = {name: read_list(self.root / LISTS / f"{name}.txt") for name in ("train", "val")}

    def examples(self, names):
        """Yields ``(name, example)``. If there is no folder ``SegmentationObject``, the instance masks are void."""
        objects = self.root / "SegmentationObject"
        for name, image, mask in find_pairs(self.root / "JPEGImages", self.root / "SegmentationClass", names):
            ids = read_mask(mask, CLASSES)
            require_same_size(image, ids)
            yield name, make_example(image, ids, read_mask(objects / mask.name) if objects.is_dir() else None)


class SbdFolder:
    """The folder of SBD.

    Args:
        root: The folder with ``img``, ``cls``, ``train.txt``, ``val.txt`` and, for instance masks, ``inst``.

    Example:

    >>> len(SbdFolder("benchmark_RELEASE/dataset").lists["train"])  # doctest: +SKIP
    8498
    """

    def __init__(self, root):
        self.root = user_path(root)
        self.lists = {name: read_list(self.root / f"{name}.txt") for name in ("train", "val")}

    def examples(self, names):
        """Yields ``(name, example)``. If there is no folder ``inst``, the instance masks are void.

        Raises:
            ValueError: If files are missing, or if one cannot be used. The message names them.
        """
        has_instances = (self.root / "inst").is_dir()
        needed = [("img", ".jpg"), ("cls", ".mat"), *([("inst", ".mat")] if has_instances else [])]
        files = [self.root / folder / f"{name}{suffix}" for name in names for folder, suffix in needed]
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            raise ValueError(f"SBD: {len(missing)} of {len(files)} files are missing: {missing[:5]}.")
        for name in names:
            image = self.root / "img" / f"{name}.jpg"
            ids = read_sbd_mask(self.root / "cls" / f"{name}.mat", "GTcls", len(CLASS_NAMES))
            require_same_size(image, ids)
            instances = read_sbd_mask(self.root / "inst" / f"{name}.mat", "GTinst", VOID) if has_instances else None
            yield name, make_example(image, ids, instances)


def make_example(image, ids, instances=None):
    """An example of `fcn_keras.datasets.voc.builder.VocSegmentation`. Without `instances`, its instance mask is void.

    Args:
        image: Path of the image file.
        ids, instances: uint8 arrays ``(H, W)``: the classes, and the numbers of the objects.

    Raises:
        ValueError: If the two masks differ in size.

    Example:

    >>> sorted(make_example(user_path("a.jpg"), np.zeros((2, 3), "uint8")))
    ['file_name', 'image', 'instance_mask', 'segmentation_mask']
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


def read_sbd_mask(path, variable, num_classes):
    """Reads the field ``Segmentation`` of a MATLAB file of SBD.

    Args:
        path: File in ``cls`` or ``inst``.
        variable: ``"GTcls"``, whose ids are classes, or ``"GTinst"``, whose ids number objects; 0 is background.
        num_classes: Ids lie in ``[0, num_classes)``. SBD has no void.

    Returns:
        uint8 array ``(H, W)``.

    Raises:
        ValueError: If the file cannot be read or lacks the variable, or if the array has the wrong type or wrong ids.

    Example:

    >>> read_sbd_mask("benchmark_RELEASE/dataset/cls/2008_000002.mat", "GTcls", 21)  # doctest: +SKIP
    """
    try:
        content = scipy.io.loadmat(path, variable_names=[variable])
    except Exception as error:  # SciPy raises errors of many kinds on damaged files
        raise ValueError(
            f"{path} cannot be read ({type(error).__name__}: {error}): expected a whole MATLAB file."
        ) from error
    try:
        ids = np.asarray(content[variable][0, 0]["Segmentation"])
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(
            f"{path} has no {variable}.Segmentation: expected a file of SBD's {path.parent.name}."
        ) from error
    if ids.ndim != 2 or ids.dtype.kind not in "ui":
        raise ValueError(
            f"{path}: {variable}.Segmentation is {ids.dtype} of shape {ids.shape}: expected integers (H, W)."
        )
    if ids.size and not 0 <= ids.min() <= ids.max() < num_classes:
        raise ValueError(f"{path} holds the ids {ids.min()} to {ids.max()}: expected 0–{num_classes - 1}.")
    return ids.astype(np.uint8)
