"""Bilinear resizing of any part of an image, without computing the rest.

`keras.ops.image.resize` takes a whole image. The functions here compute a span of the resized image from the pixels
that the span needs, with the same result. The centres of pixels lie at halves. When the image shrinks, the kernel
becomes wider, so that every pixel counts (``antialias=True``).
"""

import math

import numpy as np
from keras import ops


def find_source_span(span, old, new):
    """Returns the pixels from which a span of a resized axis is computed.

    Args:
        span: ``(start, stop)`` on the resized axis, which is `new` pixels long.
        old: Pixels of the axis before resizing.
        new: Pixels of the axis after resizing.

    Returns:
        ``(start, stop)`` on the axis before resizing.

    Example:

    >>> find_source_span((0, 2), old=100, new=50), find_source_span((10, 20), old=50, new=100)
    ((0, 5), (4, 11))
    """
    if old == new:
        return span
    indices, _ = _compute_weights(span, old, new)
    return int(indices.min()), int(indices.max()) + 1


def resize_span(x, axis, span, old, new, start=0):
    """Resizes an image along one axis, and returns a span of the result.

    Args:
        x: Float32 array or tensor of rank 4. Along `axis` it holds the pixels from `start` on, at least those of
            `find_source_span`.
        axis: The axis to resize, 1 for rows and 2 for columns.
        span: ``(start, stop)`` on the resized axis.
        old: Pixels of the whole axis before resizing.
        new: Pixels of the whole axis after resizing.
        start: Position of the first pixel of `x` on the whole axis.

    Returns:
        Float32 tensor with the pixels of `span` along `axis`; a part of `x` if `old` equals `new`.

    Example:

    >>> row = np.arange(8, dtype="float32").reshape(1, 1, 8, 1)
    >>> resize_span(row, 2, (0, 4), old=8, new=16)[0, 0, :, 0].numpy()
    array([0.  , 0.25, 0.75, 1.25], dtype=float32)
    """
    if old == new:
        return x[(slice(None),) * axis + (slice(span[0] - start, span[1] - start),)]
    x = ops.convert_to_tensor(x)
    indices, weights = _compute_weights(span, old, new)
    shape = [-1 if i == axis else 1 for i in range(4)]
    total = 0.0
    for index, weight in zip(indices.T - start, weights.T, strict=True):
        total = total + ops.take(x, index, axis=axis) * ops.reshape(ops.convert_to_tensor(weight), shape)
    return total


def _compute_weights(span, old, new):
    """Returns the source pixels of each resized pixel and their weights: two arrays ``(stop - start, sources)``."""
    step = old / new
    reach = max(1.0, step)
    centres = ((np.arange(*span) + 0.5) * step - 0.5)[:, None]
    indices = np.floor(centres - reach).astype(int) + 1 + np.arange(math.ceil(2 * reach))
    inside = (indices >= 0) & (indices < old)
    weights = inside * np.maximum(0, 1 - np.abs(indices - centres) / reach)
    return np.clip(indices, 0, old - 1), (weights / weights.sum(1, keepdims=True)).astype("float32")
