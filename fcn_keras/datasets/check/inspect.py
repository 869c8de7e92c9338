"""Opens an image and its mask, finds problems in them, and collects statistics for the checks of the whole set."""

import dataclasses
import hashlib
import os
import stat

import numpy as np
import PIL.Image
import tensorflow as tf

from ...layers.labels import VOID
from ..channels import make_preview, measure_levels, read_stored, require_finite
from ..images import is_plain, read_image, read_orientation
from ..masks import read_mask, read_two_levels
from .interpolation import find_between, is_interpolated, measure_interpolation


@dataclasses.dataclass
class View:
    """What `inspect_pair` found out about an image and its mask.

    Args:
        pair: The `fcn_keras.datasets.check.layouts.Pair`.
        problems: Triples ``(kind, path, detail)``, of the kinds in `fcn_keras.datasets.check.finding_kinds`.
        size: Height and width of the image. This and the following values are None if the file cannot be read.
        digest: Hash of the decoded pixels.
        thumbnail: See `make_thumbnail`.
        pixels: Number of pixels of each id, 256 numbers.
        palette: Colour of each id that occurs. It is empty if the file has no palette.
        thin: Number of pixels of each id that lie between two other ids, as `find_between` finds them.
        unnamed_void: Number of pixels with the value 255 that no line of ``classes.txt`` names.
        object_level: In masks of two values, the value of the object in the file. None if it does not occur.
        channels: Number and type of the channels. None for RGB images.
        levels: What `fcn_keras.datasets.channels.measure_levels` measured, or None.
    """

    pair: object
    problems: list
    size: tuple | None = None
    digest: str | None = None
    thumbnail: np.ndarray | None = None
    pixels: np.ndarray | None = None
    palette: dict = dataclasses.field(default_factory=dict)
    thin: np.ndarray | None = None
    unnamed_void: int = 0
    object_level: int | None = None
    channels: tuple | None = None
    levels: np.ndarray | None = None


def inspect_pair(pair, layout):
    """Opens an image and its mask.

    Args:
        pair: A `fcn_keras.datasets.check.layouts.Pair`.
        layout: The `fcn_keras.datasets.check.layouts.Layout` that it belongs to.

    Returns:
        A `View`. Bad files do not raise errors, but become problems in it.

    Example:

    >>> view = inspect_pair(layout.pairs[0], layout)  # doctest: +SKIP
    >>> view.problems  # doctest: +SKIP
    []
    """
    view = View(pair, [])

    def problems_of(path):
        return lambda kind, detail="": view.problems.append((kind, path, detail))

    image = _inspect_image(pair.image, layout, view, problems_of(pair.image))
    ids = _inspect_mask(pair.mask, layout, view, problems_of(pair.mask))
    if image is not None:
        view.size = image.shape[:2]
        view.digest = hashlib.sha256(np.ascontiguousarray(image)).hexdigest() + str(image.shape)
        view.thumbnail = make_thumbnail(make_preview(image, None if view.levels is None else view.levels[[0, 3]].T))
    if image is not None and ids is not None and ids.shape != view.size:
        detail = f"image {image.shape[0]}×{image.shape[1]}, mask {ids.shape[0]}×{ids.shape[1]}"
        if ids.shape == image.shape[1::-1] and layout.ranges is None:
            with PIL.Image.open(pair.image) as file:
                if read_orientation(file) > 4:
                    detail += ": the mask was drawn on the image before EXIF turned it"
        view.problems.append(("size", pair.image, detail))
    return view


def make_thumbnail(pixels):
    """A vector of 256 grey levels, centred and with norm 1, which hardly depends on a picture's size and encoding.

    Args:
        pixels: uint8 array ``(H, W, 3)``.

    Returns:
        float32 array ``(256,)``, or None if the picture has almost the same grey everywhere.

    Example:

    >>> make_thumbnail(np.zeros((32, 32, 3), "uint8")) is None
    True
    """
    small = PIL.Image.fromarray(pixels).convert("L").resize((16, 16), PIL.Image.Resampling.BOX)
    levels = np.asarray(small, "float32").ravel()
    levels -= levels.mean()
    return None if levels.std() < 2 else levels / np.linalg.norm(levels)


def require_file(path):
    """Raises an error if a file is a pipe or a device, is empty, or may not be read.

    Args:
        path: Path.

    Raises:
        ValueError: If it is not a regular file, or if it is empty.
        OSError: If there is no permission to read it.

    Example:

    >>> require_file("image.png")  # doctest: +SKIP
    """
    if os.path.islink(path) and not os.path.exists(path):
        raise ValueError("is a link to nothing")
    state = os.stat(path)
    if not stat.S_ISREG(state.st_mode):
        raise ValueError("is not a regular file")
    if state.st_size == 0:
        raise ValueError("is empty: 0 bytes")
    open(path, "rb").close()


