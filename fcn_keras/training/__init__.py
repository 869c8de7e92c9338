"""Training that survives: one net in a folder (`Run`), and the stages of Table 2 on top of it (`StagedTraining`).

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4.2–4.3 and Table 2.
"""

from .optimizers import SGD, AdamW, Polynomial, layer_rates
from .recipes import RECIPES, Recipe, train
from .run import Run
from .staged_recipes import STAGED_RECIPES, StagedRecipe, train_stages
from .stages import PAPER_TABLE_2, STARTS_FROM, Stage, StagedTraining, markdown_table

__all__ = [
    "PAPER_TABLE_2",
    "RECIPES",
    "SGD",
    "STAGED_RECIPES",
    "STARTS_FROM",
    "AdamW",
    "Polynomial",
    "Recipe",
    "Run",
    "Stage",
    "StagedRecipe",
    "StagedTraining",
    "layer_rates",
    "markdown_table",
    "train",
    "train_stages",
]
