"""Helpers for files: users' paths, atomic writing, the lock of a run's folder, and hints about misspelt paths."""

import contextlib
import datetime
import difflib
import json
import math
import os
import pathlib
import platform
import sys
import uuid

PARTIAL = "partial-"  # the names of unfinished files begin with it
_HELD = set()  # folders that this process has locked


def user_path(path):
    """The path that a user wrote, with a leading ``~`` replaced by the home folder.

    The shell replaces the ``~`` in ``--out ~/masks``, but not in ``--out=~/masks`` or in an environment variable.

    Args:
        path: String or path.

    Returns:
        A `pathlib.Path`. If no user is called ``name``, the path ``~name`` is not changed, because it may be a file.

    Example:

    >>> user_path("~/data") == pathlib.Path.home() / "data"
    True
    """
    return pathlib.Path(os.path.expanduser(path))


def get_data_home():
    """The folder of generated and prepared data.

    Returns:
        A `pathlib.Path`. If the environment variable ``FCN_KERAS_DATA`` is set, the function returns its value, which
        may begin with ``~``. Otherwise, if the package runs from a checkout of the project, it returns the folder
        ``data/`` of the project. Otherwise it returns ``~/fcn_keras_data``.

    Example:

    >>> get_data_home().is_absolute()
    True
    """
    project = pathlib.Path(__file__).parents[1]
    default = project / "data" if (project / "pyproject.toml").exists() else "~/fcn_keras_data"
    return user_path(os.environ.get("FCN_KERAS_DATA") or default)


