"""Cross-entropy, focal loss and Dice over the labelled pixels, and weights for rare classes."""

from typing import ClassVar

import keras
import numpy as np
from keras import ops

from .layers._xla import compile_with_xla
from .layers.arguments import Renamed
from .layers.labels import match_masks, require, to_class_ids, two_class_logits


@keras.saving.register_keras_serializable(package="fcn_keras")
class PixelCrossentropy(Renamed, keras.losses.Loss):
    """Softmax cross-entropy over the pixels that have a label.

    The loss takes masks of class ids, ``(batch, H, W)`` or ``(batch, H, W, 1)``, and logits ``(batch, H, W, C)``. One
    logit stands for two classes (see `fcn_keras.layers.labels`). If a batch has no labelled pixel, its loss is 0.

    A label must be `ignore_class` or a whole number in ``[0, C)``; any other label raises an error. Code that XLA or
    JAX has compiled cannot raise errors, so it ignores such pixels. `fcn_keras.datasets.load` checks its masks when it
    prepares them.

    With `class_weights`, the mean is ``sum(w[label] * loss) / sum(w[label])`` over the labelled pixels. With
    `label_smoothing`, a share of the target is spread over all classes. Both work as in ``torch.nn.CrossEntropyLoss``.

    Args:
        ignore_class: Label of the pixels that the loss ignores.
        reduction: ``"mean"`` or ``"sum"``, over the labelled pixels of the batch. The authors used the sum. On an image
            of VOC, the gradient of the sum is about 187,500 times as large as that of the mean. This is why the authors
            needed a learning rate of 1e-10.
        name: Name of the loss.
        dtype: As in `keras.losses.Loss`.
        class_weights: One weight for each class, at least 0; None gives all classes the weight 1. See
            `median_frequency_weights`.
        label_smoothing: Share of the target that is spread evenly over the classes, in ``[0, 1)``.

    Raises:
        ValueError: If `reduction` is not one of the two, or if `class_weights` or `label_smoothing` is out of range.
            The call raises it if masks and logits differ in size, or if a label is neither `ignore_class` nor a class.
            In a graph of TensorFlow, a wrong label raises a ``tf.errors.InvalidArgumentError`` instead.

    Example:

    >>> loss = PixelCrossentropy()
    >>> float(loss([[[0, 255]]], [[[[0.0, 0.0], [9.0, -9.0]]]]))  # ln 2, the loss of the first pixel
    0.6931471824645996

    Reference: Long et al. (CVPR 2015), §3.4 and §4.3: per-pixel multinomial logistic loss, ambiguous pixels ignored.
    Smoothing: Szegedy et al. (CVPR 2016), §7.
    """

    RENAMED: ClassVar = {"void": "ignore_class"}

    def __init__(
        self,
        ignore_class=255,
        reduction="mean",
        name="pixel_crossentropy",
        dtype=None,
        class_weights=None,
        label_smoothing=0.0,
    ):
        if reduction not in ("mean", "sum"):
            raise ValueError(f'Found reduction={reduction!r}: expected "mean" or "sum".')
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"Found label_smoothing={label_smoothing}: expected a share in [0, 1).")
        if class_weights is not None:
            class_weights = [float(weight) for weight in class_weights]
            if not all(0 <= weight < float("inf") for weight in class_weights) or not any(class_weights):
                raise ValueError(f"Found class_weights={class_weights}: expected numbers of at least 0, not all 0.")
        super().__init__(name, reduction, dtype)
        self.ignore_class, self.class_weights, self.label_smoothing = ignore_class, class_weights, label_smoothing

    def call(self, y_true, y_pred):
        y_true, y_pred = ops.convert_to_tensor(y_true), two_class_logits(ops.convert_to_tensor(y_pred))
        classes = y_pred.shape[-1]
        if self.class_weights is not None and len(self.class_weights) != classes:
            raise ValueError(
                f"Found {len(self.class_weights)} class weights for logits of {classes} classes: expected {classes}."
            )
        labels = self._labels(match_masks(y_true, y_pred), classes)
        losses, weights = self.compute(labels, y_pred, self.class_weights or [1.0] * classes)
        if self.reduction == "sum":
            return losses
        # Keras will divide by the number of all pixels, but we want to divide by the weight of the labelled ones.
        return losses * ops.divide_no_nan(ops.cast(ops.size(losses), losses.dtype), self.total(ops.sum(weights)))

    def compute(self, labels, logits, class_weights):
        """The loss of each pixel, and its weight in the mean. Subclasses replace this.

        Args:
            labels: Tensor of class ids, ``(batch, H, W)``. Negative labels are ignored.
            logits: Tensor ``(batch, H, W, C)``, with ``C`` of at least 2.
            class_weights: List of ``C`` floats.

        Returns:
            Two tensors ``(batch, H, W)``, which are 0 where the label is negative. For Dice ``(C,)``.
        """
        return _pixel_losses(labels, logits, class_weights, self.label_smoothing)

    def _labels(self, masks, classes):
        """Class ids, with -1 for the pixels to ignore."""
        labels = to_class_ids(masks, classes, self.ignore_class)
        message = (
            f"A mask holds labels outside [0, {classes}) that are not void ({self.ignore_class}): expected class ids "
            "from 0. Fix: map the ids, or set num_classes or ignore_class."
        )
        return ops.where(require(labels != -2, masks, message), labels, -1)

    def total(self, weight):
        """The weight of all labelled pixels, given that of the batch. A loss over several devices adds them up."""
        return weight

    def get_config(self):
        config = {"ignore_class": self.ignore_class, "reduction": self.reduction, "name": self.name}
        optional = {"class_weights": self.class_weights, "label_smoothing": self.label_smoothing}
        return config | {name: value for name, value in optional.items() if value}


