"""Training that survives: one net in a folder (`Run`), and the ladder of Table 2 on top of it (`Ladder`).

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4.2–4.3 and Table 2.
"""

from .ladder import PAPER_TABLE_2, STARTS_FROM, Ladder, Rung, markdown_table
from .optimizers import SGD, AdamW, Polynomial, layer_rates
from .run import Run

__all__ = [
    "PAPER_TABLE_2",
    "SGD",
    "STARTS_FROM",
    "AdamW",
    "Ladder",
    "Polynomial",
    "Run",
    "Rung",
    "layer_rates",
    "markdown_table",
]
