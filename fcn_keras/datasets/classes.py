"""The classes of a data set: their names and colours, the file ``classes.txt``, and masks that hold colours."""

import dataclasses
import re

import numpy as np

from .._files import user_path
from ..layers.labels import VOID


@dataclasses.dataclass(frozen=True)
class Classes:
    """The names of the classes by id, and their colours if the masks hold colours.

    Args:
        names: One name for each id. If there is a background, it comes first.
        colors: RGB in 0–255, one triple for each name; None if masks hold ids.
        void_color: RGB of the pixels that belong to no class; None if there is no such colour.
        void_id: Id that means void in the mask files, in addition to 255. The ids above it move down by one, so that
            the class ids have no gap.
        binary: Whether the masks hold two values: 0 or transparent for the first class, any other for the second.

    Example:

    >>> Classes(("ground", "road")).palette.tolist()
    [[0, 0, 0], [128, 0, 0]]
    """

    names: tuple
    colors: tuple | None = None
    void_color: tuple | None = None
    void_id: int | None = None
    binary: bool = False

    @property
    def grey(self):
        """Whether all classes have colours, and all of these are grey levels."""
        return self.colors is not None and all(len(set(color)) == 1 for color in self.colors)

    @property
    def file_ids(self):
        """The value of each class in the mask files: its id, or its grey level if all colours are grey.

        Example:

        >>> Classes(("ground", "road"), void_id=0).file_ids
        [1, 2]
        """
        if self.grey:
            return [color[0] for color in self.colors]
        return [id_ + (self.void_id is not None and id_ >= self.void_id) for id_ in range(len(self.names))]

    @property
    def palette(self):
        """uint8 array ``(C, 3)``: the colours, or those of PASCAL VOC if the classes have none."""
        return voc_palette(len(self.names)) if self.colors is None else np.array(self.colors, "uint8")

    @property
    def id_of_level(self):
        """uint8 array ``(256,)``: the class id of each value that a mask file may hold.

        Void becomes 255. Values that belong to no class stay as they are.

        Example:

        >>> Classes(("ground", "road"), void_id=0).id_of_level[[0, 1, 2, 3, 255]].tolist()
        [255, 0, 1, 3, 255]
        """
        table = np.arange(256, dtype="uint8")
        if self.void_id is not None:
            table[self.void_id : len(self.names) + 1] -= 1
            table[self.void_id] = VOID
        return table


def voc_palette(n=256):
    """The colours of PASCAL VOC's masks.

    The bits of an id are distributed over red, green and blue in turn. The lowest bits of the id become the highest
    bits of the colours. For example, bits 0, 3 and 6 of the id become bits 7, 6 and 5 of red.

    Args:
        n: Number of colours, 1 to 256.

    Returns:
        uint8 array ``(n, 3)``, RGB. Row 0 is black; row 255, void, is ``(224, 224, 192)``.

    Raises:
        ValueError: If `n` is not in 1 to 256.

    Example:

    >>> voc_palette()[15].tolist()  # person
    [192, 128, 128]

    Reference: Everingham et al., the PASCAL VOC development kit, ``VOClabelcolormap``.
    """
    if not 1 <= n <= 256:
        raise ValueError(f"Found n={n}: expected 1 to 256, as an id has 8 bits.")
    ids = np.arange(n)[:, None]
    channel = np.arange(3)
    palette = np.zeros((n, 3), "int64")
    for k in range(3):
        palette |= (ids >> (3 * k + channel) & 1) << (7 - k)
    return palette.astype("uint8")


