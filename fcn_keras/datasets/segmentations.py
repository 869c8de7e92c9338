"""Draws segmentations in COCO's format, which are polygons or run lengths, as masks.

The package draws every polygon here, with `pycocotools`. A pixel belongs to a polygon if its centre lies inside, up to
the rounding of COCO's own tools. So a rectangle whose corners are whole numbers, from ``(x0, y0)`` to ``(x1, y1)``,
covers the columns ``x0`` to ``x1 − 1`` and the rows ``y0`` to ``y1 − 1``.
"""

import importlib

import numpy as np


def import_pycocotools(module):
    """Imports a module of COCO's own tools.

    Args:
        module: ``"mask"``, ``"coco"`` or ``"cocoeval"``.

    Returns:
        The module.

    Raises:
        ImportError: If pycocotools is not installed.

    Example:

    >>> import_pycocotools("mask").__name__
    'pycocotools.mask'
    """
    try:
        return importlib.import_module(f"pycocotools.{module}")
    except ImportError as error:
        raise ImportError(
            "Masks of objects and COCO's average precision need pycocotools, which is not installed. "
            'Fix: pip install "fcn-keras[instances]".'
        ) from error


def draw_segmentation(segmentation, height, width):
    """Draws polygons or run lengths as a mask.

    `pycocotools` takes a polygon of two points for a box, and gives memory that was never written for run lengths that
    are too short. This function raises an error for both.

    Args:
        segmentation: A list of polygons ``[x0, y0, x1, y1, …]`` in pixels, or a dict of run lengths, ``size`` and
            ``counts``. The counts are a list of integers or COCO's compressed text.
        height, width: Size of the mask in pixels.

    Returns:
        uint8 array ``(height, width)`` of 0 and 1.

    Raises:
        ValueError: If the segmentation is neither, or does not fit the size.
        ImportError: If there are polygons, and pycocotools is not installed.

    Example:

    >>> draw_segmentation([[1, 0, 3, 0, 3, 2, 1, 2]], 2, 4).tolist()
    [[0, 1, 1, 0], [0, 1, 1, 0]]
    >>> draw_segmentation({"size": [2, 3], "counts": [1, 3, 2]}, 2, 3).tolist()
    [[0, 1, 0], [1, 1, 0]]
    """
    if isinstance(segmentation, dict):
        return _decode_runs(segmentation, height, width)
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError(f"found the segmentation {str(segmentation)[:40]}: expected polygons or run lengths.")
    polygons = [_require_polygon(polygon, max(height, width)) for polygon in segmentation]
    tools = import_pycocotools("mask")
    return tools.decode(tools.merge(tools.frPyObjects(polygons, height, width)))


def _require_polygon(polygon, side):
    try:
        points = np.asarray(polygon, "float64")
    except (TypeError, ValueError):
        points = np.zeros(0)
    if points.ndim != 1 or points.size < 6 or points.size % 2:
        raise ValueError(f"found the polygon {str(polygon)[:40]}: expected the x and y of three points or more.")
    if not (np.abs(points - side / 2) <= 1.5 * side).all():  # also refuses NaN
        raise ValueError(
            "a polygon lies far outside of the image. Fix: correct it, or take the image that was labelled."
        )
    return points.tolist()


def _decode_runs(segmentation, height, width):
    size, counts = segmentation.get("size", [height, width]), segmentation.get("counts")
    if size not in ([height, width], (height, width)):
        raise ValueError(f"found run lengths of size {size}: expected {height}×{width}, the size of the image.")
    runs = _read_counts(counts) if isinstance(counts, str | bytes) else counts
    known = isinstance(runs, list) and all(isinstance(run, int) and run >= 0 for run in runs)
    if not known or sum(runs) != height * width:
        raise ValueError(
            f"found run lengths that do not add up to {height}×{width} pixels. Fix: export the file again."
        )
    return np.repeat(np.arange(len(runs), dtype="uint32") % 2, runs).astype("uint8").reshape(width, height).T


def _read_counts(text):
    """The run lengths in COCO's compressed text: five bits in a byte, from the third on as differences."""
    runs, value, shift = [], 0, 0
    for byte in text.encode() if isinstance(text, str) else text:
        value |= ((byte - 48) & 31) << shift
        shift += 5
        if not (byte - 48) & 32:
            value -= ((byte - 48) & 16) << 1 << (shift - 5)
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs
