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

_NAMES = {
    "BilinearConv2DTranspose": "layers",
    "BilinearUpsampling2D": "layers",
    "CropLike": "layers",
    "PadToStride": "layers",
    "Backbone": "models",
    "FCN8s": "models",
    "FCN16s": "models",
    "FCN32s": "models",
    "MiniVGG": "models",
    "convolutionalize": "models",
    "load_model": "models",
    "upgrade": "models",
    "MaskRCNN": "instances",
    "PixelCrossentropy": "losses",
    "SegmentationMetrics": "metrics",
    "evaluate": "inference",
    "segment": "inference",
    "train": "training",
    "export_model": "export",
}
_ROOMS = (
    "cli",
    "datasets",
    "export",
    "geometry",
    "inference",
    "instances",
    "layers",
    "losses",
    "metrics",
    "models",
    "paper",
    "training",
    "visualization",
)
__all__ = [*_NAMES, *_ROOMS]
__version__ = "0.1.0"


def __getattr__(name):
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    if name in _NAMES:
        value = globals()[name] = getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
