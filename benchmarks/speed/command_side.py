"""A line of Python in a process of its own, from nothing: what an import costs."""

import subprocess
import sys


def prepare(variant, case):
    """As `keras_side.prepare`; a variant is the line."""
    assert case["part"] == "command"
    return lambda: subprocess.run([sys.executable, "-c", variant], check=True, capture_output=True)
