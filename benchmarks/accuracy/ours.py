"""This package: the recipe ``light`` of `fcn_keras.training`, unchanged."""

import dataclasses

from fcn_keras.training import RECIPES, train
from fcn_keras.training.recipes import DATA_FIELDS


def run(task, directory):
    """Trains FCN-8s by the task's recipe and measures it. A run that was killed continues.

    Args:
        task: A `Task`.
        directory: Folder of the run.

    Returns:
        Dict of ``metrics``, ``per_class_iou``, ``seconds_per_step``, ``parameters``.
    """
    data = task.batches, task.validation()  # which the task has cut and scaled; the recipe need not say how
    recipe = dataclasses.replace(task.recipe, **{field: getattr(RECIPES["light"], field) for field in DATA_FIELDS})
    options = {"class_names": task.class_names, "seed": task.seed, "validate_every": 0, "samples": 0}
    done = train(recipe, data, directory, **options)
    model = done.model()
    seconds = done.results()["training_seconds"] / task.steps
    found = task.measured(model.predict_on_batch)
    return {**found, "seconds_per_step": seconds, "parameters": model.count_params()}
