"""COCO's average precision, computed by COCO's own implementation.

Precision is measured at ten overlaps (IoU 0.5, 0.55, …, 0.95). AP is its average over recall, classes and overlaps.
AP50 and AP75 use one overlap each. The overlap is measured between masks or between boxes.

Reference: Lin et al. (ECCV 2014); He et al. (ICCV 2017), §4.
"""

import contextlib
import dataclasses
import io
from collections.abc import Sequence

import numpy as np

from ..datasets.progress import track
from ..datasets.segmentations import import_pycocotools
from .inference import Instances, to_instances
from .matching import CROWD

NAMES = ("AP", "AP50", "AP75")
KINDS = ("masks", "boxes")


def average_precision(truth, found, kind="masks"):
    """Computes AP, AP50 and AP75 of the objects that were found in images.

    Args:
        truth: For each image a dict of ``classes`` ``(M,)``, ``masks`` ``(M, H, W)`` of 0 and 1, and for ``"boxes"``
            ``boxes`` ``(M, 4)``. Class −1 is a crowd. Objects found in it count neither as right nor as wrong, whatever
            their class.
        found: For each image `Instances`, or a dict of ``classes`` and ``scores`` ``(N,)`` and ``masks`` ``(N, H, W)``
            or ``boxes`` ``(N, 4)``.
        kind: ``"masks"`` or ``"boxes"``: whose overlap is measured.

    Returns:
        A dict of ``AP``, ``AP50`` and ``AP75`` in 0–1, NaN if there are no objects, and ``per_class``: AP by class id.

    Raises:
        ValueError: If `truth` and `found` have different lengths.
        ImportError: If pycocotools is not installed.

    Example:

    >>> mask = np.zeros((1, 8, 8), "uint8")
    >>> mask[0, 2:6, 2:6] = 1
    >>> truth = {"classes": np.array([3]), "masks": mask}
    >>> round(average_precision([truth], [truth | {"scores": np.array([0.9])}])["AP50"], 3)
    1.0

    Reference: pycocotools' ``COCOeval``, which this function calls.
    """
    if len(truth) != len(found):
        raise ValueError(
            f"Found the truth of {len(truth)} images and the findings of {len(found)}: expected the same number."
        )
    found = [vars(image) if isinstance(image, Instances) else image for image in found]
    classes = sorted({int(c) for image in truth for c in image["classes"] if c > 0})
    if not classes:
        return {name: float("nan") for name in NAMES} | {"per_class": {}}
    annotations = [one for number, image in enumerate(truth, 1) for one in _annotate(number, image, classes, kind)]
    findings = [one for number, image in enumerate(found, 1) for one in _list_found(number, image, kind)]
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number
    data, evaluation = _make_coco(truth, classes, annotations)
    with contextlib.redirect_stdout(io.StringIO()):
        data.createIndex()
        results = data.loadRes(findings) if findings else type(data)()
        measured = evaluation(data, results, {"masks": "segm", "boxes": "bbox"}[kind])
        measured.evaluate()
        measured.accumulate()
    return _summarize(measured, classes)


def _annotate(number, image, classes, kind):
    for i, c in enumerate(image["classes"]):
        for category in classes if c == CROWD else [int(c)] * int(c > 0):
            entry = {"image_id": number, "category_id": category, "iscrowd": int(c == CROWD)}
            yield entry | _describe_shape(image, i, kind)


def _list_found(number, image, kind):
    for i, (c, score) in enumerate(zip(image["classes"], image["scores"], strict=True)):
        yield {"image_id": number, "category_id": int(c), "score": float(score)} | _describe_shape(image, i, kind)


def _describe_shape(image, i, kind):
    """Returns the entries of COCO's format that describe where an object is."""
    if kind == "boxes":
        top, left, bottom, right = (float(edge) for edge in image["boxes"][i])
        return {"bbox": [left, top, right - left, bottom - top], "area": (bottom - top) * (right - left)}
    mask_tools = import_pycocotools("mask")
    runs = mask_tools.encode(np.asfortranarray(image["masks"][i], "uint8"))
    area, bbox = float(mask_tools.area(runs)), [float(side) for side in mask_tools.toBbox(runs)]
    return {"segmentation": runs, "area": area, "bbox": bbox}


def _make_coco(truth, classes, annotations):
    """Returns the annotations as COCO's own object, and COCO's class that evaluates."""
    data = import_pycocotools("coco").COCO()
    data.dataset = {
        "images": [{"id": number} | _describe_size(image) for number, image in enumerate(truth, 1)],
        "categories": [{"id": c} for c in classes],
        "annotations": annotations,
    }
    return data, import_pycocotools("cocoeval").COCOeval


