"""Figures of masks, predictions and results.

Every function that draws returns a Matplotlib `Figure`. A notebook shows it if it is the last expression of a cell; in
a script, save it with ``figure.savefig(path)``.
"""

from .charts import confusion_matrix, learning_curves
from .colors import colorize, voc_palette
from .diagrams import units_over_pixels
from .explorer import Explorer
from .instances import show_instances
from .overlays import overlay
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
