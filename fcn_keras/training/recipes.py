"""Recipes, which say how one net is trained, and the numbers of the paper's Table 2.

Importing this module imports neither Keras nor TensorFlow, so the command line can read the choices quickly.
"""

import contextlib
import dataclasses
from collections.abc import Mapping

#: Net → the function in `fcn_keras.models` that makes it.
NETS = {"FCN-32s": "FCN32s", "FCN-16s": "FCN16s", "FCN-8s": "FCN8s", "FCN-8s-at-once": "FCN8s", "FCN-4s": "FCN4s"}
OPTIMIZERS = ("adamw", "sgd", "caffe")
LOSSES = ("crossentropy", "focal", "dice")  # the keys of `fcn_keras.losses.LOSSES`
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
#: Fields of a `Recipe` that say how batches are made. They have no effect on the caller's own batches.
DATA_FIELDS = ("batch", "validation_batch", "size", "scales", "color", "augmentation")

#: Table 2 of the CVPR paper, whose solver is the recipe "cvpr": pixel accuracy, mean accuracy, mean IU and
#: frequency-weighted IU on the 736 images of seg11valid, in percent.
PAPER_TABLE_2 = {
    "FCN-32s-fixed": (83.0, 59.7, 45.4, 72.0),
    "FCN-32s": (89.1, 73.3, 59.4, 81.4),
    "FCN-16s": (90.0, 75.7, 62.4, 83.0),
    "FCN-8s": (90.3, 75.9, 62.7, 83.2),
}
#: The same for the nets that the authors released later. Their solver is the recipe "released". Others have measured
#: them: https://github.com/wkentaro/fcn
RELEASED_TABLE = {
    "FCN-32s": (90.5, 76.5, 63.6, 83.5),
    "FCN-16s": (91.0, 78.1, 65.0, 84.3),
    "FCN-8s": (91.2, 77.6, 65.5, 84.5),
    "FCN-8s-at-once": (91.1, 78.5, 65.4, 84.4),
}
#: What a table of ours is compared with: a name, a line that says what it is, and the numbers.
PUBLISHED = {
    "cvpr": ("In brackets: Table 2 of the CVPR paper, on PASCAL VOC2011.", PAPER_TABLE_2),
    "released": ("In brackets: the nets that the authors released, on PASCAL VOC2011.", RELEASED_TABLE),
}
#: The net from which a finer net starts.
STARTS_FROM = {"FCN-16s": "FCN-32s", "FCN-8s": "FCN-16s"}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one net is trained. `dataclasses.replace` makes a changed recipe.

    Args:
        net: A key of `NETS`. FCN-8s-at-once scales its skips. New score layers start at zero, so before its first step
            an FCN-8s gives the logits of an FCN-32s: zeros.
        backbone, weights, head, upsampling: As in `fcn_keras.FCN32s`.
        batch_norm: Whether to train the batch normalisation of the backbone. By default its statistics stay fixed.
        epochs: Passes over the training data.
        batch, validation_batch: Images in a batch. `validation_batch` must be 1 if images differ in size.
        size: ``(height, width)`` of the training crops: at random places with augmentation, else in the middle. None
            trains on whole images.
        scales: Smallest and largest factor of the random scale. None trains without augmentation.
        color: How much augmentation varies the colours, by default 1. See `fcn_keras.datasets.pipeline`.
        augmentation: More arguments of `fcn_keras.datasets.load` for the training data, such as ``{"cache": True}``.
        optimizer: ``"adamw"`` or ``"sgd"``, both with polynomial decay, or ``"caffe"``, the authors' solver at a
            constant rate.
        learning_rate: Initial learning rate of all layers after the backbone.
        backbone_rate: Learning rate of the backbone divided by `learning_rate`. Not with ``"caffe"``.
        power, warmup: Exponent of the decay, and number of steps of linear warm-up. Not with ``"caffe"``.
        momentum: Momentum of ``"sgd"`` and ``"caffe"``.
        decay: Weight decay. Biases and batch normalisation do not decay.
        ema: Share of the run's steps over which weights are averaged exponentially, such as 0.05. The averaged weights
            are measured and saved. None averages no weights.
        ema_overwrite: Whether each epoch starts from the averaged weights. The net then stays closer to its start. On
            few images this can prevent overfitting.
        loss: ``"crossentropy"``, ``"focal"`` or ``"dice"``; see `fcn_keras.losses`.
        class_weights: ``"none"``, ``"balanced"``, a power between the two (0 to 1), one weight for each class, or a
            dict from names of classes to weights, in which the other classes weigh 1. See
            `fcn_keras.losses.median_frequency_weights`. The pixels of the training split are counted at each start.
        label_smoothing, reduction: As in `fcn_keras.losses.PixelCrossentropy`.
        accumulate: Number of batches whose mean gradient makes one step. With a mean loss this equals one large batch
            if all batches have the same number of labelled pixels.
        precision: ``"float32"``, ``"mixed_bfloat16"`` or ``"mixed_float16"`` (with Keras' loss scaling). Scores and
            logits are always float32. ``"mixed_float16"`` cannot hold the loss of ``reduction="sum"``.
        jit_compile: Whether to compile the steps with XLA. Each size of image is compiled once.

    Gradient checkpointing is not a field: with ``keras.RematScope(mode="full")`` on TensorFlow, Keras 3.15 raises an
    error at the first step of these nets. To save memory, use smaller crops, `accumulate` or half precision.

    Raises:
        ValueError: If a field has another value, or would have no effect.

    Example:

    >>> RECIPES["light"].net, RECIPES["light"].optimizer
    ('FCN-8s', 'adamw')
    """

    net: str = "FCN-8s"
    backbone: object = "mobilenet_v2"
    weights: str | None = "pretrained"
    head: str | None = "auto"
    upsampling: str = "learned"
    batch_norm: bool = False
    epochs: int = 40
    batch: int = 4
    validation_batch: int = 1
    size: tuple[int, int] | None = (304, 400)
    scales: tuple[float, float] | None = (0.9, 2.2)
    color: float | None = None
    augmentation: Mapping = dataclasses.field(default_factory=dict)
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    backbone_rate: float = 0.3
    power: float = 0.9
    warmup: int = 0
    momentum: float = 0.9
    decay: float = 1e-4
    ema: float | None = 0.05
    ema_overwrite: bool = False
    loss: str = "crossentropy"
    class_weights: object = 0.25
    label_smoothing: float = 0.0
    reduction: str = "mean"
    accumulate: int = 1
    precision: str = "float32"
    jit_compile: bool = False

    def __post_init__(self):
        known = {"net": NETS, "optimizer": OPTIMIZERS, "loss": LOSSES, "precision": PRECISIONS}
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
            self._require("scales=None, which is no augmentation", color=None)
        if not self.ema:
            self._require(f"ema={self.ema}", ema_overwrite=False)

    def _require(self, what, **expected):
        found = {field: getattr(self, field) for field in expected}
        if found != expected:
            raise ValueError(f"Found {found} with {what}: expected {expected}, because other values have no effect.")

    def describe(self):
        """Returns the fields for JSON, with fingerprints of a backbone object and of a file of weights."""
        from .fingerprints import describe_backbone

        return vars(self) | describe_backbone(self.backbone, self.weights)

    def build(self, num_classes, net=None, channels=3):
        """Builds the net as it is before its first epoch.

        Args:
            num_classes: Number of classes, background included.
            net: ``"FCN-32s-fixed"`` or another net instead of the recipe's own.
            channels: As in `fcn_keras.FCN32s`.
        """
        import keras

        from ..models import fcn, fusion

        net = net or self.net
        function = getattr(fcn, NETS[net.removesuffix("-fixed")])
        options = {"skip_scales": fusion.AT_ONCE_SCALES} if net == "FCN-8s-at-once" else {}
        options["channels"] = channels
        with _use_dtype_policy(self.precision):
            model = function(num_classes, self.backbone, self.weights, self.head, self.upsampling, **options)
        if net == "FCN-32s-fixed":
            for layer in model.layers:
                layer.trainable = layer.name == "score_fr"
        if self.batch_norm:
            layers = model.get_layer("backbone").layers
            layers = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
            if not layers:
                raise ValueError("Found batch_norm=True for a backbone without batch normalisation. Fix: False.")
            for layer in layers:
                layer.trainable = True
        return model

    def make_optimizer(self, model, steps):
        """Makes the optimizer of a net for a run of `steps` steps."""
        from ..paper.solver import CaffeSGD
        from .ema import make_ema_options
        from .optimizers import LayerwiseAdamW, LayerwiseSGD, Polynomial, make_layer_rates

        shared = {"gradient_accumulation_steps": self.accumulate if self.accumulate > 1 else None}
        overwrite = max(1, steps // self.epochs // self.accumulate) if self.ema_overwrite else None
        # Keras averages after every batch, also between accumulated steps, but it counts only whole steps to overwrite.
        shared |= make_ema_options(self.ema, steps, overwrite)
        if self.optimizer == "caffe":
            return CaffeSGD(self.learning_rate, self.momentum, self.decay, **shared)
        rate = Polynomial(self.learning_rate, steps, self.power, self.warmup)
        rates = make_layer_rates(model, self.backbone_rate)
        if self.optimizer == "sgd":
            return LayerwiseSGD(rate, rates, self.decay, self.momentum, **shared)
        return LayerwiseAdamW(rate, rates, self.decay, **shared)

    def make_loss(self, pixels, class_names=()):
        """Makes the loss.

        Args:
            pixels: Function without arguments that counts the training pixels of each class. It is called only if the
                class weights depend on them.
            class_names: Names of the classes, for class weights by name.
        """
        from .. import losses

        weights = self.class_weights
        if isinstance(weights, str):
            if weights not in ("none", "balanced"):
                raise ValueError(
                    f'Found class_weights={weights!r}: expected "none", "balanced", a power, a list or a dict.'
                )
            weights = {"none": 0.0, "balanced": 1.0}[weights]
        if isinstance(weights, Mapping):
            if unknown := [name for name in weights if name not in class_names]:
                raise ValueError(
                    f"Found class weights for {', '.join(map(repr, unknown))}: expected names of classes, which are "
                    f"{', '.join(class_names)}."
                )
            weights = [weights.get(name, 1.0) for name in class_names]
        if isinstance(weights, int | float):
            weights = losses.median_frequency_weights(pixels(), weights) if weights else None
        options = {"reduction": self.reduction, "class_weights": weights, "label_smoothing": self.label_smoothing}
        return losses.LOSSES[self.loss](**options)


@contextlib.contextmanager
def _use_dtype_policy(precision):
    """Sets Keras' dtype policy for the layers that are made inside the block."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


#: The released nets' solver for FCN-32s on VGG16. Batch, learning rate, momentum, decay and reduction are those of
#: `fcn_keras.paper.RELEASED`.
_RELEASED = Recipe(
    net="FCN-32s",
    backbone="vgg16",
    epochs=12,  # 100,000 steps on SBD's 8,498 images
    batch=1,
    size=None,
    scales=None,
    upsampling="frozen",
    ema=None,
    class_weights="none",
    optimizer="caffe",
    learning_rate=1e-10,
    backbone_rate=1.0,
    momentum=0.99,
    decay=5e-4,
    reduction="sum",
)
#: Recipes of one net. "light" is for any pretrained backbone and any data. "cvpr" is the solver of the CVPR paper and
#: "released" that of the nets that the authors released, both for FCN-32s on VGG16.
RECIPES = {
    "light": Recipe(),
    "cvpr": dataclasses.replace(  # `fcn_keras.paper.CVPR`: the mean gradient of 20 images makes one step
        _RELEASED,
        epochs=175,
        accumulate=20,
        upsampling="learned_inner",
        learning_rate=1e-4,
        momentum=0.9,
        reduction="mean",
    ),
    "released": _RELEASED,
}


def find_recipe(recipe, table):
    """Returns a recipe: the argument itself, or if it is a name, the recipe of that name in a table."""
    if isinstance(recipe, str):
        if recipe not in table:
            kind = type(next(iter(table.values()))).__name__
            raise ValueError(f"Found recipe {recipe!r}: expected one of {', '.join(table)}, or a {kind}.")
        return table[recipe]
    return recipe
