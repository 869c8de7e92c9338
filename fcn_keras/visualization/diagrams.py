"""Diagrams of strides and offsets: where the units of each map lie over the pixels."""

import numpy as np

from .charts import LINE_COLORS
from .style import MAX_WIDTH, canvas

PIXELS = "0.87"


def plot_units_over_pixels(geometries, pixels=64, windows=(), margin=0):
    """Draws one axis of an image as a row of pixels and, below it, a row with the centres of the units of each map.

    Args:
        geometries: Dict from the name of a map to its `fcn_keras.geometry.Geometry`, top row first.
        pixels: Number of pixels of the image, which are drawn as grey squares.
        windows: Names of maps. For each of them, a bar shows the receptive field of the unit nearest to the middle.
        margin: Number of pixels to the left and right of the image where units are also drawn. Padded nets have units
            there.

    Returns:
        Matplotlib `Figure`. The first unit of a map has number 0. The formula of the centres is at the right.

    Raises:
        ValueError: If there is nothing to draw, or if `windows` names a map that is not among `geometries`.

    Example:

    >>> from fcn_keras.geometry import Geometry
    >>> figure = plot_units_over_pixels({"pool4": Geometry(16, 100, 7.5), "fc7": Geometry(32, 404, 15.5)})
    >>> [text.get_text() for text in figure.axes[0].texts if "i" in text.get_text()]
    ['16 i + 7.5', '32 i + 15.5']

    Reference: Long, Shelhamer & Darrell, CVPR 2015, section 3, equation 1.
    """
    if not isinstance(geometries, dict) or not geometries:
        raise ValueError("Found no maps to draw: expected a dict from names to geometries.")
    unknown = [name for name in windows if name not in geometries]
    if unknown:
        raise ValueError(f"Found no map {unknown[0]!r}: expected one of {', '.join(geometries)}.")
    span = (-margin - 0.5, pixels - 0.5 + margin)
    with canvas(MAX_WIDTH, 0.95 + 0.52 * len(geometries)) as figure:
        ax = figure.subplots()
        edges = np.arange(pixels + 1) - 0.5
        line = {"edgecolor": "white", "linewidth": 0.6 if pixels <= 160 else 0}
        ax.bar(edges[:-1], 0.5, width=1, bottom=-0.25, align="edge", color=PIXELS, **line)
        for row, (name, geometry) in enumerate(geometries.items(), start=1):
            color = LINE_COLORS[(row - 1) % len(LINE_COLORS)]
            _draw_units(ax, geometry, -row, color, span)
            if name in windows:
                _draw_window(ax, geometry, -row, color, span)
            ax.text(
                span[1] + 0.02 * pixels,
                -row,
                _write_formula(geometry),
                va="center",
                ha="left",
                color=color,
                fontsize=10,
            )
        for edge in (-0.5, pixels - 0.5):
            ax.axvline(edge, color="0.7", linewidth=0.8, zorder=0)
        room = 0.01 * pixels
        ax.set(xlim=(span[0] - room, span[1] + room), ylim=(-len(geometries) - 0.55, 0.45), xlabel="pixel of the image")
        ax.set_yticks(range(0, -len(geometries) - 1, -1), ["pixels", *geometries])
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
    return figure


def _draw_units(ax, geometry, y, color, span):
    first = int(np.ceil((span[0] - geometry.offset) / geometry.stride))
    last = int(np.floor((span[1] - geometry.offset) / geometry.stride))
    numbers = np.arange(max(first, 0), last + 1)
    centres = geometry.centre(numbers)
    dense = len(numbers) > 40
    ax.plot(centres, np.full(len(numbers), y), "o", color=color, markersize=3 if dense else 6)
    for number, centre in zip(numbers[:: -(-len(numbers) // 20)], centres[:: -(-len(numbers) // 20)], strict=True):
        ax.text(centre, y + 0.16, str(number), color=color, ha="center", va="bottom", fontsize=9, clip_on=True)


def _draw_window(ax, geometry, y, color, span):
    unit = round((sum(span) / 2 - geometry.offset) / geometry.stride)
    centre, half = geometry.centre(unit), geometry.receptive_field / 2
    ax.barh(y - 0.2, 2 * half, left=centre - half, height=0.13, color=color, alpha=0.45)
    text = f"unit {unit} sees {geometry.receptive_field} pixels"
    ax.text(np.clip(centre, *span), y - 0.3, text, color=color, ha="center", va="top", fontsize=9)


def _write_formula(geometry):
    sign = "+" if geometry.offset >= 0 else "−"
    return f"{geometry.stride:g} i {sign} {abs(geometry.offset):g}"
