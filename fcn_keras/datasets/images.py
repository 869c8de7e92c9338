"""Reads images from files and arrays, checks that they are RGB in 0–255, and finds the image files in a folder."""

import os
import pathlib
import warnings

import numpy as np
import PIL.ExifTags
import PIL.Image
import PIL.ImageOps

from .._files import user_path
from ..layers.labels import to_numpy

# The endings of image files in folders; of images that this package does not read, but refuses by name; of videos.
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".npy")
UNREAD = (".heic", ".heif", ".avif", ".jp2", ".j2k", ".jpx", ".jxl", ".psd", ".svg", ".dng", ".cr2", ".cr3", ".nef")
UNREAD = (*UNREAD, ".arw", ".raf", ".orf", ".rw2")
VIDEOS = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".3gp")
SAVE = "Fix: save it as a JPEG, or as a PNG with 8 bits for each channel."
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")  # not EPS, for which Pillow would start Ghostscript


def read_image(source):
    """Reads one RGB image from a file or from an array, and checks it.

    A file must have one of the formats in `FORMATS`. The image is turned upright (EXIF orientation) and converted to
    RGB: palettes are replaced by their colours, grey is repeated for all channels, and transparent pixels get a white
    background. A file whose conversion would be a guess is refused: one with more than 8 bits for each channel, with
    several pictures, or with a fourth channel that is a measurement (such as near infrared) instead of transparency. If
    the header of a file declares more than twice ``PIL.Image.MAX_IMAGE_PIXELS`` pixels (179 million by default), the
    function raises an error before it decodes the file.

    Args:
        source: Path of an image file or a NumPy file, or array or tensor ``(H, W, 3)``, RGB, 0–255.

    Returns:
        Array ``(H, W, 3)``: uint8 from files and integers, float32 from floats. An array that already has this type is
        returned without a copy, so a `numpy.memmap` stays on the disk.

    Raises:
        ValueError: If the file is missing, is not a regular file (but a folder, a pipe or a device), is damaged, is too
            large, is not an image, or would be read by a guess, as described above; or if the array is not one RGB
            image in 0–255.

    Example:

    >>> read_image(np.zeros((5, 7, 3), "uint8")).shape
    (5, 7, 3)
    """
    if isinstance(source, (str, os.PathLike)):
        path = os.path.expanduser(source)
        if not str(path).lower().endswith(".npy") or not os.path.isfile(path):
            return _read_file(path)
        source = load_array(path)
    image = to_numpy(source)
    _check_shape(image.shape)
    _check_range(image)
    return image.astype("uint8" if np.issubdtype(image.dtype, np.integer) else "float32", copy=False)


def load_array(path):
    """Opens a NumPy file. Its values stay on the disk until they are used.

    Args:
        path: Path of a file that `numpy.save` has written.

    Returns:
        A `numpy.memmap`.

    Raises:
        ValueError: If the file is damaged, or holds objects instead of numbers.

    Example:

    >>> np.save("image.npy", np.zeros((5, 7, 3), "uint8"))
    >>> load_array("image.npy").shape
    (5, 7, 3)
    """
    try:
        return np.load(path, mmap_mode="r")
    except Exception as error:  # NumPy raises errors of many kinds
        raise ValueError(
            f"{str(path)!r} cannot be read as an image: it is damaged, or holds no array of numbers. Fix: write it "
            "with numpy.save."
        ) from error


def to_uint8(image):
    """Converts an image to uint8, if no information is lost.

    Data sets give images as float32. A black image with a few pixels of value 1 would then look like an image in the
    range 0–1. As uint8, its range is clear.

    Args:
        image: Array ``(H, W, 3)``, 0–255.

    Returns:
        uint8 array ``(H, W, 3)``; or the unchanged `image` if it contains fractions.

    Example:

    >>> to_uint8(np.ones((5, 7, 3), "float32")).dtype
    dtype('uint8')
    """
    exact = image.astype("uint8")
    return exact if (exact == image).all() else image


def walk(folder, onerror=None):
    """Goes through a folder and its subfolders. This package always uses this function to look through images.

    It skips hidden files and folders, whose names begin with a dot. It does not follow links to folders.

    Args:
        folder: Path of the folder.
        onerror: Function that is called with the `OSError` of each folder that cannot be read. With None, such folders
            are skipped.

    Yields:
        Paths of files, folders and links, sorted by folder and name.

    Example:

    >>> pathlib.Path("photos/day").mkdir(parents=True)
    >>> pathlib.Path("photos/day/a.jpg").touch()
    >>> [path.as_posix() for path in walk("photos")]
    ['photos/day', 'photos/day/a.jpg']
    """
    for place, folders, files in os.walk(user_path(folder), onerror=onerror):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (pathlib.Path(place) / name for name in sorted([*folders, *files]) if not name.startswith("."))


def list_images(folder, suffixes=SUFFIXES):
    """The image files in a folder and its subfolders, sorted.

    Args:
        folder: Path of the folder.
        suffixes: Endings of the files to take, in lower case. The endings of the files may be in capitals.

    Returns:
        List of paths.

    Example:

    >>> pathlib.Path("pictures").mkdir()
    >>> for name in ("b.PNG", "a.jpg", "notes.txt"):
    ...     pathlib.Path("pictures", name).touch()
    >>> [path.name for path in list_images("pictures")]
    ['a.jpg', 'b.PNG']
    """
    return sorted(path for path in walk(folder) if path.suffix.lower() in suffixes and not path.is_dir())