@keras.saving.register_keras_serializable(package="fcn_keras")
class PixelFocalCrossentropy(PixelCrossentropy):
    """`keras.losses.CategoricalFocalCrossentropy` over the pixels that have a label.

    The factor ``(1 - p) ** gamma`` makes the loss of pixels small that the net already labels well. Masks, logits and
    class weights are those of `PixelCrossentropy`.

    Args:
        ignore_class, reduction, name, dtype, class_weights, label_smoothing: As in `PixelCrossentropy`.
        gamma: Exponent of the factor. 0 gives the cross-entropy, times `alpha`.
        alpha: Factor of the whole loss, as in Keras.

    Raises:
        ValueError: As in `PixelCrossentropy`.

    Example:

    >>> loss = PixelFocalCrossentropy(gamma=0.0, alpha=1.0)
    >>> round(float(loss([[[0, 255]]], [[[[0.0, 0.0], [9.0, -9.0]]]])), 4)  # ln 2, the loss of the first pixel
    0.6931

    Reference: Lin et al. (ICCV 2017), §3.
    """

    def __init__(self, *args, name="pixel_focal_crossentropy", gamma=2.0, alpha=0.25, **kwargs):
        super().__init__(*args, name=name, **kwargs)
        self.gamma, self.alpha = gamma, alpha

    def compute(self, labels, logits, class_weights):
        target, weights = _make_targets(labels, class_weights, self.label_smoothing)
        alpha = self.alpha * ops.convert_to_tensor(class_weights, dtype=logits.dtype)
        options = {"alpha": alpha, "gamma": self.gamma, "from_logits": True}
        return keras.losses.categorical_focal_crossentropy(target, logits, **options), weights

    def get_config(self):
        return super().get_config() | {"gamma": self.gamma, "alpha": self.alpha}


@keras.saving.register_keras_serializable(package="fcn_keras")
class PixelDice(PixelCrossentropy):
    """`keras.losses.Dice` of each class over the labelled pixels of the batch, averaged over the classes.

    The loss of a class is ``1 - 2 * sum(target * p) / (sum(target) + sum(p))``, where ``p`` are the probabilities of
    the class and the sums run over the labelled pixels of all images in the batch. It is near 1 for a class that the
    batch does not show. Masks and logits are those of `PixelCrossentropy`.

    Args:
        ignore_class, reduction, name, dtype, label_smoothing: As in `PixelCrossentropy`. The mean and the sum run over
            the classes.
        class_weights: As in `PixelCrossentropy`. They weigh the losses of the classes.

    Raises:
        ValueError: As in `PixelCrossentropy`.

    Example:

    >>> loss = PixelDice()
    >>> round(float(loss([[[0, 255]]], [[[[99.0, 0.0], [0.0, 99.0]]]])), 4)  # 0 for class 0, 1 for the absent class
    0.5

    Reference: Milletari et al., V-Net (3DV 2016), §3.
    """

    def __init__(self, *args, name="pixel_dice", **kwargs):
        super().__init__(*args, name=name, **kwargs)

    def compute(self, labels, logits, class_weights):
        labelled = ops.cast(ops.expand_dims(labels >= 0, -1), logits.dtype)
        target, _ = _make_targets(labels, class_weights, self.label_smoothing)
        axes = tuple(range(len(logits.shape) - 1))
        dice = keras.losses.dice(target, labelled * ops.softmax(logits), axis=axes)
        weights = ops.max(labelled) * ops.convert_to_tensor(class_weights, dtype=logits.dtype)  # 0 if all is void
        return weights * dice, weights


