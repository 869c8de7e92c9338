"""The authors' own nets, their released weights, their solver and their evaluation, exactly.

`fcn_keras.FCN8s` is the net to use; these are the nets to compare with.
"""

from .nets import FCN8s, FCN8sAtOnce, FCN16s, FCN32s, FCNAlexNet

__all__ = ["FCN8s", "FCN8sAtOnce", "FCN16s", "FCN32s", "FCNAlexNet"]
