"""The authors' evaluation on seg11valid: ``python -m fcn_keras seg11valid --net fcn8s --weights FILE --voc … --sbd …``.

seg11valid is the validation list of PASCAL VOC2011 without the images that the Semantic Boundaries Dataset (SBD) trains
on: 736 images. Each goes through the net on its own, at its own size; one confusion matrix runs over all of them.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §5, "Metrics", and the note to §4.3 on the 736 images.
"""

import dataclasses
import hashlib
import json

import keras
import numpy as np
import PIL.Image

from .._files import atomic_write, user_path
from ..datasets.progress import track
from ..inference.segment import segment
from ..metrics import METRICS, class_iou, confusion_matrix, scores
from .lists import IMAGES, seg11valid_images

CLASSES = 21
NETS = {
    "fcn32s": "CaffeFCN32s",
    "fcn16s": "CaffeFCN16s",
    "fcn8s": "CaffeFCN8s",
    "fcn8s-atonce": "CaffeFCN8sAtOnce",
    "fcn-alexnet": "CaffeFCNAlexNet",
}
# The released weights, in percent, in the order of METRICS. Source: README of wkentaro/fcn; the authors' list, on
# VOC2012's files. Of FCN-AlexNet the authors give the mean IU alone (README of shelhamer/fcn.berkeleyvision.org).
PUBLISHED = {
    "fcn32s": (90.48, 76.48, 63.63, 83.46),
    "fcn16s": (91.00, 78.07, 65.01, 84.26),
    "fcn8s": (91.22, 77.61, 65.51, 84.54),
    "fcn8s-atonce": (91.13, 78.50, 65.40, 84.43),
    "fcn-alexnet": (None, None, 48.0, None),
}


def evaluate_seg11valid(net, voc, sbd=None, *, weights=None, list_file=None, subset=False, record=None, verbose=True):
    """Measures a net as the authors do.

    Args:
        net: A name in `NETS`, or a Keras model from RGB images ``(batch, H, W, 3)`` in 0–255 to logits
            ``(batch, H, W, 21)``.
        voc, sbd, list_file, subset: As in `fcn_keras.paper.lists.seg11valid_images`.
        weights: File with the weights of a net that is named: ``.caffemodel``, ``.npz`` or ``.pth`` as the loaders of
            `fcn_keras.paper` take them, or ``.weights.h5``.
        record: JSON file that keeps the counts after every image; a run with the same net, weights and list goes on
            where it was stopped. None keeps nothing.
        verbose: Whether to show progress, if the error stream is a terminal.

    Returns:
        An `Evaluation`: metrics, IU per class, and the table beside the published numbers.

    Raises:
        ValueError: If images, masks or weights are missing or of another kind, or if the record is of another run.

    Example:

    >>> found = evaluate_seg11valid(
    ...     "fcn8s", "VOCdevkit", "benchmark_RELEASE", weights="fcn8s-heavy-pascal.caffemodel"
    ... )  # doctest: +SKIP
    >>> print(found.table())  # doctest: +SKIP

    Reference: Long et al. (CVPR 2015), §5; the authors' ``score.py``.
    """
    images = seg11valid_images(voc, sbd, list_file, subset)
    name, model = _named_model(net, weights)
    run = None if record is None else _fingerprint(name, model, images)
    done, confusion = _resumed(record, run)
    if verbose and done:
        print(f"Going on behind image {done} of {len(images)}.", flush=True)
    for _, image, mask in track(images[done:], "images", show=None if verbose else False):
        confusion += _counts(model, image, mask)
        done += 1
        if record is not None:
            _keep(record, run, done, confusion)
    return Evaluation(name, len(images), confusion, comparable=len(images) == IMAGES)


