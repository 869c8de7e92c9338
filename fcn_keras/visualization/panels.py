"""Pictures side by side: images, masks, predictions, errors and score maps."""

import numpy as np

from ..layers.labels import VOID, to_numpy
from .colors import check_same_size, colorize, read_rgb, require_ids
from .style import (
    LEGEND,
    annotate_regions,
    canvas,
    compute_panel_height,
    draw_image,
    draw_panel,
    get_class_name,
    make_class_patches,
    make_swatch,
    panel_grid,
)

RIGHT, WRONG, UNSCORED = (0.82, 0.82, 0.82), (0.84, 0.19, 0.0), (1.0, 1.0, 1.0)


def show(image, mask=None, prediction=None, class_names=None, palette=None, title=None, annotate=False):
    """Draws an image next to its mask and its prediction, with a legend of the classes that occur.

    Args:
        image: Path, array or tensor ``(H, W, 3)``, RGB, 0–255.
        mask: Ground truth: integer array or tensor ``(H, W)`` or ``(H, W, 1)`` of ids, 255 for void.
        prediction: As `mask`.
        class_names: Name of each class, from class 0 on; by default ``class 0``, ``class 1``, ...
        palette: Array ``(C, 3)`` of colours in 0–255; by default VOC's.
        title: Title of the figure.
        annotate: Whether to also write the class names on the larger regions.

    Returns:
        Matplotlib `Figure`.

    Raises:
        ValueError: If `image` is not an image, if a mask does not contain ids, or if sizes differ.

    Example:

    >>> mask = np.eye(8, dtype="uint8")
    >>> figure = show(np.zeros((8, 8, 3), "uint8"), mask, class_names=["background", "line"])
    >>> len(figure.axes)
    2

    Reference: Long, Shelhamer & Darrell, CVPR 2015, figure 6.
    """
    image = read_rgb(image)
    masks = {"truth": mask, "prediction": prediction}
    masks = {name: require_ids(ids, name) for name, ids in masks.items() if ids is not None}
    for name, ids in masks.items():
        check_same_size(image, ids, "image", name)
    legend = make_class_patches(list(masks.values()), class_names, palette)
    with panel_grid([image.shape], 1 + len(masks), title, legend) as (figure, axes):
        draw_image(axes[0, 0], image, "image" if masks else None)
        for ax, (name, ids) in zip(axes[0, 1:], masks.items(), strict=True):
            draw_panel(ax, colorize(ids, palette), name)
            if annotate:
                annotate_regions(ax, ids, class_names, palette)
    return figure


def compare(images, masks, class_names=None, palette=None, title=None):
    """Draws a grid of pictures: a row for each image, a column for each model or other source of masks.

    Args:
        images: Sequence or batch of images, each ``(H, W, 3)``, RGB, 0–255, of any size.
        masks: Dict from column title to masks, one for each image, for example
            ``{"FCN-32s": ..., "FCN-8s": ..., "truth": ...}``; each ``(H, W)`` or ``(H, W, 1)``.
        class_names: Name of each class, from class 0 on.
        palette: Array ``(C, 3)`` of colours in 0–255; by default VOC's.
        title: Title of the figure.

    Returns:
        Matplotlib `Figure`.

    Raises:
        ValueError: If a column does not have one mask for each image, or if sizes differ.

    Example:

    >>> images, truth = np.zeros((2, 8, 8, 3), "uint8"), np.zeros((2, 8, 8), "uint8")
    >>> len(compare(images, {"FCN-8s": truth, "truth": truth}).axes)
    6

    Reference: Long, Shelhamer & Darrell, CVPR 2015, figure 4.
    """
    if not isinstance(masks, dict):
        raise ValueError(f"Found masks of type {type(masks).__name__}: expected a dict from column title to masks.")
    images = [read_rgb(image) for image in images]
    columns = {name: [require_ids(ids, name) for ids in column] for name, column in masks.items()}
    if not images or not columns:
        raise ValueError(f"Found {len(images)} images and {len(columns)} columns: expected at least one of each.")
    for name, column in columns.items():
        if len(column) != len(images):
            raise ValueError(f"Found {len(column)} masks in {name!r} for {len(images)} images: expected one for each.")
        for image, ids in zip(images, column, strict=True):
            check_same_size(image, ids, "image", f"mask of {name}")
    legend = make_class_patches([ids for column in columns.values() for ids in column], class_names, palette)
    shapes = [image.shape for image in images]
    with panel_grid(shapes, 1 + len(columns), title, legend) as (figure, axes):
        for row, image in enumerate(images):
            draw_image(axes[row, 0], image, "image" if row == 0 else None)
            for ax, (name, column) in zip(axes[row, 1:], columns.items(), strict=True):
                draw_panel(ax, colorize(column[row], palette), name if row == 0 else None)
    return figure