def read_classes(path):
    r"""Reads a ``classes.txt``: one line for each class, in the order of the ids.

    A line is a name, or a name and its colour as three numbers: ``road 128 64 128``. The name ``void`` is special. With
    a colour, it says that pixels of this colour belong to no class, and it has no id. Without a colour, the id of its
    line becomes void, in addition to 255. Empty lines and text after ``#`` are ignored. A file can name at most 255
    classes, because the id 255 is void.

    Lines of other tools are also read: CVAT's ``road:128,64,128::``, LabelMe's ``__ignore__``, Roboflow's
    ``_classes.csv``, colours such as ``#804080``, semicolons, and numbers before all names if they are the ids. One or
    two numbers after a name belong to it: ``grade 1``. A name in double quotes is taken as it stands.

    Args:
        path: The file, in UTF-8.

    Returns:
        A `Classes`.

    Raises:
        ValueError: If the file cannot be read; if it names no class or more than 255; if a name or a colour occurs
            twice; if a number is not an integer in 0–255; or if some classes have colours and others do not. If one
            line is wrong, the message names it.

    Example:

    >>> _ = user_path("classes.txt").write_text("ground 0 0 0\nroad 128 64 128\nvoid 255 255 255  # unlabelled")
    >>> read_classes("classes.txt").names
    ('ground', 'road')
    >>> _ = user_path("classes.txt").write_text("void\nground\nroad")
    >>> read_classes("classes.txt")
    Classes(names=('ground', 'road'), colors=None, void_color=None, void_id=0, binary=False)
    """
    path = user_path(path)
    found, first_lines = {}, {}
    for number, line in _strip_ids(_strip_lines(read_lines(path, "a class in each line")), path):
        name, color = _parse_line(line, f"{path}, line {number}")
        name = "void" if name.lower() == "void" else name
        for kind, value in (("name", name), ("colour", color)):
            before = first_lines.setdefault((kind, value), number) if value is not None else number
            if before != number:
                raise ValueError(f"{path}, line {number}: found the {kind} {value}, which line {before} already has.")
        found[name] = color
    void_id = list(found).index("void") if "void" in found and found["void"] is None else None
    void = found.pop("void", None)
    colored = [name for name, color in found.items() if color is not None]
    if not found:
        raise ValueError(f"{path} names no class: expected a line for each, such as `road` or `road 128 64 128`.")
    most = VOID - (void_id is not None)
    if len(found) > most:
        raise ValueError(f"{path} names {len(found)} classes: expected at most {most}, because the id {VOID} is void.")
    if colored and len(colored) < len(found):
        bare = next(name for name in found if name not in colored)
        raise ValueError(
            f"{path}, line {first_lines['name', bare]}: {bare!r} has no colour, but other lines have one: expected a "
            "colour for every class, or for none. Fix: name its colour; if the line is a heading, delete it."
        )
    return Classes(tuple(found), tuple(found.values()) if colored else None, void, void_id)


def read_lines(path, content):
    r"""The lines of a text file that a user has written.

    Args:
        path: The file, in UTF-8.
        content: What the file should contain, for the error message.

    Raises:
        ValueError: If it is not a regular file, cannot be read, or is not UTF-8.

    Example:

    >>> _ = user_path("train.txt").write_text("day/1\nday/2\n")
    >>> read_lines("train.txt", "a name in each line")
    ['day/1', 'day/2']
    """
    path = user_path(path)
    if not path.is_file():  # reading from a pipe could wait forever
        raise ValueError(f"{path} cannot be read, because it is not a regular file: expected a text file, {content}.")
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()  # some editors write a byte order mark at the start
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as UTF-8 ({error}): expected a text file, {content}.") from error


def _strip_lines(lines):
    """Yields ``(number, line)`` for each line that names a class, without comments and in one notation for colours."""
    color = r"(?<=[^\s,;:])[\s,;:]+#([0-9a-fA-F]{6})(?![^\s,;:])"
    for number, line in enumerate(lines, start=1):
        line = re.sub(color, lambda found: " " + " ".join(map(str, bytes.fromhex(found[1]))), line)
        line = line.partition("#")[0].strip()
        line = re.sub(r"^([^:]+):(\d+),(\d+),(\d+)(:[^:]*){0,2}$", r"\1 \2 \3 \4", line)  # CVAT's labelmap.txt
        heading = re.fullmatch(r"pixel value[\s,;]+class", line, re.IGNORECASE)  # Roboflow's _classes.csv
        if line and not heading and not re.fullmatch(r"__ignore__|255\W+void", line, re.IGNORECASE):
            yield number, line


