"""The data set of the chapters: generated scenes with exact masks, which need no download."""

from .builder import MASK_SCALES, Shapes, make_rng

__all__ = ["MASK_SCALES", "Shapes", "make_rng"]
