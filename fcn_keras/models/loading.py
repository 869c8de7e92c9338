"""Models from files of unknown origin: `.keras` archives in Keras' safe mode, checked before anything is built.

A `.keras` file is a zip archive of a configuration and of arrays. Its configuration names the objects to make, and a
Lambda layer in it holds code. Keras' safe mode refuses such code; `keras.models.load_model` still reads HDF5 files and
follows ``hf://`` addresses. `load_model` here does neither, looks through the archive first, and says what is wrong
with it. It reads no pickle, as nothing in this package does.
"""

import contextlib
import importlib
import json
import os
import pathlib
import stat
import warnings
import zipfile

import keras

from .._files import did_you_mean, user_path

MAX_BYTES = 16 << 30  # unpacked: VGG16's FCN with Adam's state is 1.6 GB
MAX_RATIO = 200  # unpacked : packed; Keras stores arrays unpacked, and JSON packs to a tenth
SMALL = 1 << 10  # bytes: what is packed into less may be of any ratio below MAX_RATIO * SMALL
MAX_CONFIG_BYTES = 64 << 20
NEEDED = ("config.json", "metadata.json")
ARRAYS = ("model.weights.h5", "model.weights.npz")
KINDS = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"\x80": "a pickle",
    b"PK\x05\x06": "an empty zip archive",
    b"\x1f\x8b": "a gzip file",
    b"<": "a web page",
}


def load_model(path, compile=True, max_bytes=MAX_BYTES):
    """Loads a model from a `.keras` file, without running code that the file brings.

    Args:
        path: The file, local.
        compile: Whether to compile it as it was saved.
        max_bytes: Largest size of the unpacked archive, in bytes.

    Returns:
        The `keras.Model`. The layers, losses and metrics of this package are known.

    Raises:
        ValueError: If there is no such file; if it is no `.keras` archive (HDF5, pickle, a weights file, …), cut off or
            damaged; if it holds a Lambda layer, paths that leave the archive, or more than `max_bytes`; or if its
            configuration names objects that are not known here.

    Warns:
        UserWarning: If the file was saved by a newer Keras than the one installed.

    Example:

    >>> fcn_keras.FCN32s(2, "mini_vgg", weights=None).save("model.keras")
    >>> load_model("model.keras").output_shape
    (None, None, None, 2)
    """
    path = user_path(path)
    _require_archive(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _require_members(path, archive, max_bytes)
            config, metadata = (_json(path, archive, name) for name in NEEDED)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path} is cut off or damaged: {error}. Fix: copy it again.") from error
    _require_no_code(path, config)
    _import_our_own(config)
    _warn_of_newer(path, metadata)
    try:
        return keras.saving.load_model(path, compile=compile, safe_mode=True)
    except Exception as error:  # a damaged file fails in ways of h5py's, NumPy's and Keras' own
        raise ValueError(
            f"{path} cannot be made into a model ({type(error).__name__}): {error} Fix: a whole file, saved by Keras "
            f"{keras.__version__} or older, of objects that Keras or this package knows."
        ) from error


def _require_archive(path):
    expected = "expected a .keras file, as model.save('model.keras') writes it"
    if not path.exists():
        raise ValueError(f"No model at {path}: {expected}. {did_you_mean(path)}")
    if not stat.S_ISREG(os.stat(path).st_mode):
        inside = sorted(path.glob("*.keras")) if path.is_dir() else []
        meant = f" Is {inside[0]} meant?" if inside else ""
        raise ValueError(f"{path} is no regular file: {expected}.{meant}")
    with path.open("rb") as file:
        head = file.read(8)
    kind = next((kind for start, kind in KINDS.items() if head.startswith(start)), "no zip archive")
    if path.suffix != ".keras" or not head.startswith(b"PK\x03\x04"):
        found = f"is {kind}" if not head.startswith(b"PK\x03\x04") else f"ends in {path.suffix!r}"
        raise ValueError(
            f"{path} {found}: {expected}. Fix: load it where it comes from, if you trust it, and save it as .keras; "
            "weights alone go in through model.load_weights or fcn_keras.paper.load_state_dict."
        )


def _require_members(path, archive, max_bytes):
    members = archive.infolist()
    names = [member.filename for member in members]
    for name in names:
        parts = pathlib.PurePosixPath(name.replace("\\", "/")).parts
        if name.startswith(("/", "\\")) or ".." in parts or ":" in name or "\0" in name:
            raise ValueError(f"{path} holds a member {name!r} that leads outside the archive. Do not trust this file.")
    if len(set(names)) < len(names):
        raise ValueError(f"{path} holds two members of one name: expected each once. Do not trust this file.")
    if any(stat.S_ISLNK(member.external_attr >> 16) for member in members):
        raise ValueError(f"{path} holds a symbolic link. Do not trust this file.")
    unpacked, packed = sum(m.file_size for m in members), path.stat().st_size
    if unpacked > max_bytes or any(m.file_size > MAX_RATIO * max(m.compress_size, SMALL) for m in members):
        raise ValueError(
            f"{path} has {packed} bytes and unpacks to {unpacked}: expected at most {max_bytes}, and no member at more "
            f"than {MAX_RATIO} times its packed size. Fix: if you trust it and it is so large, raise max_bytes."
        )
    missing = [name for name in NEEDED if name not in names]
    if missing or not any(name in names for name in ARRAYS):
        raise ValueError(
            f"{path} lacks {' and '.join(missing) or ARRAYS[0]}; found {sorted(names)[:5]}. It is a zip archive, but "
            "no model that Keras saved."
        )


def _json(path, archive, name):
    """A member as a dict; read no further than its declared size may be."""
    if archive.getinfo(name).file_size > MAX_CONFIG_BYTES:
        raise ValueError(f"{path}: {name} is larger than {MAX_CONFIG_BYTES} bytes. Do not trust this file.")
    try:
        content = json.loads(archive.read(name))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {name} is no JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: {name} holds a {type(content).__name__}, expected an object.")
    return content


def _require_no_code(path, config):
    for node in _objects(config):
        kind = node.get("class_name")
        if kind in ("Lambda", "__lambda__"):
            inner = node.get("config")
            name = inner.get("name", kind) if isinstance(inner, dict) else kind
            raise ValueError(
                f"{path} holds the Lambda layer {name!r}, which is code of unknown origin and is not run. Fix: "
                "rebuild the model with a registered layer in its place, from its source."
            )


def _import_our_own(config):
    """Imports the modules of this package that are named: what Keras shall make registers itself when imported."""
    for node in _objects(config):
        module = node.get("module")
        if isinstance(module, str) and module.startswith(f"{__package__}."):
            with contextlib.suppress(ImportError):  # of another version; Keras will name the class that is not known
                importlib.import_module(module)


def _objects(config):
    """Every dict of a configuration, by a stack of its own, since nesting may be as deep as a file likes."""
    waiting = [config]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _warn_of_newer(path, metadata):
    saved = str(metadata.get("keras_version", ""))
    if _version(saved) > _version(keras.__version__):
        warnings.warn(
            f"{path} was saved by Keras {saved}, newer than {keras.__version__} here; it may load wrongly or not at "
            "all. Fix: pip install --upgrade keras.",
            stacklevel=3,
        )


def _version(text):
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
