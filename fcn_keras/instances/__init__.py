"""Instance segmentation: Mask R-CNN, whose mask branch is a small FCN for each object.

Boxes are found first, then each gets a class and a mask, so that two objects of one class that touch stay two.
`MaskRCNN` learns from `load`, `segment_instances` finds the objects of an image, `average_precision` measures.

Reference: He, Gkioxari, Dollár & Girshick, *Mask R-CNN* (ICCV 2017).
"""

from .average_precision import average_precision, detect, evaluate
from .components import components, has_touching_twins
from .config import PAPER, Settings
from .data import load, open_source
from .inference import Instances, paste, segment_instances
from .model import MaskRCNN
from .sources import Source
from .training import InstanceRun, Recipe, train

__all__ = [
    "PAPER",
    "InstanceRun",
    "Instances",
    "MaskRCNN",
    "Recipe",
    "Settings",
    "Source",
    "average_precision",
    "components",
    "detect",
    "evaluate",
    "has_touching_twins",
    "load",
    "open_source",
    "paste",
    "segment_instances",
    "train",
]
