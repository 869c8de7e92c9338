"""The stages of Table 2, and the recipes of staged training.

We have measured the recipes for shapes and CamVid, and the recipe for VOC on a part of VOC. We have not measured
"cvpr" and "released", the authors' two schedules on VGG16. Importing this module imports neither Keras nor TensorFlow.
"""

import dataclasses

from .recipes import PAPER_TABLE_2, RECIPES, Recipe


@dataclasses.dataclass(frozen=True)
class Stage:
    """One line of Table 2: a net, and how long and at which learning rate it is trained.

    Args:
        name: ``"FCN-32s-fixed"`` (only its score layer is trained), ``"FCN-32s"``, ``"FCN-16s"`` (which starts from the
            FCN-32s of an earlier stage), ``"FCN-8s"`` (which starts from the FCN-16s) or ``"FCN-8s-at-once"`` (which
            starts from the classifier, with scaled skips).
        epochs: Passes over the training data.
        learning_rate: Initial learning rate.

    Raises:
        ValueError: If there is no such stage.

    Example:

    >>> Stage("FCN-16s", epochs=6, learning_rate=3e-4)
    Stage(name='FCN-16s', epochs=6, learning_rate=0.0003)
    """

    name: str
    epochs: int
    learning_rate: float

    def __post_init__(self):
        if self.name not in (*PAPER_TABLE_2, "FCN-8s-at-once"):
            raise ValueError(f"Found stage {self.name!r}: expected one of {', '.join(PAPER_TABLE_2)}, FCN-8s-at-once.")


@dataclasses.dataclass(frozen=True)
class StagedRecipe:
    """How the stages are trained on one data set.

    Args:
        data: Name of the data set, as in `fcn_keras.datasets.load`.
        stages: The `Stage` objects, in order.
        shared: The `Recipe` that the stages share. Each stage has its own net, epochs and learning rate.
        splits: The split to train on and the split to measure on.
        published: The published numbers to print next to ours: ``"cvpr"`` or ``"released"``.

    Raises:
        ValueError: If `shared` asks for half precision, XLA or trained batch normalisation, which only
            `fcn_keras.train` supports.

    Example:

    >>> STAGED_RECIPES["shapes"].shared.backbone
    'mini_vgg'
    """

    data: str
    stages: tuple[Stage, ...]
    shared: Recipe
    splits: tuple[str, str] = ("train", "validation")
    published: str = "cvpr"

    def __post_init__(self):
        plain = {"precision": "float32", "jit_compile": False, "batch_norm": False}
        asked = {name: value for name in plain if (value := getattr(self.shared, name)) != plain[name]}
        if asked:
            raise ValueError(f"Found {asked} for staged training: expected {plain}. Fix: train one net with train.")


def _stages(*fixed_32s_16s_8s):
    return tuple(Stage(name, *schedule) for name, schedule in zip(PAPER_TABLE_2, fixed_32s_16s_8s, strict=True))


# Only Adam and a schedule, as chapter 5 explains them.
PLAIN = Recipe(
    backbone="mini_vgg",
    upsampling="frozen",
    batch=8,
    validation_batch=20,
    size=None,
    scales=None,
    backbone_rate=1.0,
    decay=0.0,
    ema=None,
    class_weights="none",
)

#: Recipes by name, with epochs and learning rate of FCN-32s-fixed, FCN-32s, FCN-16s and FCN-8s.
STAGED_RECIPES = {
    "shapes": StagedRecipe("shapes", _stages((3, 3e-3), (6, 1e-3), (3, 5e-4), (3, 5e-4)), PLAIN),
    "camvid": StagedRecipe("camvid", _stages((4, 3e-3), (12, 1e-3), (6, 5e-4), (12, 5e-4)), RECIPES["light"]),
    "voc": StagedRecipe(
        "voc",
        _stages((4, 3e-3), (12, 3e-3), (6, 1e-3), (6, 1e-3)),
        dataclasses.replace(RECIPES["light"], size=(336, 336), scales=(0.75, 1.5), backbone_rate=0.05),
    ),
    # The paper gives 175 epochs for FCN-32s, which took three days. An upgrade took about a day, so it has a third. It
    # gives no epochs for FCN-32s-fixed, which has those of FCN-32s.
    "cvpr": StagedRecipe(
        "voc",
        _stages((175, 1e-4), (175, 1e-4), (58, 1e-6), (58, 1e-8)),
        RECIPES["cvpr"],
        splits=("sbd_train", "seg11valid"),
    ),
    "released": StagedRecipe(  # 100,000 steps for each stage are twelve epochs of SBD's 8,498 images
        "voc",
        _stages((12, 1e-10), (12, 1e-10), (12, 1e-12), (12, 1e-14)),
        RECIPES["released"],
        splits=("sbd_train", "seg11valid"),
        published="released",
    ),
}