def _strip_ids(lines, path):
    """Removes the ids in front of the names if every line has one. Raises an error if they are not the ids."""
    lines, pattern = list(lines), r"(\d+)(?:\s*[:,.;=)]\s*|\s+)(?=[^\s\d])|(?=void\b)"
    found = [re.match(pattern, line, re.IGNORECASE) for _, line in lines]
    if not all(found) or not any(match[1] for match in found):
        return lines
    for place, (match, (number, line)) in enumerate(zip(found, lines, strict=True)):
        if int(match[1] or place) != place:
            raise ValueError(
                f"{path}, line {number}: found {line!r}, but the id of this line is {place}: expected the ids 0, 1, "
                "2 … in this order. Fix: put the lines into this order, with a name for each id; `void` names an id "
                'that is no class. If the number belongs to the name, write the name in quotes: "2 wheels".'
            )
    return [(number, line[match.end() :]) for match, (number, line) in zip(found, lines, strict=True)]


def _parse_line(line, place):
    quoted = re.fullmatch(r'"([^"]+)"(.*)', line)
    name, rest = quoted.groups() if quoted else re.fullmatch(r"(.+?)((?:[\s,;]+-?[\d.]+)*)[\s,;]*", line).groups()
    numbers = re.findall(r"[\s,;]+-?[\d.]+", rest)
    if len(numbers) < 3 and not re.search("[,;\t]", rest):  # as in "grade 1"
        return (name if quoted else name + rest).strip(), None
    texts = [number.strip(" \t,;") for number in numbers[-3:]]
    if len(texts) != 3 or not all(re.fullmatch(r"\d+", text) and int(text) <= 255 for text in texts):
        raise ValueError(f"{place}: found {line!r}: expected a name, or a name and three integers in 0–255.")
    return (name + "".join(numbers[:-3])).rstrip(" \t:"), tuple(int(text) for text in texts)


def colors_to_ids(mask, classes):
    """Turns the colours of a mask into class ids.

    Args:
        mask: uint8 array ``(H, W, 3)``.
        classes: A `Classes` with colours.

    Returns:
        uint8 array ``(H, W)``; void is 255.

    Raises:
        ValueError: If the mask is not such an array, if the classes have no colours, or if the mask holds colours that
            belong to no class. The message names the most frequent of these colours and counts their pixels.

    Example:

    >>> classes = Classes(("ground", "road"), ((0, 0, 0), (128, 64, 128)), void_color=(255, 255, 255))
    >>> colors_to_ids(np.array([[[0, 0, 0], [128, 64, 128], [255, 255, 255]]], "uint8"), classes).tolist()
    [[0, 1, 255]]
    """
    mask = np.asarray(mask)
    if mask.dtype != np.uint8 or mask.ndim != 3 or mask.shape[-1] != 3:
        raise ValueError(f"The mask is {mask.dtype} {mask.shape}: expected uint8 (H, W, 3), RGB.")
    if classes.colors is None:
        raise ValueError(
            "The mask is written in colours, but the classes have none. Fix: write them into classes.txt, one line for "
            "each class, such as `road 128 64 128`."
        )
    codes = _encode(mask)
    table = {int(_encode(np.array(color))): id_ for id_, color in enumerate(classes.colors)}
    if classes.void_color is not None:
        table[int(_encode(np.array(classes.void_color)))] = VOID
    present, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    unknown = [i for i in np.argsort(-counts) if int(present[i]) not in table]
    if unknown:
        colors = [tuple(int(present[i]) >> shift & 255 for shift in (16, 8, 0)) for i in unknown[:5]]
        most = ", ".join(f"{color} ({counts[i]} pixels)" for color, i in zip(colors, unknown, strict=False))
        raise ValueError(
            f"The mask holds {len(unknown)} colours of no class: {most}. Fix: name them in classes.txt. If nobody drew "
            "these colours, they come from JPEG, or the mask was resized by interpolation."
        )
    ids = np.array([table[int(code)] for code in present], "uint8")
    return ids[inverse].reshape(codes.shape)


def _encode(rgb):
    return rgb.astype("int64") @ np.array([1 << 16, 1 << 8, 1])
