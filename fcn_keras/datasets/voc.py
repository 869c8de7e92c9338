"""PASCAL VOC's segmentation masks, from the official VOCdevkit folder: what TFDS's own ``voc`` leaves out."""

import pathlib

import tensorflow_datasets as tfds

from .features import class_metadata, segmentation_features
from .folders import pairs, read_mask, require_folder, require_same_size
from .palettes import voc_palette

CLASS_NAMES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


class VocSegmentation(tfds.core.GeneratorBasedBuilder):
    """Builder of VOC's class masks from a folder with ``VOCdevkit`` or ``VOC2012`` in it (or that is one of them).

    Splits: the official ``train`` and ``val``, called ``train`` and ``validation``. Configs: ``"2012"`` (default) and
    ``"2011"``.

    Example:

    >>> dataset = fcn_keras.datasets.load("voc", "train", source="~/VOCdevkit")  # doctest: +SKIP

    Reference: Everingham et al. (IJCV 2015); Long et al. (CVPR 2015), §5.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Class masks of the official lists; void is 255."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = "pass source=, the folder that holds VOCdevkit/VOC2012."
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=year, description=f"VOC{year}") for year in ("2012", "2011")]

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description="Photographs with masks of 20 classes and background.",
            features=segmentation_features(encoding_format=None),
            supervised_keys=("image", "segmentation_mask"),
            metadata=class_metadata(CLASS_NAMES, voc_palette(len(CLASS_NAMES))),
        )

    def _split_generators(self, dl_manager):
        source = pathlib.Path(dl_manager.manual_dir)
        year = f"VOC{self.builder_config.name}"
        root = next((p for p in (source / "VOCdevkit" / year, source / year) if p.exists()), source)
        require_folder(root, ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"), year)
        splits = {"train": "train", "validation": "val"}
        return {split: self._generate_examples(root, name) for split, name in splits.items()}

    def _generate_examples(self, root, name):
        stems = (root / "ImageSets" / "Segmentation" / f"{name}.txt").read_text().split()
        for stem, image, mask in pairs(root / "JPEGImages", root / "SegmentationClass", stems):
            ids = read_mask(mask, num_classes=len(CLASS_NAMES))
            require_same_size(image, ids)
            yield stem, {"image": image, "segmentation_mask": ids[..., None], "file_name": image.name}
