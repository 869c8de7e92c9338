"""A folder of one's own images and masks as a TFDS data set; see `fcn_keras.datasets.folder` for its layout."""

import concurrent.futures
import hashlib
import json
import re

import tensorflow_datasets as tfds

from .._files import user_path
from . import folder
from .classes import Classes
from .features import class_metadata, segmentation_features
from .masks import source_of


class OwnFolder(tfds.core.GeneratorBasedBuilder):
    """Builder of a folder of images and masks; `builder_of` makes its config, which knows the classes.

    Without a ``classes.txt`` there are as many classes as the largest id in a mask says, named ``class 0``, ``class 1``
    and so on. Every file is read before the first is written; what is wrong is told at once, with the names of all
    files. JPEG and PNG files are kept byte for byte; images that are turned by EXIF, grey, transparent or of other
    kinds are stored as people see them, in RGB.

    Example:

    >>> dataset = fcn_keras.datasets.load("folder", "train", source="my_data")  # doctest: +SKIP
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "pass source=, the folder that holds images/ and masks/."

    def _info(self):
        classes = self.builder_config.classes
        return tfds.core.DatasetInfo(
            builder=self,
            description="Images and masks of one's own.",
            features=segmentation_features(encoding_format=None),
            supervised_keys=("image", "segmentation_mask"),
            metadata=class_metadata(classes.names, classes.palette),
        )

    def _split_generators(self, dl_manager):
        source = source_of(self, dl_manager)
        pairs = folder.find_pairs(source)
        splits = folder.find_splits(source, list(pairs), self.builder_config.share)
        return {
            split: self._generate_examples({name: pairs[name] for name in names}) for split, names in splits.items()
        }

    def _generate_examples(self, pairs):
        for name, (image, mask) in pairs.items():
            ids = folder.read_own_mask(mask, self.builder_config.classes)
            pixels = image if folder.is_plain(image) else folder.read_image(image)
            yield name, {"image": pixels, "segmentation_mask": ids[..., None], "file_name": image.name}


class FolderConfig(tfds.core.BuilderConfig):
    """What a folder says of itself; its name holds a fingerprint of the files.

    Args:
        classes: The `fcn_keras.datasets.classes.Classes`.
        share: Share of the images to validate on, where there are no lists.
    """

    def __init__(self, *, classes, share, **kwargs):
        super().__init__(**kwargs)
        self.classes, self.share = classes, share


def builder_of(source, share=None, data_dir=None):
    """The builder of a folder. One whose files have changed has another config, so it is prepared anew.

    Args:
        source: The folder that holds ``images`` and ``masks``.
        share: Share of the images to validate on, where there are no lists; by default 0.2.
        data_dir: Folder for the prepared data.

    Returns:
        A `tfds.core.DatasetBuilder`, prepared or not.

    Raises:
        ValueError: If the folder has not this layout, or files in it cannot be used: all of them are named.
    """
    source, share = user_path(source), folder.VALIDATION_SHARE if share is None else float(share)
    pairs = folder.find_pairs(source)
    folder.find_splits(source, list(pairs), share)
    name = f"{re.sub(r'[^A-Za-z0-9]+', '_', source.resolve().name)}_{_fingerprint(source, pairs, share)}"
    data_dir = user_path(data_dir)
    prepared = data_dir / OwnFolder.name / name / str(OwnFolder.VERSION)
    if prepared.is_dir():
        return tfds.builder_from_directory(prepared)
    classes = _examined(source, pairs, folder.classes_of(source))
    config = FolderConfig(name=name, description=f"The folder {source}.", classes=classes, share=share)
    return OwnFolder(config=config, data_dir=data_dir)


def _fingerprint(source, pairs, share):
    """Ten digits that change with the folder, with the list of its files, and with a file's size or time."""
    files = [path for pair in pairs.values() for path in pair]
    files += [path for path in sorted(source.glob("*.txt")) if path.is_file()]
    states = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps([str(source.resolve()), share, states]).encode()).hexdigest()[:10]


def _examined(source, pairs, classes):
    """Reads every file; gives the classes, numbered where no one named them."""
    with concurrent.futures.ThreadPoolExecutor() as pool:  # Pillow decodes outside Python's lock
        found = list(pool.map(lambda pair: folder.examine(pair, classes), pairs.values()))
    folder.require_none([problem for problem, _ in found if problem], str(source))
    if classes is not None:
        return classes
    largest = max(id_ for _, id_ in found)
    if largest < 1:
        raise ValueError(
            f"{source}: the masks hold no ids but 0, and 255, which is void: expected two classes or more. Fix: write "
            "1 for the object, or name the classes and their colours in classes.txt."
        )
    return Classes(tuple(f"class {id_}" for id_ in range(largest + 1)))
