"""The commands that look before anything is trained: ``check`` for data, ``doctor`` for the machine."""

import pathlib
from typing import Annotated

import typer

from ..datasets import check as checking
from . import doctor as machine
from ._options import Json


def check(
    source: Annotated[pathlib.Path, typer.Argument(help="Folder: images/ and masks/, CamVid's, or VOCdevkit.")],
    as_json: Json = False,
):
    """Read a data set and say in plain language, with file names, what will go wrong.

    Exit status 1 if something would stop a training, or make its numbers wrong.

    Python: fcn_keras.datasets.check.check

    Examples:

        fcn-keras check my_data

        fcn-keras check VOCdevkit --json
    """
    report = checking.check(source)
    print(report.to_json() if as_json else report)
    return int(not report.ok)


def doctor(as_json: Json = False):
    """Say what this machine has, what it lacks, and the mend.

    Exit status 1 if something is broken. Where fcn_keras itself cannot be imported: python fcn_keras/cli/doctor.py

    Python: fcn_keras.cli.doctor.main

    Examples:

        fcn-keras doctor

        fcn-keras doctor --json
    """
    return machine.main(["--json"] if as_json else [])
