"""Reads a folder with your own images and masks as a TFDS data set.

::

    my_data/
      images/       photographs: JPEG, PNG, …, which may also be in subfolders; or images of any number of channels
      masks/        for each image a PNG, BMP or TIFF of the same name: ids, or colours that classes.txt names
      classes.txt   optional: one line for each class, in the order of the ids: `road`, or `road 128 64 128`
      train.txt, validation.txt, test.txt   optional: one name in each line, such as `day/001`
      ranges.txt    optional, for images that are not RGB in 0–255: a line `0 4095` for each channel

If the masks hold two values, such as 0 and 255, pass `binary=True` (``--binary``), or give both classes grey colours in
``classes.txt``. A list may also be called ``val.txt``.

The command ``fcn-keras check my_data`` tells you what is wrong with such a folder. This module makes the same checks,
and raises an error if a network cannot be trained on the data.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import re

import numpy as np
import tensorflow_datasets as tfds

from .._files import explain_missing, user_path
from . import channels, images
from .builders import make_features, make_info, record_source
from .check.checks import inspect_all, make_report
from .check.layouts import LISTS, VALIDATION_SHARE, read_layout
from .check.ranges import find_ranges
from .classes import Classes
from .label_tools.recognize import advise_import
from .masks import read_mask

# Kinds of findings that make training impossible.
UNUSABLE = ("classes.txt", "image", "mask", "colours", "ids", "size", "jpeg mask", "classes", "object",
            "ranges.txt", "channels")  # fmt: skip
WHOLE = 4_000_000  # bytes; a file up to this size is hashed as a whole
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
        features = make_features(encoding_format=None, channels=self.builder_config.channels)
        more = {name: getattr(self.builder_config, name) for name in ("class_ids", "findings", "ranges")}
        return make_info(self, "Images and masks from a folder.", classes.names, classes.palette, features, **more)

    def _split_generators(self, dl_manager):
        pairs = read_folder(record_source(self, dl_manager), self.builder_config.share).pairs
        of_split = {split: [pair for pair in pairs if pair.split == split] for split in LISTS}
        return {split: self._generate_examples(chosen) for split, chosen in of_split.items() if chosen}

    def _generate_examples(self, pairs):
        for pair in pairs:
            ids = read_mask(pair.mask, self.builder_config.classes)
            if self.builder_config.channels is not None:
                pixels = np.asarray(channels.read_stored(pair.image))
            else:
                pixels = pair.image if images.is_plain(pair.image) else images.read_image(pair.image)
            yield pair.name, {"image": pixels, "segmentation_mask": ids[..., None], "file_name": pair.image.name}


class FolderConfig(tfds.core.BuilderConfig):
    """The config of a folder. Its name contains a fingerprint of the files.

    Args:
        classes: The `fcn_keras.datasets.classes.Classes`.
        share: Share of the images to use for validation, if there are no lists.
        class_ids: The value of each class in the mask files. By default it is the id.
        findings: The errors and warnings of the check, as dicts of `fcn_keras.datasets.check.Finding`.
        channels: Number and type of the channels, such as ``(4, "uint16")``. None is for RGB images in 0–255.
        ranges: The lowest and the highest value of each channel, or None.
    """

    def __init__(self, *, classes, share, class_ids=None, findings=(), channels=None, ranges=None, **kwargs):
        super().__init__(**kwargs)
        self.classes, self.share = classes, share
        self.class_ids, self.findings = class_ids or classes.file_ids, list(findings)
        self.channels, self.ranges = channels, ranges


def make_builder(source, share=None, data_dir=None, binary=False):
    """The builder of a folder. If the files change, the config also changes, so the data are prepared again.

    Args:
        source: The folder that holds ``images`` and ``masks``.
        share: Share of the images to use for validation, if there are no lists; 0.2 by default. With 1, all images are
            for validation, as you want it for a folder of test images.
        data_dir: Folder for the prepared data.
        binary: Whether the masks hold two values: 0 for the background, and any other for the object.

    Returns:
        A `tfds.core.DatasetBuilder`, prepared or not.

    Raises:
        ValueError: If the folder does not have this layout, or if files in it cannot be used. The message names them.

    Example:

    >>> builder = make_builder("my_data", data_dir="data")  # doctest: +SKIP
    """
    source, share = user_path(source), VALIDATION_SHARE if share is None else float(share)
    layout = read_folder(source, share, binary)
    digest = _hash_files(source, layout.pairs, [share, binary])
    name = f"{re.sub(r'[^A-Za-z0-9]+', '_', source.resolve().name)}_{digest}"
    data_dir = user_path(data_dir)
    prepared = data_dir / Folder.name / name / str(Folder.VERSION)
    if prepared.is_dir():
        return tfds.builder_from_directory(prepared)
    found = _inspect(source, layout)
    config = FolderConfig(name=name, description=f"The folder {source}.", share=share, **found)
    return Folder(config=config, data_dir=data_dir)


def read_folder(source, share=VALIDATION_SHARE, binary=False):
    """The layout of a folder. If names or lists are wrong, it raises one error that describes all problems.

    Args:
        source, share, binary: As in `make_builder`.

    Returns:
        A `fcn_keras.datasets.check.layouts.Layout`.

    Raises:
        ValueError: If the folder does not have this layout.

    Example:

    >>> read_folder("my_data").classes.names  # doctest: +SKIP
    ('ground', 'road')
    """
    source = user_path(source)
    if not 0 < share <= 1:
        raise ValueError(f"Found a validation share of {share}: expected a number above 0, and at most 1.")
    missing = [name for name in ("images", "masks") if not (source / name).is_dir()]
    if missing:
        found = f"{source} lacks {' and '.join(missing)}." if source.exists() else explain_missing(source)
        raise ValueError(advise_import(source) or f"{found} Fix: pass the folder that holds images/ and masks/.")
    layout = read_layout(source, "folder", share=share, binary=binary)
    if not layout.pairs and (advice := advise_import(source)):
        raise ValueError(advice)
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


def _hash_files(source, pairs, options):
    """Ten hexadecimal digits that change if the folder, the list of its files, or the content of a file changes.

    Of files above `WHOLE` bytes, they contain the size, the time, the first and the last bytes.
    """
    files = [path for pair in sorted(pairs, key=lambda pair: pair.name) for path in (pair.image, pair.mask)]
    files += [path for path in sorted(source.glob("*.txt")) if path.is_file()]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        content = list(pool.map(lambda path: [str(path), *_hash_file(path)], files))
    return hashlib.sha256(json.dumps([str(source.resolve()), options, content]).encode()).hexdigest()[:10]


def _hash_file(path):
    if not path.is_file():  # a link to nothing, or a pipe: the check describes it
        return ["no file"]
    state, half = path.stat(), WHOLE // 2
    try:
        with open(path, "rb") as file:
            content = file.read(half)
            file.seek(max(half, state.st_size - half))
            content += file.read()
    except OSError:
        content = b""
    time = [] if len(content) == state.st_size else [state.st_mtime_ns]
    return [state.st_size, *time, hashlib.sha256(content).hexdigest()]


def _inspect(source, layout):
    """Reads every file. Returns what `FolderConfig` holds, except `share`."""
    views = inspect_all(layout)
    report = make_report(source, layout, views)
    _require_none([finding for finding in report.findings if finding.kind in UNUSABLE], source)
    classes = layout.classes or Classes(tuple(report.class_names))
    levels = {view.object_level for view in views} - {None}
    class_ids = [0, levels.pop() if len(levels) == 1 else 1] if classes.binary else classes.file_ids
    told = [dataclasses.replace(one, files=one.files[:NAMED]) for one in report.findings if one.severity != "note"]
    found = {"classes": classes, "class_ids": class_ids, "findings": [dataclasses.asdict(one) for one in told]}
    ranges, _ = find_ranges(layout, views)
    return found if ranges is None else found | {"channels": views[0].channels, "ranges": ranges}
