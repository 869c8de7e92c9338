"""From class ids to colours: palettes, coloured masks and overlays, in NumPy alone."""

import numpy as np

from ..datasets.images import read_image
from ..datasets.palettes import voc_palette
from ..layers.labels import VOID, to_numpy

VOID_COLOR = (224, 224, 192)


def colorize(mask, palette=None):
    """A mask of class ids as an RGB picture.

    Args:
        mask: Integer array or tensor `(H, W)` or `(H, W, 1)`: ids in `[0, C)`, and 255 for void.
        palette: Array `(C, 3)` of colours in 0-255, `voc_palette()` by default.

    Returns:
        Array `(H, W, 3)` of `uint8`. Void is `(224, 224, 192)` unless the palette has a row 255.

    Raises:
        ValueError: `mask` is not a mask of ids, or an id has no colour.

    Example:
        >>> colorize(np.array([[0, 1, 255]])).tolist()
        [[[0, 0, 0], [128, 0, 0], [224, 224, 192]]]
    """
    ids, colors = class_ids(mask), color_table(palette)
    unknown = np.setdiff1d(ids, known_ids(palette))
    if unknown.size:
        raise ValueError(
            f"The mask holds the ids {_some(unknown)}, the palette has colours for 0 to"
            f" {known_ids(palette)[:-1].max()} and void, {VOID}. Pass the palette of this data set."
        )
    return colors[ids]


def overlay(image, mask, alpha=0.55, outline=True, palette=None):
    """An image with its classes in transparent colour, and a contour around each.

    Void and classes that the palette draws in black, as VOC's background, leave the image clear.

    Args:
        image: Path, array or tensor `(H, W, 3)`, RGB, 0-255.
        mask: Integer array or tensor `(H, W)` or `(H, W, 1)` of class ids, 255 for void.
        alpha: Weight of the class colour, 0 (the image alone) to 1 (the mask alone).
        outline: Whether to draw a white line, dark on its outer side, around each coloured region,
            so that it can be seen without colour. Thin objects keep their own pixels.
        palette: Array `(C, 3)` of colours in 0-255, `voc_palette()` by default.

    Returns:
        Array `(H, W, 3)` of `uint8`.

    Raises:
        ValueError: `image` or `mask` is not one, their sizes differ, or `alpha` is not in 0 to 1.

    Example:
        >>> grey = np.full((1, 2, 3), 100, "uint8")
        >>> overlay(grey, np.array([[0, 1]]), alpha=0.5, outline=False).tolist()
        [[[100, 100, 100], [114, 50, 50]]]
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; expected 0 to 1.")
    image, ids, colors = rgb(image), class_ids(mask), colorize(mask, palette)
    check_same_size(image, ids, "image", "mask")
    colored = (colors.any(axis=-1) & (ids != VOID))[..., None]
    blend = np.where(colored, (1.0 - alpha) * image + alpha * colors, image.astype("float64"))
    if outline:
        colored = colored[..., 0]
        edge = _boundary(np.where(colored, ids, -1))
        for _ in range(max(ids.shape) // 600):  # a line as wide in a larger picture
            edge |= _grow(edge) & ~colored
        blend[_grow(edge) & ~edge & ~colored] *= 0.4
        blend[edge] = 255
    return np.rint(blend).astype("uint8")


def class_ids(mask, name="mask"):
    """The mask as an integer array `(H, W)`, or a `ValueError` that says why it is none."""
    ids = to_numpy(mask)
    if ids.ndim == 3 and ids.shape[-1] == 1:
        ids = ids[..., 0]
    if ids.ndim != 2 or ids.size == 0:
        mend = ""
        if ids.ndim == 3 and ids.shape[-1] in (3, 4):
            mend = " A coloured mask: PIL.Image.open reads the ids of a palette PNG."
        elif ids.ndim == 3:
            mend = " Logits: take their argmax over the last axis. A batch: pass mask[i]."
        raise ValueError(f"The {name} has shape {ids.shape}; expected ids (H, W).{mend}")
    whole = ids.astype("int64") if np.isfinite(ids).all() else None
    if whole is None or (whole != ids).any() or whole.min() < 0:
        raise ValueError(
            f"The {name} holds values that are no class ids, such as {_some(_no_ids(ids))}."
            " Expected whole numbers from 0 up: resize masks by nearest neighbour, and take the"
            " argmax of probabilities."
        )
    return whole


def color_table(palette=None):
    """Colours by id, `(max(C, 256), 3)` `uint8`, where row 255 is void's."""
    palette = voc_palette() if palette is None else to_numpy(palette)
    if palette.ndim != 2 or palette.shape[1] != 3 or palette.size == 0:
        raise ValueError(f"The palette has shape {palette.shape}; expected (C, 3), a colour for each class.")
    if palette.min() < 0 or palette.max() > 255 or not np.issubdtype(palette.dtype, np.integer):
        raise ValueError(f"The palette runs from {palette.min()} to {palette.max()}; expected integers 0-255.")
    table = np.full((max(len(palette), VOID + 1), 3), VOID_COLOR, "uint8")
    table[: len(palette)] = palette
    return table


def known_ids(palette=None):
    """The ids that a palette has a colour for; the last one is void."""
    n = 256 if palette is None else len(palette)
    return np.append(np.arange(n), VOID)


def rgb(image):
    """The image as `uint8` `(H, W, 3)`."""
    return np.rint(read_image(image)).astype("uint8")


def check_same_size(a, b, name_a, name_b):
    """Raises a `ValueError` when two pictures differ in height or width."""
    if a.shape[:2] != b.shape[:2]:
        raise ValueError(
            f"The {name_a} is {a.shape[0]} x {a.shape[1]}, the {name_b} {b.shape[0]} x {b.shape[1]}"
            "; expected the same size. fcn_keras.segment returns a mask at the image's own size."
        )


def _boundary(ids):
    """Pixels beside a region of a higher id: just outside of every coloured region."""
    edge = np.zeros(ids.shape, bool)
    padded = np.pad(ids, 1, mode="edge")
    for rows, cols in ((0, 1), (2, 1), (1, 0), (1, 2)):
        neighbour = padded[rows : rows + ids.shape[0], cols : cols + ids.shape[1]]
        edge |= neighbour > ids
    return edge


def _grow(region):
    padded = np.pad(region, 1)
    height, width = region.shape
    return np.any([padded[i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=0)


def _no_ids(values):
    with np.errstate(invalid="ignore"):
        return np.unique(values[~(values >= 0) | (values != np.floor(values))])


def _some(values, most=4):
    text = ", ".join(f"{value:g}" for value in values[:most])
    return text + (", ..." if len(values) > most else "")
