"""The command line: ``fcn-keras``, or ``python -m fcn_keras``.

Each command calls a function of the package, which its help names. Exit status: 0 done; 1 done, but something was found
(errors in data, files that could not be read); 2 refused; 130 stopped by Ctrl-C.
"""

__all__ = ["main"]


def main(arguments=None):
    """Runs a command.

    Args:
        arguments: Words of the command; by default those of the process.

    Returns:
        Exit status: 0 done; 1 done, but something was found; 2 refused; 130 stopped by Ctrl-C.

    Example:

    >>> main(["check", "nowhere"])
    2
    """
    from .app import app  # here, since `fcn_keras.cli.doctor` has to start where Typer is not installed

    try:
        app(arguments, prog_name="fcn-keras")
    except SystemExit as end:
        return end.code or 0
    return 0
