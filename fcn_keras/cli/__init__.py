"""The command line: ``fcn-keras``, or ``python -m fcn_keras``.

Each command calls a function of the package, which its help names. The exit status is 0 if all went well; 1 if the
command ran and found something wrong, such as errors in data or files that cannot be read; 2 if it cannot run as asked;
and 130 if you stopped it with Ctrl-C.
"""

import sys

__all__ = ["main"]


def main(arguments=None):
    """Runs a command.

    Args:
        arguments: The words after ``fcn-keras``. By default those of this process.

    Returns:
        The exit status: 0, 1, 2 or 130.

    Example:

    >>> main(["check", "nowhere"])
    2
    """
    from .app import app  # here, because `fcn_keras.cli.doctor` must also start if Typer is not installed

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a console that lacks the letters of a name shows their numbers instead
            stream.reconfigure(errors="backslashreplace")
    try:
        app(arguments, prog_name="fcn-keras")
    except SystemExit as end:
        return end.code or 0
    return 0
