"""Charts: learning curves and confusion matrices."""

import numpy as np
from matplotlib.colors import PowerNorm

from ..layers.labels import to_numpy
from .style import MAX_WIDTH, canvas

# From Wong, Nature Methods 8 (2011). Colour-blind readers can also distinguish them.
LINE_COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000"]


def plot_learning_curves(history, metrics=None):
    """Draws the loss and the metrics of each epoch, and writes the name of each line at its end.

    Args:
        history: The object that `fit` returned, or its dict from metric to values. To compare models, pass a dict from
            the name of a model to one of these.
        metrics: Names of the metrics to draw, without ``val_``; by default all that were recorded.

    Returns:
        Matplotlib `Figure` with a panel for each metric. The lines of the validation data are solid, those of the
        training data are dashed.

    Raises:
        ValueError: If there is nothing to draw, or if a metric was not recorded.

    Example:

    >>> figure = plot_learning_curves({"loss": [2.0, 1.0], "val_loss": [2.1, 1.4]})
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['training', 'validation']
    """
    runs = _collect_runs(history)
    recorded = list(dict.fromkeys(key.removeprefix("val_") for run in runs.values() for key in run))
    for metric in metrics or ():
        if metric not in recorded:
            raise ValueError(
                f"Found metric {metric!r}, which was not recorded: expected some of {', '.join(recorded)}."
            )
    metrics = list(metrics or recorded)
    if not metrics:
        raise ValueError("Found an empty history: expected the object that model.fit returns.")
    columns = min(len(metrics), 3)
    rows = -(-len(metrics) // columns)
    with canvas(min(MAX_WIDTH, 4.6 * columns), 2.9 * rows) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, metric in zip(axes, metrics, strict=False):
            _draw_metric(ax, metric, runs)
        for ax in axes[len(metrics) :]:
            ax.set_visible(False)
    return figure


def plot_confusion_matrix(confusion, class_names=None, ax=None):
    """Draws a confusion matrix, in percent of the true class.

    Args:
        confusion: Array or tensor ``(C, C)`` of counts: rows are the truth, columns the prediction.
        class_names: Name of each class, from class 0 on.
        ax: Matplotlib `Axes` to draw on; by default the axes of a new figure.

    Returns:
        Matplotlib `Figure`. Cells below half a percent stay empty. The row of a class that does not occur in the truth
        is hatched.

    Raises:
        ValueError: If `confusion` is not square or has negative counts, or if the number of names is wrong.

    Example:

    >>> figure = plot_confusion_matrix([[3, 1], [0, 2]], ["background", "cat"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['75', '25', '100']
    """
    counts = np.asarray(to_numpy(confusion), "float64")
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.size == 0:
        raise ValueError(f"Found a confusion matrix of shape {counts.shape}: expected (C, C).")
    if not (counts >= 0).all():
        raise ValueError("Found a confusion matrix with negative or NaN counts: expected numbers from 0 up.")
    names = [f"class {i}" for i in range(len(counts))] if class_names is None else class_names
    if len(names) != len(counts):
        raise ValueError(f"Found {len(names)} names for {len(counts)} classes: expected one for each.")
    if ax is None:
        side = max(3.2, 0.36 * len(counts))
        margin = 0.09 * max(map(len, names))
        with canvas(min(MAX_WIDTH, side + margin + 0.6), side + margin + 0.8) as figure:
            return plot_confusion_matrix(counts, names, figure.subplots())
    total = counts.sum(axis=1, keepdims=True)
    percent = np.divide(100 * counts, total, out=np.zeros_like(counts), where=total > 0)
    norm = PowerNorm(0.5, 0, 100)  # so that a few percent are visible
    ax.imshow(percent, cmap="cividis", norm=norm)
    for row, col in zip(*np.nonzero(percent >= 0.5), strict=True):
        color = "black" if norm(percent[row, col]) > 0.6 else "white"
        text = f"{percent[row, col]:.0f}"
        ax.text(col, row, text, color=color, ha="center", va="center", fontsize=9)
    for row in np.flatnonzero(total == 0):
        ax.axhspan(row - 0.5, row + 0.5, facecolor="white", edgecolor="0.6", hatch="///")
    ticks = range(len(names))
    ax.set_xticks(ticks, names, rotation=90 if len(names) > 4 else 0)
    ax.set_yticks(ticks, names)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="prediction", ylabel="truth", title="% of the pixels of the true class")
    return ax.figure


def _collect_runs(history):
    """Returns a dict from model name to a dict from metric to array. A single model has the name ``''``."""
    values = getattr(history, "history", history)
    if not isinstance(values, dict):
        raise ValueError(
            f"Found a history of type {type(history).__name__}: expected the object that model.fit returns."
        )
    if not any(isinstance(run, dict) or hasattr(run, "history") for run in values.values()):
        values = {"": values}
    return {
        name: {key: np.atleast_1d(np.asarray(line, float)) for key, line in getattr(run, "history", run).items()}
        for name, run in values.items()
    }


def _draw_metric(ax, metric, runs):
    ends = []
    for color, (name, run) in zip(LINE_COLORS * len(runs), runs.items(), strict=False):
        for key, style, part in ((metric, "--", "training"), ("val_" + metric, "-", "validation")):
            finite = np.isfinite(run.get(key, []))
            if finite.any():
                epochs = np.arange(1, len(run[key]) + 1)
                marker = "o" if len(epochs) == 1 else None
                ax.plot(epochs, run[key], style, color=color, marker=marker, linewidth=1.8)
                label = " ".join(filter(None, [name, part])) if key == metric else name or part
                ends.append((run[key][finite][-1], label, color))
    ax.set(title=metric.replace("_", " ").replace(" iou", " IoU"), xlabel="epoch")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(axis="y", color="0.9")
    _label_ends(ax, ends)


def _label_ends(ax, ends):
    """Writes the name of each line to the right of its end, and moves names apart that would overlap."""
    ends = sorted(ends)
    low, high = ax.get_ylim()
    heights = _spread([(value - low) / (high - low) for value, _, _ in ends], gap=0.09)
    for height, (_, label, color) in zip(heights, ends, strict=True):
        ax.text(1.02, height, label, color=color, transform=ax.transAxes, va="center", fontsize=9)


def _spread(heights, gap):
    """Moves sorted heights so that they are at least `gap` apart. Heights that are close keep their mean."""
    groups = []
    for height in heights:
        groups.append([height])
        while len(groups) > 1 and _space_evenly(groups[-2], gap)[-1] + gap > _space_evenly(groups[-1], gap)[0]:
            last = groups.pop()
            groups[-1] = groups[-1] + last
    return [height for group in groups for height in _space_evenly(group, gap)]


def _space_evenly(group, gap):
    return list(np.mean(group) + gap * (np.arange(len(group)) - (len(group) - 1) / 2))
