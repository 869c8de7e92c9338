"""The paper's four metrics, from one confusion matrix.

With ``n_ij`` the number of pixels of class ``i`` predicted as class ``j`` and ``t_i`` the number of pixels of class
``i``:

- pixel accuracy: ``sum_i n_ii / sum_i t_i``
- mean accuracy: the mean over classes of ``n_ii / t_i``
- mean IU (intersection over union): the mean over classes of ``n_ii / (t_i + sum_j n_ji - n_ii)``
- frequency weighted IU: the same mean weighted with ``t_i``

Means run over the classes that occur: in the truth for mean accuracy, in truth or prediction for mean IU.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §5, "Metrics"; the authors' ``score.py``.
"""

from typing import ClassVar

import keras
from keras import ops

from .layers.arguments import Renamed
from .layers.labels import argmax_labels, class_ids, mask_of_logits, require
from .layers.xla import by_xla_where_it_pays

METRICS = ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou")


def confusion_matrix(truth, prediction, num_classes):
    """Counts pixels by true class (row) and predicted class (column).

    Args:
        truth: Tensor of class ids, any shape. What is no class is left out: ids outside ``[0, num_classes)``, void
            among them, fractions, NaN.
        prediction: Tensor of class ids, of the shape of `truth`. Where the truth is a class, it must be one, too.
        num_classes: Number of classes ``C``.

    Returns:
        int32 tensor ``(C, C)``.

    Raises:
        ValueError: If the shapes differ, or a prediction that counts is no class: the matrix has no cell for it. Within
            a graph of TensorFlow the latter is a tf.errors.InvalidArgumentError; JAX compiles no check, and there the
            pixel is left out.

    Example:

    >>> keras.ops.convert_to_numpy(confusion_matrix([0, 0, 1, 255], [0, 1, 1, 0], 2)).tolist()
    [[1, 1], [0, 1]]
    """
    truth, prediction = ops.convert_to_tensor(truth), ops.convert_to_tensor(prediction)
    if tuple(truth.shape) != tuple(prediction.shape):
        raise ValueError(
            f"Found a truth of shape {tuple(truth.shape)} and a prediction of shape {tuple(prediction.shape)}: "
            "expected the same. Fix: `segment` gives masks of the size of the image."
        )
    labels, found = class_ids(truth, num_classes), class_ids(prediction, num_classes)
    message = f"Predictions outside [0, {num_classes}) where the truth is a class: expected class ids from 0."
    known = require(ops.logical_or(labels < 0, found >= 0), prediction, message)
    return _counted(_cells(ops.where(known, labels, -1), found, num_classes), num_classes)


def _cells(labels, predicted, num_classes):
    """The cell of the matrix that each pixel belongs to; one cell more, at the end, for what does not count."""
    cells = ops.where(labels >= 0, num_classes * labels + predicted, num_classes * num_classes)
    return ops.reshape(cells, (-1,))


def _counted(cells, num_classes):
    """The matrix, from how often each cell occurs."""
    length = num_classes * num_classes + 1
    if keras.backend.backend() == "jax":  # compiled, its bincount must be told the length, and Keras cannot tell it
        counts = ops.segment_sum(ops.ones_like(cells), cells, num_segments=length)
    else:
        counts = ops.bincount(cells, minlength=length)
    return ops.reshape(counts[:-1], (num_classes, num_classes))


@by_xla_where_it_pays
def _cells_of_logits(truth, logits, num_classes, ignore_class):
    """The cells, and whether logits of a pixel that counts are NaN."""
    labels = class_ids(truth, num_classes, ignore_class)
    undefined = ops.logical_and(labels >= 0, ops.any(ops.isnan(logits), axis=-1))
    return _cells(labels, argmax_labels(logits), num_classes), ops.any(undefined)


