"""Training that survives an interruption: of one net (`train`), or in the stages of Table 2 (`train_stages`).

Every name loads its module when it is first used. The recipes load neither Keras nor TensorFlow.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4.2–4.3 and Table 2.
"""

import importlib

_NAMES = {
    "PAPER_TABLE_2": "recipes",
    "RECIPES": "recipes",
    "STAGED_RECIPES": "staged_recipes",
    "LayerwiseAdamW": "optimizers",
    "LayerwiseSGD": "optimizers",
    "Polynomial": "optimizers",
    "Recipe": "recipes",
    "Run": "run",
    "Stage": "staged_recipes",
    "StagedRecipe": "staged_recipes",
    "StagedTraining": "stages",
    "layer_rates": "optimizers",
    "markdown_table": "stages",
    "train": "by_recipe",
    "train_stages": "by_recipe",
}
__all__ = sorted(_NAMES)


def __getattr__(name):
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)
    return value


def __dir__():
    return sorted({*globals(), *__all__})
