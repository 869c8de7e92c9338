"""What several commands take: a model, data, scales, and choices from the package's tables."""

import contextlib
import enum
import pathlib
import sys
from typing import Annotated

import typer

Data = Annotated[str, typer.Argument(help="A data set (shapes, camvid, voc, pets), or a folder of images/ and masks/.")]
Source = Annotated[str | None, typer.Option(help="Folder that a data set is read from; needed the first time.")]
DataDir = Annotated[str | None, typer.Option(help="Folder of the prepared data; by default data/.")]
Model = Annotated[pathlib.Path, typer.Argument(help="A .keras file, such as runs/mine/best.keras.")]
Scales = Annotated[list[float] | None, typer.Option("--scale", help="Average over these scales.")]
Flip = Annotated[bool, typer.Option("--flip", help="Average over the mirrored image, too.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text.")]


def choice(name, values):
    """The names in a table of the package as an enumeration, which Typer offers and checks.

    Example:

    >>> choice("Net", ["FCN-8s"])("FCN-8s").value
    'FCN-8s'
    """
    return enum.StrEnum(name, {value: value for value in values})


def aside(as_json):
    """With ``--json``, what is told on the way (data that are prepared) goes to the error stream: JSON stands alone.

    Example:

    >>> with aside(as_json=True):
    ...     print("Preparing shapes")
    """
    return contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()