def scores(confusion):
    """The four metrics of a confusion matrix.

    Args:
        confusion: Tensor ``(C, C)`` of pixel counts, rows are the truth.

    Returns:
        A dict of scalars in ``[0, 1]``: ``pixel_accuracy``, ``mean_accuracy``, ``mean_iou``,
        ``frequency_weighted_iou``, all 0 for an empty matrix, and all NaN if a count is negative or NaN.

    Raises:
        ValueError: If the matrix is not square.

    Example:

    >>> {name: round(float(value), 3) for name, value in scores([[1, 1], [0, 2]]).items()}
    {'pixel_accuracy': 0.75, 'mean_accuracy': 0.75, 'mean_iou': 0.583, 'frequency_weighted_iou': 0.583}

    Reference: Long et al. (CVPR 2015), §5.
    """
    hits, truth, union = _hits_truth_union(confusion)
    iu = ops.divide_no_nan(hits, union)
    found = {
        "pixel_accuracy": ops.divide_no_nan(ops.sum(hits), ops.sum(truth)),
        "mean_accuracy": _mean_where(ops.divide_no_nan(hits, truth), truth > 0),
        "mean_iou": _mean_where(iu, union > 0),
        "frequency_weighted_iou": ops.divide_no_nan(ops.sum(truth * iu), ops.sum(truth)),
    }
    unknown = ops.isnan(ops.sum(truth))
    return {name: ops.where(unknown, float("nan"), value) for name, value in found.items()}


def _hits_truth_union(confusion):
    """Of each class: pixels found, pixels there are, pixels of truth or prediction; all NaN if a count is no count."""
    confusion = ops.convert_to_tensor(confusion)
    if len(confusion.shape) != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ValueError(f"Found a confusion matrix of shape {tuple(confusion.shape)}: expected (C, C).")
    # Double precision holds every count exactly; JAX has single precision unless asked.
    confusion = ops.cast(confusion, "float32" if keras.backend.backend() == "jax" else "float64")
    confusion = ops.where(ops.all(confusion >= 0), confusion, float("nan"))
    hits, truth = ops.diagonal(confusion), ops.sum(confusion, axis=1)
    return hits, truth, truth + ops.sum(confusion, axis=0) - hits


def trimap(masks, radius, ignore_class=255):
    """Masks in which only the pixels near a boundary keep their label; the rest is void and does not count.

    A pixel is near if the square of ``2 * radius + 1`` pixels around it holds another label than its own. Void is a
    label here, as it marks boundaries in VOC; it stays void. Scored on these masks, every metric of this module
    measures the boundaries alone.

    Args:
        masks: Tensor ``(batch, H, W)`` of class ids below ``2**24``; what is no such id becomes void.
        radius: Pixels, 1 or more; 1 keeps one pixel on each side of a boundary.
        ignore_class: Label of what does not count.

    Returns:
        int32 tensor ``(batch, H, W)``.

    Raises:
        ValueError: If the radius is below 1.

    Example:

    >>> trimap([[[0, 0, 0, 0, 7, 7]]], radius=1)[0, 0].numpy()
    array([255, 255, 255,   0,   7, 255], dtype=int32)

    Reference: the trimaps of Krähenbühl & Koltun (NIPS 2011) and of Chen et al. (ICLR 2015): quality in a band around
    the boundaries, by the width of the band.
    """
    if radius < 1:
        raise ValueError(f"Found radius={radius}: expected 1 or more pixels.")
    ids = class_ids(masks, 2**24)  # float32, which is pooled, tells them apart
    labels = ops.cast(ids, "float32")[..., None]
    largest, smallest = _largest_within(labels, radius), -_largest_within(-labels, radius)
    return ops.where(ops.logical_and((largest != smallest)[..., 0], ids >= 0), ids, ignore_class)


def _largest_within(x, radius):
    """The maximum over squares, as two maxima over lines; what lies outside the image does not count."""
    side = 2 * radius + 1
    return ops.max_pool(ops.max_pool(x, (side, 1), 1, "same"), (1, side), 1, "same")


def class_iou(confusion):
    """IU of each class, ``(C,)``; NaN for a class that occurs neither in the truth nor in the prediction.

    Example:

    >>> keras.ops.convert_to_numpy(class_iou([[3, 1, 0], [0, 4, 0], [0, 0, 0]])).tolist()
    [0.75, 0.8, nan]
    """
    hits, _, union = _hits_truth_union(confusion)
    return ops.where(union > 0, ops.divide_no_nan(hits, union), float("nan"))