def strip_path(error, path):
    """The message of an error without the file name at its start, because a finding already shows the name.

    Example:

    >>> strip_path(ValueError("a.png: no mask"), "a.png")
    'no mask'
    """
    message = str(error)
    for name in (repr(str(path)), str(path)):
        message = message.removeprefix(name)
    return message.lstrip(" :,")


def _inspect_image(path, layout, view, add):
    try:
        require_file(path)
        pixels = read_image(path) if layout.ranges is None else read_stored(path)
        if layout.ranges is not None:
            require_finite(pixels, "")
            view.channels, view.levels = (pixels.shape[-1], str(pixels.dtype)), measure_levels(pixels)
        if layout.ranges is not None or path.suffix.lower() == ".npy":
            return pixels
        if layout.name != "folder" or is_plain(path):
            _require_tensorflow_reads(path)
        with PIL.Image.open(path) as file:
            mode, transparent, turn = file.mode, file.has_transparency_data, read_orientation(file)
    except Exception as error:  # Pillow's decoders raise errors of many kinds on damaged files
        return add("image", strip_path(error, path))
    if transparent:
        add("alpha", f"mode {mode}")
    elif mode not in ("RGB", "P"):
        add("grey" if mode in ("L", "1") else "colour space", f"mode {mode}")
    if turn != 1:
        unclear = layout.name != "folder" or turn < 5 or pixels.shape[0] == pixels.shape[1]
        add("exif unclear" if unclear else "exif", f"orientation {turn}")
    return pixels


def _inspect_mask(path, layout, view, add):
    classes = layout.classes
    read_by_classes = classes is not None and (classes.colors is not None or classes.binary)
    try:
        require_file(path)
        ids = read_mask(path, classes if read_by_classes else None)
        with PIL.Image.open(path) as file:
            kind, turn = file.format, read_orientation(file)
            palette = file.getpalette("RGB") if file.mode == "P" and not read_by_classes else None
            if classes is not None and classes.binary and ids.any():
                view.object_level = int(read_two_levels(file).max())
    except Exception as error:  # Pillow's decoders raise errors of many kinds on damaged files
        detail = strip_path(error, path)
        return add("colours" if "colours" in detail and "has mode" not in detail else "mask", detail)
    if kind == "JPEG":
        add("jpeg mask")
    if turn != 1:
        add("mask exif", f"orientation {turn}")
    if is_interpolated(ids):
        view.thin = find_between(ids)[2]
        add(
            "interpolated",
            f"{measure_interpolation(ids)[0]:.0%} of its borders pass through ids between those of their sides",
        )
    class_of = np.arange(256) if read_by_classes or classes is None else classes.id_of_level
    if classes is None or classes.void_color is None:
        view.unnamed_void = int(np.count_nonzero(ids == VOID))
    ids = class_of[ids].astype("uint8")
    view.pixels = np.array(PIL.Image.fromarray(ids).histogram())  # np.bincount would need eight bytes for each pixel
    if palette:
        colors = np.array(palette).reshape(-1, 3)[:256].tolist()
        view.palette = {int(class_of[id_]): tuple(color) for id_, color in enumerate(colors)}
        view.palette = {id_: color for id_, color in view.palette.items() if view.pixels[id_]}
    if classes is not None:
        unknown = [id_ for id_ in np.nonzero(view.pixels[:VOID])[0].tolist() if id_ >= len(classes.names)]
        if unknown:
            names = ", ".join(map(str, unknown[:10])) + (" …" if len(unknown) > 10 else "")
            share = view.pixels[unknown].sum() / ids.size
            last = len(classes.names) - (classes.void_id is None)
            add("ids", f"ids {names}, {share:.1%} of its pixels: expected 0–{last}, or {VOID} for void")
    return ids


def _require_tensorflow_reads(path):
    """Decodes a file with TensorFlow, as training will do, because it refuses some damaged files that Pillow reads."""
    try:
        with tf.device("CPU"), open(path, "rb") as file:
            tf.io.decode_image(file.read(), channels=3, expand_animations=False)
    except tf.errors.OpError as error:
        reason = error.message.partition("}} ")[2].partition(" [Op:")[0]
        raise ValueError(f"is damaged: Pillow reads it, TensorFlow does not ({reason})") from error
