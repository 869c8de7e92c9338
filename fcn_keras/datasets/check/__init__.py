"""A data set, read before it is trained on: what would stop a training, and what would spoil it, in plain language.

Every file is opened and decoded, once, on all cores; nothing is written. Only the numbers of each file are kept.
"""

from .checks import check
from .report import Finding, Report

__all__ = ["Finding", "Report", "check"]
