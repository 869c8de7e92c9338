"""PASCAL VOC's segmentation masks, with or without those of SBD. TFDS's own ``voc`` only has boxes."""

import tensorflow_datasets as tfds

from ..builders import make_features, make_info, record_source
from ..classes import voc_palette
from ..download import ARCHIVES, fetch, make_url_infos
from .layout import CLASS_NAMES, SbdFolder, VocFolder, find_sbd, find_voc
from .lists import SPLITS, count_names, is_whole, make_splits

DESCRIPTIONS = {
    "2012": "VOC2012: official train and val.",
    "2011": "VOC2011: official train and val.",
    "sbd": "SBD: its own train and val; no void.",
    "2011_sbd": "The data of the FCN paper: SBD's train, and seg11valid, VOC2011's val without it.",
    "2012_sbd": "trainaug: VOC2012's train and SBD's images without VOC2012's val; and that val.",
}
LAYOUTS = {
    "2012": "VOC2012 (VOCdevkit/VOC2012 with JPEGImages)",
    "2011": "VOC2011 (VOCdevkit/VOC2011 with JPEGImages)",
    "sbd": "SBD (benchmark_RELEASE/dataset with img, cls and train.txt)",
}


class VocSegmentation(tfds.core.GeneratorBasedBuilder):
    """Builder of the class and instance masks of VOC and SBD, which reads a folder or downloads the archives.

    Configs and splits:

    - ``"2012"`` (default), ``"2011"``: the official lists, ``train`` (1,464; 1,112) and ``validation`` (1,449; 1,111
      images).
    - ``"sbd"``: SBD's own lists, ``train`` (8,498) and ``validation`` (2,857).
    - ``"2011_sbd"``: ``sbd_train`` has the 8,498 images that the paper trains on. ``seg11valid`` has the 736 images of
      VOC2011's val that are not among them, with VOC's masks.
    - ``"2012_sbd"``: ``trainaug`` (10,582 images) has VOC2012's train and all of SBD, except the images in VOC2012's
      val, which are ``validation`` (1,449). If both VOC and SBD have a mask of an image, VOC's mask is used.

    SBD's masks have no void. Their objects touch, but VOC's masks have a rim of 255 between objects.

    ``instance_mask`` numbers the objects of an image from 1. In it, 0 is background and 255 is void. If a folder has no
    instance masks (VOC's ``SegmentationObject``, SBD's ``inst``), the whole mask is void, so that the features are
    always the same.

    If the lists of a folder are shorter than the official ones, the folder is prepared as a subset. If the lists have
    the official lengths but the splits do not, the builder raises an error.

    You can also prepare it with the command of TFDS: ``tfds build voc_segmentation/2012
    --imports=fcn_keras.datasets.voc.builder --manual_dir=FOLDER``.

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
        "benchmark_RELEASE; or the archives that they come in."
    )
    DOWNLOADS = True
    url_infos = make_url_infos(ARCHIVES.values())
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name, description=text) for name, text in DESCRIPTIONS.items()]

    def _info(self):
        features = make_features(encoding_format=None, instance_mask=True)
        description, homepage = (
            "Photographs with masks of 20 classes and background.",
            "http://host.robots.ox.ac.uk/pascal/VOC/",
        )
        return make_info(self, description, CLASS_NAMES, voc_palette(len(CLASS_NAMES)), features, homepage)

    def _split_generators(self, dl_manager):
        config = self.builder_config.name
        folders = {"voc": None, "sbd": None}
        for need, root in self._find_roots(dl_manager).items():
            kind, reader = ("sbd", SbdFolder) if need == "sbd" else ("voc", VocFolder)
            folders[kind] = reader(root)
        lists = {kind: None if folder is None else folder.lists for kind, folder in folders.items()}
        found = make_splits(config, **lists)
        if not is_whole(config, **lists):
            print(
                f"voc/{config}: found a subset of {count_names(found)} images, published are {SPLITS[config]}: numbers "
                "measured on it do not compare with published ones.",
                flush=True,
            )
        return {split: self._generate_examples(split, names, **folders) for split, names in found.items()}

    def _find_roots(self, dl_manager):
        """The folder of each year, and of SBD, that the config needs."""
        needs, source = self.builder_config.name.split("_"), record_source(self, dl_manager)
        found = {need: self._find_root(dl_manager, source, need) for need in needs}
        missing = [LAYOUTS[need] for need, root in found.items() if root is None]
        if missing:
            raise ValueError(
                f"voc/{self.builder_config.name}: {source or 'the download'} lacks {' and '.join(missing)}. Fix: pass "
                f"the folder that holds {' and '.join(LAYOUTS[need] for need in needs)}."
            )
        return found

    def _find_root(self, dl_manager, source, need):
        """The folder in the source, or the folder that is unpacked from an archive in the source or the network."""
        root = None if source is None else _find(source, need)
        if root is None and (source is None or (source / ARCHIVES[need].name).is_file()):
            root = _find(fetch(dl_manager, ARCHIVES[need]), need)
        return root

    def _generate_examples(self, split, names, voc, sbd):
        """Yields examples. VOC's masks are preferred to SBD's, except in ``sbd_train``, where all masks are SBD's."""
        from_voc = set() if voc is None or split == "sbd_train" else {*voc.lists["train"], *voc.lists["val"]}
        for folder, listed in ((voc, True), (sbd, False)):
            chosen = [name for name in names if (name in from_voc) == listed]
            if chosen:
                yield from folder.examples(chosen)


def _find(folder, need):
    return find_sbd(folder) if need == "sbd" else find_voc(folder, need)