def _make_targets(labels, class_weights, smoothing):
    """The share of each class in the target of each pixel, and the pixel's class weight. Both are 0 at void."""
    classes = len(class_weights)
    is_own = ops.cast(ops.expand_dims(labels, -1) == ops.arange(classes), "float32")
    target = (1 - smoothing) * is_own + smoothing / classes * ops.sum(is_own, axis=-1, keepdims=True)
    return target, ops.sum(is_own * ops.convert_to_tensor(class_weights, dtype="float32"), axis=-1)


#: Names of losses in recipes and on the command line.
LOSSES = {"crossentropy": PixelCrossentropy, "focal": PixelFocalCrossentropy, "dice": PixelDice}


@compile_with_xla
def _pixel_losses(labels, logits, class_weights, smoothing):
    """The loss of each pixel, and its weight in the mean. Both are 0 if the label is negative."""
    classes = logits.shape[-1]
    is_own = ops.expand_dims(labels, -1) == ops.arange(classes)
    class_weights = ops.convert_to_tensor(class_weights, dtype=logits.dtype)
    weighted = class_weights * logits
    total, weights = ops.logsumexp(logits, axis=-1), ops.sum(ops.where(is_own, class_weights, 0.0), axis=-1)
    losses = weights * total - ops.sum(ops.where(is_own, weighted, 0.0), axis=-1)  # −w log softmax of the pixel's class
    if smoothing:
        spread = (ops.sum(class_weights) * total - ops.sum(weighted, axis=-1)) / classes
        losses = (1 - smoothing) * losses + smoothing * ops.where(labels >= 0, spread, 0.0)
    return losses, weights


def median_frequency_weights(pixels, power=1.0):
    """Class weights that are larger for rare classes: ``(median frequency / frequency) ** power``.

    Args:
        pixels: Number of training pixels of each class, ``(C,)``; see `count_pixels`.
        power: 1 for median frequency balancing, 0 for the same weight for all classes, or a number between the two.

    Returns:
        A list of ``C`` floats. The weight of a class that does not occur is 1.

    Raises:
        ValueError: If no class occurs, or if a count is negative.

    Example:

    >>> median_frequency_weights([800, 100, 50, 0])
    [0.125, 1.0, 2.0, 1.0]

    Reference: Eigen & Fergus (ICCV 2015), §6.3.2, with frequencies over all training pixels.
    """
    pixels = np.asarray(pixels, "float64")
    if pixels.ndim != 1 or not (pixels >= 0).all() or not pixels.any():
        raise ValueError(
            f"Found pixels={pixels.tolist()}: expected one count for each class, of at least 0, not all 0."
        )
    occurs = pixels > 0
    ratio = np.median(pixels[occurs]) / np.where(occurs, pixels, 1)
    return np.where(occurs, ratio**power, 1.0).tolist()


def count_pixels(dataset, num_classes):
    """Counts the pixels of each class in a data set. Labels that are not classes are ignored.

    Args:
        dataset: Iterable of pairs of images and masks, single or in batches.
        num_classes: Number of classes.

    Returns:
        int64 array ``(num_classes,)``.

    Example:

    >>> count_pixels([(None, np.array([[0, 1, 1, 255]]))], 2).tolist()
    [1, 2]
    """
    counts = np.zeros(num_classes, "int64")
    for _, masks in dataset:
        ids = ops.convert_to_numpy(to_class_ids(np.asarray(masks), num_classes))
        counts += np.bincount(ids[ids >= 0], minlength=num_classes)
    return counts
