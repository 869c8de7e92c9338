"""Class ids in colour: masks and palettes, as NumPy arrays."""

import numpy as np

from ..datasets.classes import voc_palette
from ..datasets.images import read_image
from ..layers.labels import VOID, to_numpy

VOID_COLOR = (224, 224, 192)


def colorize(mask, palette=None):
    """Turns a mask of class ids into an RGB picture.

    Args:
        mask: Integer array or tensor ``(H, W)`` or ``(H, W, 1)``: ids in ``[0, C)``, and 255 for void.
        palette: Array ``(C, 3)`` of colours in 0–255; by default VOC's.

    Returns:
        Array ``(H, W, 3)`` of ``uint8``. Void is ``(224, 224, 192)``, unless the palette has a row 255.

    Raises:
        ValueError: If `mask` does not contain ids, or if an id has no colour.

    Example:

    >>> colorize(np.array([[0, 1, 255]])).tolist()
    [[[0, 0, 0], [128, 0, 0], [224, 224, 192]]]
    """
    ids, colors = require_ids(mask), make_color_table(palette)
    count = 256 if palette is None else len(palette)
    unknown = np.unique(ids[(ids >= count) & (ids != VOID)])
    if unknown.size:
        raise ValueError(
            f"Found the ids {_list_some(unknown)} in the mask: expected 0–{count - 1}, for which the palette has "
            f"colours, or {VOID} for void. Fix: pass the palette of this data set."
        )
    return colors[ids]


def require_ids(mask, name="mask"):
    """Returns a mask as an integer array ``(H, W)``, or raises a ValueError if it does not contain class ids.

    Args:
        mask: Array or tensor ``(H, W)`` or ``(H, W, 1)`` of any type. Its values must be whole numbers from 0 up.
        name: Name of the mask in the error message.

    Example:

    >>> require_ids(np.float32([[[0.0], [1.0]]]), "truth")
    array([[0, 1]])
    """
    ids = to_numpy(mask)
    if ids.ndim == 3 and ids.shape[-1] == 1:
        ids = ids[..., 0]
    if ids.ndim != 2 or ids.size == 0:
        fix = ""
        if ids.ndim == 3 and ids.shape[-1] in (3, 4):
            fix = " Fix: this mask holds colours. Read the ids of a palette PNG with PIL.Image.open."
        elif ids.ndim == 3:
            fix = " Fix: for logits, take the argmax over the last axis; for a batch, pass mask[i]."
        raise ValueError(f"Found a {name} of shape {ids.shape}: expected ids (H, W).{fix}")
    whole = ids.astype("int64") if np.isfinite(ids).all() else None
    if whole is None or (whole != ids).any() or whole.min() < 0:
        wrong = _list_some(_find_wrong_values(ids))
        raise ValueError(
            f"The {name} has values that are not class ids, such as {wrong}: expected whole numbers from 0 up. Fix: "
            "resize masks with nearest neighbour; take the argmax of probabilities."
        )
    return whole


def make_color_table(palette=None):
    """Returns the colours of a palette by id, ``(max(C, 256), 3)``. Ids without a colour get the colour of void."""
    palette = voc_palette() if palette is None else to_numpy(palette)
    if palette.ndim != 2 or palette.shape[1] != 3 or palette.size == 0:
        raise ValueError(f"Found a palette of shape {palette.shape}: expected (C, 3), a colour for each class.")
    if palette.min() < 0 or palette.max() > 255 or not np.issubdtype(palette.dtype, np.integer):
        raise ValueError(f"Found a palette from {palette.min()} to {palette.max()}: expected integers in 0–255.")
    table = np.full((max(len(palette), VOID + 1), 3), VOID_COLOR, "uint8")
    table[: len(palette)] = palette
    return table


def read_rgb(image):
    """Reads an image, from a path or an array, as an array ``(H, W, 3)`` of ``uint8``."""
    return np.rint(read_image(image)).astype("uint8")


def check_same_size(a, b, name_a, name_b):
    """Raises a `ValueError` if two pictures differ in height or width."""
    if a.shape[:2] != b.shape[:2]:
        raise ValueError(
            f"The {name_a} has {a.shape[0]} x {a.shape[1]} pixels, the {name_b} {b.shape[0]} x {b.shape[1]}: expected "
            "the same size. The masks that fcn_keras.segment returns have the size of their images."
        )


def _find_wrong_values(values):
    with np.errstate(invalid="ignore"):
        return np.unique(values[~(values >= 0) | (values != np.floor(values))])


def _list_some(values, most=4):
    text = ", ".join(f"{value:g}" for value in values[:most])
    return text + (", ..." if len(values) > most else "")
