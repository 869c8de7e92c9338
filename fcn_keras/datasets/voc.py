"""PASCAL VOC's segmentation masks, with or without SBD's: what TFDS' own ``voc`` leaves out."""

import pathlib

import tensorflow_datasets as tfds

from .download import ARCHIVES, fetch, unpack
from .features import class_metadata, segmentation_features
from .lists import SPLITS, is_whole, lengths, splits
from .masks import source_of
from .palettes import voc_palette
from .sbd import SbdFolder, find_sbd
from .voc_folders import VocFolder, find_voc

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
DESCRIPTIONS = {
    "2012": "VOC2012: official train and val.",
    "2011": "VOC2011: official train and val.",
    "sbd": "SBD: its own train and val; no void.",
    "2011_sbd": "The data of the FCN paper: SBD's train, and seg11valid, VOC2011's val without it.",
    "2012_sbd": "trainaug, VOC2012's train with SBD's images, less VOC2012's val; and that val.",
}
NEEDS = {
    "2012": ("2012",),
    "2011": ("2011",),
    "sbd": ("sbd",),
    "2011_sbd": ("2011", "sbd"),
    "2012_sbd": ("2012", "sbd"),
}
LAYOUTS = {
    "2012": "VOC2012 (VOCdevkit/VOC2012 with JPEGImages)",
    "2011": "VOC2011 (VOCdevkit/VOC2011 with JPEGImages)",
    "sbd": "SBD (benchmark_RELEASE/dataset with img, cls and train.txt)",
}


class VocSegmentation(tfds.core.GeneratorBasedBuilder):
    """Builder of VOC's and SBD's class and instance masks, from a folder or from the network.

    Configs and splits:

    - ``"2012"`` (default), ``"2011"``: the official lists, ``train`` (1,464; 1,112) and ``validation`` (1,449; 1,111
      images).
    - ``"sbd"``: SBD's own lists, ``train`` (8,498) and ``validation`` (2,857).
    - ``"2011_sbd"``: ``sbd_train``, the 8,498 images that the paper trains on, and ``seg11valid``, the 736 of VOC2011's
      val that are not among them, with VOC's masks.
    - ``"2012_sbd"``: ``trainaug`` (10,582), VOC2012's train and all of SBD less VOC2012's val, and ``validation``
      (1,449). Where both have a mask, VOC's is taken.

    SBD's masks have no void: objects meet without the rim of 255 that VOC's masks have.

    `instance_mask` counts the objects of an image from 1; 0 is background, 255 void. It is void throughout where a
    folder has no instance masks (``SegmentationObject``; SBD's ``inst``): the features are the same for every folder.

    A folder whose lists are shorter than the official ones is a subset, and is prepared as such; from whole lists,
    splits of another length than published are refused.

    TFDS' own command prepares it, too: ``tfds build voc_segmentation/2012 --imports=fcn_keras.datasets.voc
    --manual_dir=FOLDER``.

    Example:

    >>> dataset = fcn_keras.datasets.load("voc", "seg11valid", source="~/data")  # doctest: +SKIP

    Reference: Everingham et al. (IJCV 2015); Hariharan et al. (ICCV 2011); Long et al. (CVPR 2015), §5.
    """

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES = {
        "2.0.0": "Instance masks; SBD, seg11valid and trainaug; downloads.",
        "1.0.0": "Class masks of the official lists; void is 255.",
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "pass source=, the folder that holds VOCdevkit/VOC2012 (VOC2011) and, for the configs with sbd, "
        "benchmark_RELEASE."
    )
    DOWNLOADS = True
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name, description=text) for name, text in DESCRIPTIONS.items()]

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description="Photographs with masks of 20 classes and background.",
            features=segmentation_features(encoding_format=None, instance_mask=True),
            supervised_keys=("image", "segmentation_mask"),
            homepage="http://host.robots.ox.ac.uk/pascal/VOC/",
            metadata=class_metadata(CLASS_NAMES, voc_palette(len(CLASS_NAMES))),
        )

    def _split_generators(self, dl_manager):
        config = self.builder_config.name
        folders = {"voc": None, "sbd": None}
        for needed, root in self._roots(dl_manager).items():
            kind = "sbd" if needed == "sbd" else "voc"
            folders[kind] = SbdFolder(root) if kind == "sbd" else VocFolder(root)
        lists = {kind: None if folder is None else folder.lists for kind, folder in folders.items()}
        found = splits(config, **lists)
        if not is_whole(config, **lists):
            print(
                f"voc/{config}: a subset of {lengths(found)} images, published {SPLITS[config]}: numbers measured on "
                "it do not compare.",
                flush=True,
            )
        return {split: self._generate_examples(split, names, **folders) for split, names in found.items()}

    def _roots(self, dl_manager):
        """The folder of each year, and of SBD, that the config needs."""
        needs = NEEDS[self.builder_config.name]
        source = source_of(self, dl_manager)
        if source is None:
            downloads = pathlib.Path(dl_manager.download_dir)
            unpacked = {need: unpack(fetch(ARCHIVES[need], downloads), downloads / "extracted") for need in needs}
        else:
            unpacked = dict.fromkeys(needs, source)
        found = {need: _find(folder, need) for need, folder in unpacked.items()}
        missing = [LAYOUTS[need] for need, root in found.items() if root is None]
        if missing:
            raise ValueError(
                f"voc/{self.builder_config.name}: {source or downloads} lacks {' and '.join(missing)}. Fix: pass the "
                f"folder that holds {' and '.join(LAYOUTS[need] for need in needs)}."
            )
        return found

    def _generate_examples(self, split, names, voc, sbd):
        """VOC's masks before SBD's, except in the paper's training set, which is SBD throughout."""
        from_voc = set() if voc is None or split == "sbd_train" else {*voc.lists["train"], *voc.lists["val"]}
        own, others = ([name for name in names if (name in from_voc) == where] for where in (True, False))
        if own:
            yield from voc.examples(own)
        if others:
            yield from sbd.examples(others)


def _find(folder, need):
    return find_sbd(folder) if need == "sbd" else find_voc(folder, need)
