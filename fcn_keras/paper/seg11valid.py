"""The authors' evaluation on seg11valid, also as a command: ``fcn-keras seg11valid``.

seg11valid is the validation list of PASCAL VOC2011 without the training images of the Semantic Boundaries Dataset
(SBD): 736 images. The net predicts one image at a time, at its own size. One confusion matrix counts the pixels of all
images.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §5, "Metrics", and the note to §4.3 on the 736 images; Everingham et
al. (IJCV 2015), PASCAL VOC; Hariharan et al. (ICCV 2011), SBD.
"""

import dataclasses
import hashlib
import json

import keras
import numpy as np

from .._files import user_path, write_json
from ..datasets.masks import find_pairs, read_mask, require_same_size
from ..datasets.progress import track
from ..datasets.voc import lists
from ..datasets.voc.layout import CLASS_NAMES, LISTS, find_voc
from ..inference.segment import segment
from ..metrics import METRICS, class_iou, confusion_matrix, scores
from . import nets
from .weight_conversion import load_caffemodel, load_state_dict

CLASSES = len(CLASS_NAMES)
IMAGES = lists.SEG11VALID
TRAIN = "dataset/train.txt"
AUTHORS_LIST = "the authors' seg11valid.txt (data/pascal/ of shelhamer/fcn.berkeleyvision.org)"
NETS = {
    "fcn32s": "CaffeFCN32s",
    "fcn16s": "CaffeFCN16s",
    "fcn8s": "CaffeFCN8s",
    "fcn8s-atonce": "CaffeFCN8sAtOnce",
    "fcn-alexnet": "CaffeFCNAlexNet",
}
# The released weights, in percent, in the order of METRICS. Source: README of wkentaro/fcn; the authors' list, on the
# files of VOC2012. For FCN-AlexNet the authors give only the mean IU (README of shelhamer/fcn.berkeleyvision.org).
PUBLISHED = {
    "fcn32s": (90.48, 76.48, 63.63, 83.46),
    "fcn16s": (91.00, 78.07, 65.01, 84.26),
    "fcn8s": (91.22, 77.61, 65.51, 84.54),
    "fcn8s-atonce": (91.13, 78.50, 65.40, 84.43),
    "fcn-alexnet": (None, None, 48.0, None),
}


def evaluate_seg11valid(net, voc, sbd=None, *, weights=None, list_file=None, subset=False, record=None, verbose=True):
    """Measures a net in the same way as the authors.

    Args:
        net: A name in `NETS`, or a Keras model from RGB images ``(batch, H, W, 3)`` in 0–255 to logits
            ``(batch, H, W, 21)``.
        voc: As in `find_seg11valid_images`.
        sbd: As in `find_seg11valid_images`.
        weights: File with the weights of a net given by name: a ``.caffemodel``, ``.npz`` or ``.pth`` file that
            `load_caffemodel` or `load_state_dict` reads, or a ``.weights.h5`` file.
        list_file: As in `find_seg11valid_images`.
        subset: As in `find_seg11valid_images`.
        record: JSON file to which the counts are written after every image, so that a run with the same net, weights
            and list can be stopped and continued. None writes no file.
        verbose: Whether to show a progress bar, if the error stream is a terminal.

    Returns:
        A `Seg11validResult` with the metrics, the IoU of each class, and a table that includes the published numbers.

    Raises:
        ValueError: If images, masks or weights are missing or invalid, or if the record belongs to another run.

    Example:

    >>> found = evaluate_seg11valid(
    ...     "fcn8s", "VOCdevkit", "benchmark_RELEASE", weights="fcn8s-heavy-pascal.caffemodel"
    ... )  # doctest: +SKIP
    >>> print(found.table())  # doctest: +SKIP

    Reference: Long et al. (CVPR 2015), §5; the authors' ``score.py``.
    """
    images = find_seg11valid_images(voc, sbd, list_file, subset)
    name, model = _build_model(net, weights)
    run = None if record is None else _fingerprint(name, model, images)
    done, confusion = _resume(record, run)
    if verbose and done:
        print(f"Continuing after image {done} of {len(images)}.", flush=True)
    for _, image, mask in track(images[done:], "images", show=None if verbose else False):
        confusion += _count_pixels(model, image, mask)
        done += 1
        if record is not None:  # in one file, so that the number and the counts agree whenever the run is stopped
            write_json(record, {"run": run, "done": done, "confusion": confusion.tolist()})
    return Seg11validResult(name, len(images), confusion, comparable=len(images) == IMAGES)


