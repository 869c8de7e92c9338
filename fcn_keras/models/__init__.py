"""FCN-32s, FCN-16s and FCN-8s on any backbone, and functions that turn one network into another."""

from .any_size import allow_any_size
from .backbones import BACKBONES, Backbone
from .convolutionalize import convolutionalize
from .dilation import dilate, shift_and_stitch
from .fcn import FCN4s, FCN8s, FCN16s, FCN32s, upgrade
from .feature_layers import find_feature_layers
from .fine_fcn import make_fine_fcn
from .flops import count_macs
from .loading import load_model
from .mini_vgg import MiniVGG
from .segmentation_model import SegmentationModel, with_classes
from .super_resolution import SuperResolver
from .transfer import start_from

# fmt: off
__all__ = ["BACKBONES", "Backbone", "FCN4s", "FCN8s", "FCN16s", "FCN32s", "MiniVGG", "SegmentationModel",
           "SuperResolver", "allow_any_size", "convolutionalize", "count_macs", "dilate", "find_feature_layers",
           "load_model", "make_fine_fcn", "shift_and_stitch", "start_from", "upgrade", "with_classes"]
# fmt: on
