"""Photographs and stored results that come with the package, so that chapters run without a network.

The photographs are in the public domain or under CC0. ``CREDITS.md`` beside this file says who made them, and quotes
their terms.
"""

import json
import pathlib

import numpy as np

from ..._files import suggest
from ..images import read_image

FOLDER = pathlib.Path(__file__).parent
#: Names of the photographs.
PHOTOGRAPHS = tuple(sorted(path.stem for path in FOLDER.glob("*.jpg")))


def photograph(name):
    """A photograph that comes with the package.

    Args:
        name: One of `PHOTOGRAPHS`.

    Returns:
        Array ``(H, W, 3)``, RGB, uint8.

    Raises:
        ValueError: If there is no photograph of this name.

    Example:

    >>> photograph("cat").shape
    (300, 451, 3)
    """
    if name not in PHOTOGRAPHS:
        raise _unknown("photograph", name, PHOTOGRAPHS)
    return np.asarray(read_image(FOLDER / f"{name}.jpg"))


def result(name):
    """A stored result that a chapter shows, because it needs weights or data that do not come with the package.

    Args:
        name: Name of a JSON file in the folder ``results``, without its suffix. The file also says with which command
            and when it was made.

    Returns:
        What the file holds.

    Raises:
        ValueError: If there is no result of this name.

    Example:

    >>> result("tabby")["stride"]
    32
    """
    path = FOLDER / "results" / f"{name}.json"
    if not path.is_file():
        raise _unknown("result", name, sorted(file.stem for file in path.parent.glob("*.json")))
    return json.loads(path.read_text(encoding="utf-8"))


def _unknown(kind, name, known):
    return ValueError(f"Found {kind} {name!r}: expected one of {', '.join(known)}.{suggest(name, known)}")
