"""The colours of PASCAL VOC's masks."""

import numpy as np


def voc_palette(n=256):
    """The colours of PASCAL VOC's masks.

    The bits of an id are dealt out to red, green and blue in turn, from the highest bit of the colours down: bits 0,
    3 and 6 of the id are bits 7, 6 and 5 of its red, and so on.

    Args:
        n: Number of colours, 1 to 256.

    Returns:
        uint8 array ``(n, 3)``, RGB. Row 0 is black; row 255, void, is ``(224, 224, 192)``.

    Raises:
        ValueError: If `n` is not in 1 to 256.

    Example:

    >>> voc_palette()[15].tolist()  # person
    [192, 128, 128]

    Reference: Everingham et al., the PASCAL VOC development kit, ``VOClabelcolormap``.
    """
    if not 1 <= n <= 256:
        raise ValueError(f"Found n={n}: expected 1 to 256; an id of 8 bits has no more colours.")
    ids = np.arange(n)[:, None]
    channel = np.arange(3)
    palette = np.zeros((n, 3), "int64")
    for k in range(3):
        palette |= (ids >> (3 * k + channel) & 1) << (7 - k)
    return palette.astype("uint8")
