"""Reads a folder with your own images and masks as a TFDS data set.

::

    my_data/
      images/       photographs: JPEG, PNG, …, which may also be in subfolders
      masks/        for each image a PNG, BMP or TIFF of the same name: ids, or colours that classes.txt names
      classes.txt   optional: one line for each class, in the order of the ids: `road`, or `road 128 64 128`
      train.txt, validation.txt, test.txt   optional: one name in each line, such as `day/001`

The command ``fcn-keras check my_data`` tells you what is wrong with such a folder. This module makes the same checks,
and raises an error if a network cannot be trained on the data.
"""

import hashlib
import json
import re

import numpy as np
import tensorflow_datasets as tfds

from .._files import explain_missing, user_path
from ..layers.labels import VOID
from . import images
from .builders import make_features, make_info, record_source
from .check.checks import group_by_kind, inspect_all
from .check.layouts import LISTS, VALIDATION_SHARE, read_layout
from .classes import Classes
from .masks import read_mask

UNUSABLE = ("image", "mask", "colours", "ids", "size", "jpeg mask")  # kinds of problems that make training impossible
NAMED = 20  # how many files an error names for each kind of problem


class Folder(tfds.core.GeneratorBasedBuilder):
    """Builder of a folder of images and masks. `make_builder` makes its config, which holds the classes.

    Without a ``classes.txt``, the classes are the ids from 0 to the largest id in the masks, with the names
    ``class 0``, ``class 1`` and so on. The builder reads all files before it writes anything, and one error names all
    bad files. JPEG and PNG files are stored byte for byte. Images of other formats, and images that are grey,
    transparent or turned by EXIF, are converted to upright RGB images.

    Example:

    >>> dataset = fcn_keras.datasets.load("folder", "train", source="my_data")  # doctest: +SKIP
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "pass source=, the folder that holds images/ and masks/."

    def _info(self):
        classes = self.builder_config.classes
        features = make_features(encoding_format=None)
        return make_info(self, "Images and masks from a folder.", classes.names, classes.palette, features)

    def _split_generators(self, dl_manager):
        pairs = _read_layout(record_source(self, dl_manager), self.builder_config.share).pairs
        of_split = {split: [pair for pair in pairs if pair.split == split] for split in LISTS}
        return {split: self._generate_examples(chosen) for split, chosen in of_split.items() if chosen}

    def _generate_examples(self, pairs):
        for pair in pairs:
            ids = read_mask(pair.mask, self.builder_config.classes)
            pixels = pair.image if images.is_plain(pair.image) else images.read_image(pair.image)
            yield pair.name, {"image": pixels, "segmentation_mask": ids[..., None], "file_name": pair.image.name}


class FolderConfig(tfds.core.BuilderConfig):
    """The config of a folder. Its name contains a fingerprint of the files.

    Args:
        classes: The `fcn_keras.datasets.classes.Classes`.
        share: Share of the images to use for validation, if there are no lists.
    """

    def __init__(self, *, classes, share, **kwargs):
        super().__init__(**kwargs)
        self.classes, self.share = classes, share


def make_builder(source, share=None, data_dir=None):
    """The builder of a folder. If the files change, the config also changes, so the data are prepared again.

    Args:
        source: The folder that holds ``images`` and ``masks``.
        share: Share of the images to use for validation, if there are no lists; 0.2 by default.
        data_dir: Folder for the prepared data.

    Returns:
        A `tfds.core.DatasetBuilder`, prepared or not.

    Raises:
        ValueError: If the folder does not have this layout, or if files in it cannot be used. The message names them.

    Example:

    >>> builder = make_builder("my_data", data_dir="data")  # doctest: +SKIP
    """
    source, share = user_path(source), VALIDATION_SHARE if share is None else float(share)
    layout = _read_layout(source, share)
    name = f"{re.sub(r'[^A-Za-z0-9]+', '_', source.resolve().name)}_{_hash_files(source, layout.pairs, share)}"
    data_dir = user_path(data_dir)
    prepared = data_dir / Folder.name / name / str(Folder.VERSION)
    if prepared.is_dir():
        return tfds.builder_from_directory(prepared)
    config = FolderConfig(
        name=name, description=f"The folder {source}.", classes=_find_classes(source, layout), share=share
    )
    return Folder(config=config, data_dir=data_dir)


def _read_layout(source, share):
    """The layout of a folder. If names or lists are wrong, it raises one error that describes all problems."""
    if not 0 < share < 1:
        raise ValueError(f"Found a validation share of {share}: expected a number between 0 and 1.")
    missing = [name for name in ("images", "masks") if not (source / name).is_dir()]
    if missing:
        found = f"{source} lacks {' and '.join(missing)}." if source.exists() else explain_missing(source)
        raise ValueError(f"{found} Fix: pass the folder that holds images/ and masks/.")
    layout = read_layout(source, "folder", share=share)
    _require_none(layout.findings, source)
    return layout


def _require_none(findings, source):
    """Raises one error that lists all findings with severity "error"."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        files = sum(max(len(error.files), 1) for error in errors)
        raise ValueError(
            f"{source}: {files} problem{'s' * (files > 1)}; `fcn-keras check` tells more.\n"
            + "\n".join(error.to_text(NAMED) for error in errors)
        )


def _hash_files(source, pairs, share):
    """Ten hexadecimal digits that change if the folder, the list of its files, or a file's size or time changes."""
    files = [path for pair in sorted(pairs, key=lambda pair: pair.name) for path in (pair.image, pair.mask)]
    files += [path for path in sorted(source.glob("*.txt")) if path.is_file()]
    states = [(path, path.stat() if path.exists() else path.lstat()) for path in files]
    content = [[str(path), state.st_size, state.st_mtime_ns] for path, state in states]
    return hashlib.sha256(json.dumps([str(source.resolve()), share, content]).encode()).hexdigest()[:10]


def _find_classes(source, layout):
    """Reads every file and returns the classes. Without a ``classes.txt``, their names are numbered."""
    views = inspect_all(layout)
    _require_none(group_by_kind((problem for view in views for problem in view.problems), UNUSABLE), source)
    if layout.classes is not None:
        return layout.classes
    largest = int(np.nonzero(sum(view.pixels for view in views)[:VOID])[0].max(initial=0))
    if largest < 1:
        raise ValueError(
            f"{source}: the masks hold no ids other than 0, and 255, which is void: expected two classes or more. Fix: "
            "write 1 for the object, or name the classes and their colours in classes.txt."
        )
    return Classes(tuple(f"class {id_}" for id_ in range(largest + 1)))