def _mean_where(values, occurs):
    occurs = ops.cast(occurs, values.dtype)
    return ops.divide_no_nan(ops.sum(values * occurs), ops.sum(occurs))


@keras.saving.register_keras_serializable(package="fcn_keras")
class SegmentationMetrics(Renamed, keras.metrics.Metric):
    """Streams one confusion matrix and gives the paper's four metrics as a dict.

    Takes masks ``(batch, H, W)`` or ``(batch, H, W, 1)`` of class ids and logits ``(batch, H, W, C)``; one logit is two
    classes (see `fcn_keras.layers.labels`). It works in ``compile``, in ``tf.function`` and under ``tf.distribute``.
    Counts are exact integers: 64 bits, on JAX 32 (2.1e9 pixels per cell).

    A net that has diverged has no prediction: once the logits of a pixel that counts are NaN, every metric is NaN until
    `reset_state`, as the loss is, and `confusion` is negative.

    Args:
        num_classes: Number of classes ``C``.
        class_names: Names of the classes, for `per_class`; by default their numbers.
        ignore_class: Label of the pixels that do not count. Pixels whose label is not a whole number in ``[0, C)`` do
            not count either.
        name: Name of the metric.

    Raises:
        ValueError: If there are not as many names as classes; at an update, if there are not as many logits, or masks
            and logits differ in size.

    Example:

    >>> metric = SegmentationMetrics(2, class_names=["sky", "road"])
    >>> metric.update_state([[[0, 1]]], [[[[2.0, 1.0], [3.0, 1.0]]]])
    >>> round(float(metric.result()["mean_iou"]), 3), metric.per_class()
    (0.25, {'sky': 0.5, 'road': 0.0})

    Reference: Long et al. (CVPR 2015), §5, "Metrics".
    """

    RENAMED: ClassVar = {"void": "ignore_class"}

    def __init__(self, num_classes, class_names=None, ignore_class=255, name="segmentation", dtype=None):
        super().__init__(name=name, dtype=dtype)
        if class_names is not None and len(class_names) != num_classes:
            raise ValueError(f"Found {len(class_names)} class names: expected {num_classes}, one per class.")
        self.num_classes, self.ignore_class = num_classes, ignore_class
        self.class_names = list(class_names) if class_names is not None else [str(i) for i in range(num_classes)]
        integer, bits = ("int32", 30) if keras.backend.backend() == "jax" else ("int64", 50)
        self._undefined = -(2**bits)  # in every cell after NaN: the sum over replicas stays below 0, and in range
        self.confusion = self.add_weight(
            shape=(num_classes, num_classes), initializer="zeros", dtype=integer, name="confusion"
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch; `sample_weight` is not used: a pixel counts or it is void."""
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        classes = y_pred.shape[-1]
        if classes is not None and max(classes, 2) != self.num_classes:  # one logit is two classes
            raise ValueError(
                f"Found logits of {max(classes, 2)} classes, shape {tuple(y_pred.shape)}: expected {self.num_classes}. "
                f"Fix: SegmentationMetrics({max(classes, 2)})."
            )
        y_true = mask_of_logits(y_true, y_pred)
        cells, undefined = _cells_of_logits(y_true, y_pred, self.num_classes, self.ignore_class)
        total = self.confusion + ops.cast(_counted(cells, self.num_classes), self.confusion.dtype)
        undefined = ops.logical_or(undefined, ops.any(self.confusion < 0))
        self.confusion.assign(ops.where(undefined, self._undefined, total))

    def result(self):
        """The dict of `scores`."""
        return scores(self.confusion)

    def per_class(self):
        """IU of each class by name; NaN where a class occurs neither in the truth nor in the prediction."""
        values = ops.convert_to_numpy(class_iou(self.confusion))
        return {name: float(value) for name, value in zip(self.class_names, values, strict=True)}

    def get_config(self):
        own = {"num_classes": self.num_classes, "class_names": self.class_names, "ignore_class": self.ignore_class}
        return {**own, "name": self.name, "dtype": self.dtype}
