"""The command ``check``: finds errors in a data set before you train on it."""

import pathlib
from typing import Annotated

import typer

from ._options import Binary, Json, silence_tensorflow


def check(
    source: Annotated[pathlib.Path, typer.Argument(help="Folder: images/ and masks/, CamVid's, or VOCdevkit.")],
    binary: Binary = False,
    as_json: Json = False,
):
    """Read a data set and say in plain language, with file names, what will go wrong.

    The exit status is 1 if the data set has an error that would stop training or make its results wrong.

    Python: fcn_keras.datasets.check.check

    Examples:

        fcn-keras check my_data

        fcn-keras check VOCdevkit --json
    """
    with silence_tensorflow():
        from ..datasets.check import check

    report = check(source, binary=binary)
    print(report.to_json() if as_json else report)
    return int(not report.ok)
