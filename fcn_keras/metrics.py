"""The four metrics of the paper, computed from a confusion matrix.

Let ``n_ij`` be the number of pixels of class ``i`` that are predicted as class ``j``, and ``t_i`` the number of pixels
of class ``i``. The metrics are

- pixel accuracy: ``sum_i n_ii / sum_i t_i``
- mean accuracy: the mean over classes of ``n_ii / t_i``
- mean IoU (intersection over union; the paper writes IU): the mean over classes of ``n_ii / (t_i + sum_j n_ji - n_ii)``
- frequency weighted IoU: the same mean, weighted with ``t_i``

Mean accuracy is the mean over the classes that occur in the truth. Mean IoU is the mean over the classes that occur in
the truth or in the prediction.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §5, "Metrics"; the authors' ``score.py``.
"""

from typing import ClassVar

import keras
from keras import ops

from .layers._xla import compile_with_xla
from .layers.arguments import Renamed
from .layers.labels import argmax_labels, match_masks, require, to_class_ids

METRICS = ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou")


def confusion_matrix(truth, prediction, num_classes):
    """Counts pixels by true class (row) and predicted class (column).

    Args:
        truth: Tensor of class ids, any shape. Pixels whose label is not a class are ignored. Such a label is an id
            outside ``[0, num_classes)`` (255 for void, for instance), a fraction, or NaN.
        prediction: Tensor of class ids of the same shape. If the truth of a pixel is a class, its prediction must also
            be a class.
        num_classes: Number of classes ``C``.

    Returns:
        int32 tensor ``(C, C)``.

    Raises:
        ValueError: If the shapes differ, or if the truth of a pixel is a class but its prediction is not, because the
            matrix has no cell for such a pixel. In a graph of TensorFlow, a wrong prediction raises a
            ``tf.errors.InvalidArgumentError`` instead. Code that JAX has compiled cannot raise errors, so it ignores
            such pixels.

    Example:

    >>> keras.ops.convert_to_numpy(confusion_matrix([0, 0, 1, 255], [0, 1, 1, 0], 2)).tolist()
    [[1, 1], [0, 1]]
    """
    truth, prediction = ops.convert_to_tensor(truth), ops.convert_to_tensor(prediction)
    if tuple(truth.shape) != tuple(prediction.shape):
        raise ValueError(
            f"Found a truth of shape {tuple(truth.shape)} and a prediction of shape {tuple(prediction.shape)}: "
            "expected the same shape. Fix: predict with `segment`, which gives masks of the size of the image."
        )
    labels, found = to_class_ids(truth, num_classes), to_class_ids(prediction, num_classes)
    message = f"Predictions outside [0, {num_classes}) where the truth is a class: expected class ids from 0."
    known = require(ops.logical_or(labels < 0, found >= 0), prediction, message)
    return _counted(_cells(ops.where(known, labels, -1), found, num_classes), num_classes)


def _cells(labels, predicted, num_classes):
    """The cell of the matrix for each pixel. Ignored pixels belong to an additional cell at the end."""
    cells = ops.where(labels >= 0, num_classes * labels + predicted, num_classes * num_classes)
    return ops.reshape(cells, (-1,))


def _counted(cells, num_classes):
    """The confusion matrix, made by counting how often each cell occurs."""
    length = num_classes * num_classes + 1
    if keras.backend.backend() == "jax":  # JAX cannot compile Keras' bincount, which does not pass the length on
        counts = ops.segment_sum(ops.ones_like(cells), cells, num_segments=length)
    else:
        counts = ops.bincount(cells, minlength=length)
    return ops.reshape(counts[:-1], (num_classes, num_classes))


@compile_with_xla
def _cells_of_logits(truth, logits, num_classes, ignore_class):
    """The cell for each pixel, and whether any logit of a labelled pixel is NaN."""
    labels = to_class_ids(truth, num_classes, ignore_class)
    undefined = ops.logical_and(labels >= 0, ops.any(ops.isnan(logits), axis=-1))
    return _cells(labels, argmax_labels(logits), num_classes), ops.any(undefined)


