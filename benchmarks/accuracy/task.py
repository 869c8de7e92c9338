"""What every contestant gets: the data set, the backbone, the crops in their order, and the metrics."""

import dataclasses
import functools

import numpy as np

from fcn_keras import datasets
from fcn_keras.metrics import METRICS, SegmentationMetrics
from fcn_keras.training import Recipe
from fcn_keras.training.data import load_splits, prepare_splits

SHARED = ("backbone", "weights", "epochs", "batch", "size", "scales", "color", "augmentation")


@dataclasses.dataclass(frozen=True)
class Task:
    """The data of a comparison, the same for all.

    Args:
        recipe: The `fcn_keras.training.Recipe` of this package. The peers use its backbone, its crops and its number
            of steps, and nothing else.
        seed: Seed of the crops, and of each contestant's new layers and dropout.
        splits: What to train on and what to measure on.
        data, source, data_dir: As in `fcn_keras.datasets.prepare`.
    """

    recipe: Recipe
    seed: int = 0
    splits: tuple[str, str] = ("train", "validation")
    data: str = "camvid"
    source: str | None = None
    data_dir: str | None = None

    @functools.cached_property
    def class_names(self):
        """Names of the classes, by id."""
        return datasets.get_class_names(self.data, source=self.source, data_dir=self.data_dir)

    @functools.cached_property
    def steps(self):
        """Number of all training steps."""
        return len(self.batches(self.epoch_seeds()[0])) * self.recipe.epochs

    def epoch_seeds(self):
        """A seed for each epoch: those of `fcn_keras.training.train`."""
        return [100_003 * self.seed + epoch for epoch in range(self.recipe.epochs)]

    def batches(self, epoch_seed):
        """The `tf.data.Dataset` of an epoch: images float32 ``(batch, H, W, 3)`` in 0–255, masks uint8."""
        return self._loaded[0](epoch_seed)

    def arrays(self):
        """All training batches in order, as NumPy arrays."""
        for epoch_seed in self.epoch_seeds():
            yield from self.batches(epoch_seed).as_numpy_iterator()

    def validation(self):
        """The validation images whole, one in a batch."""
        return self._loaded[1]

    def measured(self, predict):
        """The four metrics and the IoU of each class; `predict` turns images ``(1, H, W, 3)`` into scores."""
        metric = SegmentationMetrics(len(self.class_names), self.class_names)
        for images, masks in self.validation().as_numpy_iterator():
            metric.update_state(masks, np.asarray(predict(images)))
        result = metric.result()
        return {"metrics": {name: float(result[name]) for name in METRICS}, "per_class_iou": metric.per_class()}

    def settings(self, whole_recipe=False):
        """What a result depends on, as JSON: the part of the recipe that all share, or the whole recipe."""
        fields = [field.name for field in dataclasses.fields(self.recipe)] if whole_recipe else SHARED
        shared = {name: getattr(self.recipe, name) for name in fields}
        return {"data": self.data, "splits": self.splits, "seed": self.seed, **shared}

    @functools.cached_property
    def _loaded(self):
        recipe = dataclasses.replace(self.recipe, validation_batch=1)
        builders = prepare_splits(self.data, self.splits, source=self.source, data_dir=self.data_dir)
        return load_splits(recipe, builders, self.splits)