def _describe_size(image):
    return dict(zip(("height", "width"), image["masks"].shape[1:], strict=True)) if "masks" in image else {}


def _summarize(measured, classes):
    """Averages the entries that exist. COCO marks the others with −1."""
    precision = measured.eval["precision"][:, :, :, 0, -1]  # overlap, recall, class; all areas, most findings
    by_overlap = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}
    found = {name: _mean(precision[overlaps]) for name, overlaps in by_overlap.items()}
    return found | {"per_class": {c: _mean(precision[:, :, i]) for i, c in enumerate(classes)}}


def _mean(precision):
    there = precision[precision > -1]
    return float(there.mean()) if there.size else float("nan")


def evaluate(model, dataset, verbose=0):
    """Computes the average precision of a model's masks and boxes on labelled images.

    Args:
        model: A `fcn_keras.instances.MaskRCNN`.
        dataset: Batches, as from `fcn_keras.instances.load`.
        verbose: Whether to show a progress bar, if the error stream is a terminal.

    Returns:
        A dict of two dicts, ``masks`` and ``boxes``, as from `average_precision`.

    Example:

    >>> model = fcn_keras.instances.MaskRCNN(10, "mini_vgg", weights=None, config={"channels": 16, "width": 32})
    >>> data = fcn_keras.instances.load("shapes", "validation", batch=2)
    >>> sorted(evaluate(model, data))
    ['boxes', 'masks']
    """
    truth, found = detect(model, dataset, verbose)
    return {kind: average_precision(truth, found, kind) for kind in KINDS}


def detect(model, dataset, verbose=0):
    """Collects the objects of labelled images, and all objects that a model finds there, whatever their score.

    Args:
        model: A `fcn_keras.instances.MaskRCNN`.
        dataset: Batches, as from `fcn_keras.instances.load`.
        verbose: Whether to show a progress bar, if the error stream is a terminal.

    Returns:
        Two lists for `average_precision`: dicts with the true objects, and `Instances` with those found.

    Example:

    >>> model = fcn_keras.instances.MaskRCNN(10, "mini_vgg", weights=None, config={"channels": 16, "width": 32})
    >>> truth, found = detect(model, fcn_keras.instances.load("shapes", "validation", batch=2))
    >>> len(truth) == len(found), sorted(truth[0])
    (True, ['boxes', 'classes', 'masks'])
    """
    truth, found = [], []
    for batch in track(dataset, "batches", show=None if verbose else False):
        objects = {name: np.asarray(batch[name]) for name in ("boxes", "classes", "masks")}
        guesses = model.predict_on_batch(np.asarray(batch["image"]))
        for i in range(len(guesses["scores"])):
            truth.append({name: values[i] for name, values in objects.items()})
            size = truth[-1]["masks"].shape[1:]
            found.append(to_instances({name: values[i] for name, values in guesses.items()}, size))
    return truth, found


@dataclasses.dataclass(frozen=True)
class InstanceEvaluation:
    """The result of `evaluate`, in the form that a training run writes to its folder.

    Args:
        found: Dict from `evaluate`.
        class_names: Names of the classes, background included.

    Example:

    >>> row = {"AP": 0.5, "AP50": 0.75, "AP75": 0.25, "per_class": {1: 0.5}}
    >>> print(InstanceEvaluation({"masks": row, "boxes": row}, ["ground", "disc"]).table())
    | of | AP | AP50 | AP75 |
    |---|---|---|---|
    | masks | 50.0 | 75.0 | 25.0 |
    | boxes | 50.0 | 75.0 | 25.0 |
    <BLANKLINE>
    | class | mask AP |
    |---|---|
    | disc | 50.0 |
    <BLANKLINE>
    """

    found: dict
    class_names: Sequence[str]

    def summary(self):
        """Returns the numbers, for JSON."""
        return self.found

    def table(self):
        """Returns two Markdown tables in percent: average precision of all classes, and mask AP of each class."""
        lines = ["| of | AP | AP50 | AP75 |", "|---|---|---|---|"]
        for kind in KINDS:
            lines.append(f"| {kind} | {' | '.join(f'{100 * self.found[kind][name]:.1f}' for name in NAMES)} |")
        lines += ["", "| class | mask AP |", "|---|---|"]
        per_class = self.found["masks"]["per_class"]
        lines += [f"| {self.class_names[int(c)]} | {100 * ap:.1f} |" for c, ap in per_class.items()]
        return "\n".join(lines) + "\n"
