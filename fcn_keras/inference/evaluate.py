"""Measures how well a model segments a data set: four metrics, and metrics of each class, from one confusion matrix."""

import dataclasses

import keras
import numpy as np

from .._files import user_path
from ..datasets.images import to_uint8
from ..datasets.masks import read_mask
from ..datasets.progress import track
from ..layers.labels import VOID, match_masks, to_class_ids, to_numpy
from ..losses import PixelCrossentropy
from ..metrics import METRICS, SegmentationMetrics, class_iou, confusion_matrix, scores
from .predictor import get_predictor
from .segment import predict_tiles


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


def evaluate(model, data, class_names=None, ignore_class=255, verbose=0, scales=(1.0,), flip=False, tile=None):
    """Measures a model on labelled images.

    Args:
        model: Keras model from images ``(batch, H, W, 3)`` to logits ``(batch, H, W, C)``. It is not changed, and does
            not need to be compiled.
        data: `tf.data.Dataset` of pairs (images, masks), in batches as `fcn_keras.datasets.load` returns them, or one
            by one.
        class_names: Names of the classes in the masks, by id; by default those of the model, or their numbers if it has
            none. If the model has the same names in another order, its ids are mapped to those of the masks.
        ignore_class: Label of the pixels that are not scored.
        verbose: As in `keras.Model.evaluate`.
        scales, flip: As in `fcn_keras.segment`: probabilities are averaged over several sizes of the image, and over
            the image and its mirror image. The paper does not do this.
        tile: As in `fcn_keras.segment`. It bounds the memory for large images.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: If `data` is not such a dataset, if the number of names is not the number of classes, if the names
            are not those of the model, if the logits are NaN, or, with `scales`, `flip` or `tile`, if a mask holds a
            label outside the classes.
        tf.errors.InvalidArgumentError: On TensorFlow, without those options, if a mask holds such a label.

    Example:

    >>> model = fcn_keras.FCN32s(3, "mini_vgg", weights=None)
    >>> data = tf.data.Dataset.from_tensors((np.zeros((1, 8, 8, 3), "float32"), np.zeros((1, 8, 8), "uint8")))
    >>> evaluate(model, data, ["ground", "red", "blue"]).metrics["pixel_accuracy"]
    1.0

    Reference: Long et al. (CVPR 2015), §5, "Metrics".
    """
    predictor = get_predictor(model)
    own = getattr(model, "class_names", None)
    order = match_class_names(own, class_names)
    class_names = class_names or own
    metric = SegmentationMetrics(predictor.classes, class_names, ignore_class)
    batched = _is_batched(data)
    channels = data.element_spec[0].shape[-1], predictor.images.shape[-1]
    if None not in channels and channels[0] != channels[1]:
        raise ValueError(
            f"Found images with {channels[0]} channels: expected {channels[1]}, as {model.name} takes. Fix: save them "
            "like the training images, with the same ranges.txt if there is one."
        )
    order = range(predictor.classes) if order is None else order  # of the columns, which are the model's classes
    if flip or tile is not None or scales not in ((1,), [1]):
        pairs = data.unbatch() if batched else data
        options = {"scales": scales, "flip": flip, "tile": tile}
        confusion = _count_images(model, pairs, predictor.classes, ignore_class, verbose, options)
        return Evaluation(confusion[:, order], metric.class_names)
    scored = keras.Model(predictor.images, predictor.logits)  # the same layers, compiled separately
    scored.compile(loss=PixelCrossentropy(ignore_class), metrics=[metric], jit_compile=False)
    scored.evaluate(data if batched else data.batch(1), verbose=verbose)
    confusion = to_numpy(metric.confusion).astype("int64")
    _require_numbers(model, (confusion >= 0).all())  # `SegmentationMetrics` reports NaN logits with negative counts
    return Evaluation(confusion[:, order], metric.class_names)


