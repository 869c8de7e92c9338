"""Trains Mask R-CNN in a `fcn_keras.training.Run`, which can be killed at any moment and continued later."""

import dataclasses
from typing import ClassVar

import numpy as np

from ..training import LayerwiseAdamW, Polynomial, Run, logs, make_layer_rates
from ..training.ema import make_ema_options
from ..training.fingerprints import describe_backbone
from .average_precision import KINDS, NAMES, InstanceEvaluation, evaluate
from .config import MaskRCNNConfig
from .data import load, open_source
from .inference import segment_instances
from .model import MaskRCNN


@dataclasses.dataclass
class InstanceRun(Run):
    """A `fcn_keras.training.Run` of `MaskRCNN`, which measures average precision.

    Its data are batches from `fcn_keras.instances.load`. Its folder contains the same files as that of any run.
    ``metrics.json`` contains ``masks`` and ``boxes``, as from `evaluate`.

    Args:
        monitor: The metric by which ``best.keras`` is chosen, one of `MONITORS`. The other arguments are those of
            `fcn_keras.training.Run`.

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
        """``masks`` and ``boxes``, as from `evaluate`. JSON has strings for keys; class ids are converted back."""
        for kind in KINDS:
            content[kind]["per_class"] = {int(c): ap for c, ap in content[kind]["per_class"].items()}
        return {kind: content[kind] for kind in KINDS}

    def _config(self):
        config = super()._config()
        del config["loss"], config["palette"]  # Mask R-CNN uses neither
        return config

    def _compile(self, model, optimizer):
        model.compile(optimizer, jit_compile=self.jit_compile)
        return [variable for tracker in model.trackers.values() for variable in tracker.variables]

    def _bare(self, model):
        bare = MaskRCNN.from_config(model.get_config() | {"class_names": self.class_names})
        bare.set_weights(model.get_weights())
        return bare

    def _evaluate(self, model):
        return InstanceEvaluation(evaluate(model, self.validation), self.class_names)

    def _draw(self, model, history):
        from .. import visualization

        lines = {"training loss": [entry["loss"] for entry in history]}
        figures = {"curves.png": visualization.plot_learning_curves(lines)}
        images = [np.asarray(image) for batch in self.validation.take(1) for image in batch["image"][: self.samples]]
        found = [segment_instances(model, image) for image in images]
        figures["samples.png"] = visualization.show_instances(images, found, self.class_names)
        logs.save_figures(self.directory, figures)


@dataclasses.dataclass(frozen=True)
class MaskRCNNRecipe:
    """How Mask R-CNN is trained.

    The defaults are for the shapes data. Training with them takes half an hour on two CPU cores.

    Args:
        backbone: As in `MaskRCNN`.
        weights: As in `MaskRCNN`.
        config: `MaskRCNNConfig`.
        epochs: Number of passes over the training data.
        batch: Number of images in a batch.
        size: As in `load`.
        objects: As in `load`.
        learning_rate: First learning rate of the layers after the backbone. It falls to zero with power 0.9.
        backbone_rate: Learning rate of the backbone, as a multiple of `learning_rate`.
        warmup: Number of steps during which the learning rate rises linearly.
        decay: Weight decay of kernels. Biases do not decay.
        ema: Length of the exponential moving average (EMA) of the weights, as a share of the steps; or
            None for no average.

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

    def make_optimizer(self, model, steps):
        """Returns the optimizer of a model for a run of so many steps."""
        rate = Polynomial(self.learning_rate, steps, 0.9, self.warmup)
        rates = make_layer_rates(model, self.backbone_rate, within=model.pyramid)
        return LayerwiseAdamW(rate, rates, self.decay, clipnorm=10.0, **make_ema_options(self.ema, steps))

    def as_dict(self):
        """Returns the fields as a dict, for JSON."""
        return vars(self) | describe_backbone(self.backbone, self.weights) | {"config": dict(vars(self.config))}


def train(
    data, directory, recipe=None, *, splits=("train", "validation"), validation=None, seed=0, where=None, **options
):
    """Trains Mask R-CNN. If the folder holds a run that was stopped, it continues.

    Args:
        data: Name of a data set, as in `fcn_keras.instances.load`.
        directory: Folder of the run; see `InstanceRun`.
        recipe: A `MaskRCNNRecipe`. None takes its defaults.
        splits: The split for training and the split for validation.
        validation: Dict of the arguments of `load` that differ for the validation data, such as ``annotations`` and
            ``images`` of COCO.
        seed: Seed of the run.
        where: Dict of ``source``, ``data_dir``, …, as in `load`.
        **options: Other arguments of `fcn_keras.training.Run`, such as ``checkpoint_steps`` and ``verbose``.

    Returns:
        The finished `InstanceRun`.

    Raises:
        ValueError: As in `load`, or if the folder holds a run with other settings.
        FloatingPointError: If the loss is no longer a number.
        OSError: If a file cannot be written.

    Example:

    >>> run = train("shapes", "runs/mask-rcnn")  # doctest: +SKIP
    >>> run.results()["masks"]["AP50"]  # doctest: +SKIP
    """
    recipe, where = recipe or MaskRCNNRecipe(), where or {}
    train_source = open_source(data, splits[0], **where)
    validation_source = open_source(data, splits[1], **(where | (validation or {})))
    class_names = train_source.class_names
    shared = {"size": recipe.size, "objects": recipe.objects, "batch": recipe.batch}

    run = InstanceRun(
        directory,
        lambda: MaskRCNN(len(class_names), recipe.backbone, recipe.weights, recipe.config, seed),
        recipe.make_optimizer,
        lambda epoch_seed: load(train_source, seed=epoch_seed, augment=True, **shared),
        load(validation_source, **shared),
        class_names,
        recipe.epochs,
        settings=recipe.as_dict() | {"data": [train_source.identity, validation_source.identity]},
        seed=100_003 * seed,
        name="Mask R-CNN",
        **{"validate_every": 0} | options,
    )
    run.run()
    return run
