"""Layers that Keras lacks: bilinear upsampling, padding and cropping, dilated pooling, and preprocessing.

Two modules hold no layers but code that the whole package uses: ``_keras`` the private parts of Keras, and ``_xla`` the
compilation of losses and metrics.
"""

from .bilinear import Bilinear
from .cropping import CropLike
from .depthwise import BilinearDepthwiseConv2DTranspose
from .padding import PadEdges, PadToStride
from .pooling import DilatedPooling2D
from .preprocessing import Preprocessing
from .upsampling import BilinearConv2DTranspose, BilinearUpsampling2D

# fmt: off
__all__ = ["Bilinear", "BilinearConv2DTranspose", "BilinearDepthwiseConv2DTranspose", "BilinearUpsampling2D",
           "CropLike", "DilatedPooling2D", "PadEdges", "PadToStride", "Preprocessing"]
# fmt: on
