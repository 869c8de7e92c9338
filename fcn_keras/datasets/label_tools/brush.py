"""Decodes the strokes of Label Studio's brush.

Reference: the package ``rle-pack`` of https://github.com/thi-ng/umbrella, which encodes them.
"""

import numpy as np


def decode_brush(code, height, width):
    """Decodes the run lengths of RGBA values, of which alpha above 128 is the mask.

    A header holds the number of values, the bits of a value, and four lengths in bits. Then come runs: one bit tells
    whether a value is repeated, two bits choose one of the lengths, and so many bits hold the count minus one.

    Args:
        code: List of bytes.
        height, width: Size of the image in pixels.

    Returns:
        uint8 array ``(height, width)`` of 0 and 1.

    Raises:
        ValueError: If the code is damaged or belongs to another size.

    Example:

    >>> decode_brush([0, 0, 0, 4, 57, 27, 254, 25, 255, 192], 1, 1).tolist()  # doctest: +SKIP
    [[1]]
    """
    try:
        bits = np.unpackbits(np.array(code, "uint8"))
    except (OverflowError, ValueError, TypeError) as error:
        raise ValueError("a brush stroke is damaged: expected integers in 0–255. Fix: export it again.") from error
    text, place, out, start = (bits + ord("0")).tobytes(), 0, np.zeros(4 * height * width, "uint8"), 0

    def read(count):
        nonlocal place
        place += count
        if place > len(text):
            raise ValueError("a brush stroke is damaged: it ends too early. Fix: export it again.")
        return int(text[place - count : place], 2)

    count, word, lengths = read(32), read(5) + 1, [read(4) + 1 for _ in range(4)]
    if count != out.size or word != 8:
        found = f"{count} values of {word} bits: expected {out.size} of 8 bits"
        raise ValueError(f"a brush stroke has {found}. Fix: take the image that was labelled.")
    while start < count:
        repeated, end = read(1), min(start + 1 + read(lengths[read(2)]), count)
        value = read(8 if repeated else 8 * (end - start))
        out[start:end] = value if repeated else np.packbits(bits[place - 8 * (end - start) : place])
        start = end
    return (out[3::4] > 128).astype("uint8").reshape(height, width)