def scores(confusion):
    """The four metrics of a confusion matrix.

    Args:
        confusion: Tensor ``(C, C)`` of pixel counts. The rows are the truth.

    Returns:
        A dict of scalars in ``[0, 1]``: ``pixel_accuracy``, ``mean_accuracy``, ``mean_iou`` and
        ``frequency_weighted_iou``. All are 0 if all counts are 0, and NaN if a count is negative or NaN.

    Raises:
        ValueError: If the matrix is not square.

    Example:

    >>> {name: round(float(value), 3) for name, value in scores([[1, 1], [0, 2]]).items()}
    {'pixel_accuracy': 0.75, 'mean_accuracy': 0.75, 'mean_iou': 0.583, 'frequency_weighted_iou': 0.583}

    Reference: Long et al. (CVPR 2015), §5.
    """
    hits, truth, union = _hits_truth_union(confusion)
    iou = ops.divide_no_nan(hits, union)
    found = {
        "pixel_accuracy": ops.divide_no_nan(ops.sum(hits), ops.sum(truth)),
        "mean_accuracy": _mean_where(ops.divide_no_nan(hits, truth), truth > 0),
        "mean_iou": _mean_where(iou, union > 0),
        "frequency_weighted_iou": ops.divide_no_nan(ops.sum(truth * iou), ops.sum(truth)),
    }
    unknown = ops.isnan(ops.sum(truth))
    return {name: ops.where(unknown, float("nan"), value) for name, value in found.items()}


def _hits_truth_union(confusion):
    """The pixels of each class that are found, that are in the truth, and that are in the truth or the prediction.

    All are NaN if a count is negative.
    """
    confusion = ops.convert_to_tensor(confusion)
    if len(confusion.shape) != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ValueError(f"Found a confusion matrix of shape {tuple(confusion.shape)}: expected (C, C).")
    # Double precision holds every count exactly. JAX has single precision by default.
    confusion = ops.cast(confusion, "float32" if keras.backend.backend() == "jax" else "float64")
    confusion = ops.where(ops.all(confusion >= 0), confusion, float("nan"))
    hits, truth = ops.diagonal(confusion), ops.sum(confusion, axis=1)
    return hits, truth, truth + ops.sum(confusion, axis=0) - hits


def trimap(masks, radius, ignore_class=255):
    """Masks in which only the pixels near a boundary keep their label. The others become void.

    With these masks, a metric measures how good a prediction is near boundaries. Consider the square with a side of
    ``2 * radius + 1`` pixels around a pixel. If the square contains a different label, the pixel is near a boundary.
    Void counts as a label here, because VOC marks boundaries with void. Void pixels stay void.

    Args:
        masks: Tensor ``(batch, H, W)`` of class ids below ``2**24``. All other labels become void.
        radius: Distance in pixels, 1 or more. With 1, one pixel on each side of a boundary keeps its label.
        ignore_class: Label of void.

    Returns:
        int32 tensor ``(batch, H, W)``.

    Raises:
        ValueError: If the radius is below 1.

    Example:

    >>> trimap([[[0, 0, 0, 0, 7, 7]]], radius=1)[0, 0].numpy()
    array([255, 255, 255,   0,   7, 255], dtype=int32)

    Reference: the trimaps of Krähenbühl & Koltun (NIPS 2011) and of Chen et al. (ICLR 2015), who plot the quality
    within a band around the boundaries against the width of the band.
    """
    if radius < 1:
        raise ValueError(f"Found radius={radius}: expected 1 or more pixels.")
    ids = to_class_ids(masks, 2**24)  # we pool in float32, which represents these ids exactly
    labels = ops.cast(ids, "float32")[..., None]
    largest, smallest = _largest_within(labels, radius), -_largest_within(-labels, radius)
    return ops.where(ops.logical_and((largest != smallest)[..., 0], ids >= 0), ids, ignore_class)


