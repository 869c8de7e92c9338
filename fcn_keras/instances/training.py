"""Training Mask R-CNN: a `fcn_keras.training.Run`, which can be killed at any moment and goes on."""

import dataclasses
import pathlib
from typing import ClassVar

import numpy as np

from .. import datasets
from .._files import atomic_write
from ..training import AdamW, Polynomial, Run, fingerprints, layer_rates
from ..training.averages import averaging
from ..training.recipes import told_of
from .average_precision import KINDS, NAMES, InstanceEvaluation, evaluate
from .config import MaskRCNNConfig
from .data import load, open_source
from .inference import segment_instances
from .model import MaskRCNN


@dataclasses.dataclass
class InstanceRun(Run):
    """A `Run` of `MaskRCNN`: its datasets are those of `fcn_keras.instances.load`, and average precision is measured.

    The folder holds what that of `Run` holds; ``metrics.json`` has ``masks`` and ``boxes``, as from `evaluate`.

    Example:

    >>> run = InstanceRun("runs/mine", build, optimizer, train, validation, names, epochs=30)  # doctest: +SKIP
    """

    monitor: str = "mask_ap"
    MONITORS: ClassVar = ("mask_ap", "mask_ap50", "mask_ap75", "box_ap")

    def measure(self, model):
        found = evaluate(model, self.validation)
        masks = {f"mask_{name.lower()}": found["masks"][name] for name in NAMES}
        return masks | {"box_ap": found["boxes"]["AP"]}

    def _measured(self, content):
        """``masks`` and ``boxes``, as from `evaluate`: JSON has no integers for keys."""
        for kind in KINDS:
            content[kind]["per_class"] = {int(c): ap for c, ap in content[kind]["per_class"].items()}
        return {kind: content[kind] for kind in KINDS}

    def _config(self):
        config = super()._config()
        del config["loss"], config["palette"]  # neither is asked for
        return config

    def _compile(self, model, optimizer):
        model.compile(optimizer, jit_compile=self.jit_compile)
        return [variable for tracker in model.trackers.values() for variable in tracker.variables]

    def _bare(self, model):
        bare = MaskRCNN.from_config(model.get_config())
        bare.set_weights(model.get_weights())
        return bare

    def _evaluate(self, model):
        return InstanceEvaluation(evaluate(model, self.validation), self.class_names)

    def _draw(self, model, history):
        from .. import visualization

        lines = {"training loss": [entry["loss"] for entry in history]}
        figures = {"curves.png": visualization.learning_curves(lines)}
        images = [np.asarray(image) for batch in self.validation.take(1) for image in batch["image"][: self.samples]]
        found = [segment_instances(model, image) for image in images]
        figures["samples.png"] = visualization.show_instances(images, found, self.class_names)
        for name, figure in figures.items():
            atomic_write(self.directory / name, lambda beside, figure=figure: figure.savefig(beside, dpi=90))


@dataclasses.dataclass(frozen=True)
class MaskRCNNRecipe:
    """How Mask R-CNN is trained; defaults are for the shapes on two CPU cores, half an hour.

    Args:
        backbone, weights: As in `MaskRCNN`.
        config: `MaskRCNNConfig`.
        epochs, batch: Passes over the training data, images in a batch.
        size, objects: As in `load`.
        learning_rate: At the start, of the layers behind the backbone; it falls to zero (``power`` 0.9).
        backbone_rate: Learning rate of the backbone in units of `learning_rate`.
        warmup: Steps of linear warm-up.
        decay: Weight decay; vectors are spared.
        ema: Share of the run's steps over which weights are averaged; None averages none.

    Example:

    >>> MaskRCNNRecipe(epochs=2).epochs
    2
    """

    backbone: object = "mini_vgg"
    weights: str | None = "pretrained"
    config: MaskRCNNConfig = dataclasses.field(default_factory=MaskRCNNConfig)
    epochs: int = 20
    batch: int = 4
    size: tuple = (256, 256)
    objects: int = 8
    learning_rate: float = 1.5e-3
    backbone_rate: float = 0.5
    warmup: int = 100
    decay: float = 1e-4
    ema: float | None = 0.05

    def optimizer_for(self, model, steps):
        """The optimizer of a net for a run of so many steps."""
        rate = Polynomial(self.learning_rate, steps, 0.9, self.warmup)
        rates = layer_rates(model, self.backbone_rate, within=model.pyramid)
        return AdamW(rate, rates, self.decay, clipnorm=10.0, **averaging(self.ema, steps))

    def as_dict(self):
        """The fields, for JSON."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | fingerprints.described(self.backbone, self.weights) | {"config": self.config.as_dict()}


def train(
    data, directory, recipe=None, *, splits=("train", "validation"), validation=None, seed=0, where=None, **options
):
    """Trains Mask R-CNN, resumable, and leaves a run folder.

    Args:
        data: Name of a data set for `fcn_keras.instances.load`.
        directory: Folder of the run; see `InstanceRun`.
        recipe: `MaskRCNNRecipe`; by default its defaults.
        splits: What to train on and what to measure on.
        validation: Arguments of `load` for what to measure on where it lies elsewhere, as coco's files do.
        seed: Seed of the run.
        where: A dict of ``source``, ``data_dir``, …, as in `load`.
        **options: Passed on to `fcn_keras.training.Run`: `checkpoint_steps`, `validate_every`, `verbose`, ….

    Returns:
        The finished `InstanceRun`.

    Raises:
        ValueError, FloatingPointError, OSError: As `load` and `fcn_keras.training.Run.run`.

    Example:

    >>> run = train("shapes", "runs/mask-rcnn")  # doctest: +SKIP
    >>> run.results()["masks"]["AP50"]  # doctest: +SKIP
    """
    recipe, where = recipe or MaskRCNNRecipe(), where or {}
    source, measured = open_source(data, splits[0], **where), where | (validation or {})
    shared = {"size": recipe.size, "objects": recipe.objects, "batch": recipe.batch}

    def batches(epoch_seed):
        return load(source, seed=epoch_seed, augment=True, **shared)

    run = InstanceRun(
        directory,
        lambda: MaskRCNN(len(source.class_names), recipe.backbone, recipe.weights, recipe.config, seed),
        recipe.optimizer_for,
        batches,
        load(data, splits[1], **shared, **measured),
        source.class_names,
        recipe.epochs,
        settings=recipe.as_dict() | _told_of(data, splits, (where, measured)),
        seed=100_003 * seed,
        name="Mask R-CNN",
        **{"validate_every": 0} | options,
    )
    run.run()
    return run


def _told_of(data, splits, places):
    """What a run's settings say of its data: where they lie and how many there are, or which annotations."""
    if data == "coco":
        files = [{"annotations": fingerprints.of_file(place["annotations"])} for place in places]
        images = [{"images": str(pathlib.Path(place["images"]).resolve())} for place in places]
        return {"data": data, "files": [one | other for one, other in zip(files, images, strict=True)]}
    builders = [
        datasets.prepare(data, **({"config": datasets.config_of(data, split)} | place))
        for split, place in zip(splits, places, strict=True)
    ]
    return told_of(data, builders, splits)
