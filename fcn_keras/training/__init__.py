"""Training that you can interrupt and continue: of one net (`train`), or in the stages of Table 2 (`prepare_stages`).

A module is loaded when you first use one of its names. The recipes load neither Keras nor TensorFlow.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4.2–4.3 and Table 2.
"""

import importlib

_NAMES = {
    "PAPER_TABLE_2": "recipes",
    "RELEASED_TABLE": "recipes",
    "RECIPES": "recipes",
    "STAGED_RECIPES": "stages",
    "LayerwiseAdamW": "optimizers",
    "LayerwiseSGD": "optimizers",
    "Polynomial": "optimizers",
    "Recipe": "recipes",
    "Run": "run",
    "Stage": "stages",
    "StagedRecipe": "stages",
    "StagedTraining": "staged_training",
    "make_layer_rates": "optimizers",
    "markdown_table": "staged_training",
    "prepare_stages": "staged_training",
    "train": "train_net",
}
__all__ = sorted(_NAMES)


def __getattr__(name):
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)
    return value


def __dir__():
    return sorted({*globals(), *__all__})
