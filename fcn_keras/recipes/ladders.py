"""Schedules of a ladder: data, backbone, batch, epochs and learning rates. Measured for shapes and CamVid; not for VOC.

A recipe is a plain table; `ladder` turns it into a `fcn_keras.training.Ladder`. From the command line:
``python -m fcn_keras ladder shapes``.
"""

import dataclasses

from .. import datasets
from ..training import Ladder, Rung


@dataclasses.dataclass(frozen=True)
class LadderRecipe:
    """How a ladder is trained on one data set.

    Args:
        data: Name of the data set, for `fcn_keras.datasets.load`.
        backbone: Name of the backbone.
        rungs: The `fcn_keras.training.Rung` s, in order.
        batch: Images in a training batch.
        size: ``(height, width)`` of the training crops; None trains on whole images.
        scales: Range of the random scale; None trains without augmentation.
        validation_batch: Images in a validation batch; 1 where sizes differ.

    Example:

    >>> RECIPES["shapes"].backbone
    'mini_vgg'
    """

    data: str
    backbone: str
    rungs: tuple[Rung, ...]
    batch: int
    size: tuple[int, int] | None
    scales: tuple[float, float] | None
    validation_batch: int


def _rungs(*fixed_32s_16s_8s):
    names = ("FCN-32s-fixed", "FCN-32s", "FCN-16s", "FCN-8s")
    return tuple(Rung(name, *schedule) for name, schedule in zip(names, fixed_32s_16s_8s, strict=True))


# Epochs and learning rate of 32s-fixed, 32s, 16s and 8s. Crops of 240×336 fill MobileNetV2's frame: with its 16
# pixels of padding they are 256×352, a multiple of 32.
RECIPES = {
    "shapes": LadderRecipe(
        data="shapes",
        backbone="mini_vgg",
        rungs=_rungs((3, 3e-3), (6, 1e-3), (3, 5e-4), (3, 5e-4)),
        batch=8,
        size=None,
        scales=None,
        validation_batch=20,
    ),
    "camvid": LadderRecipe(
        data="camvid",
        backbone="mobilenet_v2",
        rungs=_rungs((3, 3e-3), (10, 5e-4), (4, 4e-4), (5, 4e-4)),
        batch=4,
        size=(240, 336),
        scales=(0.75, 1.5),
        validation_batch=4,
    ),
    "voc": LadderRecipe(
        data="voc",
        backbone="mobilenet_v2",
        rungs=_rungs((3, 3e-3), (10, 5e-4), (4, 4e-4), (5, 4e-4)),
        batch=4,
        size=(336, 336),
        scales=(0.75, 1.5),
        validation_batch=1,
    ),
}


def ladder(recipe, directory, *, source=None, data_dir=None, splits=("train", "validation"), seed=0, **options):
    """A ladder that follows a recipe.

    Args:
        recipe: A `LadderRecipe`, or a name in `RECIPES`; `dataclasses.replace` makes a changed one.
        directory: Folder of the run.
        source, data_dir: As in `fcn_keras.datasets.prepare`.
        splits: What to train on and what to measure on, such as ``("train[:100]", "test")``.
        seed: Seed of the run.
        **options: Passed on to `fcn_keras.training.Ladder`.

    Returns:
        A `fcn_keras.training.Ladder`; ``run()`` trains it.

    Raises:
        ValueError: If there is no such recipe, or its data cannot be had.

    Example:

    >>> table = ladder("shapes", "runs/shapes").run()  # doctest: +SKIP
    """
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise ValueError(f"Found recipe {recipe!r}: expected one of {', '.join(RECIPES)}, or a LadderRecipe.")
        recipe = RECIPES[recipe]
    shared = ("data", "batch", "size", "scales")
    settings = {name: getattr(recipe, name) for name in shared} | {"splits": list(splits)}
    names = datasets.class_names(recipe.data, source=source, data_dir=data_dir)

    def train(epoch_seed):
        augment = {} if recipe.scales is None else {"augment": True, "scales": recipe.scales, "size": recipe.size}
        return datasets.load(recipe.data, splits[0], data_dir=data_dir, batch=recipe.batch, seed=epoch_seed, **augment)

    validation = datasets.load(recipe.data, splits[1], data_dir=data_dir, batch=recipe.validation_batch)
    return Ladder(
        directory, recipe.rungs, train, validation, names, recipe.backbone, seed=seed, settings=settings, **options
    )
