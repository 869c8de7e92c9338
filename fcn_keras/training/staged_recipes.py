"""Schedules of a ladder: data, epochs and learning rates of each rung, and the recipe that the rungs share.

Measured for shapes and CamVid; voc on a part of it; paper, the authors' schedule on VGG16, on nothing yet. From the
command line: ``python -m fcn_keras train shapes --stages``.
"""

import dataclasses

from ..losses import count_pixels
from .recipes import RECIPES, Recipe, builders_of, load_splits, told_of
from .stages import Stage, StagedTraining


@dataclasses.dataclass(frozen=True)
class StagedRecipe:
    """How a ladder is trained on one data set.

    Args:
        data: Name of the data set, for `fcn_keras.datasets.load`.
        rungs: A `fcn_keras.training.Stage` for each step, in order.
        shared: The `Recipe` of what they have in common; net, epochs and learning rate are the rungs' own.
        splits: What to train on and what to measure on.

    Raises:
        ValueError: If `shared` asks for half precision, XLA, or batch normalisation that is trained: `train` has them,
            a ladder does not.

    Example:

    >>> STAGED_RECIPES["shapes"].shared.backbone
    'mini_vgg'
    """

    data: str
    rungs: tuple[Stage, ...]
    shared: Recipe
    splits: tuple[str, str] = ("train", "validation")

    def __post_init__(self):
        plain = {"precision": "float32", "jit_compile": False, "batch_norm": False}
        asked = {name: value for name in plain if (value := getattr(self.shared, name)) != plain[name]}
        if asked:
            raise ValueError(f"Found {asked} for a ladder: expected {plain}. Fix: train one net by `train`.")


def _rungs(*fixed_32s_16s_8s):
    names = ("FCN-32s-fixed", "FCN-32s", "FCN-16s", "FCN-8s")
    return tuple(Stage(name, *schedule) for name, schedule in zip(names, fixed_32s_16s_8s, strict=True))


# What chapter 5 shows: nothing but Adam, and a schedule.
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

#: Ladders by data set: epochs and learning rate of 32s-fixed, 32s, 16s and 8s.
STAGED_RECIPES = {
    "shapes": StagedRecipe("shapes", _rungs((3, 3e-3), (6, 1e-3), (3, 5e-4), (3, 5e-4)), PLAIN),
    "camvid": StagedRecipe("camvid", _rungs((4, 3e-3), (12, 1e-3), (6, 5e-4), (12, 5e-4)), RECIPES["light"]),
    "voc": StagedRecipe(
        "voc",
        _rungs((4, 3e-3), (12, 3e-3), (6, 1e-3), (6, 1e-3)),
        dataclasses.replace(RECIPES["light"], size=(336, 336), scales=(0.75, 1.5), backbone_rate=0.05),
    ),
    "paper": StagedRecipe(  # 100,000 steps each, on SBD's 8,498 images, are twelve epochs
        "voc",
        _rungs((12, 1e-10), (12, 1e-10), (12, 1e-12), (12, 1e-14)),
        RECIPES["paper"],
        splits=("sbd_train", "seg11valid"),
    ),
}


def train_stages(recipe, directory, *, source=None, data_dir=None, splits=None, seed=0, **options):
    """A ladder that follows a recipe.

    Args:
        recipe: A `StagedRecipe`, or a name in `STAGED_RECIPES`; `dataclasses.replace` makes a changed one.
        directory: Folder of the run.
        source, data_dir: As in `fcn_keras.datasets.prepare`.
        splits: What to train on and what to measure on, such as ``("train[:100]", "test")``; by default the recipe's.
        seed: Seed of the run.
        **options: Passed on to `fcn_keras.training.StagedTraining`.

    Returns:
        A `fcn_keras.training.StagedTraining`; ``run()`` trains it.

    Raises:
        ValueError: If there is no such recipe, or its data cannot be had.

    Example:

    >>> table = train_stages("shapes", "runs/shapes").run()  # doctest: +SKIP
    """
    if isinstance(recipe, str):
        if recipe not in STAGED_RECIPES:
            raise ValueError(
                f"Found recipe {recipe!r}: expected one of {', '.join(STAGED_RECIPES)}, or a StagedRecipe."
            )
        recipe = STAGED_RECIPES[recipe]
    splits, shared = splits or recipe.splits, recipe.shared
    builders = builders_of(recipe.data, splits, source=source, data_dir=data_dir)
    info = builders[0].info
    names = list(info.metadata["class_names"])
    batches, validation, counted = load_splits(shared, builders, splits)
    settings = shared.settings() | told_of(recipe.data, builders, splits)
    for own in ("net", "epochs", "learning_rate", "backbone", "weights"):  # the ladder's own, or each rung's
        del settings[own]
    return StagedTraining(
        directory,
        recipe.rungs,
        batches,
        validation,
        names,
        shared.backbone,
        weights=shared.weights,
        head=shared.head,
        upsampling=shared.upsampling,
        optimizer=lambda rate, model, steps: dataclasses.replace(shared, learning_rate=rate).optimizer_for(
            model, steps
        ),
        loss=shared.loss(lambda: count_pixels(counted(), len(names))),
        seed=seed,
        settings=settings,
        **options,
    )
