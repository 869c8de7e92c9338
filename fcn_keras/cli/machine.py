"""The commands that look before anything is trained: ``check`` for data, ``doctor`` for the machine."""

from typing import Annotated

import typer

from .. import doctor as machine

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text.")]


def doctor(as_json: Json = False):
    """Say what this machine has, what it lacks, and the mend.

    Exit status 1 if something is broken. Where fcn_keras itself cannot be imported: python fcn_keras/doctor.py

    Python: fcn_keras.doctor.main

    Examples:

        fcn-keras doctor

        fcn-keras doctor --json
    """
    return machine.main(["--json"] if as_json else [])
