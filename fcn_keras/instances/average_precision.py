"""COCO's average precision, by the implementation that COCO gives out.

Precision is measured at ten overlaps, 0.5, 0.55, …, 0.95, and averaged over recall, classes and overlaps: "AP". AP50
and AP75 are those of one overlap. Overlap is that of masks, or that of boxes.

Reference: Lin et al. (ECCV 2014); He et al. (ICCV 2017), §4.
"""

import contextlib
import importlib
import io

import keras
import numpy as np

from .inference import Instances, instances_of
from .matching import CROWD

NAMES = ("AP", "AP50", "AP75")


def average_precision(truth, found, kind="masks"):
    """AP, AP50 and AP75 of what was found in some images.

    Args:
        truth: For each image a dict of ``classes`` ``(M,)`` (−1 a crowd), ``masks`` ``(M, H, W)`` of 0 and 1, and for
            ``"boxes"`` ``boxes`` ``(M, 4)``. A crowd belongs to any class: what lies in it is not held against anyone.
        found: For each image `Instances`, or a dict of ``classes``, ``scores`` ``(N,)`` and ``masks`` ``(N, H, W)`` or
            ``boxes`` ``(N, 4)``.
        kind: ``"masks"`` or ``"boxes"``: what overlaps.

    Returns:
        A dict of ``AP``, ``AP50``, ``AP75`` in 0–1, NaN where there are no objects, and ``per_class``: AP by class id.

    Raises:
        ValueError: If there are not as many images in both.
        ImportError: If pycocotools is not installed.

    Example:

    >>> mask = np.zeros((1, 8, 8), "uint8")
    >>> mask[0, 2:6, 2:6] = 1
    >>> truth = {"classes": np.array([3]), "masks": mask}
    >>> round(average_precision([truth], [truth | {"scores": np.array([0.9])}])["AP50"], 3)
    1.0

    Reference: pycocotools' ``COCOeval``, which this calls.
    """
    if len(truth) != len(found):
        raise ValueError(f"Found {len(truth)} images with objects and {len(found)} with findings: expected as many.")
    found = [vars(image) if isinstance(image, Instances) else image for image in found]
    classes = sorted({int(c) for image in truth for c in image["classes"] if c > 0})
    if not classes:
        return {name: float("nan") for name in NAMES} | {"per_class": {}}
    annotations = [one for number, image in enumerate(truth, 1) for one in _annotations(number, image, classes, kind)]
    findings = [one for number, image in enumerate(found, 1) for one in _findings(number, image, kind)]
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number
    data, evaluation = _coco(truth, classes, annotations)
    with contextlib.redirect_stdout(io.StringIO()):
        data.createIndex()
        said = data.loadRes(findings) if findings else type(data)()
        judged = evaluation(data, said, {"masks": "segm", "boxes": "bbox"}[kind])
        judged.evaluate()
        judged.accumulate()
    return _summary(judged, classes)


def _annotations(number, image, classes, kind):
    for i, c in enumerate(image["classes"]):
        for category in classes if c == CROWD else [int(c)] * int(c > 0):
            whose = {"image_id": number, "category_id": category, "iscrowd": int(c == CROWD)}
            yield whose | _shape(image, i, kind)


def _findings(number, image, kind):
    for i, (c, score) in enumerate(zip(image["classes"], image["scores"], strict=True)):
        yield {"image_id": number, "category_id": int(c), "score": float(score)} | _shape(image, i, kind)


def _shape(image, i, kind):
    """What COCO's files hold of one object's place."""
    if kind == "boxes":
        top, left, bottom, right = (float(edge) for edge in image["boxes"][i])
        return {"bbox": [left, top, right - left, bottom - top], "area": (bottom - top) * (right - left)}
    mask_tools = _tool("mask")
    runs = mask_tools.encode(np.asfortranarray(image["masks"][i], "uint8"))
    area, bbox = float(mask_tools.area(runs)), [float(side) for side in mask_tools.toBbox(runs)]
    return {"segmentation": runs, "area": area, "bbox": bbox}


def _coco(truth, classes, annotations):
    """The annotations as COCO's own object, and its judge."""
    data = _tool("coco").COCO()
    data.dataset = {
        "images": [{"id": number} | _size(image) for number, image in enumerate(truth, 1)],
        "categories": [{"id": c} for c in classes],
        "annotations": annotations,
    }
    return data, _tool("cocoeval").COCOeval


def _size(image):
    return dict(zip(("height", "width"), image["masks"].shape[1:], strict=True)) if "masks" in image else {}


def _tool(name):
    try:
        return importlib.import_module(f"pycocotools.{name}")
    except ImportError as error:
        raise ImportError('Average precision needs pycocotools. Fix: pip install "fcn-keras[instances]"') from error


def _summary(judged, classes):
    """Precision by overlap, recall, class, range of areas and number of findings; −1 where there is nothing."""
    precision = judged.eval["precision"][:, :, :, 0, -1]
    by_overlap = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}
    found = {name: _mean(precision[where]) for name, where in by_overlap.items()}
    return found | {"per_class": {c: _mean(precision[:, :, i]) for i, c in enumerate(classes)}}


def _mean(precision):
    there = precision[precision > -1]
    return float(there.mean()) if there.size else float("nan")


def evaluate(model, dataset, verbose=0):
    """Average precision of a model's masks and boxes on labelled images.

    Args:
        model, dataset, verbose: As in `detect`.

    Returns:
        A dict of two dicts, ``masks`` and ``boxes``, as from `average_precision`.

    Example:

    >>> model = fcn_keras.instances.MaskRCNN(10, "mini_vgg", weights=None, settings={"channels": 16, "width": 32})
    >>> data = fcn_keras.instances.load("shapes", "validation", batch=2)
    >>> sorted(evaluate(model, data))
    ['boxes', 'masks']
    """
    truth, found = detect(model, dataset, verbose)
    return {kind: average_precision(truth, found, kind) for kind in ("masks", "boxes")}


def detect(model, dataset, verbose=0):
    """What is in labelled images, and what a model finds there: all of it, whatever the score.

    Args:
        model: A `fcn_keras.instances.MaskRCNN`.
        dataset: Batches as from `fcn_keras.instances.load`.
        verbose: 1 shows a bar.

    Returns:
        Two lists for `average_precision`: dicts of the truth, and `Instances`.

    Example:

    >>> model = fcn_keras.instances.MaskRCNN(10, "mini_vgg", weights=None, settings={"channels": 16, "width": 32})
    >>> truth, found = detect(model, fcn_keras.instances.load("shapes", "validation", batch=2))
    >>> len(truth) == len(found), sorted(truth[0])
    (True, ['boxes', 'classes', 'masks'])
    """
    truth, found = [], []
    bar = keras.utils.Progbar(len(dataset), verbose=verbose, unit_name="batch")
    for batch in dataset:
        objects = {name: np.asarray(batch[name]) for name in ("boxes", "classes", "masks")}
        guesses = model.predict_on_batch(np.asarray(batch["image"]))
        for i in range(len(guesses["scores"])):
            truth.append({name: values[i] for name, values in objects.items()})
            found.append(
                instances_of({name: values[i] for name, values in guesses.items()}, truth[-1]["masks"].shape[1:])
            )
        bar.add(1)
    return truth, found
