"""Oxford-IIIT Pet. TFDS downloads and reads the archives, and this module turns the labels 1 to 3 into class ids."""

import pathlib

import numpy as np
import tensorflow_datasets as tfds

from ..layers.labels import VOID
from .builders import make_features, make_info, record_source
from .download import Archive, fetch
from .masks import read_mask, require_same_size

# The class id for each of the labels 0 to 3: label 1 is pet, 2 is background, 3 is border, and 0 must not occur.
CLASS_OF_LABEL = {"pet": (VOID, 1, 0, VOID), "trimap": (VOID, 0, 1, 2)}
CLASS_NAMES = {"pet": ("background", "pet"), "trimap": ("pet", "background", "border")}
PALETTES = {"pet": ((0, 0, 0), (230, 159, 0)), "trimap": ((230, 159, 0), (0, 0, 0), (86, 180, 233))}
FOLDERS = ("images", "annotations")
EVERY = 5  # every fifth image of the official list "trainval" is for validation

_TfdsPets = tfds.builder_cls("oxford_iiit_pet")


class OxfordPets(_TfdsPets):
    """Builder of Oxford-IIIT Pet. It is a subclass of TFDS's ``oxford_iiit_pet`` and uses its archives and checksums.

    Configs:
        ``"pet"`` (default): background 0, pet 1. The border between them is void.
        ``"trimap"``: pet 0, background 1, border 2. These are the labels of the files minus one.

    Splits: ``test`` is the official test list (3,669 images). The official list ``trainval`` (3,680 images) is ordered
    by breed. Every fifth of its images is in ``validation``, and the others are in ``train``. Use
    ``"train+validation"`` to get all of them.

    Example:

    >>> dataset = fcn_keras.datasets.load("pets", "train", size=(224, 224), batch=8)  # doctest: +SKIP

    Reference: Parkhi et al., *Cats and Dogs* (CVPR 2012).
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Labels 1 to 3 as class ids; void is 255."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "pass source=, the folder that holds images.tar.gz and annotations.tar.gz, or what they unpack to: images and "
        "annotations."
    )
    DOWNLOADS = True
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="pet", description="Pet or background; the border is void."),
        tfds.core.BuilderConfig(name="trimap", description="Pet, background, border."),
    ]
    url_infos = _TfdsPets.url_infos  # TFDS would look for checksums in the folder of this file

    def _info(self):
        config = self.builder_config.name
        description, homepage = (
            "Photographs of cats and dogs with trimaps.",
            "https://www.robots.ox.ac.uk/~vgg/data/pets/",
        )
        return make_info(self, description, CLASS_NAMES[config], PALETTES[config], make_features("jpeg"), homepage)

    def _split_generators(self, dl_manager):
        source = record_source(self, dl_manager)
        if source is not None and all((source / folder).is_dir() for folder in FOLDERS):
            roots = dict.fromkeys(FOLDERS, source)
        elif source is not None and not all((source / f"{folder}.tar.gz").is_file() for folder in FOLDERS):
            raise ValueError(f"pets: {source} does not hold the data set. Fix: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}")
        else:
            archives = {
                info.filename: Archive(info.filename, int(info.size), info.checksum, (url,), "Oxford-IIIT Pet")
                for url, info in self.url_infos.items()
            }
            roots = {folder: fetch(dl_manager, archives[f"{folder}.tar.gz"]) for folder in FOLDERS}
        images, annotations = (pathlib.Path(roots[folder]) / folder for folder in FOLDERS)
        splits = {"train": ("trainval", False), "validation": ("trainval", True), "test": ("test", None)}
        return {
            split: self._generate_examples(images, annotations, annotations / f"{name}.txt", fifth)
            for split, (name, fifth) in splits.items()
        }

    def _generate_examples(self, images, annotations, list_file, fifth):
        """TFDS's examples with class ids. If `fifth` is True, it yields every fifth example; if False, the others."""
        examples = super()._generate_examples(images, annotations, list_file)
        for index, (key, found) in enumerate(examples):
            if fifth is not None and (index % EVERY == EVERY - 1) != fifth:
                continue
            ids = read_trimap(found["segmentation_mask"], CLASS_OF_LABEL[self.builder_config.name])
            require_same_size(images / key, ids)
            yield key, {"image": found["image"], "segmentation_mask": ids[..., None], "file_name": key}


def read_trimap(path, class_of_label):
    """Reads a trimap, labels 1 to 3, as class ids.

    Args:
        path: A PNG file.
        class_of_label: The class id for each of the labels 0 to 3. Label 0 must not occur.

    Returns:
        uint8 array ``(H, W)``.

    Raises:
        ValueError: If the file cannot be read, or if it holds other labels.

    Example:

    >>> read_trimap("annotations/trimaps/beagle_1.png", CLASS_OF_LABEL["pet"])  # doctest: +SKIP
    """
    labels = read_mask(path)
    unknown = sorted(set(np.unique(labels).tolist()) - {1, 2, 3})
    if unknown:
        raise ValueError(f"Trimap {path} holds the labels {unknown}: expected 1 (pet), 2 (background) and 3 (border).")
    return np.array(class_of_label, np.uint8)[labels]
