"""Reads mask files as integer ids, and pairs images and masks by their names."""

import numpy as np
import PIL.Image

from .._files import user_path
from ..layers.labels import VOID
from .classes import Classes, colors_to_ids
from .images import FORMATS, list_images

SUFFIXES = (".png", ".bmp", ".tif", ".tiff")  # the endings of mask files in a user's folder


def read_mask(path, classes=None):
    """Reads a mask file as class ids. This package reads masks with this function only.

    Pillow reads the ids of a palette PNG, but `tf.io.decode_png` would read the grey level of each id's colour. If the
    classes have colours, the function uses the colours of RGB and palette files. A grey file holds grey colours if all
    its levels are colours of classes, and ids otherwise. An RGB file that is grey throughout holds ids if the classes
    have no colours.

    Args:
        path: Path of a PNG, BMP or TIFF file, or such a file opened in binary mode. It holds ids (modes P, L, 1, I), or
            colours (RGB) if `classes` names them.
        classes: A `fcn_keras.datasets.classes.Classes`, or the number of classes. With None, the ids in the file are
            not checked.

    Returns:
        uint8 array ``(H, W)``; void is 255.

    Raises:
        ValueError: If the file cannot be read, or if it holds ids or colours that belong to no class. The message names
            the file.

    Example:

    >>> PIL.Image.fromarray(np.array([[0, 1, 255]], "uint8")).save("mask.png")
    >>> read_mask("mask.png").tolist()
    [[0, 1, 255]]
    """
    opened = hasattr(path, "read")
    path = path if opened else user_path(path)
    if isinstance(classes, int):
        classes = Classes(tuple(f"class {id_}" for id_ in range(classes)))
    colored = classes is not None and classes.colors is not None
    if not (opened or path.is_file()):
        raise ValueError(f"{path} is not a file: expected a PNG, BMP or TIFF image.")
    try:
        with PIL.Image.open(path, formats=FORMATS) as file:
            if getattr(file, "n_frames", 1) > 1:
                raise ValueError(
                    f"the mask holds {file.n_frames} pictures: expected one. Fix: merge them into one picture of ids."
                )
            if classes is not None and classes.binary:
                return (read_two_levels(file) > 0).astype("uint8")
            if colored and file.mode in ("RGB", "RGBA", "P"):
                _require_opaque(file)
                return colors_to_ids(np.asarray(file.convert("RGB")), classes)
            ids = _read_levels(file.convert("L") if file.mode == "1" and colored and classes.grey else file)
            if colored and _holds_colors(ids, classes):
                return colors_to_ids(np.repeat(ids[..., None], 3, axis=-1), classes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # Pillow's decoders raise errors of many kinds on damaged files
        raise ValueError(
            f"{path} cannot be read as a mask ({error}): expected a whole PNG, BMP or TIFF file."
        ) from error
    if classes is None:
        return ids
    ids = classes.id_of_level[ids]
    unknown = sorted(set(np.unique(ids).tolist()) - set(range(len(classes.names))) - {VOID})
    if unknown:
        last = len(classes.names) - (classes.void_id is None)
        raise ValueError(
            f"{path} holds the ids {unknown[:10]}: expected 0–{last}, or {VOID} for void. Fix: map the ids to those of "
            "the classes. If nobody drew these ids, the mask was resized by interpolation."
        )
    return ids


def read_two_levels(file):
    """Reads a mask of two values. The background is 0, black or transparent; the object is anything else.

    Args:
        file: An opened `PIL.Image.Image`.

    Returns:
        Integer array ``(H, W)``: 0, and the value of the object in the file.

    Raises:
        ValueError: If there are more values, or if none of two is 0.

    Example:

    >>> read_two_levels(PIL.Image.fromarray(np.array([[0, 255]], "uint8"))).tolist()
    [[0, 255]]
    """
    alpha = np.asarray(file.convert("RGBA"))[..., 3] if file.has_transparency_data else np.zeros(1, "uint8")
    if alpha.min() != alpha.max():
        levels = alpha
    elif file.mode in ("RGB", "RGBA"):
        levels = np.asarray(file.convert("RGB"))
        levels = levels @ np.array([1 << 16, 1 << 8, 1]) if (levels != levels[..., :1]).any() else levels[..., 0]
    else:
        levels = np.asarray(file.convert("L") if file.mode == "LA" else file)
    values = np.unique(levels).tolist()
    if len(values) > 2 or (len(values) == 2 and values[0] != 0):
        raise ValueError(
            f"the mask holds {len(values)} values, {values[:5]}: expected two, 0 for the background and one for the "
            "object. Fix: leave out --binary, or save the mask again without smooth outlines, as a PNG."
        )
    return levels.astype("int64")


def _require_opaque(file):
    if file.has_transparency_data and file.mode != "P" and file.getextrema()[-1] != (255, 255):
        raise ValueError(
            "the mask is transparent in places: expected an opaque file. Fix: if what is transparent is the background "
            "and all else is the object, pass --binary (binary=True); if not, save the mask on the background's colour."
        )


def _holds_colors(levels, classes):
    """Whether a grey file holds grey levels that are colours of classes. Ids and colours must not be confused."""
    present = set(np.unique(levels).tolist())
    colors = [*enumerate(classes.colors), (VOID, classes.void_color or (0, 1))]
    id_of = {color[0]: id_ for id_, color in colors if len(set(color)) == 1}
    if classes.grey or not present <= id_of.keys():
        return classes.grey
    if all(id_of[level] == level for level in present) or not present <= {*range(len(classes.names)), VOID}:
        return True
    raise ValueError(
        f"the grey levels {sorted(present)[:5]} of the mask are ids, and they are also colours of other classes in "
        "classes.txt. Fix: save the mask as RGB, or give the classes other colours."
    )


def _read_levels(file):
    """The levels of a grey or palette file, or of an RGB file whose channels are equal."""
    _require_opaque(file)
    if file.mode in ("RGB", "RGBA"):
        levels = np.asarray(file.convert("RGB"))
        if (levels != levels[..., :1]).any():
            raise ValueError(
                f"the mask is written in colours (mode {file.mode}), and no classes.txt names them: expected one id "
                "for each pixel. Fix: write a classes.txt, one line for each class, such as `road 128 64 128`."
            )
        levels = levels[..., 0]
    elif file.mode in ("P", "L", "LA", "1", "I", "I;16", "I;16B", "F"):
        levels = np.asarray(file.convert("L") if file.mode == "LA" else file)
    else:
        raise ValueError(f"the mask has mode {file.mode}: expected ids (modes P, L) or colours (RGB).")
    low, high = levels.min(initial=0), levels.max(initial=0)
    if low < 0:
        raise ValueError(
            f"the mask holds the id {low:g}, which is below zero: expected 0–{VOID}. Fix: save void as {VOID}."
        )
    if not high <= VOID or (levels.dtype.kind == "f" and (levels != np.floor(levels)).any()):
        found = f"ids up to {high:g}" if not high <= VOID else "fractions"
        raise ValueError(f"the mask holds {found}: expected 0–{VOID}. Fix: save the ids as an 8-bit PNG.")
    return levels.astype("uint8")


def require_same_size(image, mask):
    """Raises an error unless an image file and its mask have the same size.

    Args:
        image: Path of an image file.
        mask: Array ``(H, W)``.

    Raises:
        ValueError: If the sizes differ, or if the image cannot be read.

    Example:

    >>> PIL.Image.new("RGB", (3, 2)).save("image.png")
    >>> require_same_size("image.png", np.zeros((2, 3)))
    """
    try:
        with PIL.Image.open(image) as file:
            size = (file.height, file.width)
    except OSError as error:
        raise ValueError(f"Image {image} cannot be read ({error}): expected a whole JPEG or PNG file.") from error
    if size != mask.shape:
        raise ValueError(
            f"Image {image} is {size[0]}×{size[1]}, its mask {mask.shape[0]}×{mask.shape[1]}: expected one size."
        )


def find_pairs(images, masks, names=None):
    """Finds image and mask files with the same name.

    Args:
        images, masks: Folders. The name of a file is its path inside the folder, without the ending.
        names: Names to look for; by default those of all JPEG and PNG files in `images`, sorted.

    Returns:
        List of ``(name, image, mask)``. The masks are PNG files.

    Raises:
        ValueError: If there are no files, or if images or masks are missing. The message names the first five.

    Example:

    >>> for folder in ("photos", "masks"):
    ...     user_path(folder).mkdir()
    ...     PIL.Image.new("L", (2, 2)).save(f"{folder}/a.png")
    >>> [name for name, image, mask in find_pairs("photos", "masks")]
    ['a']
    """
    images, masks = user_path(images), user_path(masks)
    found = {}
    for path in list_images(images, (".jpg", ".png")):
        found[path.relative_to(images).with_suffix("").as_posix()] = path
    names = list(found) if names is None else names
    wanted = {name: masks / f"{name}.png" for name in names}
    missing = [f"{images / name}.*" for name in names if name not in found]
    missing += [str(mask) for mask in wanted.values() if not mask.exists()]
    if missing or not names:
        raise ValueError(f"{images} and {masks}: {len(missing)} of {2 * len(names)} files are missing: {missing[:5]}.")
    return [(name, found[name], mask) for name, mask in wanted.items()]
