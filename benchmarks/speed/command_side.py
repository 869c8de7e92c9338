"""A line of Python in a new process: what an import costs."""

import subprocess
import sys


def prepare(variant, case):
    """As `keras_side.prepare`; the variant is the line of Python."""
    assert case["part"] == "command"
    return lambda: subprocess.run([sys.executable, "-c", variant], check=True, capture_output=True)
