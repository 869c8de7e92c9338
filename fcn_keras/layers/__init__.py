"""Layers that Keras lacks: bilinear upsampling, padding and cropping, dilated pooling, and preprocessing."""

from .bilinear import Bilinear
from .cropping import CropLike
from .depthwise import BilinearDepthwiseConv2DTranspose
from .padding import PadEdges, PadToStride
from .pooling import DilatedPooling2D
from .preprocessing import Preprocessing
from .upsampling import BilinearConv2DTranspose, BilinearUpsampling2D

__all__ = [
    "Bilinear",
    "BilinearConv2DTranspose",
    "BilinearDepthwiseConv2DTranspose",
    "BilinearUpsampling2D",
    "CropLike",
    "DilatedPooling2D",
    "PadEdges",
    "PadToStride",
    "Preprocessing",
]
