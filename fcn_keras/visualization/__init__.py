"""Figures of masks, predictions and results.

Every function that draws returns a Matplotlib `Figure`. A notebook shows it if it is the last expression of a cell; in
a script, save it with ``figure.savefig(path)``.
"""

from .charts import plot_confusion_matrix, plot_learning_curves
from .colors import colorize, voc_palette
from .diagrams import plot_units_over_pixels
from .explorer import Explorer
from .instances import show_instances
from .overlays import overlay
from .panels import compare, plot_error_map, plot_heat_maps, show

__all__ = [
    "Explorer",
    "colorize",
    "compare",
    "overlay",
    "plot_confusion_matrix",
    "plot_error_map",
    "plot_heat_maps",
    "plot_learning_curves",
    "plot_units_over_pixels",
    "show",
    "show_instances",
    "voc_palette",
]
