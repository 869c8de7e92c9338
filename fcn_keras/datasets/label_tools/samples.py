"""What the readers of all label tools return, and how a file name in a label file leads to an image."""

import collections
import dataclasses
import os
import pathlib
import re
import unicodedata

from ..._files import explain_missing
from ..images import SUFFIXES, list_images

SPLIT = re.compile(r"(?:.*_)?(train|val|valid|validation|test)(?:ing)?(?:20\d\d)?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Shape:
    """One shape that somebody drew.

    Args:
        label: Name of its class.
        segmentation: Polygons or run lengths, as in `fcn_keras.datasets.segmentations.draw_segmentation`; or a function
            from height and width to a mask.
        key: Shapes of an image with the same key are one object.
        crowd: Whether it is a group of objects that nobody separated (COCO).
        thing: Whether it is an object. Sky and grass are none.
    """

    label: str
    segmentation: object
    key: object
    crowd: bool = False
    thing: bool = True


@dataclasses.dataclass(frozen=True)
class Sample:
    """One image and its labels: shapes, or a file that holds a mask.

    Args:
        place: Where the labels stand, for error messages.
        references: Names that the image may have. The first that exists counts.
        folder: Folder that the names are relative to.
        size: Height and width that the labels give, or None.
        shapes: List of `Shape`, from the bottom to the top.
        mask: File that holds the classes, or None.
        objects: File that holds the objects in different colours, or None.
        split: ``"train"``, ``"validation"``, ``"test"`` or None.
    """

    place: str
    references: tuple
    folder: pathlib.Path
    size: tuple | None = None
    shapes: list = dataclasses.field(default_factory=list)
    mask: pathlib.Path | None = None
    objects: pathlib.Path | None = None
    split: str | None = None


class Images:
    """The image files in a folder, which are found by their names.

    Accents and Korean syllables may have either Unicode form. Files outside of the folder are never found.

    Args:
        source: The folder, as an absolute path.

    Example:

    >>> Images("photos").find(("001.jpg",), pathlib.Path("photos"))  # doctest: +SKIP
    PosixPath('photos/day/001.jpg')
    """

    def __init__(self, source):
        self.source = pathlib.Path(source)
        self.by_name, self.by_stem = collections.defaultdict(list), collections.defaultdict(list)
        for path in list_images(self.source):
            if not any(part.startswith("Segmentation") for part in path.relative_to(self.source).parts[:-1]):
                self.by_name[_normalize(path.name)].append(path)
                self.by_stem[_normalize(path.stem)].append(path)

    def find(self, references, folder):
        """The image that a label file refers to.

        Args:
            references: Names, with or without the ending, with or without folders. Of an absolute path or an address,
                which is from another computer, the longest end that exists counts.
            folder: Folder that the names are relative to.

        Returns:
            The path.

        Raises:
            ValueError: If there is no such image, if there are several, or if a name leads out of the folder.
        """
        for reference in references:
            parts = pathlib.PurePosixPath(_normalize(str(reference).replace("\\", "/"))).parts
            tails = [parts[start:] for start in range(len(parts))]
            if parts and parts[0] != "/" and ":" not in parts[0]:
                near = pathlib.Path(os.path.normpath(folder / pathlib.Path(*parts)))
                if not near.is_relative_to(self.source):
                    raise ValueError(
                        f"the image {reference} lies outside of {self.source}. Fix: import the folder that holds the "
                        "labels and the images."
                    )
                tails = [tuple(_normalize(part) for part in near.relative_to(self.source).parts)]
                tails += [parts] if ".." not in parts else []
            if found := next(filter(None, map(self._match, filter(None, tails))), None):
                return self._choose(found, reference)
        missing = explain_missing(folder / str(references[0])) if references else "No image is named."
        raise ValueError(
            f"the image {', '.join(map(str, references))} is missing. {missing} Fix: copy the images into "
            f"{self.source}. Images inside of JSON files are not read."
        )

    def _match(self, tail):
        """The images whose paths end with these parts. A name without the ending of an image may lack it."""
        named = [path for path in self.by_name.get(tail[-1], ()) if self._is_in(path, tail[:-1])]
        if tail[-1].lower().endswith(SUFFIXES):
            return named
        return named or [path for path in self.by_stem.get(tail[-1], ()) if self._is_in(path, tail[:-1])]

    def _is_in(self, path, folders):
        own = tuple(_normalize(part) for part in path.relative_to(self.source).parts[:-1])
        return own[len(own) - len(folders) :] == folders

    def _choose(self, found, reference):
        if len(found) > 1:
            raise ValueError(
                f"the image {reference} may be {found[0]} or {found[1]}. Fix: rename one of them, or import their "
                "folders one at a time."
            )
        if not found[0].resolve().is_relative_to(self.source.resolve()):
            raise ValueError(f"the image {found[0]} is a link that leads out of the folder. Fix: copy the file.")
        return found[0]


def find_split(*names):
    """The split that the names of folders and files tell, such as ``valid`` or ``instances_train2017``, or None.

    Example:

    >>> find_split("photos", "instances_val2017")
    'validation'
    """
    found = next((match[1].lower() for name in names if (match := SPLIT.fullmatch(name))), None)
    return "validation" if found in ("val", "valid") else found


def _normalize(name):
    return unicodedata.normalize("NFC", name)
