"""Prepares, describes and loads the data of a run."""

import sys

import tensorflow as tf

from .. import datasets
from ..datasets.check import Finding


def prepare_splits(data, splits, **where):
    """Prepares each split, and returns its builder. Some splits of VOC have their own config."""
    return [datasets.prepare(data, datasets.find_config(data, split), **where) for split in splits]


def require_checked(builder, force=False):
    """Repeats what the check of a folder found when it was prepared, and raises an error if there are errors.

    Args:
        builder: The prepared builder. Only those of folders hold findings.
        force: Whether to go on in spite of errors.

    Returns:
        Dict for the settings of a run: with `force`, the kinds of errors that were overridden, as ``"forced"``.

    Raises:
        ValueError: If there are errors, and `force` is False.
    """
    findings = [Finding(**found) for found in builder.info.metadata.get("findings", [])]
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors and not force:
        fix = "correct the data; `fcn-keras check` tells more. Or train in spite of them with --force (force=True)."
        found = ["The check found errors that would make the results wrong.", *map(str, errors), f"Fix: {fix}"]
        raise ValueError("\n".join(found))
    for finding in findings:
        print(finding, file=sys.stderr, flush=True)
    return {"forced": sorted({error.kind for error in errors})} if errors else {}


def describe_splits(data, builders, splits):
    """Describes prepared data for the settings of a run.

    The full name of a folder's data changes with its files.
    """
    return {
        "data": data,
        "prepared": [builder.info.full_name for builder in builders],
        "splits": list(splits),
        "examples": [builder.info.splits[split].num_examples for builder, split in zip(builders, splits, strict=True)],
        "bytes": [int(builder.info.dataset_size) for builder in builders],
    }


def load_splits(recipe, builders, splits):
    """Loads the data of a recipe.

    Returns:
        A function from the seed of an epoch to its training batches; the validation batches; and a function without
        arguments to the training data without crops and augmentation, on which the pixels of the classes are counted.
    """
    color = 1.0 if recipe.color is None else recipe.color
    augment = {} if recipe.scales is None else {"augment": True, "scales": recipe.scales, "color": color}
    options = {"size": recipe.size, **augment, **recipe.augmentation}

    def batches(epoch_seed):
        return datasets.load(builders[0], splits[0], batch=recipe.batch, seed=epoch_seed, **options)

    validation = datasets.load(builders[1], splits[1], batch=recipe.validation_batch)
    return batches, validation, lambda: datasets.load(builders[0], splits[0])


def ensure_length(dataset, name):
    """Returns the dataset with its length, which `keras.Model.fit` and learning rate schedules need.

    If the dataset does not know its length, its elements are counted.

    Args:
        dataset: A `tf.data.Dataset`.
        name: What messages call the dataset.

    Raises:
        ValueError: If the dataset is infinite.

    Example:

    >>> len(ensure_length(tf.data.Dataset.range(10).filter(lambda number: number > 6), "training"))
    Counting the training batches, because their dataset does not know its length.
    3
    """
    length = int(dataset.cardinality())
    if length == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"Found {name} data without an end: expected a finite dataset. Fix: use dataset.take(n).")
    if length == tf.data.UNKNOWN_CARDINALITY:
        print(f"Counting the {name} batches, because their dataset does not know its length.", flush=True)
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(sum(1 for _ in dataset)))
    return dataset


def fix_batch_size(dataset):
    """Gives all batches the size of the first one, as several devices need it. The rest of an epoch is left out.

    Args:
        dataset: A `tf.data.Dataset` of batches.

    Example:

    >>> [len(batch) for batch in fix_batch_size(tf.data.Dataset.range(10).batch(4))]
    [4, 4]
    """
    specs = tf.nest.flatten(dataset.element_spec)
    if all(spec.shape.rank and spec.shape[0] for spec in specs):
        return dataset
    size = len(tf.nest.flatten(next(iter(dataset)))[0])
    return dataset.unbatch().batch(size, drop_remainder=True)
