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
        key: Shapes of an image with the same key are one object. None is no object, such as the sky.
        crowd: Whether it is a group of objects that nobody separated (COCO).
    """

    label: str
    segmentation: object
    key: object = None
    crowd: bool = False


@dataclasses.dataclass(frozen=True)
class Sample:
    """One image and its labels: shapes, or a file that holds a mask.

    Args:
        place: Where the labels stand, for error messages.
        references: Names that the image may have. The first that exists counts.
        folder: Folder that the names are relative to.
        size: Height and width that the labels give, or None.
        shapes: Sequence of `Shape`, from the bottom to the top.
        mask: File that holds the classes, or None.
        objects: File that holds the objects in different colours, or None.
        split: ``"train"``, ``"validation"``, ``"test"`` or None.
    """

    place: str
    references: tuple
    folder: pathlib.Path
    size: tuple | None = None
    shapes: tuple = ()
    mask: pathlib.Path | None = None
    objects: pathlib.Path | None = None
    split: str | None = None


class Images:
    """The image files in a folder, which are found by their names.

    Accents and Korean syllables may have either Unicode form. Files outside of the folder are never found.

    Args:
        source: The folder, as an absolute path.

    Example:

    >>> Images("/photos").find(sample)  # doctest: +SKIP
    PosixPath('/photos/day/001.jpg')
    """

    def __init__(self, source):
        self.source, self.by_name = source, collections.defaultdict(list)
        for path in list_images(source):
            *folders, name = _split(path.relative_to(source))
            if not any(folder.startswith("Segmentation") for folder in folders):
                for own in {name, pathlib.PurePath(name).stem}:
                    self.by_name[own].append((path, (*folders, own)))

    def find(self, sample):
        """The image file of a sample.

        The name may lack the ending, and it may lack folders if it is clear without them. Of an absolute path or an
        address, which are from another computer, the longest end that exists counts.

        Args:
            sample: A `Sample`.

        Raises:
            ValueError: If there is no such image, if there are several, or if a name or a link leads out of the folder.
        """
        for reference in sample.references:
            parts = _split(str(reference).replace("\\", "/"))
            tails = [parts[start:] for start in range(len(parts))]
            if parts and parts[0] != "/" and ":" not in parts[0]:
                near = pathlib.Path(os.path.normpath(sample.folder.joinpath(*parts)))
                if not near.is_relative_to(self.source):
                    fix = "Fix: import the folder that holds the labels and the images."
                    raise ValueError(f"the image {reference} lies outside of {self.source}. {fix}")
                tails = [_split(near.relative_to(self.source)), parts]
            for tail in filter(None, tails):
                whole = tail[-1].lower().endswith(SUFFIXES)
                found = [path for path, own in self.by_name[tail[-1]] if own[-len(tail) :] == tail]
                found = [path for path in found if not whole or _split(path.name) == tail[-1:]]
                if len(found) > 1:
                    fix = "Fix: rename one of them, or import their folders one at a time."
                    raise ValueError(f"the image {reference} may be {found[0]} or {found[1]}. {fix}")
                if found and not found[0].resolve().is_relative_to(self.source.resolve()):
                    raise ValueError(
                        f"the image {found[0]} is a link that leads out of the folder. Fix: copy the file."
                    )
                if found:
                    return found[0]
        missing = " or ".join(map(str, sample.references))
        fix = f"Fix: copy the images into {self.source}; those inside of JSON files are not read."
        why = explain_missing(sample.folder / missing) if len(sample.references) == 1 else ""
        raise ValueError(f"the image {missing} is missing. {why} {fix}")


def find_split(*names):
    """The split that the names of folders and files tell, such as ``valid`` or ``instances_train2017``, or None.

    Example:

    >>> find_split("photos", "instances_val2017")
    'validation'
    """
    found = next((match[1].lower() for name in names if (match := SPLIT.fullmatch(name))), None)
    return "validation" if found in ("val", "valid") else found


def _split(path):
    return pathlib.PurePosixPath(unicodedata.normalize("NFC", pathlib.PurePath(path).as_posix())).parts
