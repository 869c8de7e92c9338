"""Masks, predictions and results as pictures. Every function returns a Matplotlib `Figure`.

The last expression of a notebook cell shows it; in a script, save it with `figure.savefig(path)`.
"""

from .charts import confusion_matrix, learning_curves
from .colors import colorize, overlay, voc_palette
from .diagrams import units_over_pixels
from .explorer import Explorer
from .instances import show_instances
from .panels import compare, error_map, heat_maps, show

__all__ = [
    "Explorer",
    "colorize",
    "compare",
    "confusion_matrix",
    "error_map",
    "heat_maps",
    "learning_curves",
    "overlay",
    "show",
    "show_instances",
    "units_over_pixels",
    "voc_palette",
]
