"""Images with any number of channels, of 8 bits, 16 bits or floats, which are read as they are stored.

This is for measurements, such as infrared, depth or radar. They are PNG files of 8 or 16 bits (grey, with or without
alpha, RGB or RGBA), TIFF files of any number of bands, or NumPy files ``(H, W)`` or ``(H, W, channels)``. TIFF files
need ``pip install "fcn-keras[tiff]"``.

A range says which values of a channel a net sees as 0 and as 255. Values outside it are not cut. For ``uint8`` it is
0–255. For other types it is measured on the training images: from the smallest of their 0.1 percentiles to the largest
of their 99.9 percentiles. So a few broken pixels do not count. A file ``ranges.txt`` states the ranges instead.
"""

import os
import pathlib
import warnings

import numpy as np
import PIL.Image

from .._files import user_path
from ..layers.labels import to_numpy
from .classes import read_lines
from .images import FORMATS, is_deep, load_array, read_image

#: What `measure_levels` measures, in percent.
PERCENTILES = (0, 0.1, 99.9, 100)
TIFF = (".tif", ".tiff")


def read_pixels(source, ranges=None):
    """Reads one image for a net, and checks that it has the channels and the ranges of the net.

    Args:
        source: Path of an image file, or array or tensor ``(H, W, channels)``. One channel may also be ``(H, W)``.
        ranges: As `fcn_keras.models.channels.get_ranges` returns it. With None, the image is RGB in 0–255, and is read
            by `fcn_keras.datasets.images.read_image`.

    Returns:
        Array ``(H, W, channels)``.

    Raises:
        ValueError: If the file cannot be read, if the image has another number of channels, holds NaN or infinite
            values, or lies outside the ranges.

    Warns:
        UserWarning: If the image only fills the lowest 1/255 of the ranges.

    Example:

    >>> read_pixels(np.zeros((5, 7), "uint16"), [(0, 4095)]).shape
    (5, 7, 1)
    """
    if ranges is None:
        return read_image(source)
    is_file = isinstance(source, str | os.PathLike)
    image = read_stored(source) if is_file else _to_channels(to_numpy(source), "The image")
    what = f"{str(source)!r}" if is_file else "The image"
    if image.shape[-1] != len(ranges):
        first = image.shape[0] == len(ranges) and not is_file
        fix = "np.moveaxis(image, 0, -1)." if first else "give the net images like those that it was trained on."
        raise ValueError(f"{what} has the shape {image.shape}: expected (H, W, {len(ranges)}). Fix: {fix}")
    require_finite(image, what)
    _check_ranges(image, np.array(ranges, "float64").T, what)
    return image


def read_stored(path):
    """Reads an image file as it is stored.

    Args:
        path: Path of a PNG, TIFF or NumPy file. Files in other formats are read as RGB.

    Returns:
        Array ``(H, W, channels)`` of ``uint8``, ``uint16`` or ``float32``. Other types are converted to ``float32`` if
        it holds them.

    Raises:
        ValueError: If the file is missing, damaged or of another type, if it holds several pictures, or if a package
            that reads it is not installed.

    Example:

    >>> np.save("depth.npy", np.zeros((5, 7, 2), "uint16"))
    >>> read_stored("depth.npy").shape
    (5, 7, 2)
    """
    path = user_path(path)
    suffix = path.suffix.lower()
    if not path.is_file() or suffix not in (".npy", ".png", *TIFF):
        return read_image(path)
    if suffix == ".npy":
        return _to_channels(load_array(path), f"{str(path)!r}")
    try:
        image = _read_png(path) if suffix == ".png" else _read_tiff(path)
    except Exception as error:  # decoders raise errors of many kinds on damaged files
        found = str(error) if "Fix: " in str(error) else "it is damaged. Fix: restore it."
        if isinstance(error, ImportError) or "imagecodecs" in str(error):
            found = 'this kind of TIFF needs more packages. Fix: pip install "fcn-keras[tiff]".'
        raise ValueError(f"{str(path)!r} cannot be read as an image: {found}") from error
    return _to_channels(image, f"{str(path)!r}")


def holds_channels(path):
    """Whether a file has more than 8 bits, or more channels than a picture, and so can only be read as it is stored.

    Args:
        path: Path of the file. Only its header is read.

    Example:

    >>> np.save("depth.npy", np.zeros((5, 7), "uint16"))
    >>> holds_channels("depth.npy")
    True
    """
    suffix = pathlib.Path(path).suffix.lower()
    if suffix == ".npy":
        return True
    try:
        with PIL.Image.open(path, formats=FORMATS) as file:
            return suffix in (".png", *TIFF) and is_deep(file)
    except PIL.UnidentifiedImageError:
        return suffix in TIFF  # Pillow reads up to four bands
    except Exception:  # a damaged file, which is named when it is read
        return False


def find_stated_ranges(source, files):
    r"""Finds out how the images of a folder are to be read.

    Args:
        source: The folder.
        files: Paths of its images.

    Returns:
        None to read them as RGB in 0–255; a list of pairs, which ``ranges.txt`` states; or an empty list, if the first
        and the last file hold channels whose ranges are to be measured.

    Raises:
        ValueError: If a line of ``ranges.txt`` does not hold two numbers, the lower one first.

    Example:

    >>> _ = pathlib.Path("ranges.txt").write_text("0 255\n0.5 10")
    >>> find_stated_ranges(".", [])
    [[0.0, 255.0], [0.5, 10.0]]
    """
    path = user_path(source) / "ranges.txt"
    if not path.exists():
        return [] if files and all(holds_channels(file) for file in (files[0], files[-1])) else None
    ranges = []
    for number, line in enumerate(read_lines(path, "the lowest and the highest value of a channel in each line"), 1):
        try:
            low, high = map(float, line.split())
        except ValueError:
            low, high = 0, 0
        if not -np.inf < low < high < np.inf:
            raise ValueError(f"line {number} is {line!r}: expected two numbers, such as 0 255, the lower one first")
        ranges.append([low, high])
    return ranges


