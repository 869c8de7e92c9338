"""The authors' own nets, their released weights, their solver and their evaluation, exactly.

`fcn_keras.FCN8s` is the net to use; these are the nets to compare with.
"""

from .nets import CaffeFCN8s, CaffeFCN8sAtOnce, CaffeFCN16s, CaffeFCN32s, CaffeFCNAlexNet
from .seg11valid import evaluate_seg11valid
from .solver import CVPR, RELEASED, CaffeSGD, mean_l2, mean_learning_rate
from .weights import load_caffemodel, load_state_dict, state_dict

__all__ = [
    "CVPR",
    "RELEASED",
    "CaffeFCN8s",
    "CaffeFCN8sAtOnce",
    "CaffeFCN16s",
    "CaffeFCN32s",
    "CaffeFCNAlexNet",
    "CaffeSGD",
    "evaluate_seg11valid",
    "load_caffemodel",
    "load_state_dict",
    "mean_l2",
    "mean_learning_rate",
    "state_dict",
]
