"""fcn_keras: fully convolutional networks for semantic segmentation, in Keras 3.

>>> model = fcn_keras.FCN8s(num_classes=21, backbone="mini_vgg", weights=None)
>>> loss, metric = fcn_keras.losses.PixelCrossentropy(), fcn_keras.metrics.SegmentationMetrics(21)
>>> model.compile("adam", loss=loss, metrics=[metric])
>>> mask = fcn_keras.segment(model, np.zeros((100, 150, 3)))
>>> mask.shape
(100, 150)

Images are RGB in 0–255, ``(H, W, 3)``; masks hold integer class ids, ``(H, W)``, void is 255; models give logits
``(H, W, C)`` at the size of the image. The chapters under ``notebooks/`` tell the story.
"""

import importlib

try:
    from . import backbones, compiling, cost, framing, fusion, geometry, labels, losses, metrics, taps, upsampling
    from .backbones import MiniVGG
    from .convolutionalize import convolutionalize
    from .inference import segment
    from .models import FCN8s, FCN16s, FCN32s, refine
except ImportError as error:
    raise ImportError(
        f"fcn_keras could not import what it needs: {error}. "
        "Mend: run `make doctor` (or: python fcn_keras/doctor.py), which says what is missing."
    ) from error

__all__ = [
    "FCN8s",
    "FCN16s",
    "FCN32s",
    "MiniVGG",
    "backbones",
    "berkeley",
    "bulk",
    "checking",
    "cli",
    "compiling",
    "convolutionalize",
    "cost",
    "datasets",
    "distribution",
    "evaluation",
    "export",
    "exporting",
    "files",
    "folding",
    "framing",
    "fusion",
    "geometry",
    "inference",
    "instances",
    "labels",
    "loading",
    "losses",
    "mask_files",
    "metrics",
    "models",
    "pretrain",
    "rarefaction",
    "recipes",
    "refine",
    "segment",
    "superresolution",
    "taps",
    "training",
    "upsampling",
    "video",
    "visualization",
]
__version__ = "0.1.0"

# Rooms that few need, or that need tensorflow-datasets or matplotlib, load when they are first used.
_LAZY = (
    "berkeley",
    "bulk",
    "checking",
    "cli",
    "datasets",
    "distribution",
    "evaluation",
    "exporting",
    "files",
    "folding",
    "instances",
    "loading",
    "mask_files",
    "pretrain",
    "rarefaction",
    "recipes",
    "superresolution",
    "training",
    "video",
    "visualization",
)


def export(model, path, format=None, size=None, labels=False, calibration=None):
    """Writes a model for a runtime without Python; see `fcn_keras.exporting.export`, which this calls.

    Example:

    >>> model = fcn_keras.FCN8s(21, "mini_vgg", weights=None)
    >>> path = fcn_keras.export(model, "fcn8s.tflite", labels=True)
    """
    from .exporting import export

    return export(model, path, format, size, labels, calibration)


def __getattr__(name):
    if name in _LAZY:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
