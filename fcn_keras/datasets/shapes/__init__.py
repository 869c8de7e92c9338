"""Drawn scenes with exact masks: the data set of the chapters, which needs no download."""

from .builder import MASK_SCALES, Shapes, example_rng

__all__ = ["MASK_SCALES", "Shapes", "example_rng"]
