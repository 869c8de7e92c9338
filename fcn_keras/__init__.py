"""fcn_keras: fully convolutional networks for semantic segmentation, in Keras 3.

>>> model = fcn_keras.FCN8s(num_classes=21, backbone="mini_vgg", weights=None)
>>> loss, metric = fcn_keras.losses.PixelCrossentropy(), fcn_keras.metrics.SegmentationMetrics(21)
>>> model.compile("adam", loss=loss, metrics=[metric])
>>> mask = fcn_keras.segment(model, np.zeros((100, 150, 3)))
>>> mask.shape
(100, 150)

Images are RGB in 0–255, ``(H, W, 3)``; masks hold integer class ids, ``(H, W)``, void is 255; models give logits
``(H, W, C)`` at the size of the image. The chapters under ``notebooks/`` tell the story.

Importing the package imports neither Keras nor TensorFlow: every name loads when it is first used (PEP 562).
"""

import importlib
import importlib.util
import sys
import threading

__version__ = "0.1.0"

_NAMES = {
    "Backbone": "models",
    "BilinearConv2DTranspose": "layers",
    "BilinearUpsampling2D": "layers",
    "CropLike": "layers",
    "FCN8s": "models",
    "FCN16s": "models",
    "FCN32s": "models",
    "MaskRCNN": "instances",
    "MiniVGG": "models",
    "PadToStride": "layers",
    "PixelCrossentropy": "losses",
    "SegmentationMetrics": "metrics",
    "convolutionalize": "models",
    "evaluate": "inference",
    "export_model": "export",
    "load_model": "models",
    "segment": "inference",
    "train": "training",
    "upgrade": "models",
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
__all__ = sorted([*_NAMES, *_ROOMS])


def __getattr__(name):
    if name not in _NAMES and name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f".{_NAMES.get(name, name)}", __name__)
    except AttributeError as error:  # without this, `from fcn_keras import FCN8s` would say that there is no such name
        raise ImportError(f"{error.__class__.__name__} while importing fcn_keras.{name}: {error}") from error
    value = getattr(module, name) if name in _NAMES else module
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})


# A .keras file stores the registered names of its classes, and `keras.models.load_model` only knows a class after its
# module has been imported. We therefore put a stand-in for each of our classes into Keras' registry. The stand-in
# imports the class when a file needs it, so users only have to `import fcn_keras`.
_REGISTERED = {
    "instances.model": ("MaskRCNN",),
    "layers.bilinear": ("Bilinear",),
    "layers.cropping": ("CropLike",),
    "layers.depthwise": ("BilinearDepthwiseConv2DTranspose",),
    "layers.padding": ("PadEdges", "PadToStride"),
    "layers.pooling": ("DilatedPooling2D",),
    "layers.preprocessing": ("Preprocessing",),
    "layers.upsampling": ("BilinearConv2DTranspose", "BilinearUpsampling2D"),
    "losses": ("PixelCrossentropy", "PixelDice", "PixelFocalCrossentropy"),
    "models.segmentation_model": ("SegmentationModel",),
    "metrics": ("SegmentationMetrics",),
    "paper.nets": ("LocalResponseNormalization",),
    "paper.solver": ("CaffeSGD",),
    "training.global_losses": ("GlobalPixelCrossentropy", "GlobalPixelFocalCrossentropy"),
    "training.optimizers": ("AdamW", "Polynomial", "SGD"),
}


class _StandIn:
    """Stands in Keras' registry for a class whose module is not imported yet; importing it replaces the stand-in."""

    def __init__(self, name, module):
        self.name, self.module = name, module

    def __repr__(self):
        return f"<{self.name} in {__name__}.{self.module}>"

    def from_config(self, config):
        from keras.saving import get_custom_objects

        importlib.import_module(f".{self.module}", __name__)
        return get_custom_objects()[self.name].from_config(config)


def _register(keras):
    registry = keras.saving.get_custom_objects()
    for module, classes in _REGISTERED.items():
        for name in (f"fcn_keras>{name}" for name in classes):
            registry.setdefault(name, _StandIn(name, module))


class _AfterKeras:
    """A finder that registers our classes as soon as Keras has been imported, and then removes itself."""

    def __init__(self):
        self.here = threading.local()

    def find_spec(self, name, path=None, target=None):
        if name != "keras" or getattr(self.here, "asking", False):
            return None
        self.here.asking = True  # `find_spec` asks every finder, and this one must not answer its own question
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.here.asking = False
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = self._then_register(spec.loader)
        return spec

    def _then_register(self, loader):
        execute = loader.exec_module

        def exec_module(module):
            execute(module)
            if module.__name__ == "keras":
                # Make a new list, because another thread may be iterating over this one. Import nothing here: other
                # threads may hold the locks of other modules while they wait for the lock of this one.
                sys.meta_path = [finder for finder in sys.meta_path if finder is not self]
                _register(module)

        return exec_module


if sys.modules.get("keras"):
    _register(importlib.import_module("keras"))  # if another thread is importing Keras, this waits until it is done
else:
    sys.meta_path.insert(0, _AfterKeras())
