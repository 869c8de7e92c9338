"""Loads models: the nets that come with the package, by name, and any `.keras` file, wherever it comes from.

A `.keras` file is a zip archive with a configuration and arrays. In its safe mode, Keras does not run any code from the
file, does not write files outside its own folder, and refuses members that would unpack to many times their size.
`load_model` always uses the safe mode. It also does what Keras does not do:

- It only reads a local file. `keras.models.load_model` also reads HDF5 files and folders, and downloads from addresses.
- If a path is wrong, or the file is not a `.keras` file, the error says what is there and what was expected.
- If a file is damaged, many libraries can raise many kinds of errors. `load_model` turns them into one `ValueError`
  that names the file. If a newer version of Keras saved the file, the error also names that version.

Keras knows the classes of this package as soon as `fcn_keras` is imported.
"""

import json
import zipfile

import keras

from .._files import explain_missing, user_path
from . import shipped

KINDS = {
    b"PK\x03\x04": "a zip archive",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"\x80": "a pickle",
    b"\x1f\x8b": "a gzip file",
    b"<": "a web page",
}


def load_model(path, compile=True):
    """Loads a model from a `.keras` file, or a net that comes with the package, without running any code from the file.

    Args:
        path: A local file; a leading ``~`` means the home folder. Or the name of a net that comes with the package, as
            ``fcn-keras models`` lists them.
        compile: Whether to compile the model with the loss, metrics and optimizer that it was saved with.

    Returns:
        The `keras.Model`. It may use the layers, losses, metrics and optimizers of this package.

    Raises:
        ValueError: If there is no such file; if it is not a `.keras` file (but HDF5, a pickle, a weights file, …); or
            if Keras cannot load it, because it is damaged, contains code, or needs classes that Keras does not know.

    Example:

    >>> fcn_keras.FCN32s(2, "mini_vgg", weights=None).save("model.keras")
    >>> load_model("model.keras").output_shape
    (None, None, None, 2)
    >>> load_model("fcn8s_mini_vgg_shapes").class_names[:3]
    ['background', 'disc', 'box']
    """
    path = shipped.path_of(path) or user_path(path)
    _require_keras_file(path)
    try:
        return keras.saving.load_model(path, compile=compile, safe_mode=True)
    except Exception as error:  # the errors of a damaged file come from zipfile, h5py, NumPy and Keras
        raise ValueError(
            f"Keras cannot load a model from {path} ({type(error).__name__}): {error} Fix: {_fix(path, error)}"
        ) from error


def _require_keras_file(path):
    expected = "expected a .keras file, as model.save('model.keras') writes it"
    if not path.exists():
        raise ValueError(
            f"There is no file {path}: {expected}, or one of {', '.join(shipped.names())}. {explain_missing(path)}"
        )
    if not path.is_file():
        inside = sorted(path.glob("*.keras")) if path.is_dir() else []
        hint = f" Did you mean {inside[0]}?" if inside else ""
        raise ValueError(f"{path} is not a regular file: {expected}.{hint}")
    with path.open("rb") as file:
        head = file.read(8)
    kind = next((kind for start, kind in KINDS.items() if head.startswith(start)), "not a zip archive")
    if path.suffix != ".keras" or kind != "a zip archive":
        found = f"is {kind}" if kind != "a zip archive" else f"ends in {path.suffix!r}"
        raise ValueError(
            f"{path} {found}: {expected}. Fix: load it with the program that made it, if you trust the file, and save "
            "it as .keras. Weights alone are loaded with model.load_weights or fcn_keras.paper.load_state_dict."
        )


def _fix(path, error):
    if "Lambda" in str(error):
        return (
            "a Lambda layer holds code, which load_model never runs. Build the model from its source, with a "
            "registered layer in place of the Lambda layer."
        )
    saved_by = _keras_version(path)
    if _numbers(saved_by) > _numbers(keras.__version__):
        return f"Keras {saved_by} saved the file, and {keras.__version__} is installed: pip install --upgrade keras."
    return "copy the file again if it may be damaged; import the modules that register its classes."


def _keras_version(path):
    """The version of Keras that saved a file, or an empty string if it is unknown."""
    try:
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json"))["keras_version"])
    except Exception:  # the file is damaged, and the caller is about to say so
        return ""


def _numbers(version):
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
