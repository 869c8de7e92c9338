"""Weights and activations in 8 bits, for ONNX and LiteRT: calibration on images."""

import os

import numpy as np
from PIL import Image, ImageOps

from ..datasets.channels import read_pixels

LONGEST = 1024  # pixels. Larger images, such as photographs of phones, would fill the memory.


def require_images(calibration):
    """Raises a ValueError unless `calibration` is a list of images, or an array ``(N, H, W, 3)``."""
    if not (isinstance(calibration, list | tuple) or getattr(calibration, "ndim", 0) == 4):
        found = type(calibration).__name__
        raise ValueError(f"Found calibration of type {found}: expected a list of images, paths or arrays (H, W, 3).")
    if len(calibration) == 0:
        raise ValueError("Found no image to calibrate with: expected images like those that the model will see.")


def read_calibration_images(images, size, ranges=None):
    """Reads images, and scales and cuts them to the size that a model takes.

    Args:
        images: List of paths and arrays ``(H, W, 3)``, RGB, 0–255, of any size; or as the model takes them.
        size: ``(height, width)``: each image is scaled until it covers this size, and cut to it on both sides. If one
            of the two is None, images with a side of more than `LONGEST` pixels are scaled down.
        ranges: As in `fcn_keras.datasets.channels.read_pixels`.

    Returns:
        List of arrays ``(1, H, W, channels)``, uint8 if the images are, else float32.

    Raises:
        ValueError: If an image cannot be read; the message names the file.

    Example:

    >>> tall = np.zeros((300, 100, 3), "uint8")
    >>> [read_calibration_images([tall], size)[0].shape for size in [(50, 50), (None, None)]]
    [(1, 50, 50, 3), (1, 300, 100, 3)]
    """
    found = []
    for image in images:
        pixels = read_pixels(image, ranges)
        pixels = pixels if pixels.dtype == "uint8" else pixels.astype("float32")
        channels = [Image.fromarray(pixels[..., i]) for i in range(pixels.shape[-1])]
        for i, channel in enumerate(channels):
            if None in size:
                channel.thumbnail((LONGEST, LONGEST), Image.Resampling.BILINEAR)
            else:
                channels[i] = ImageOps.fit(channel, size[::-1], Image.Resampling.BILINEAR)
        found.append(np.stack(channels, axis=-1)[None])
    return found


def quantize_onnx(path, images):
    """Replaces an ONNX file by one whose convolutions are int8: weights channel by channel, activations as observed.

    Args:
        path: The file, with a float32 input ``image``. The function writes other files next to it.
        images: As `read_calibration_images` returns them.
    """
    from onnxruntime import quantization

    class Images(quantization.CalibrationDataReader):
        def __init__(self):
            self.batches = ({"image": image.astype("float32")} for image in images)

        def get_next(self):
            return next(self.batches, None)

    whole = path.with_name("float32.onnx")
    os.replace(path, whole)
    prepared = path.with_name("prepared.onnx")
    quantization.quant_pre_process(whole, prepared, skip_symbolic_shape=True)
    quantization.quantize_static(
        prepared, path, Images(), op_types_to_quantize=["Conv"], per_channel=True, reduce_range=False
    )


def make_litert_options(images):
    """Returns the options with which `keras.Model.export` writes an int8 LiteRT file.

    Args:
        images: As `read_calibration_images` returns them.
    """
    import tensorflow as tf

    return {
        "optimizations": [tf.lite.Optimize.DEFAULT],
        "representative_dataset": lambda: ([image.astype("float32")] for image in images),
    }
