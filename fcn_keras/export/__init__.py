"""Models for runtimes without Python: SavedModel, ONNX, OpenVINO and LiteRT files, int8, and folded layers."""

from .folding import fold_batch_norm, fold_bilinear
from .formats import export_model

__all__ = ["export_model", "fold_batch_norm", "fold_bilinear"]