def plot_error_map(truth, prediction, ax=None):
    """Draws where a prediction is wrong, and writes its pixel accuracy above.

    Args:
        truth: Integer array or tensor ``(H, W)`` or ``(H, W, 1)`` of ids. Void, 255, is not scored.
        prediction: As `truth`.
        ax: Matplotlib `Axes` to draw on; by default the axes of a new figure.

    Returns:
        Matplotlib `Figure`: pixels that are right are grey, wrong ones are orange, and void is white.

    Raises:
        ValueError: If `truth` or `prediction` does not contain ids, or if their sizes differ.

    Example:

    >>> figure = plot_error_map(np.array([[0, 1, 255]]), np.array([[0, 2, 2]]))
    >>> figure.axes[0].get_title()
    'pixel accuracy 50.0 %'
    """
    truth, prediction = require_ids(truth, "truth"), require_ids(prediction, "prediction")
    check_same_size(truth, prediction, "truth", "prediction")
    if ax is None:
        with canvas(3.6, compute_panel_height(3.6, truth.shape) + 1.2) as figure:
            return plot_error_map(truth, prediction, figure.subplots())
    void = truth == VOID
    wrong = (truth != prediction) & ~void
    picture = np.select([void[..., None], wrong[..., None]], [UNSCORED, WRONG], RIGHT)
    scored = truth.size - void.sum()
    accuracy = f"{1 - wrong.sum() / scored:.1%}".replace("%", " %") if scored else "undefined"
    draw_panel(ax, picture, f"pixel accuracy {accuracy}")
    parts = {"right": (RIGHT, scored - wrong.sum()), "wrong": (WRONG, wrong.sum())}
    if void.any():
        parts["void, not scored"] = (UNSCORED, void.sum())
    patches = [make_swatch(color, f"{name}: {count:,}") for name, (color, count) in parts.items()]
    ax.legend(handles=patches, loc="upper center", bbox_to_anchor=(0.5, 0), **LEGEND)
    return ax.figure


def plot_heat_maps(image, scores, class_names=None, classes=None, label="score"):
    """Draws an image and the score maps of some classes, all with the same colour scale.

    Each map is enlarged to the size of the image. The label of the colour scale gives the size of the maps.

    Args:
        image: Path, array or tensor ``(H, W, 3)``, RGB, 0–255.
        scores: Array or tensor ``(h, w, C)``: logits or probabilities, at any resolution.
        class_names: Name of each of the C classes.
        classes: List of ids or names of the classes to draw; by default the four with the highest scores.
        label: Label of the colour scale.

    Returns:
        Matplotlib `Figure`.

    Raises:
        ValueError: If the shape of `scores` is not ``(h, w, C)``, or if a class is not one of the C.

    Example:

    >>> scores = np.random.default_rng(0).normal(size=(2, 3, 10))
    >>> figure = plot_heat_maps(np.zeros((64, 96, 3), "uint8"), scores, classes=[7])
    >>> figure.axes[1].get_title()
    'class 7'

    Reference: Long, Shelhamer & Darrell, CVPR 2015, figure 2.
    """
    image, scores = read_rgb(image), to_numpy(scores).astype("float32")
    if scores.ndim != 3 or scores.size == 0:
        fix = " Fix: for a batch, pass scores[i]." if scores.ndim == 4 else ""
        raise ValueError(f"Found scores of shape {scores.shape}: expected (h, w, classes).{fix}")
    if classes is None:
        classes = np.argsort(-scores.max(axis=(0, 1)), kind="stable")[:4]
    ids = [_find_class_id(c, class_names, scores.shape[-1]) for c in classes]
    if not ids:
        raise ValueError("Found no classes to draw. Fix: name one, or leave `classes` out.")
    height, width = image.shape[:2]
    shared = {"vmin": scores[..., ids].min(), "vmax": scores[..., ids].max(), "cmap": "viridis"}
    columns = min(1 + len(ids), 5)
    rows = -(-(1 + len(ids)) // columns)
    with panel_grid([image.shape] * rows, columns) as (figure, axes):
        panels = axes.ravel()
        draw_image(panels[0], image, "image")
        for ax, i in zip(panels[1:], ids, strict=False):
            frame = (-0.5, width - 0.5, height - 0.5, -0.5)
            name = get_class_name(i, class_names)
            drawn = draw_panel(ax, scores[..., i], name, extent=frame, **shared)
        for ax in panels[1 + len(ids) :]:
            ax.set_visible(False)
        label = f"{label} (maps of {scores.shape[0]} × {scores.shape[1]})"
        figure.colorbar(drawn, ax=list(panels), label=label, fraction=0.05, aspect=15)
    return figure


def _find_class_id(c, class_names, count):
    if isinstance(c, str):
        if class_names is None or c not in list(class_names):
            raise ValueError(f"Found class {c!r}: expected one of class_names.")
        return list(class_names).index(c)
    if not 0 <= c < count:
        raise ValueError(f"Found class {c}: expected 0–{count - 1}, the classes of the scores.")
    return int(c)