def find_seg11valid_images(voc, sbd=None, list_file=None, subset=False):
    """Finds the images and masks of seg11valid.

    Args:
        voc: Folder ``VOC2011``, or one that holds ``VOC2011`` or ``VOCdevkit/VOC2011``. With `list_file` it may also be
            VOC2012, on whose files the published numbers were measured.
        sbd: Folder ``benchmark_RELEASE`` of SBD, which holds ``dataset/train.txt``, or that file.
        list_file: Text file with the names, such as the authors' ``seg11valid.txt``. Use it instead of `sbd`.
        subset: Whether to accept a `list_file` with any number of names.

    Returns:
        List of ``(name, image file, mask file)``.

    Raises:
        ValueError: If a list or files are missing, or if there are not 736 images.

    Example:

    >>> len(find_seg11valid_images("VOCdevkit", "benchmark_RELEASE"))  # doctest: +SKIP
    736
    """
    root = _find_voc_folder(voc, list_file)
    val_file = root / LISTS / "val.txt"
    needed = [root / "JPEGImages", root / "SegmentationClass", *([] if list_file else [val_file])]
    if missing := [path.relative_to(root).as_posix() for path in needed if not path.exists()]:
        raise ValueError(f"{root.name}: {root} lacks {', '.join(missing)}. Fix: pass the whole folder of VOC.")
    if list_file:
        names, source = lists.read_list(list_file), str(list_file)
    else:
        val, train = lists.read_list(val_file), lists.read_list(_find_sbd_list(sbd))
        names = lists.select_seg11valid(val, train)
        source = (
            f"VOC2011's val.txt has {len(val)} names (expected {lists.LENGTHS['VOC2011']['val']}), SBD's train.txt "
            f"{len(train)} (expected {lists.LENGTHS['SBD']['train']})"
        )
    if not (len(names) == IMAGES or (subset and names)):
        raise ValueError(
            f"Found {len(names)} images, expected {IMAGES}: {source}. Fix: use the original lists, or pass list_file= "
            f"(--list), {AUTHORS_LIST}. With subset=True (--subset) any number is accepted, but the results cannot be "
            "compared with the published ones."
        )
    return find_pairs(root / "JPEGImages", root / "SegmentationClass", names)


def _find_voc_folder(voc, list_file):
    """Finds the folder of VOC2011 inside `voc`, or of VOC2012 if there is a list of names."""
    found = find_voc(voc, "2011") or find_voc(voc, "2012")
    if found is None:
        raise ValueError(f"Found no VOC2011 in {user_path(voc)}. Fix: pass the folder that holds VOCdevkit/VOC2011.")
    if found.resolve().name == "VOC2012" and not list_file:
        raise ValueError(
            f"Found {found}, expected VOC2011: VOC2012's val.txt is another list, so it does not give the {IMAGES} "
            f"images of seg11valid. Fix: pass VOC2011, or pass list_file= (--list), {AUTHORS_LIST}, because VOC2012 "
            "also holds these images."
        )
    return found


def _find_sbd_list(sbd):
    fix = (
        f"Fix: pass sbd= (--sbd), SBD's folder benchmark_RELEASE, whose {TRAIN} names the images to leave out, "
        f"or pass list_file= (--list), {AUTHORS_LIST}."
    )
    if sbd is None:
        raise ValueError(f"Found neither SBD nor a list of names, expected one of them. {fix}")
    sbd = user_path(sbd)
    candidates = [sbd, *(sbd / below for below in ("train.txt", TRAIN, f"benchmark_RELEASE/{TRAIN}"))]
    found = [path for path in candidates if path.is_file()]
    if not found:
        raise ValueError(f"Found no {TRAIN} in {sbd}. {fix}")
    return found[0]


