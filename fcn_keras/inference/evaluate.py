"""How good a model is on a data set: the four metrics and those of each class, from one confusion matrix."""

import dataclasses

import keras
import numpy as np

from ..datasets.images import as_bytes
from ..losses import PixelCrossentropy
from ..metrics import METRICS, SegmentationMetrics, class_iou, confusion_matrix, scores
from .segment import segment


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A confusion matrix and what follows from it.

    Args:
        confusion: Integer array ``(C, C)`` of pixels, rows are the truth.
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
        """Dict of the paper's four metrics, in ``[0, 1]``."""
        found = scores(self.confusion)
        return {name: float(found[name]) for name in METRICS}

    @property
    def per_class_iou(self):
        """Dict from class to its IU; NaN where a class occurs neither in the truth nor in the prediction."""
        return self._named(keras.ops.convert_to_numpy(class_iou(self.confusion)))

    @property
    def per_class_accuracy(self):
        """Dict from class to the share of its pixels that are found; NaN where it does not occur in the truth."""
        truth = self.confusion.sum(axis=1)
        return self._named(np.where(truth > 0, np.diag(self.confusion) / np.maximum(truth, 1), np.nan))

    def _named(self, values):
        return {name: float(value) for name, value in zip(self.class_names, values, strict=True)}

    def summary(self):
        """All of it as a dict, for JSON."""
        return {
            **self.metrics,
            "per_class_iou": self.per_class_iou,
            "per_class_accuracy": self.per_class_accuracy,
            "confusion": self.confusion.tolist(),
        }

    def table(self):
        """The four metrics and the classes as Markdown, in percent.

        Example:

        >>> print(Evaluation(np.array([[3, 1], [0, 4]]), ["sky", "road"]).table())
        | pixel acc. | mean acc. | mean IU | f.w. IU |
        |---|---|---|---|
        | 87.5 | 87.5 | 77.5 | 77.5 |
        <BLANKLINE>
        | class | IU | accuracy | share of the pixels |
        |---|---|---|---|
        | sky | 75.0 | 75.0 | 50.0 |
        | road | 80.0 | 100.0 | 50.0 |
        <BLANKLINE>
        """
        lines = ["| pixel acc. | mean acc. | mean IU | f.w. IU |", "|---|---|---|---|"]
        lines += [_row(self.metrics[name] for name in METRICS), ""]
        lines += ["| class | IU | accuracy | share of the pixels |", "|---|---|---|---|"]
        share = self._named(self.confusion.sum(axis=1) / max(self.confusion.sum(), 1))
        iu, accuracy = self.per_class_iou, self.per_class_accuracy
        lines += [f"| {name} {_row([iu[name], accuracy[name], share[name]])}" for name in self.class_names]
        return "\n".join(lines) + "\n"


def evaluate(model, data, class_names=None, ignore_class=255, verbose=0, scales=(1.0,), flip=False):
    """Measures a model on labelled images.

    Args:
        model: Model from images ``(batch, H, W, 3)`` to logits ``(batch, H, W, C)``; compiled or not, it is left as it
            is.
        data: Dataset of batches (images, masks), as `fcn_keras.datasets.load` gives them.
        class_names: Names of the classes; by default their numbers.
        ignore_class: Label of the pixels that do not count.
        verbose: As in `keras.Model.evaluate`.
        scales, flip: As in `fcn_keras.segment`: what the model says of the image in several sizes, and mirrored, is
            averaged. The paper measures one pass at scale 1.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: If there are not as many names as the model has classes, or averaging meets such labels as:
        tf.errors.InvalidArgumentError: On TensorFlow, if a mask holds labels outside the classes that are not void.

    Example:

    >>> model = fcn_keras.FCN32s(3, "mini_vgg", weights=None)
    >>> data = tf.data.Dataset.from_tensors((np.zeros((1, 8, 8, 3), "float32"), np.zeros((1, 8, 8), "uint8")))
    >>> evaluate(model, data, ["ground", "red", "blue"]).metrics["pixel_accuracy"]
    1.0

    Reference: Long et al. (CVPR 2015), §5, "Metrics".
    """
    classes = max(model.output_shape[-1], 2)  # one logit is two classes
    metric = SegmentationMetrics(classes, class_names, ignore_class)
    if tuple(scales) != (1,) or flip:
        confusion = _confusion_of_averages(model, data, classes, ignore_class, verbose, scales, flip)
        return Evaluation(confusion, metric.class_names)
    judge = keras.Model(model.input, model.output)  # the same layers, with a compilation of its own
    judge.compile(loss=PixelCrossentropy(ignore_class), metrics=[metric], jit_compile=False)
    judge.evaluate(data, verbose=verbose)
    confusion = keras.ops.convert_to_numpy(metric.confusion).astype("int64")
    if (confusion < 0).any():  # as `SegmentationMetrics` says it
        raise ValueError(
            f"Model {model.name!r} gives logits that are NaN: expected numbers. Fix: weights from before the training "
            "diverged; bfloat16 or float32 in place of float16."
        )
    return Evaluation(confusion, metric.class_names)


def _confusion_of_averages(model, data, classes, ignore_class, verbose, scales, flip):
    """Image by image, as `segment` takes them."""
    confusion = np.zeros((classes, classes), "int64")
    pairs = data.unbatch() if len(data.element_spec[0].shape) == 4 else data
    progress = keras.utils.Progbar(None, verbose=verbose, unit_name="image")
    for number, (image, mask) in enumerate(pairs.as_numpy_iterator()):
        truth = np.where(mask == ignore_class, -1, mask.astype("int64"))
        if truth.max() >= classes or truth.min() < -1:
            raise ValueError(
                f"Image {number} has labels outside [0, {classes}) that are not void ({ignore_class}): found "
                f"{sorted(set(truth[(truth >= classes) | (truth < -1)].tolist()))[:5]}. Fix: map the ids, "
                "or set ignore_class."
            )
        prediction = segment(model, as_bytes(image), scales=scales, flip=flip, progress=False)
        confusion += keras.ops.convert_to_numpy(confusion_matrix(truth, prediction, classes))
        progress.update(number + 1)
    return confusion


def _row(shares):
    return "| " + " | ".join("–" if np.isnan(share) else f"{100 * share:.1f}" for share in shares) + " |"