def evaluate_masks(data, predictions, split=None, binary=False):
    """Measures masks that were made elsewhere, by any program, against those of a folder of images and masks.

    Args:
        data: Folder that holds ``images`` and ``masks``, as `fcn_keras.datasets.folder` describes it.
        predictions: Folder that holds a mask ``NAME.png`` for each image, written as the masks of `data` are.
        split: ``"train"``, ``"validation"`` or ``"test"``; by default all images.
        binary: As in `fcn_keras.datasets.prepare`.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: If the names or lists of `data` are wrong, or if a mask is missing, has another size than the truth,
            or holds no class where the truth is a class.

    Example:

    >>> evaluate_masks("my_data", "masks_of_another_program").metrics["mean_iou"]  # doctest: +SKIP
    0.71
    """
    from ..datasets.folder import read_folder  # here, because it imports TensorFlow, which other backends lack

    layout, predictions = read_folder(data, 1.0 if split is None else 0.2, binary), user_path(predictions)
    files = {predictions / f"{pair.name}.png": pair.mask for pair in layout.pairs if split in (None, pair.split)}
    missing = [str(file) for file in files if not file.exists()]
    if missing or not files:
        raise ValueError(
            f"{predictions} lacks {len(missing)} of {len(files)} masks: {', '.join(missing[:5])}. Fix: give each mask "
            "the name of its image, with the ending .png."
        )
    counts = np.zeros((VOID, VOID), "int64")
    for file, mask in files.items():
        truth, found = read_mask(mask, layout.classes), read_mask(file, layout.classes)
        if truth.shape != found.shape:
            raise ValueError(f"{file} has the size {found.shape}, {mask} has {truth.shape}: expected the same.")
        if void := np.count_nonzero(found[truth != VOID] == VOID):
            raise ValueError(f"{file} holds 255, void, in {void} labelled pixels. Fix: write a class into each pixel.")
        counts += to_numpy(confusion_matrix(truth, found, VOID))
    last = np.nonzero(counts.any(axis=0) | counts.any(axis=1))[0].max(initial=0)
    names = list(layout.classes.names) if layout.classes else [f"class {id_}" for id_ in range(last + 1)]
    return Evaluation(counts[: len(names), : len(names)], names)


def match_class_names(model_names, data_names):
    """Finds the place of each class of a data set among the classes of a model.

    Args:
        model_names, data_names: Names of the classes, by id. With None, they are not compared.

    Returns:
        List that holds, for each class of the data, its id in the model. It is None if both have the same order.

    Raises:
        ValueError: If the names are not the same.

    Example:

    >>> match_class_names(["ground", "red", "blue"], ["ground", "blue", "red"])
    [0, 2, 1]
    """
    if model_names is None or data_names is None or list(model_names) == list(data_names):
        return None
    if sorted(model_names) != sorted(data_names):
        raise ValueError(
            f"The model has the classes {', '.join(model_names)}, the data have {', '.join(data_names)}: expected the "
            "same names. Fix: give the classes in the classes.txt of the data the names that they have in the model."
        )
    return [list(model_names).index(name) for name in data_names]


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


def _count_images(model, pairs, classes, ignore_class, verbose, options):
    """Computes the confusion matrix image by image. Of an image, it holds the ids of all pixels, but not the logits."""
    confusion = np.zeros((classes, classes), "int64")
    counted = track(pairs.as_numpy_iterator(), "images", show=None if verbose else False)
    for number, (image, mask) in enumerate(counted):
        found = np.empty(image.shape[:2], "int32")
        image = to_uint8(image) if get_predictor(model).ranges is None else image
        for region, values in predict_tiles(model, image, **options):
            values = to_numpy(values)
            _require_numbers(model, not np.isnan(values).any())
            found[region] = values.argmax(axis=-1)
        mask = to_numpy(match_masks(mask, found[..., None]))
        truth = to_numpy(to_class_ids(mask, classes, ignore_class))
        if (truth == -2).any():
            raise ValueError(
                f"Image {number} has labels outside [0, {classes}) that are not void ({ignore_class}): found "
                f"{np.unique(mask[truth == -2])[:5].tolist()}. Fix: map the ids, or set ignore_class."
            )
        confusion += to_numpy(confusion_matrix(truth, found, classes))
    return confusion


def _require_numbers(model, are_numbers):
    if not are_numbers:
        raise ValueError(
            f"Model {model.name!r} gives logits that are NaN: expected numbers. Fix: use weights from before the "
            "training diverged, or bfloat16 or float32 instead of float16."
        )


def _write_row(shares):
    return "| " + " | ".join("–" if np.isnan(share) else f"{100 * share:.1f}" for share in shares) + " |"
