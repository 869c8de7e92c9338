"""Checks a data set before training, and describes problems in plain language.

Every file is opened and decoded once, on all cores. Nothing is written to the disk. Only statistics of each file are
kept in memory.
"""

from .checks import check
from .report import Finding, Report

__all__ = ["Finding", "Report", "check"]
