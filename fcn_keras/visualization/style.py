"""The style that all figures of this package share: sizes, fonts, legends, and class names on regions."""

import contextlib

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from scipy import ndimage

from ..layers.labels import VOID
from .colors import make_color_table

MAX_WIDTH = 7.6  # inches, at 96 dpi the width of the text of the site, which would shrink wider figures
PANEL_WIDTH = 2.8
STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 10,
    "figure.dpi": 96,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@contextlib.contextmanager
def canvas(width, height):
    """A context with a new figure in the style of the package. The figure is closed when the context ends.

    A closed figure can still be shown and saved. It takes no memory once nothing refers to it, and a notebook shows it
    only once, as the value of its cell.

    Args:
        width: Width in inches.
        height: Height in inches.

    Yields:
        Matplotlib `Figure`.

    Example:

    >>> with canvas(3, 2) as figure:
    ...     lines = figure.subplots().plot([0, 1])
    >>> figure.get_size_inches().tolist()
    [3.0, 2.0]
    """
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(width, height), layout="constrained")
        try:
            yield figure
        finally:
            plt.close(figure)


@contextlib.contextmanager
def panel_grid(row_shapes, columns, title=None, legend=()):
    """A `canvas` with a grid of panels, and one legend below them.

    Args:
        row_shapes: For each row, the shape ``(H, W, ...)`` of its pictures.
        columns: Number of columns.
        title: Title of the figure.
        legend: Matplotlib patches with labels, such as `make_class_patches` returns.

    Yields:
        The figure, and its axes as an array ``(rows, columns)``.
    """
    width = min(PANEL_WIDTH, MAX_WIDTH / columns)
    heights = [compute_panel_height(width, shape) for shape in row_shapes]
    legend_columns = _count_legend_columns(width * columns, legend)
    legend_height = 0.24 * -(-len(legend) // legend_columns) + 0.15 * bool(legend)
    height = sum(heights) + 0.3 + 0.35 * bool(title) + legend_height
    with canvas(width * columns, height) as figure:
        axes = figure.subplots(len(heights), columns, squeeze=False, gridspec_kw={"height_ratios": heights})
        figure.get_layout_engine().set(w_pad=0.04, h_pad=0.04, wspace=0, hspace=0)
        if title:
            figure.suptitle(title, fontsize=12)
        if legend:
            place = {"loc": "outside lower center", "ncols": legend_columns}
            figure.legend(handles=legend, **place, **LEGEND)
        yield figure, axes


def compute_panel_height(width, shape):
    """Computes the height in inches of a panel for pictures ``(H, W, ...)``: 0.15 to 1.8 times `width`."""
    return width * float(np.clip(shape[0] / shape[1], 0.15, 1.8))


LEGEND = {"frameon": False, "handlelength": 1.4, "handleheight": 1.1, "columnspacing": 1.2}


def _count_legend_columns(width, patches):
    longest = max((len(patch.get_label()) for patch in patches), default=0)
    fitting = max(1, int(width / (0.085 * longest + 0.45)))
    rows = max(1, -(-len(patches) // fitting))
    return max(1, -(-len(patches) // rows))  # rows of equal length


def make_class_patches(masks, class_names, palette):
    """Makes legend entries for the classes that occur in `masks`, void last."""
    ids = np.unique(np.concatenate([np.unique(ids) for ids in masks])) if masks else []
    ids = sorted(ids, key=lambda i: (i == VOID, i))
    colors = make_color_table(palette) / 255
    return [make_swatch(colors[i], get_class_name(i, class_names)) for i in ids]


def make_swatch(color, label):
    """Makes a legend entry: a rectangle of a colour, and its label."""
    return Patch(facecolor=color, edgecolor="0.4", linewidth=0.8, label=label)


def get_class_name(i, class_names):
    """Returns the name of class `i`: from `class_names` or, if they are None, a name such as ``class 7``."""
    if i == VOID:
        return "void"
    if class_names is None:
        return f"class {i}"
    if i >= len(class_names):
        raise ValueError(
            f"Class {i} has no name: class_names has {len(class_names)} names. Fix: pass one for each class, starting "
            "with class 0, the background."
        )
    return str(class_names[i])


def draw_panel(ax, picture, title=None, **options):
    """Draws a picture without ticks. Every pixel is a square, unless `interpolation` says otherwise."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    if title:
        ax.set_title(title)
    return ax.imshow(picture, **{"interpolation": "nearest", **options})


def draw_image(ax, image, title=None):
    """Draws a photograph. If it is small, every pixel is a square; if it is large, Matplotlib smooths it."""
    small = max(image.shape) <= 256
    return draw_panel(ax, image, title, interpolation="nearest" if small else "auto")


def annotate_regions(ax, ids, class_names, palette):
    """Writes the class names on the regions that are large enough. Regions that are black or void get no name."""
    colors = make_color_table(palette)
    for label, (x, y) in find_region_centers(ids):
        if label != VOID and colors[label].any():
            side = {0: "left", 5: "right"}.get(int(6 * x / ids.shape[1]), "center")
            text = ax.text(x, y, get_class_name(label, class_names), color="white", fontsize=9)
            text.set(ha=side, va="center", clip_on=True)
            text.set_path_effects([withStroke(linewidth=2, foreground="black")])


def find_region_centers(ids, smallest=0.008):
    """Finds the innermost point of each large region of one class.

    Args:
        ids: Integer array ``(H, W)``.
        smallest: Smallest share of the pixels that makes a region large.

    Returns:
        List of ``(id, (x, y))``, in pixels.

    Example:

    >>> find_region_centers(np.pad(np.ones((3, 3), int), 2), smallest=0.15)[1]
    (np.int64(1), (3.0, 3.0))
    """
    step = -(-max(ids.shape) // 128)  # fine enough to place a name
    coarse = ids[::step, ::step]
    centers = []
    for label in np.unique(coarse):
        regions, _ = ndimage.label(coarse == label)  # 4-connected
        sizes = np.bincount(regions.ravel())
        for number in np.flatnonzero(sizes >= smallest * coarse.size):
            if number:  # 0 stands for other labels
                row, col = _find_innermost(regions == number)
                centers.append((label, (float(col * step), float(row * step))))
    return centers


def _find_innermost(region):
    """Finds the pixel farthest from the border of a region or, of several, the one nearest to their mean."""
    depth = ndimage.distance_transform_cdt(np.pad(region, 1), "taxicab")[1:-1, 1:-1]
    rows, cols = np.nonzero(depth == depth.max())
    nearest = np.argmin((rows - rows.mean()) ** 2 + (cols - cols.mean()) ** 2)
    return rows[nearest], cols[nearest]
