"""Exact reproductions of the nets that the authors released, and of their weights, solver and evaluation.

Use `fcn_keras.FCN8s` for your own work. The nets here are for comparison with the released ones.
"""

from .nets import CaffeFCN8s, CaffeFCN8sAtOnce, CaffeFCN16s, CaffeFCN32s, CaffeFCNAlexNet
from .seg11valid import Seg11validResult, evaluate_seg11valid
from .solver import CVPR, RELEASED, CaffeSGD, Schedule, convert_l2, convert_learning_rate
from .weight_conversion import load_caffemodel, load_state_dict, state_dict

__all__ = [
    "CVPR",
    "RELEASED",
    "CaffeFCN8s",
    "CaffeFCN8sAtOnce",
    "CaffeFCN16s",
    "CaffeFCN32s",
    "CaffeFCNAlexNet",
    "CaffeSGD",
    "Schedule",
    "Seg11validResult",
    "convert_l2",
    "convert_learning_rate",
    "evaluate_seg11valid",
    "load_caffemodel",
    "load_state_dict",
    "state_dict",
]