@contextlib.contextmanager
def replace_file(path):
    """Yields a temporary path next to `path`. When the block ends, the file that was written there replaces `path`.

    Each writer has its own temporary name. If two processes write the same file, the last one to finish wins, and the
    file is never a mixture. If the block fails, the temporary file is deleted and the earlier file stays unchanged.

    Args:
        path: The final path. Its folder is created if it does not exist.

    Yields:
        A `pathlib.Path` in the same folder, whose name ends with that of `path`.

    Raises:
        OSError: If the file cannot be written (disk full, no permission). The message names `path`.

    Example:

    >>> with replace_file("notes.txt") as temporary:
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
            os.fsync(file.fileno())  # without this, a power cut could leave an empty file under the final name
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"Could not write {path}: {error.strerror or error}. An earlier file of this name is unchanged. "
            "Fix: free some space or check the permissions of the folder, then run the same command again.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path, write):
    """Writes a file completely or not at all, with `replace_file`.

    Args:
        path: The final path.
        write: Function that takes a `pathlib.Path` and writes the file there.

    Raises:
        OSError: If the file cannot be written (disk full, no permission). The message names `path`.

    Example:

    >>> atomic_write("notes.txt", lambda temporary: temporary.write_text("whole"))
    >>> pathlib.Path("notes.txt").read_text()
    'whole'
    """
    with replace_file(path) as temporary:
        write(temporary)


@contextlib.contextmanager
def lock_folder(folder):
    """Locks a folder inside the block, so that a second run cannot write there.

    The operating system locks the file ``.lock`` in the folder. It releases the lock when the process ends, even if
    the process is killed. While the folder is locked, ``running.json`` names the process that has the lock. If an
    earlier process was killed and left temporary files in the folder, this function deletes them.

    Args:
        folder: The folder. It is created if it does not exist.

    Raises:
        BlockingIOError: If another run has locked the folder. The message names its process, its machine and its start.
        OSError: If the file system has no locks.

    Example:

    >>> with lock_folder("run"):
    ...     sorted(path.name for path in pathlib.Path("run").iterdir())
    ['.lock', 'running.json']
    """
    import fasteners  # imported here, because `fcn-keras doctor` imports this file even if packages are missing

    folder = pathlib.Path(folder).resolve()
    lock, holder = fasteners.InterProcessLock(folder / ".lock"), folder / "running.json"
    try:
        # The operating system would give the same process the lock twice, so we also look into `_HELD`.
        free = folder not in _HELD and lock.acquire(blocking=False)
    except RuntimeError as error:
        raise OSError(f"{folder} cannot be locked: {error}. Fix: take a folder on another file system.") from error
    if not free:
        if lock.lockfile is not None:
            lock.lockfile.close()
        raise BlockingIOError(
            f"Another run is training in {folder}: {_describe_holder(holder)}. "
            "Fix: wait until it ends, stop it, or take another directory."
        )
    _HELD.add(folder)
    try:
        for left in folder.glob(f"{PARTIAL}*"):
            with contextlib.suppress(OSError):  # a folder, or on Windows a file that another process has open
                left.unlink()
        since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        write_json(holder, {"pid": os.getpid(), "host": platform.node(), "since": since, "command": sys.argv})
        yield
    finally:
        _HELD.discard(folder)
        holder.unlink(missing_ok=True)
        lock.release()


def _describe_holder(path):
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return f"process {found['pid']} on {found['host']}, since {found['since']}"
    except (OSError, ValueError, KeyError):  # the process has the lock, but it has not written the file yet
        return "a process that has just started"


def explain_missing(path):
    """Describes why a path does not exist: names the first part that is missing, and suggests a similar name.

    Args:
        path: String or path.

    Returns:
        The sentence.

    Example:

    >>> pathlib.Path("my_data").mkdir()
    >>> print(explain_missing("my_dta/images").replace(str(pathlib.Path.cwd()), "HERE"))
    There is no my_dta in HERE. Did you mean 'my_data'?
    """
    path = user_path(path).absolute()
    lacking = next((part for part in reversed([path, *path.parents]) if not os.path.lexists(part)), path)
    folder = lacking.parent
    names = os.listdir(folder) if folder.is_dir() and os.access(folder, os.R_OK) else []
    return f"There is no {lacking.name} in {folder}.{suggest(lacking.name, names)}"


def suggest(name, known, cutoff=0.6):
    """Suggests the known name that is most like a wrong one.

    Args:
        name: The wrong name.
        known: The names that exist.
        cutoff: Least likeness, from 0 to 1, as in `difflib.get_close_matches`.

    Returns:
        A sentence that begins with a space, or an empty string if no name is like it.

    Example:

    >>> suggest("cats", ["astronaut", "cat"]), suggest("dog", ["astronaut", "cat"])
    (" Did you mean 'cat'?", '')
    """
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=cutoff)
    return f" Did you mean {near[0]!r}?" if near else ""


def write_text(path, text):
    """Writes a text file with `atomic_write`, in UTF-8 and with the same line ends on every system.

    Args:
        path: The final path.
        text: The whole content.

    Raises:
        OSError: As in `atomic_write`.

    Example:

    >>> write_text("notes.txt", "whole")
    >>> pathlib.Path("notes.txt").read_text()
    'whole'
    """
    atomic_write(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


def write_json(path, content):
    """Writes JSON with `atomic_write`. Numbers that are not finite become null, because JSON has no NaN.

    Args:
        path: The final path.
        content: Nested dicts and lists.

    Raises:
        OSError: As in `atomic_write`.

    Example:

    >>> write_json("metrics.json", {"mean_iou": 0.5, "absent": float("nan")})
    >>> json.loads(pathlib.Path("metrics.json").read_text())
    {'mean_iou': 0.5, 'absent': None}
    """
    write_text(path, json.dumps(replace_nonfinite(content), indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def replace_nonfinite(content):
    """Replaces every float that is not finite by None.

    Args:
        content: Nested dicts, lists and tuples.

    Returns:
        A copy of `content`, in which keys are strings and tuples are lists.

    Example:

    >>> replace_nonfinite({"a": [1.0, float("inf")]})
    {'a': [1.0, None]}
    """
    if isinstance(content, dict):
        return {str(key): replace_nonfinite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [replace_nonfinite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
