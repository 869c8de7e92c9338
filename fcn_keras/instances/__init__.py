"""Instance segmentation: Mask R-CNN, whose mask branch is a small FCN for each object.

Mask R-CNN finds boxes first. Then it predicts a class and a mask for each box. So two objects of the same class stay
two objects even if they touch. `MaskRCNN` is the network, `load` prepares its training data, `train` trains it,
`segment_instances` finds the objects of an image, and `average_precision` measures the result.

Reference: He, Gkioxari, Dollár & Girshick, *Mask R-CNN* (ICCV 2017).
"""

from .average_precision import average_precision, detect, evaluate
from .components import find_components, has_touching_twins
from .config import PAPER, MaskRCNNConfig
from .data import load, open_source
from .inference import Instances, paste_mask, segment_instances
from .model import MaskRCNN
from .sources import Source
from .training import InstanceRun, MaskRCNNRecipe, train

__all__ = [
    "PAPER",
    "InstanceRun",
    "Instances",
    "MaskRCNN",
    "MaskRCNNConfig",
    "MaskRCNNRecipe",
    "Source",
    "average_precision",
    "detect",
    "evaluate",
    "find_components",
    "has_touching_twins",
    "load",
    "open_source",
    "paste_mask",
    "segment_instances",
    "train",
]
