"""Measures how well a model segments a data set: four metrics, and metrics of each class, from one confusion matrix."""

import dataclasses

import keras
import numpy as np

from ..datasets.images import to_uint8
from ..datasets.progress import track
from ..layers.labels import match_masks, to_class_ids, to_numpy
from ..losses import PixelCrossentropy
from ..metrics import METRICS, SegmentationMetrics, class_iou, confusion_matrix, scores
from .predictor import get_predictor
from .segment import predict_probabilities


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A confusion matrix and the metrics that follow from it.

    Args:
        confusion: Integer array ``(C, C)``: pixels by true class (rows) and predicted class (columns).
        class_names: Names of the classes, by id.

    Example:

    >>> result = Evaluation(np.array([[3, 1], [0, 4]]), ["sky", "road"])
    >>> result.metrics["pixel_accuracy"], result.per_class_iou["road"]
    (0.875, 0.8)
    """

    confusion: np.ndarray
    class_names: list

    @property
    def metrics(self):
        """Dict of the four metrics of the paper, in ``[0, 1]``. They are NaN if no pixel is labelled."""
        if not self.confusion.any():
            return dict.fromkeys(METRICS, float("nan"))
        found = scores(self.confusion)
        return {name: float(found[name]) for name in METRICS}

    @property
    def per_class_iou(self):
        """Dict from class to its IoU. It is NaN if the class is neither in the truth nor in the prediction."""
        return self._by_class(to_numpy(class_iou(self.confusion)))

    @property
    def per_class_accuracy(self):
        """Dict from class to the share of its pixels that the model finds. It is NaN if the truth lacks the class."""
        truth = self.confusion.sum(axis=1)
        return self._by_class(np.where(truth > 0, np.diag(self.confusion) / np.maximum(truth, 1), np.nan))

    def _by_class(self, values):
        return {name: float(value) for name, value in zip(self.class_names, values, strict=True)}

    def summary(self):
        """Returns a dict for JSON: the metrics, the metrics of each class, and the confusion matrix."""
        return {
            **self.metrics,
            "per_class_iou": self.per_class_iou,
            "per_class_accuracy": self.per_class_accuracy,
            "confusion": self.confusion.tolist(),
        }

    def table(self):
        """Returns two Markdown tables in percent: the metrics, and the metrics of each class.

        Example:

        >>> print(Evaluation(np.array([[3, 1], [0, 4]]), ["sky", "road"]).table())
        | pixel acc. | mean acc. | mean IoU | f.w. IoU |
        |---|---|---|---|
        | 87.5 | 87.5 | 77.5 | 77.5 |
        <BLANKLINE>
        | class | IoU | accuracy | share of the pixels |
        |---|---|---|---|
        | sky | 75.0 | 75.0 | 50.0 |
        | road | 80.0 | 100.0 | 50.0 |
        <BLANKLINE>
        """
        lines = ["| pixel acc. | mean acc. | mean IoU | f.w. IoU |", "|---|---|---|---|"]
        lines += [_write_row(self.metrics.values()), ""]
        lines += ["| class | IoU | accuracy | share of the pixels |", "|---|---|---|---|"]
        total = self.confusion.sum() or np.nan
        share = self._by_class(self.confusion.sum(axis=1) / total)
        iou, accuracy = self.per_class_iou, self.per_class_accuracy
        lines += [f"| {name} {_write_row([iou[name], accuracy[name], share[name]])}" for name in self.class_names]
        return "\n".join(lines) + "\n"


def evaluate(model, data, class_names=None, ignore_class=255, verbose=0, scales=(1.0,), flip=False):
    """Measures a model on labelled images.

    Args:
        model: Keras model from images ``(batch, H, W, 3)`` to logits ``(batch, H, W, C)``. It is not changed, and does
            not need to be compiled.
        data: `tf.data.Dataset` of pairs (images, masks), in batches as `fcn_keras.datasets.load` returns them, or one
            by one.
        class_names: Names of the classes; by default those of the model, or their numbers if it has none.
        ignore_class: Label of the pixels that are not scored.
        verbose: As in `keras.Model.evaluate`.
        scales, flip: As in `fcn_keras.segment`: probabilities are averaged over several sizes of the image, and over
            the image and its mirror image. The paper does not do this.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: If `data` is not such a dataset, if the number of names is not the number of classes, if the logits
            are NaN, or, with `scales` or `flip`, if a mask holds a label outside the classes.
        tf.errors.InvalidArgumentError: On TensorFlow, without `scales` and `flip`, if a mask holds such a label.

    Example:

    >>> model = fcn_keras.FCN32s(3, "mini_vgg", weights=None)
    >>> data = tf.data.Dataset.from_tensors((np.zeros((1, 8, 8, 3), "float32"), np.zeros((1, 8, 8), "uint8")))
    >>> evaluate(model, data, ["ground", "red", "blue"]).metrics["pixel_accuracy"]
    1.0

    Reference: Long et al. (CVPR 2015), §5, "Metrics".
    """
    predictor = get_predictor(model)
    class_names = class_names or getattr(model, "class_names", None)
    metric = SegmentationMetrics(predictor.classes, class_names, ignore_class)
    batched = _is_batched(data)
    if flip or scales not in ((1,), [1]):
        pairs = data.unbatch() if batched else data
        confusion = _count_averages(model, pairs, predictor.classes, ignore_class, verbose, scales, flip)
        return Evaluation(confusion, metric.class_names)
    scored = keras.Model(predictor.images, predictor.logits)  # the same layers, compiled separately
    scored.compile(loss=PixelCrossentropy(ignore_class), metrics=[metric], jit_compile=False)
    scored.evaluate(data if batched else data.batch(1), verbose=verbose)
    confusion = to_numpy(metric.confusion).astype("int64")
    _require_numbers(model, (confusion >= 0).all())  # `SegmentationMetrics` reports NaN logits with negative counts
    return Evaluation(confusion, metric.class_names)


def _is_batched(data):
    """Returns whether a dataset of images and masks contains batches."""
    spec = getattr(data, "element_spec", None)
    ranks = [len(part.shape) for part in spec] if isinstance(spec, tuple) and len(spec) == 2 else []
    if not ranks or ranks[0] not in (3, 4):
        raise ValueError(
            f"Found data of type {type(data).__name__}{f', with elements {spec}' if spec else ''}: expected a "
            "tf.data.Dataset of pairs (images, masks), as fcn_keras.datasets.load returns it."
        )
    return ranks[0] == 4


def _count_averages(model, pairs, classes, ignore_class, verbose, scales, flip):
    """Computes the confusion matrix image by image, from the averaged probabilities."""
    confusion = np.zeros((classes, classes), "int64")
    counted = track(pairs.as_numpy_iterator(), "images", show=None if verbose else False)
    for number, (image, mask) in enumerate(counted):
        found = predict_probabilities(model, to_uint8(image), scales=scales, flip=flip, progress=False)
        _require_numbers(model, not np.isnan(found).any())
        mask = match_masks(mask, found)
        truth = to_numpy(to_class_ids(mask, classes, ignore_class))
        if (truth == -2).any():
            raise ValueError(
                f"Image {number} has labels outside [0, {classes}) that are not void ({ignore_class}): found "
                f"{np.unique(mask[truth == -2])[:5].tolist()}. Fix: map the ids, or set ignore_class."
            )
        confusion += to_numpy(confusion_matrix(truth, found.argmax(axis=-1), classes))
    return confusion


def _require_numbers(model, are_numbers):
    if not are_numbers:
        raise ValueError(
            f"Model {model.name!r} gives logits that are NaN: expected numbers. Fix: use weights from before the "
            "training diverged, or bfloat16 or float32 instead of float16."
        )


def _write_row(shares):
    return "| " + " | ".join("–" if np.isnan(share) else f"{100 * share:.1f}" for share in shares) + " |"
