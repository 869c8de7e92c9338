"""Files that are whole or not there: written beside under another name, then renamed; what to say where none is."""

import contextlib
import datetime
import difflib
import errno
import json
import math
import os
import pathlib
import platform
import sys
import uuid

PARTIAL = "partial-"  # how the names of unfinished files begin
_HELD = set()  # folders that this process holds


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


@contextlib.contextmanager
def replacing(path):
    """Yields a temporary path next to `path`; when the block ends, what was written there takes the final name.

    Each writer has a temporary name of its own, so of two that write at once the last one to finish wins, and both
    files are whole. If the block fails, the temporary file is deleted and the earlier file stays as it was.

    Args:
        path: The final name. Its folder is made if it does not exist.

    Yields:
        A `pathlib.Path` in the same folder, whose name ends as that of `path` does.

    Raises:
        OSError: If the file cannot be written (disk full, no permission). The message names `path` and the way out.

    Example:

    >>> with replacing("notes.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> pathlib.Path("notes.txt").read_text()
    'whole'
    """
    path = user_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{PARTIAL}{uuid.uuid4().hex[:12]}-{path.name}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())  # so that even after a power cut the name never stands for half a file
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"Could not write {path}: {error.strerror or error}. What stood there before is whole. "
            "Fix: free some space, or see to the folder's permissions, and run the same again.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path, write):
    """Writes a file whole or not at all; see `replacing`, which this calls.

    Args:
        path: The final name.
        write: Function from the temporary `pathlib.Path` that writes there.

    Raises:
        OSError: If the file cannot be written.

    Example:

    >>> atomic_write("notes.txt", lambda temporary: temporary.write_text("whole"))
    >>> pathlib.Path("notes.txt").read_text()
    'whole'
    """
    with replacing(path) as temporary:
        write(temporary)


@contextlib.contextmanager
def locked(folder):
    """Holds a folder for this process; a second process that asks for it is refused and told who holds it.

    The lock is the operating system's lock on the file ``.lock``, so it ends with the process, even with one that was
    killed. While it is held, ``running.json`` says which process holds it. Temporary files that a killed process left
    in the folder are deleted.

    Args:
        folder: The folder. It is made if it does not exist.

    Raises:
        BlockingIOError: If another run holds the folder. The message names its process, its machine and its start.

    Example:

    >>> with locked("run"):
    ...     sorted(path.name for path in pathlib.Path("run").iterdir())
    ['.lock', 'running.json']
    """
    import fasteners  # here, since `fcn-keras doctor` reads this file where packages are missing

    folder = pathlib.Path(folder).resolve()
    lock, holder = fasteners.InterProcessLock(folder / ".lock"), folder / "running.json"
    if folder in _HELD or not lock.acquire(blocking=False):  # the lock alone would let this process in twice
        if lock.lockfile is not None:
            lock.lockfile.close()
        raise BlockingIOError(
            errno.EAGAIN,
            f"{folder} is being trained by another run: {_told(holder)}. "
            "Fix: wait until it ends, or stop it, or take another directory.",
        )
    _HELD.add(folder)
    try:
        for left in folder.glob(f"{PARTIAL}*"):
            if left.is_file():
                left.unlink()
        since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        write_json(holder, {"pid": os.getpid(), "host": platform.node(), "since": since, "command": sys.argv})
        yield
    finally:
        _HELD.discard(folder)
        holder.unlink(missing_ok=True)
        lock.release()


def _told(holder):
    try:
        found = json.loads(holder.read_text(encoding="utf-8"))
        return f"process {found['pid']} on {found['host']}, since {found['since']}"
    except (OSError, ValueError, KeyError):  # it has the lock, and has not written its name yet
        return "a process that started just now"


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
    atomic_write(path, lambda temporary: temporary.write_text(text + "\n", encoding="utf-8"))


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
