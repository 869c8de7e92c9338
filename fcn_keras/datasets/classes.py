"""The classes of one's own data: names, colours, and masks that are written in colours."""

import dataclasses
import re

import numpy as np

from .._files import user_path
from ..layers.labels import VOID
from .palettes import voc_palette


@dataclasses.dataclass(frozen=True)
class Classes:
    """Names of the classes by id, and their colours where masks are written in them.

    Args:
        names: One name for each id, background first where there is one.
        colours: RGB in 0–255, one triple for each name; None where masks hold ids and nothing else.
        void_colour: RGB of pixels that are no class; None where there is none.
        void_id: Id, beside 255, of pixels that are no class in masks of ids; the classes' ids there leave it out.

    Example:

    >>> Classes(("ground", "road")).palette.tolist()
    [[0, 0, 0], [128, 0, 0]]
    """

    names: tuple
    colours: tuple | None = None
    void_colour: tuple | None = None
    void_id: int | None = None

    @property
    def palette(self):
        """uint8 array ``(C, 3)``: the colours, or VOC's."""
        return voc_palette(len(self.names)) if self.colours is None else np.array(self.colours, "uint8")

    @property
    def id_of_level(self):
        """uint8 array ``(256,)``: the class of each id that a mask file may hold, void as 255; others are themselves.

        Example:

        >>> Classes(("ground", "road"), void_id=0).id_of_level[[0, 1, 2, 3, 255]].tolist()
        [255, 0, 1, 3, 255]
        """
        table = np.arange(256, dtype="uint8")
        if self.void_id is not None:
            table[self.void_id : len(self.names) + 1] -= 1  # void's own, 0 - 1 perhaps, is set below
            table[self.void_id] = VOID
        return table


def read_classes(path):
    r"""Reads a ``classes.txt``: a line for each class, in the order of the ids.

    A line is a name, or a name and its colour as three numbers: ``road 128 64 128``. The name ``void`` with a colour
    names the colour of pixels of no class, and has no id. Without a colour ``void`` makes the id of its line void,
    beside 255: as first line, 0. Empty lines and what stands behind ``#`` do not count. There are 255 classes at most,
    as 255 is void.

    Args:
        path: The file, UTF-8.

    Returns:
        A `Classes`.

    Raises:
        ValueError: If the file cannot be read, or holds no class or more than 255; a name or colour stands twice; a
            number is no integer in 0–255; or some classes have colours and others have none. The message names the
            line where it is one line's fault.

    Example:

    >>> _ = user_path("classes.txt").write_text("ground 0 0 0\nroad 128 64 128\nvoid 255 255 255  # unlabelled")
    >>> read_classes("classes.txt").names
    ('ground', 'road')
    >>> _ = user_path("classes.txt").write_text("void\nground\nroad")
    >>> read_classes("classes.txt")
    Classes(names=('ground', 'road'), colours=None, void_colour=None, void_id=0)
    """
    path = user_path(path)
    if not path.is_file():  # a pipe would wait for ever
        raise ValueError(f"{path} cannot be read (no regular file): expected a text file, a class in each line.")
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}): expected a text file, a class in each line.") from error
    found, first_lines = {}, {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        name, colour = _parsed(line, f"{path}, line {number}")
        name = "void" if name.lower() == "void" else name
        for kind, value in (("name", name), ("colour", colour)):
            before = first_lines.setdefault((kind, value), number) if value is not None else number
            if before != number:
                raise ValueError(f"{path}, line {number}: the {kind} {value} stands in line {before} already.")
        found[name] = colour
    void_id = list(found).index("void") if "void" in found and found["void"] is None else None
    void = found.pop("void", None)
    coloured = [name for name, colour in found.items() if colour is not None]
    if not found:
        raise ValueError(f"{path} names no class: expected a line for each, such as `road` or `road 128 64 128`.")
    most = VOID - (void_id is not None)
    if len(found) > most:
        raise ValueError(f"{path} names {len(found)} classes: expected {most} at most, as the id {VOID} is void.")
    if coloured and len(coloured) < len(found):
        bare = next(name for name in found if name not in coloured)
        line = first_lines["name", bare]
        raise ValueError(
            f"{path}, line {line}: {bare!r} has no colour, other lines have: expected colours for all, or for none. "
            "Fix: name its colour; a line of headings is not expected, delete it."
        )
    return Classes(tuple(found), tuple(found.values()) if coloured else None, void, void_id)


def _parsed(line, place):
    match = re.fullmatch(r"(.+?)((?:[\s,]+-?[\d.]+)*)", line)
    name, numbers = match[1].strip(), re.findall(r"-?[\d.]+", match[2])
    if len(numbers) not in (0, 3) or not all(re.fullmatch(r"\d+", n) and int(n) <= 255 for n in numbers):
        raise ValueError(f"{place}: found {line!r}: expected a name, or a name and three integers in 0–255.")
    return name, tuple(int(n) for n in numbers) or None


def colours_to_ids(mask, classes):
    """Turns a mask that is written in colours into ids.

    Args:
        mask: uint8 array ``(H, W, 3)``.
        classes: A `Classes` with colours.

    Returns:
        uint8 array ``(H, W)``; void is 255.

    Raises:
        ValueError: If the mask is no such array, the classes have no colours, or the mask holds colours that are none
            of theirs; the most frequent are named with their pixels.

    Example:

    >>> classes = Classes(("ground", "road"), ((0, 0, 0), (128, 64, 128)), void_colour=(255, 255, 255))
    >>> colours_to_ids(np.array([[[0, 0, 0], [128, 64, 128], [255, 255, 255]]], "uint8"), classes).tolist()
    [[0, 1, 255]]
    """
    mask = np.asarray(mask)
    if mask.dtype != np.uint8 or mask.ndim != 3 or mask.shape[-1] != 3:
        raise ValueError(f"The mask is {mask.dtype} {mask.shape}: expected uint8 (H, W, 3), RGB.")
    if classes.colours is None:
        raise ValueError(
            "The mask is written in colours, and the classes have none. Fix: write them into classes.txt, a line for "
            "each class, such as `road 128 64 128`."
        )
    codes = _codes(mask)
    table = {int(_codes(np.array(colour))): id_ for id_, colour in enumerate(classes.colours)}
    if classes.void_colour is not None:
        table[int(_codes(np.array(classes.void_colour)))] = VOID
    present, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    unknown = [i for i in np.argsort(-counts) if int(present[i]) not in table]
    if unknown:
        told = ", ".join(f"{_triple(present[i])} ({counts[i]} pixels)" for i in unknown[:5])
        raise ValueError(
            f"{len(unknown)} colours are of no class: {told}. Fix: name them in classes.txt; colours that no one drew "
            "come from JPEG, or from masks resized by interpolation."
        )
    ids = np.array([table[int(code)] for code in present], "uint8")
    return ids[inverse].reshape(codes.shape)


def _codes(rgb):
    return rgb.astype("int64") @ np.array([1 << 16, 1 << 8, 1])


def _triple(code):
    return int(code) >> 16, int(code) >> 8 & 255, int(code) & 255
