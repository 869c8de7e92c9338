"""The command line: ``python -m fcn_keras`` or ``fcn-keras``, made with Typer.

Every command is a thin face of a function of the package, named in its help. Exit status: 0 done, 1 done with findings
(a check that failed, files that could not be read), 2 refused, 130 stopped.
"""

from .app import app, main

__all__ = ["app", "main"]
