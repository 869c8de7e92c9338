"""Files and arrays become images: RGB, 0-255, `(H, W, 3)`, checked."""

import os
import warnings

import numpy as np
from PIL import Image, ImageOps

from ..layers.labels import to_numpy

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")  # what is looked for in folders
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")  # Pillow would start Ghostscript for an EPS file


def read_image(source):
    """Reads one RGB image, from a file or from an array, and checks it.

    A file, of one of the kinds in `FORMATS`, is turned upright (EXIF orientation) and converted to
    RGB: palettes are looked up, grey is repeated, transparent pixels show white. A file that
    declares more pixels than twice `PIL.Image.MAX_IMAGE_PIXELS`, 179 million as PIL comes, is
    refused by its header alone: 8,000 x 6,000 is read, and 10^9 pixels only where you set
    ``PIL.Image.MAX_IMAGE_PIXELS = 500_000_000``.

    Args:
        source: Path of an image file, or array or tensor `(H, W, 3)`, RGB, 0-255.

    Returns:
        Array `(H, W, 3)`: `uint8` from files and integers, `float32` from floats. An array of that
        type is returned as it is, not copied: a `numpy.memmap` stays on the disk.

    Raises:
        ValueError: The file is missing, no regular file (a folder, a pipe, a device), damaged, too
            large or not an image, or the array is not one RGB image in 0-255.

    Example:
        >>> read_image(np.zeros((5, 7, 3), "uint8")).shape
        (5, 7, 3)
    """
    if isinstance(source, (str, os.PathLike)):
        return _read_file(os.path.expanduser(source))
    image = to_numpy(source)
    _check_shape(image.shape)
    _check_range(image)
    return image.astype("uint8" if np.issubdtype(image.dtype, np.integer) else "float32", copy=False)


def as_bytes(image):
    """An image as `uint8` where that loses nothing: a night of zeros and ones would be taken for an image in 0-1.

    Args:
        image: Array `(H, W, 3)`, 0-255, as data sets give it: `float32`.

    Returns:
        Array `(H, W, 3)`, `uint8`; or `image` as it is, where it holds fractions.

    Example:
        >>> as_bytes(np.ones((5, 7, 3), "float32")).dtype
        dtype('uint8')
    """
    exact = image.astype("uint8")
    return exact if (exact == image).all() else image


def _read_file(path):
    if not os.path.isfile(path):
        raise ValueError(f"No image file at {os.fspath(path)!r}. Check the path and its spelling.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # from half of what is refused
            with Image.open(path, formats=FORMATS) as file:
                image = ImageOps.exif_transpose(file)
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{os.fspath(path)!r} is larger than PIL reads from files of unknown origin: {error} If you trust"
            " it: PIL.Image.MAX_IMAGE_PIXELS = None, or pass an array, such as a numpy.memmap."
        ) from error
    except Exception as error:  # PIL's decoders raise errors of many kinds on damaged files
        raise ValueError(f"{os.fspath(path)!r} cannot be read as an image: {error}") from error
    if image.mode == "F" or image.mode.startswith("I"):
        raise ValueError(
            f"{os.fspath(path)!r} holds grey levels of more than 8 bits (mode {image.mode!r}). Read"
            " it with PIL, scale it to 0-255 and pass the array (H, W, 3)."
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def _check_shape(shape):
    mend = ""
    if len(shape) == 2:
        mend = " A grey image: np.stack([image] * 3, axis=-1)."
    elif len(shape) == 4:
        mend = " A batch: pass its images one by one, image = batch[i]."
    elif len(shape) == 3 and shape[-1] == 1:
        mend = " A grey image: np.repeat(image, 3, axis=-1)."
    elif len(shape) == 3 and shape[-1] == 4:
        mend = " An image with alpha: image[..., :3]."
    elif len(shape) == 3 and shape[0] == 3:
        mend = " Channels come first: np.moveaxis(image, 0, -1)."
    if len(shape) != 3 or shape[-1] != 3:
        raise ValueError(f"The image has shape {shape}; expected (H, W, 3).{mend}")
    if 0 in shape:
        raise ValueError(f"The image is empty: shape {shape}; expected at least 1 x 1 pixels.")


def _check_range(image):
    is_float = np.issubdtype(image.dtype, np.floating)
    if not is_float and not np.issubdtype(image.dtype, np.integer):
        raise ValueError(f"The image is of type {image.dtype}; expected uint8, or floats in 0-255.")
    low, high = float(image.min()), float(image.max())
    if not np.isfinite(low + high):
        raise ValueError("The image holds NaN or infinite values; expected numbers in 0-255.")
    if low < 0 or high > 255:
        raise ValueError(
            f"The image runs from {low:g} to {high:g}; expected 0-255. Pass the image as it was"
            " before preprocessing: the model preprocesses by itself."
        )
    if is_float and 0 < high <= 1:
        raise ValueError(
            f"The image is of type {image.dtype} and runs from {low:g} to {high:g}; expected 0-255."
            " Pass 255 * image: the model preprocesses by itself."
        )