def read_orientation(file):
    """The EXIF orientation of an opened `PIL.Image.Image`, 1 to 8. It is 1 (upright) if the EXIF data are damaged."""
    try:
        return int(file.getexif().get(PIL.ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises errors of many kinds on damaged EXIF data
        return 1


def is_plain(path):
    """Whether an image file needs no conversion before TensorFlow decodes it: an upright, opaque RGB JPEG or PNG."""
    if pathlib.Path(path).suffix.lower() == ".npy":
        return False
    with PIL.Image.open(path) as file:
        plain = file.format in ("JPEG", "PNG") and file.mode == "RGB" and not file.has_transparency_data
        return plain and read_orientation(file) == 1


def put_on_white(image):
    """A transparent `PIL.Image.Image` on a white background, as an RGB image."""
    image = image.convert("RGBA")
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image).convert("RGB")


def is_deep(file):
    """Whether an opened `PIL.Image.Image` has more than 8 bits for each channel."""
    bits = max(file.tag_v2.get(258, (8,))) if file.format == "TIFF" else 8
    return bits > 8 or file.mode == "F" or file.mode.startswith("I") or any(";16" in str(tile[3]) for tile in file.tile)


def _read_file(path):
    if not os.path.isfile(path):
        raise ValueError(f"No image file at {path!r}. Fix: check the path and its spelling.")
    suffix = pathlib.Path(path).suffix.lower()
    if suffix in UNREAD:
        raise ValueError(f"{path!r} cannot be read as an image: the format {suffix} is not supported. {SAVE}")
    if suffix in VIDEOS:
        raise ValueError(f"{path!r} cannot be read as an image: it is a video. Fix: pass its path to `segment`.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # Pillow warns from half of the limit
            with PIL.Image.open(path, formats=FORMATS) as file:
                refused = _find_refusal(file)
                image = None if refused else PIL.ImageOps.exif_transpose(file)
    except PIL.Image.DecompressionBombError as error:
        raise ValueError(
            f"{path!r} is larger than Pillow reads from files of unknown origin: {error} Fix: if you trust the file, "
            "set PIL.Image.MAX_IMAGE_PIXELS = None, or pass an array, such as a numpy.memmap."
        ) from error
    except Exception as error:  # Pillow's decoders raise errors of many kinds on damaged files
        known = not isinstance(error, PIL.UnidentifiedImageError)
        found = "it is damaged or incomplete. Fix: restore it." if known else f"its format is not supported. {SAVE}"
        raise ValueError(f"{path!r} cannot be read as an image: {found}") from error
    if refused or (image.has_transparency_data and _is_measured(image)):
        found = refused or (
            "its last channel looks like a measurement, such as near infrared, instead of transparency. Fix: save only "
            "red, green and blue; or, to train on all channels, write ranges.txt with the line `0 255` for each."
        )
        raise ValueError(f"{path!r} cannot be read as an image: {found}")
    return np.asarray(put_on_white(image) if image.has_transparency_data else image.convert("RGB"))


def _find_refusal(file):
    """Says why an opened file would be read by a guess, or returns an empty string."""
    if is_deep(file):
        return "it holds more than 8 bits for each channel. Fix: scale it to 0–255 and save it with 8 bits."
    pictures = _count_pictures(file)
    return f"it holds {pictures} pictures, expected one. Fix: save each as a separate file." if pictures > 1 else ""


def _count_pictures(file):
    """Counts the pictures of an opened file. Previews (MPO, the format of phones) and smaller copies do not count."""
    pictures = getattr(file, "n_frames", 1)
    if file.format == "TIFF" and pictures > 1:
        kinds = []
        for number in range(pictures):
            file.seek(number)
            kinds.append(file.tag_v2.get(254, 0) & 5)  # NewSubfileType: 1 is a smaller copy, 4 is a mask
        file.seek(0)
        return sum(kind == 0 for kind in kinds)
    return 1 if file.format == "MPO" else pictures


def _is_measured(image):
    """Whether more than a fifth of an image is half transparent, as measurements are, but few cut-outs."""
    counts = image.convert("RGBA").getchannel("A").histogram()
    return sum(counts[1:255]) > 0.2 * sum(counts)


def _check_shape(shape):
    fix = ""
    if len(shape) == 2:
        fix = " Fix: for a grey image, np.stack([image] * 3, axis=-1)."
    elif len(shape) == 4:
        fix = " Fix: for a batch, pass its images one by one, image = batch[i]."
    elif len(shape) == 3 and shape[-1] == 1:
        fix = " Fix: for a grey image, np.repeat(image, 3, axis=-1)."
    elif len(shape) == 3 and shape[-1] == 4:
        fix = " Fix: for an image with alpha, image[..., :3]."
    elif len(shape) == 3 and shape[0] == 3:
        fix = " Fix: if channels come first, np.moveaxis(image, 0, -1)."
    if len(shape) != 3 or shape[-1] != 3:
        raise ValueError(f"The image has shape {shape}: expected (H, W, 3).{fix}")
    if 0 in shape:
        raise ValueError(f"The image is empty, of shape {shape}: expected at least 1×1 pixels.")


def _check_range(image):
    is_float = np.issubdtype(image.dtype, np.floating)
    if not is_float and not np.issubdtype(image.dtype, np.integer):
        raise ValueError(f"The image is of type {image.dtype}: expected uint8, or floats in 0–255.")
    low, high = float(image.min()), float(image.max())
    if not np.isfinite(low + high):
        raise ValueError("The image holds NaN or infinite values: expected numbers in 0–255.")
    if low < 0 or high > 255:
        raise ValueError(
            f"The image runs from {low:g} to {high:g}: expected 0–255. Fix: pass the image without preprocessing, "
            "because the model itself preprocesses it."
        )
    if is_float and 0 < high <= 1:
        raise ValueError(
            f"The image is of type {image.dtype} and runs from {low:g} to {high:g}: expected 0–255. Fix: pass "
            "255 * image, because the model itself preprocesses it."
        )
