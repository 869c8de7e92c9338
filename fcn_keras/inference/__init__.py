"""From a model to masks of one image, of a folder or of a video, and to the metrics of a data set."""

from .evaluate import evaluate, evaluate_masks
from .segment import predict_logits, predict_probabilities, segment

__all__ = ["evaluate", "evaluate_masks", "predict_logits", "predict_probabilities", "segment"]