def measure_levels(image):
    """Measures the `PERCENTILES` of each channel.

    Args:
        image: Array ``(H, W, channels)``.

    Returns:
        Array ``(4, channels)``.

    Example:

    >>> measure_levels(np.arange(10_000).reshape(100, 100, 1))[:, 0].round().tolist()
    [0.0, 10.0, 9989.0, 9999.0]
    """
    return np.percentile(image, PERCENTILES, axis=(0, 1))


def choose_ranges(levels):
    """The ranges of channels.

    Args:
        levels: List of what `measure_levels` returned for each training image.

    Returns:
        List of pairs. If a channel has the same value in nearly all pixels, its range goes from the smallest to the
        largest value.

    Example:

    >>> choose_ranges([[[0], [10], [90], [100]], [[0], [5], [80], [4000]]])
    [[5.0, 90.0]]
    """
    smallest, largest = np.min(levels, axis=0), np.max(levels, axis=0)
    inner, outer = np.stack([smallest[1], largest[2]], 1), np.stack([smallest[0], largest[3]], 1)
    pairs = np.where(inner[:, :1] < inner[:, 1:], inner, outer).tolist()
    return [[float(low), float(high if low < high else low + 1)] for low, high in pairs]


def describe_ranges(ranges):
    """Says in words what `ranges` are.

    Example:

    >>> describe_ranges([(0, 255), (0, 255), (0.5, 10)])
    '3 channels, from low to high: 0–255, 0–255, 0.5–10'
    """
    pairs = ", ".join(f"{low:.6g}–{high:.6g}" for low, high in ranges)
    return f"{len(ranges)} channel{'s' * (len(ranges) > 1)}, from low to high: {pairs}"


def make_preview(image, ranges=None):
    """An RGB picture of an image: its first three channels, or its first channel as grey.

    Args:
        image: Array ``(H, W, channels)``.
        ranges: The values of each channel that become 0 and 255. With None, the image is returned unchanged.

    Returns:
        uint8 array ``(H, W, 3)``.

    Example:

    >>> make_preview(np.array([[[0], [5]]]), [(0, 10)])[..., 0].tolist()
    [[0, 128]]
    """
    if ranges is None:
        return image
    low, high = np.array(ranges, "float64").T
    shown = [0, 1, 2] if len(low) > 2 else [0, 0, 0]
    part = (image[..., shown].astype("float32") - low[shown]) / np.maximum(high - low, 1e-30)[shown]
    return np.rint(255 * np.clip(part, 0, 1)).astype("uint8")


def require_finite(image, what):
    """Raises a ValueError if an array of floats holds NaN or infinite values."""
    if image.dtype.kind == "f" and not np.isfinite(image.min() + image.max()):
        share = np.mean(~np.isfinite(image).all(axis=-1))
        raise ValueError(
            f"{what} holds NaN or infinite values in {share:.2%} of its pixels: expected numbers. Fix: replace them, "
            "such as by the mean of the channel, and write void, 255, into these pixels of the mask."
        )


def _to_channels(image, what):
    image = image[..., None] if image.ndim == 2 else image
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"{what} has the shape {image.shape}: expected (H, W, channels). Fix: one image at a time.")
    if image.dtype in ("uint8", "uint16"):
        return image.astype(image.dtype.newbyteorder("="), copy=False)
    if image.dtype.kind != "f" and not np.can_cast(image.dtype, "float32"):
        raise ValueError(
            f"{what} holds numbers of type {image.dtype}: expected uint8, uint16 or float32. Fix: convert them, for "
            'example by image.astype("float32").'
        )
    return image.astype("float32", copy=False)


def _check_ranges(image, limits, what):
    (low, high), part = limits, image[:: max(1, len(image) // 512), :: max(1, image.shape[1] // 512)]
    told = f"{what} is of type {image.dtype} and runs from {image.min():g} to {image.max():g}"
    wanted = f"expected {describe_ranges(limits.T)}"
    outside = np.mean((part < 2 * low - high) | (part > 2 * high - low))  # by more than the length of the range
    if outside > 0.5 or (image.dtype == "uint8" and high.max() > 255):
        raise ValueError(f"{told}: {wanted}. Fix: pass the values as they are in the training images, without scaling.")
    if 0 < np.max((part - low) / (high - low)) <= 1 / 255:
        warnings.warn(f"{told}: {wanted}. It only fills the lowest 1/255 of them. Was it scaled?", stacklevel=4)


def _read_png(path):
    import tensorflow as tf  # Pillow cuts the colours of 16 bits to 8

    data = path.read_bytes()
    with tf.device("CPU"):
        return tf.io.decode_png(data, channels=0, dtype="uint16" if data[24] == 16 else "uint8").numpy()


def _read_tiff(path):
    import tifffile

    with tifffile.TiffFile(path) as file:  # smaller copies and masks of an image do not count
        series = [each for each in file.series if not each.keyframe.subfiletype & 5]
        axes = series[0].axes
        if len(series) > 1 or axes not in ("YX", "YXS", "SYX", "CYX"):
            raise ValueError(f"it holds several pictures ({axes}), expected one. Fix: save each as a separate file.")
        pixels = series[0].asarray()
    return np.moveaxis(pixels, 0, -1) if axes[0] in "SC" else pixels