def _build_model(net, weights):
    """Returns the name of a net, or None for a model, and the model with its weights."""
    if not isinstance(net, str):
        name, model = None, net
        if weights is not None:
            raise ValueError(f"Found a model and weights={str(weights)!r}. Fix: pass weights only with a net's name.")
    elif net not in NETS:
        raise ValueError(f"Found net {net!r}, expected one of {', '.join(NETS)}, or a Keras model.")
    elif weights is None:
        raise ValueError(f"Found net {net!r} without weights. Fix: pass weights= (--weights), a file.")
    else:
        name, model = net, getattr(nets, NETS[net])()
        _load(model, user_path(weights))
    shape = getattr(model, "output_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] != CLASSES:
        raise ValueError(f"{model.name} returns outputs of shape {shape}, expected logits (batch, H, W, {CLASSES}).")
    return name, model


def _load(model, path):
    if path.suffix == ".caffemodel":
        load_caffemodel(model, path)
    elif path.name.endswith(".weights.h5"):
        if not path.is_file():
            raise ValueError(f"No weights at {path}. Fix: check the path and its spelling.")
        model.load_weights(path)
    else:
        load_state_dict(model, path)


def _count_pixels(model, image, mask):
    """The confusion matrix of one image, int64."""
    truth = read_mask(mask, CLASSES)
    require_same_size(image, truth)
    found = segment(model, image)
    return keras.ops.convert_to_numpy(confusion_matrix(truth, found, CLASSES)).astype("int64")


def _fingerprint(name, model, images):
    """Returns a text that changes if the net, one of its weights or the list changes."""
    digest = hashlib.sha256(" ".join([str(name), *(stem for stem, *_ in images)]).encode())
    for variable in model.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()


def _resume(record, run):
    """Returns the number of finished images and their confusion matrix, from the record if there is one."""
    path = None if record is None else user_path(record)
    if path is None or not path.exists():
        return 0, np.zeros((CLASSES, CLASSES), "int64")
    kept = json.loads(path.read_text())
    if kept["run"] != run:
        raise ValueError(
            f"{path} belongs to a run with another net, other weights or another list. Fix: delete it, or pass another "
            "record= (--record)."
        )
    return kept["done"], np.array(kept["confusion"], "int64")


@dataclasses.dataclass(frozen=True)
class Seg11validResult:
    """What `evaluate_seg11valid` has measured.

    Args:
        net: Name in `NETS`, or None.
        images: Number of images.
        confusion: int64 array ``(21, 21)``; the rows are the true classes.
        comparable: Whether these are the 736 images on which the published numbers were measured.

    Example:

    >>> print(Seg11validResult("fcn-alexnet", 736, np.eye(21, dtype="int64")).table())
    | seg11valid, 736 images | pixel acc. | mean acc. | mean IU | f.w. IU |
    |---|---|---|---|---|
    | fcn-alexnet, this run | 100.00 | 100.00 | 100.00 | 100.00 |
    | fcn-alexnet, published | – | – | 48.00 | – |
    | difference | – | – | +52.00 | – |
    """

    net: str | None
    images: int
    confusion: np.ndarray
    comparable: bool = True

    def metrics(self):
        """Returns the four metrics by name, in ``[0, 1]``."""
        return {name: float(value) for name, value in scores(self.confusion).items()}

    def per_class(self):
        """Returns the IoU by class name; NaN for a class that is neither in the truth nor in the prediction."""
        values = keras.ops.convert_to_numpy(class_iou(self.confusion))
        return {name: float(value) for name, value in zip(CLASS_NAMES, values, strict=True)}

    def table(self, per_class=False):
        """Returns a Markdown table of the metrics and the published ones, in percent, in the words of the paper.

        Args:
            per_class: Whether to add the IoU of each class.
        """
        metrics = self.metrics()
        ours, theirs = [100 * metrics[name] for name in METRICS], PUBLISHED.get(self.net)
        name, images = self.net or "the model", "seg11valid" if self.comparable else "a list of its own"
        lines = [f"| {images}, {self.images} images | pixel acc. | mean acc. | mean IU | f.w. IU |", "|---" * 5 + "|"]
        lines.append(_format_row(f"{name}, this run", ours))
        if not self.comparable:
            lines += ["", f"The published numbers are for the {IMAGES} images of seg11valid and cannot be compared."]
        elif theirs:
            lines.append(_format_row(f"{name}, published", theirs))
            differences = [None if b is None else a - b for a, b in zip(ours, theirs, strict=True)]
            lines.append(_format_row("difference", differences, "+.2f"))
        if per_class:
            lines += ["", "| class | IoU |", "|---|---|"]
            lines += [_format_row(name, [100 * value]) for name, value in self.per_class().items()]
        return "\n".join(lines)


def _format_row(name, values, form=".2f"):
    return f"| {name} | {' | '.join('–' if value is None else format(value, form) for value in values)} |"
