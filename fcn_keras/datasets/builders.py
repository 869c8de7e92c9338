"""Helpers that the builders of all data sets share, for their features, metadata and source folder."""

import numpy as np
import tensorflow_datasets as tfds

from .._files import user_path
from ..layers.labels import VOID


def make_mask_feature():
    """The TFDS feature for a mask of integers: uint8 ``(H, W, 1)``, stored as a lossless PNG.

    Example:

    >>> make_mask_feature().shape
    (None, None, 1)
    """
    return tfds.features.Image(shape=(None, None, 1), dtype=np.uint8, encoding_format="png", use_colormap=True)


def make_features(encoding_format="jpeg", instance_mask=False, channels=None):
    """The features of a segmentation data set.

    Args:
        encoding_format: Format in which images are stored, ``"jpeg"`` or ``"png"``. If a builder passes the paths of
            files, their bytes are stored unchanged. In this case, name the format of the files, or pass None if there
            are files of both formats.
        instance_mask: Whether each example has an instance mask: 0 background, 1 to n objects, 255 void.
        channels: Number and type of the channels, such as ``(4, "uint16")``. None is for RGB images.

    Returns:
        A `tfds.features.FeaturesDict` of ``image`` ``(H, W, channels)``, ``segmentation_mask`` ``(H, W, 1)`` with class
        ids and 255 for void, ``instance_mask`` if `instance_mask` is True, and ``file_name``.

    Example:

    >>> sorted(make_features())
    ['file_name', 'image', 'segmentation_mask']
    """
    image = tfds.features.Image(shape=(None, None, 3), encoding_format=encoding_format)
    if channels is not None:
        number, dtype = channels
        image = tfds.features.Tensor(shape=(None, None, number), dtype=np.dtype(dtype), encoding="zlib")
    features = {
        "image": image,
        "segmentation_mask": make_mask_feature(),
        "file_name": tfds.features.Text(),
    }
    if instance_mask:
        features["instance_mask"] = make_mask_feature()
    return tfds.features.FeaturesDict(features)


def make_class_metadata(class_names, palette, void=VOID, **more):
    """The names and colours of the classes, for ``builder.info.metadata``. TFDS stores them with the data, as JSON.

    Args:
        class_names: One name for each id. If there is a background, it comes first.
        palette: uint8 array ``(len(class_names), 3)``, RGB.
        void: Id of the pixels that belong to no class.
        **more: Further entries.

    Returns:
        A `tfds.core.MetadataDict` with ``class_names``, ``palette`` (lists of three), ``void``, and `more`.

    Raises:
        ValueError: If `palette` does not hold one RGB colour for each name.

    Example:

    >>> make_class_metadata(["background", "cat"], [[0, 0, 0], [230, 159, 0]])["void"]
    255
    """
    palette = np.asarray(palette)
    if palette.shape != (len(class_names), 3):
        raise ValueError(
            f"palette has shape {palette.shape}, expected {(len(class_names), 3)}: one RGB colour for each of "
            "the class names."
        )
    return tfds.core.MetadataDict(class_names=list(class_names), palette=palette.tolist(), void=int(void), **more)


def make_info(builder, description, class_names, palette, features, homepage=None, **more):
    """The information about a segmentation data set that TFDS asks its builder for.

    Args:
        builder: The `tfds.core.DatasetBuilder`.
        description: One sentence.
        class_names, palette: As in `make_class_metadata`.
        features: As `make_features` returns them.
        homepage: Address of the data set's page.
        **more: Further metadata.

    Returns:
        A `tfds.core.DatasetInfo`.

    Example:

    >>> make_info(builder, "Road scenes.", ["sky"], [[0, 0, 0]], make_features())  # doctest: +SKIP
    """
    return tfds.core.DatasetInfo(
        builder=builder,
        description=description,
        features=features,
        supervised_keys=("image", "segmentation_mask" if "segmentation_mask" in features else "label"),
        homepage=homepage,
        metadata=make_class_metadata(class_names, palette, **more),
    )


def record_source(builder, dl_manager):
    """Returns the folder that data are prepared from, and writes its path into the metadata.

    TFDS writes examples and metadata into a temporary folder, and renames this folder at the end. So the metadata of
    prepared data always name their source, even if the process is killed right after the preparation.

    Args:
        builder: The `tfds.core.DatasetBuilder` that is being prepared.
        dl_manager: Its `tfds.download.DownloadManager`.

    Returns:
        Path of the folder, or None if the data are downloaded.

    Example:

    >>> record_source(builder, dl_manager)  # doctest: +SKIP
    PosixPath('/home/me/VOCdevkit')
    """
    try:
        source = user_path(dl_manager.manual_dir).resolve()
    except AssertionError:  # this is how TFDS says that the folder is missing or empty
        source = None
    builder.info.metadata["source"] = str(source or "the download")
    return source


def require_folder(folder, needed, what):
    """Raises an error unless a folder holds all that is needed.

    Args:
        folder: Path, or None if the user did not name a folder.
        needed: Names of files or folders in it.
        what: Name of the data set, for the message.

    Raises:
        ValueError: If the folder is None, or if something is missing in it.

    Example:

    >>> require_folder(".", (), "CamVid")
    """
    fix = f"Fix: pass source=, the folder that holds {', '.join(needed)}."
    if folder is None:
        raise ValueError(f"{what} is read from a folder, found none. {fix}")
    missing = [name for name in needed if not (user_path(folder) / name).exists()]
    if missing:
        raise ValueError(f"{what}: {folder} lacks {', '.join(missing)}. {fix}")
