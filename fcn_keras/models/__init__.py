"""FCN-32s, FCN-16s and FCN-8s on any backbone, and functions that turn one network into another."""

from . import image_super_resolution, super_resolution
from .backbones import BACKBONES, Backbone
from .convolutionalize import convolutionalize
from .dilation import dilate, shift_and_stitch
from .fcn import FCN8s, FCN16s, FCN32s, upgrade
from .feature_layers import find_feature_layers
from .flops import macs
from .image_super_resolution import as_image, interpolated, pairs, quality, reduced, super_resolver
from .loading import load_model
from .mini_vgg import MiniVGG
from .super_resolution import super_resolution_fcn

__all__ = [
    "BACKBONES",
    "Backbone",
    "FCN8s",
    "FCN16s",
    "FCN32s",
    "MiniVGG",
    "as_image",
    "convolutionalize",
    "dilate",
    "find_feature_layers",
    "image_super_resolution",
    "interpolated",
    "load_model",
    "macs",
    "pairs",
    "quality",
    "reduced",
    "shift_and_stitch",
    "super_resolution",
    "super_resolution_fcn",
    "super_resolver",
    "upgrade",
]