def _largest_within(x, radius):
    """The maximum over squares, computed as a maximum over columns and then over rows. Padding is ignored."""
    side = 2 * radius + 1
    return ops.max_pool(ops.max_pool(x, (side, 1), 1, "same"), (1, side), 1, "same")


def class_iou(confusion):
    """The IoU of each class.

    Args:
        confusion: Tensor ``(C, C)`` of pixel counts. The rows are the truth.

    Returns:
        Tensor ``(C,)``, with NaN for a class that occurs neither in the truth nor in the prediction.

    Raises:
        ValueError: If the matrix is not square.

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
    """The four metrics of the paper, for `keras.Model.compile`.

    The metric takes masks of class ids, ``(batch, H, W)`` or ``(batch, H, W, 1)``, and logits ``(batch, H, W, C)``. One
    logit stands for two classes (see `fcn_keras.layers.labels`). The metric adds up the confusion matrices of all
    batches in `confusion`, and `result` returns a dict with the four metrics. It also works in ``tf.function`` and with
    ``tf.distribute``. The counts are exact 64-bit integers. On JAX they are 32-bit integers, which is enough for 2.1e9
    pixels in a cell.

    If training diverges, logits become NaN. A pixel with such a logit has no prediction that could be counted. As soon
    as this happens to a labelled pixel, all metrics are NaN and all counts in `confusion` are negative. The method
    `reset_state` starts again from zero.

    Args:
        num_classes: Number of classes ``C``.
        class_names: Names of the classes, for `per_class`; by default their numbers.
        ignore_class: Label of the pixels to ignore. Pixels whose label is not a whole number in ``[0, C)`` are also
            ignored.
        name: Name of the metric.
        dtype: As in `keras.metrics.Metric`.

    Raises:
        ValueError: If the number of names is not the number of classes. `update_state` raises it if the number of
            logits is not the number of classes, or if masks and logits differ in size.

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
            raise ValueError(f"Found {len(class_names)} class names: expected {num_classes}, one for each class.")
        self.num_classes, self.ignore_class = num_classes, ignore_class
        self.class_names = list(class_names) if class_names is not None else [str(i) for i in range(num_classes)]
        integer, bits = ("int32", 30) if keras.backend.backend() == "jax" else ("int64", 50)
        self._undefined = -(2**bits)  # the value of every count after a NaN; replicas can add it up without overflow
        self.confusion = self.add_weight(
            shape=(num_classes, num_classes), initializer="zeros", dtype=integer, name="confusion"
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch. `sample_weight` has no effect."""
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        classes = y_pred.shape[-1]
        if classes is not None and max(classes, 2) != self.num_classes:  # one logit is two classes
            raise ValueError(
                f"Found logits of {max(classes, 2)} classes, shape {tuple(y_pred.shape)}: expected {self.num_classes} "
                f"classes. Fix: SegmentationMetrics({max(classes, 2)})."
            )
        y_true = match_masks(y_true, y_pred)
        cells, undefined = _cells_of_logits(y_true, y_pred, self.num_classes, self.ignore_class)
        total = self.confusion + ops.cast(_counted(cells, self.num_classes), self.confusion.dtype)
        undefined = ops.logical_or(undefined, ops.any(self.confusion < 0))
        self.confusion.assign(ops.where(undefined, self._undefined, total))

    def result(self):
        """The four metrics, as a dict of scalars; see `scores`."""
        return scores(self.confusion)

    def per_class(self):
        """A dict from class name to IoU. A class that occurs in no mask and in no prediction has the IoU NaN."""
        values = ops.convert_to_numpy(class_iou(self.confusion))
        return {name: float(value) for name, value in zip(self.class_names, values, strict=True)}

    def get_config(self):
        own = {"num_classes": self.num_classes, "class_names": self.class_names, "ignore_class": self.ignore_class}
        return {**own, "name": self.name, "dtype": self.dtype}
