"""How to train: schedules of a ladder (`RECIPES`, `ladder`) and of one net (`TRAIN_RECIPES`, `train`)."""

from .ladders import RECIPES, LadderRecipe, ladder
from .nets import TRAIN_RECIPES, Recipe, train

__all__ = ["RECIPES", "TRAIN_RECIPES", "LadderRecipe", "Recipe", "ladder", "train"]
