"""Which images seg11valid is: VOC2011's validation list without the images that SBD trains on.

Reference: Long, Shelhamer & Darrell (CVPR 2015), the note on the 736 images; Everingham et al. (IJCV 2015), PASCAL VOC;
Hariharan et al. (ICCV 2011), the Semantic Boundaries Dataset (SBD).
"""

from .._files import user_path
from ..datasets.masks import find_pairs
from ..datasets.voc.layout import find_voc
from ..datasets.voc.lists import LENGTHS, SEG11VALID, read_list
from ..datasets.voc.lists import seg11valid as without

IMAGES = SEG11VALID
NEEDED = ("JPEGImages", "SegmentationClass")
VAL = "ImageSets/Segmentation/val.txt"
TRAIN = "dataset/train.txt"
AUTHORS_LIST = "the authors' seg11valid.txt (data/pascal/ of shelhamer/fcn.berkeleyvision.org)"


def seg11valid_images(voc, sbd=None, list_file=None, subset=False):
    """The images and masks of seg11valid.

    Args:
        voc: Folder that holds ``VOC2011`` or ``VOCdevkit/VOC2011``, or is it. With `list_file` it may be VOC2012, on
            whose files the published numbers were measured.
        sbd: Folder of SBD, ``benchmark_RELEASE``, with ``dataset/train.txt`` in it; or that file itself.
        list_file: Text file with the names, instead of `sbd`: the authors' ``seg11valid.txt``.
        subset: Whether `list_file` may hold another number of names than 736.

    Returns:
        List of ``(name, image file, mask file)``.

    Raises:
        ValueError: If a list is missing, if there are not 736 images, or if files are missing.

    Example:

    >>> len(seg11valid_images("VOCdevkit", "benchmark_RELEASE"))  # doctest: +SKIP
    736
    """
    root = _voc_folder(user_path(voc), list_file)
    missing = [name for name in (*NEEDED, *([] if list_file else [VAL])) if not (root / name).exists()]
    if missing:
        raise ValueError(f"{root.name}: {root} lacks {', '.join(missing)}. Fix: pass the whole folder of VOC.")
    if list_file:
        names, source = read_list(list_file), str(list_file)
    else:
        val, train = read_list(root / VAL), read_list(_sbd_list(sbd))
        names = without(val, train)
        source = (
            f"VOC2011's val.txt names {len(val)} (expected {LENGTHS['VOC2011']['val']}), SBD's train.txt {len(train)} "
            f"(expected {LENGTHS['SBD']['train']})"
        )
    if not (len(names) == IMAGES or (subset and names)):
        raise ValueError(
            f"Found {len(names)} images, expected {IMAGES}: {source}. Fix: the lists as they are handed out, or "
            f"list_file= (--list), {AUTHORS_LIST}; with subset=True (--subset) any number goes, but the published "
            "numbers do not compare."
        )
    return find_pairs(root / "JPEGImages", root / "SegmentationClass", names)


def _voc_folder(voc, list_file):
    """VOC2011 below `voc`; or VOC2012, if there is a list of names."""
    found = find_voc(voc, "2011") or find_voc(voc, "2012")
    if found is None:
        raise ValueError(f"Found no VOC2011 in {voc}. Fix: pass the folder that holds VOCdevkit/VOC2011.")
    if found.resolve().name == "VOC2012" and not list_file:
        raise ValueError(
            f"Found {found}, expected VOC2011: VOC2012's val.txt is another list, and without SBD's training images "
            f"it is not the {IMAGES} of seg11valid. Fix: VOC2011; or list_file= (--list), {AUTHORS_LIST}: VOC2012 "
            "also holds the files of those images."
        )
    return found


def _sbd_list(sbd):
    mend = (
        f"Fix: sbd= (--sbd), SBD's folder benchmark_RELEASE, whose {TRAIN} names the images to leave out; "
        f"or list_file= (--list), {AUTHORS_LIST}."
    )
    if sbd is None:
        raise ValueError(f"Found neither SBD nor a list of names: expected one of them. {mend}")
    sbd = user_path(sbd)
    candidates = [sbd, *(sbd / below for below in ("train.txt", TRAIN, f"benchmark_RELEASE/{TRAIN}"))]
    found = [path for path in candidates if path.is_file()]
    if not found:
        raise ValueError(f"Found no {TRAIN} in {sbd}. {mend}")
    return found[0]
