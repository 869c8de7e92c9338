"""SBD's folder: class and instance masks in MATLAB files.

Reference: Hariharan et al., *Semantic Contours from Inverse Detectors* (ICCV 2011).
"""

import pathlib

import numpy as np
import scipy.io

from .._files import user_path
from ..layers.labels import VOID
from .lists import read_list
from .masks import require_same_size
from .voc_folders import CLASSES, example

PLACES = (".", "dataset", "benchmark_RELEASE/dataset", "benchmark/benchmark_RELEASE/dataset")


def find_sbd(source):
    """SBD's folder with ``img``, ``cls`` and the lists, below ``source``, or None.

    Args:
        source: Folder that holds ``benchmark_RELEASE/dataset`` or ``dataset``, or is it.

    Example:

    >>> find_sbd("benchmark_RELEASE")  # doctest: +SKIP
    PosixPath('benchmark_RELEASE/dataset')
    """
    folders = [user_path(source) / place for place in PLACES]
    return next((f for f in folders if all((f / part).exists() for part in ("img", "cls", "train.txt"))), None)


class SbdFolder:
    """SBD on disk.

    Args:
        root: The folder with ``img``, ``cls``, ``train.txt``, ``val.txt`` and, for instance masks, ``inst``.
    """

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.lists = {name: read_list(self.root / f"{name}.txt") for name in ("train", "val")}

    def examples(self, names):
        """Yields ``(name, example)``; instance masks are void where there is no folder ``inst``.

        Raises:
            ValueError: If files are missing, all named at once; or if one cannot be used.
        """
        has_instances = (self.root / "inst").is_dir()
        needed = [("img", ".jpg"), ("cls", ".mat"), *([("inst", ".mat")] if has_instances else [])]
        files = [self.root / folder / f"{name}{suffix}" for name in names for folder, suffix in needed]
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            raise ValueError(f"SBD: {len(missing)} of {len(files)} files are missing: {missing[:5]}.")
        for name in names:
            image = self.root / "img" / f"{name}.jpg"
            ids = read_sbd_mask(self.root / "cls" / f"{name}.mat", "GTcls", CLASSES)
            require_same_size(image, ids)
            instances = read_sbd_mask(self.root / "inst" / f"{name}.mat", "GTinst", VOID) if has_instances else None
            yield name, example(image, ids, instances)


def read_sbd_mask(path, variable, num_classes):
    """Reads the field ``Segmentation`` of a MATLAB file of SBD.

    Args:
        path: File in ``cls`` or ``inst``.
        variable: ``"GTcls"``, whose ids are classes, or ``"GTinst"``, whose ids count objects; 0 is background.
        num_classes: Ids lie in ``[0, num_classes)``. SBD knows no void.

    Returns:
        uint8 array ``(H, W)``.

    Raises:
        ValueError: If the file cannot be read, lacks the variable, or holds another kind of array or other ids.

    Example:

    >>> read_sbd_mask("benchmark_RELEASE/dataset/cls/2008_000002.mat", "GTcls", 21)  # doctest: +SKIP
    """
    try:
        content = scipy.io.loadmat(path, variable_names=[variable])
    except Exception as error:  # SciPy answers a damaged file with whatever its parser meets
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
