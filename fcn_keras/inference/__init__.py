"""From a model to masks: one image, a folder, a film, and the metrics of a data set."""

from .evaluate import evaluate
from .segment import logits, probabilities, segment

__all__ = ["evaluate", "logits", "probabilities", "segment"]
