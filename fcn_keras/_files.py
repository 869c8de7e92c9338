"""Files that are whole or not there: written beside under another name, then renamed; what to say where none is."""

import difflib
import json
import math
import os
import pathlib


def user_path(path):
    """The path that a user wrote, with a leading ``~`` replaced by the home folder.

    The shell replaces it in ``--out ~/masks``, but neither in ``--out=~/masks`` nor in an environment variable.

    Args:
        path: String or path.

    Returns:
        A `pathlib.Path`. ``~name`` stays as it is where there is no user of that name: it may be a file.

    Example:

    >>> user_path("~/data") == pathlib.Path.home() / "data"
    True
    """
    return pathlib.Path(os.path.expanduser(path))


def data_home():
    """The folder of generated and prepared data.

    Returns:
        A `pathlib.Path`: the environment variable ``FCN_KERAS_DATA``, which may begin with ``~``; else ``data/`` of the
        project that the package is run from; else ``~/fcn_keras_data``.

    Example:

    >>> data_home().is_absolute()
    True
    """
    project = pathlib.Path(__file__).parents[1]
    default = project / "data" if (project / "pyproject.toml").exists() else "~/fcn_keras_data"
    return user_path(os.environ.get("FCN_KERAS_DATA") or default)


def atomic_write(path, write):
    """Lets `write` fill a file beside `path`, then renames it: under its final name a file is whole, always.

    Killed on the way, or out of disk, the file that stood there before stays as it was.

    Args:
        path: The final name; its folder is made.
        write: Function from a `pathlib.Path`, in the same folder and with the same suffix, that writes there.

    Raises:
        OSError: If the file cannot be written (disk full, no permission); the message names `path` and the mend.

    Example:

    >>> atomic_write("notes.txt", lambda beside: beside.write_text("whole"))
    >>> pathlib.Path("notes.txt").read_text()
    'whole'
    """
    path = user_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"partial-{path.name}")
    try:
        write(beside)
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())  # the bytes before the name: after a power cut, too
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)  # half a file would only fill the disk further
        raise OSError(
            error.errno,
            f"Could not write {path}: {error.strerror or error}. What stood there before is whole. "
            "Fix: free some space, or see to the folder's permissions, and run the same again.",
        ) from error
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def did_you_mean(path):
    """A sentence about a path where nothing is: from where on it fails, and names there that are nearly the same.

    Example:

    >>> pathlib.Path("my_data").mkdir()
    >>> print(did_you_mean("my_dta/images").replace(str(pathlib.Path.cwd()), "HERE"))
    There is no my_dta in HERE: is 'my_data' meant?
    """
    path = user_path(path).absolute()
    lacking = next((part for part in reversed([path, *path.parents]) if not os.path.lexists(part)), path)
    folder = lacking.parent
    names = os.listdir(folder) if folder.is_dir() and os.access(folder, os.R_OK) else []
    near = difflib.get_close_matches(lacking.name, names, n=1)
    return f"There is no {lacking.name} in {folder}" + (f": is {near[0]!r} meant?" if near else ".")


def write_json(path, content):
    """Writes JSON through `atomic_write`; a number that is not finite becomes null, as JSON has no NaN.

    Example:

    >>> write_json("metrics.json", {"mean_iou": 0.5, "absent": float("nan")})
    >>> json.loads(pathlib.Path("metrics.json").read_text())
    {'mean_iou': 0.5, 'absent': None}
    """
    text = json.dumps(finite(content), indent=1, allow_nan=False, ensure_ascii=False)
    atomic_write(path, lambda beside: beside.write_text(text + "\n", encoding="utf-8"))


def finite(content):
    """Nested dicts and lists with None in place of every float that is not finite.

    Example:

    >>> finite({"a": [1.0, float("inf")]})
    {'a': [1.0, None]}
    """
    if isinstance(content, dict):
        return {str(key): finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
