"""The classes of an image, drawn over it in transparent colours."""

import numpy as np

from ..layers.labels import VOID
from .colors import check_same_size, colorize, read_rgb, require_ids


def overlay(image, mask, alpha=0.55, outline=True, palette=None):
    """Draws the classes of an image over it, in transparent colours with an outline.

    The image stays as it is where the mask is void, and where the class is black in the palette, like VOC's background.

    Args:
        image: Path, array or tensor ``(H, W, 3)``, RGB, 0–255.
        mask: Integer array or tensor ``(H, W)`` or ``(H, W, 1)`` of class ids, 255 for void.
        alpha: Weight of the class colour, from 0 (only the image) to 1 (only the colour).
        outline: Whether to draw a white line with a dark outer edge around each coloured region, for
            readers who cannot see the colour. It lies outside the region, so it does not hide thin objects.
        palette: Array ``(C, 3)`` of colours in 0–255; by default VOC's.

    Returns:
        Array ``(H, W, 3)`` of ``uint8``.

    Raises:
        ValueError: If `image` is not an image, if `mask` does not contain ids, if their sizes differ, or if `alpha` is
            not in 0–1.

    Example:

    >>> grey = np.full((1, 2, 3), 100, "uint8")
    >>> overlay(grey, np.array([[0, 1]]), alpha=0.5, outline=False).tolist()
    [[[100, 100, 100], [114, 50, 50]]]
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"Found alpha={alpha}: expected a number from 0 to 1.")
    image, ids, colors = read_rgb(image), require_ids(mask), colorize(mask, palette)
    check_same_size(image, ids, "image", "mask")
    colored = (colors.any(axis=-1) & (ids != VOID))[..., None]
    blend = np.where(colored, (1.0 - alpha) * image + alpha * colors, image.astype("float64"))
    if outline:
        colored = colored[..., 0]
        edge = _find_boundary(np.where(colored, ids, -1))
        for _ in range(max(ids.shape) // 600):  # the line is wider in larger pictures
            edge |= _grow(edge) & ~colored
        blend[_grow(edge) & ~edge & ~colored] *= 0.4
        blend[edge] = 255
    return np.rint(blend).astype("uint8")


def _find_boundary(ids):
    """Finds the pixels next to a region of a higher id. They lie just outside the coloured regions."""
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
