"""From a model to masks of one image, of a folder or of a video, and to the metrics of a data set."""

from .evaluate import evaluate
from .segment import predict_logits, predict_probabilities, segment

__all__ = ["evaluate", "predict_logits", "predict_probabilities", "segment"]