def _named_model(net, weights):
    """The name, or None, and the model, with its weights."""
    from . import nets

    if not isinstance(net, str):
        name, model = None, net
        if weights is not None:
            raise ValueError(f"Found a model and weights={str(weights)!r}: expected weights only with a net's name.")
    elif net not in NETS:
        raise ValueError(f"Found net {net!r}: expected one of {', '.join(NETS)}, or a Keras model.")
    elif weights is None:
        raise ValueError(f"Found net {net!r} without weights: expected weights= (--weights), a file.")
    else:
        name, model = net, getattr(nets, NETS[net])()
        _load(model, user_path(weights))
    shape = getattr(model, "output_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] != CLASSES:
        raise ValueError(f"{model.name} gives outputs of shape {shape}: expected logits (batch, H, W, {CLASSES}).")
    return name, model


def _load(model, path):
    from .weights import load_caffemodel, load_state_dict

    if path.suffix == ".caffemodel":
        load_caffemodel(model, path)
    elif path.name.endswith(".weights.h5"):
        if not path.is_file():
            raise ValueError(f"No weights at {path}. Fix: check the path and its spelling.")
        model.load_weights(path)
    else:
        load_state_dict(model, path)


def _counts(model, image, mask):
    """Confusion matrix of one image, int64."""
    from ..datasets.masks import read_mask, require_same_size

    truth = read_mask(mask, CLASSES)
    require_same_size(image, truth)
    with PIL.Image.open(image) as file:
        found = segment(model, np.asarray(file.convert("RGB")))
    return keras.ops.convert_to_numpy(confusion_matrix(truth, found, CLASSES)).astype("int64")


def _fingerprint(name, model, images):
    """Tells runs apart: the net's name, every weight, and the list."""
    digest = hashlib.sha256(" ".join([str(name), *(stem for stem, *_ in images)]).encode())
    for variable in model.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()


def _resumed(record, run):
    """Number of images done and their confusion matrix, from the record where there is one."""
    path = None if record is None else user_path(record)
    if path is None or not path.exists():
        return 0, np.zeros((CLASSES, CLASSES), "int64")
    kept = json.loads(path.read_text())
    if kept["run"] != run:
        raise ValueError(
            f"{path} keeps a run with another net, other weights or another list. Fix: delete it, or pass another "
            "record= (--record)."
        )
    return kept["done"], np.array(kept["confusion"], "int64")


def _keep(record, run, done, confusion):
    """Written beside and renamed: counts and the number of images go together, whenever the run is stopped."""
    text = json.dumps({"run": run, "done": done, "confusion": confusion.tolist()}) + "\n"
    atomic_write(record, lambda beside: beside.write_text(text))


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What `evaluate_seg11valid` found.

    Args:
        net: Name in `NETS`, or None.
        images: Number of images.
        confusion: int64 array ``(21, 21)``, rows are the truth.
        comparable: Whether these are the 736 images that the published numbers are on.

    Example:

    >>> print(Evaluation("fcn-alexnet", 736, np.eye(21, dtype="int64")).table())
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
        """The four metrics by name, in ``[0, 1]``."""
        return {name: float(value) for name, value in scores(self.confusion).items()}

    def per_class(self):
        """IU by class name; NaN where a class occurs neither in the truth nor in the prediction."""
        from ..datasets.voc.layout import CLASS_NAMES

        values = keras.ops.convert_to_numpy(class_iou(self.confusion))
        return {name: float(value) for name, value in zip(CLASS_NAMES, values, strict=True)}

    def table(self, per_class=False):
        """Metrics in percent, the published ones and the difference, and if asked the IU per class, as Markdown."""
        metrics = self.metrics()
        ours = [100 * metrics[name] for name in METRICS]
        name = self.net or "the model"
        lines = [f"| seg11valid, {self.images} images | pixel acc. | mean acc. | mean IU | f.w. IU |", "|---" * 5 + "|"]
        lines.append(_row(f"{name}, this run", ours))
        theirs = PUBLISHED.get(self.net)
        if theirs and self.comparable:
            lines.append(_row(f"{name}, published", theirs))
            differences = [None if b is None else a - b for a, b in zip(ours, theirs, strict=True)]
            lines.append(_row("difference", differences, "+.2f"))
        elif not self.comparable:
            lines[0] = lines[0].replace("seg11valid", "a list of its own")
            lines += ["", f"The published numbers are on the {IMAGES} images of seg11valid and do not compare."]
        if per_class:
            lines += ["", "| class | IU |", "|---|---|"]
            lines += [_row(name, [100 * value]) for name, value in self.per_class().items()]
        return "\n".join(lines)


def _row(name, values, form=".2f"):
    return f"| {name} | {' | '.join('–' if value is None else format(value, form) for value in values)} |"
