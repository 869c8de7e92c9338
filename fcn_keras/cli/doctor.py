"""Checks this machine: what is installed, what is missing, how to fix it: ``python -m fcn_keras.cli.doctor [--json]``.

It needs only the standard library. It imports TensorFlow and Keras in another process, because these libraries may be
missing or broken, or may kill the process that imports them.
"""

import functools
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import typing

from .._files import get_data_home

PACKAGE = pathlib.Path(__file__).resolve().parents[1]
LOCK = PACKAGE.parent / "requirements.lock"
GIB = 1024**3
DISK_FOR_CHAPTERS, DISK_FOR_VOC = 1 * GIB, 6 * GIB  # for VOC: the archive, its files, and the prepared copy
INSTALL = "rm -rf .venv && make setup (or: pip install --require-hashes -r requirements.lock)"

# The files that keras.applications reads from the folder `models` of KERAS_HOME.
IMAGENET_WEIGHTS = {
    "VGG16": "vgg16_weights_tf_dim_ordering_tf_kernels.h5",
    "VGG16 without top": "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "MobileNetV2": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5",
    "MobileNetV2 without top": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
}

PROBE = """
import json
questions = {
    "TensorFlow": "__import__('tensorflow').__version__",
    "GPU": "[tf.config.experimental.get_device_details(d).get('device_name', d.name)"
    " for tf in [__import__('tensorflow')] for d in tf.config.list_physical_devices('GPU')]",
    "Keras": "__import__('keras').__version__",
}
for name, question in questions.items():
    try:
        answer = {"found": eval(question)}
    except BaseException as error:
        answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
    print("@" + json.dumps([name, answer]), flush=True)
"""


class Check(typing.NamedTuple):
    """The result of one check.

    Args:
        name: What was checked.
        status: ``"OK"``, ``"WARN"`` (something will not work) or ``"FAIL"`` (nothing will work).
        found: What the check found.
        fix: How to fix it. Empty if there is nothing to fix.

    Example:

    >>> print(Check("disk", "WARN", "3 GiB free", "free some space before you download VOC"))
    WARN  disk        3 GiB free. Fix: free some space before you download VOC
    """

    name: str
    status: str
    found: str
    fix: str = ""

    def __str__(self):
        return f"{self.status:<4}  {self.name:<10}  {self.found}" + (f". Fix: {self.fix}" if self.fix else "")


@functools.cache
def _probe():
    """Imports TensorFlow and Keras in another process. Returns a dict from names to ``"found"`` or ``"error"``."""
    answers = {}
    try:
        done = _run("-c", PROBE, timeout=900, env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ})
    except subprocess.TimeoutExpired:
        end = "the import did not end within 15 minutes"
    else:
        answers = dict(json.loads(line[1:]) for line in done.stdout.splitlines() if line.startswith("@"))
        end = f"the import died with exit code {done.returncode} {done.stderr.strip().rpartition(chr(10))[2]}".strip()
        if done.returncode == -4:  # SIGILL
            end = "the import died of SIGILL: this CPU lacks instructions (AVX) that TensorFlow needs"
    return {name: answers.get(name, {"error": end}) for name in ("TensorFlow", "GPU", "Keras")}


def _run(*words, **options):
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, errors="replace", **options)


def _check_python():
    found = f"{platform.python_version()} at {sys.executable}"
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return "OK", found
    return "FAIL", found, "use Python 3.11, 3.12 or 3.13: make setup PYTHON=/path/to/python3.12"


def _check_import(name):
    answer = _probe()[name]
    if "found" in answer:
        return "OK", answer["found"]
    # TensorFlow imports Keras, so neither starts with a wrong backend.
    return "FAIL", answer["error"], "see backend" if _check_backend()[0] == "FAIL" else INSTALL


def _find_keras_home():
    # Like Keras, we do not expand a ~ in KERAS_HOME.
    return pathlib.Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"))


def _check_backend():
    settings = _find_keras_home() / "keras.json"
    try:
        config = json.loads(settings.read_text()) if settings.exists() else {}
    except ValueError:
        return "FAIL", f"{settings} is not JSON", f"delete {settings}"
    source = "KERAS_BACKEND" if os.environ.get("KERAS_BACKEND") else settings
    backend = os.environ.get("KERAS_BACKEND") or config.get("backend", "tensorflow")
    if backend not in ("tensorflow", "jax", "torch"):
        return "FAIL", f"{backend!r}, set by {source}", "use tensorflow, jax or torch"
    if importlib.util.find_spec(backend) is None:
        fix = f"pip install {backend}, or set the backend to tensorflow in {source}"
        return "FAIL", f"{backend}, set by {source}, is not installed", fix
    if config.get("image_data_format", "channels_last") != "channels_last":
        return "FAIL", f"{backend}, channels first", f'set "image_data_format" to "channels_last" in {settings}'
    return "OK", backend


def _check_gpu():
    answer = _probe()["GPU"]
    if "error" in answer:
        return "WARN", "unknown, because TensorFlow does not start", "fix TensorFlow first"
    if answer["found"]:
        return "OK", ", ".join(answer["found"])
    if shutil.which("nvidia-smi"):
        wsl = "use WSL2, because TensorFlow cannot use a GPU on Windows itself"
        fix = wsl if sys.platform == "win32" else 'pip install "tensorflow[and-cuda]>=2.21,<2.22"'
        return "WARN", "an NVIDIA driver is installed, but TensorFlow sees no GPU", fix
    return "WARN", "none. Every chapter runs on the CPU in minutes. Training on VOC as in the paper needs a GPU"


def _check_disk():
    folder = get_data_home().resolve()
    free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    found = f"{free / GIB:.1f} GiB free at {folder}"
    fix = "free some space, or set FCN_KERAS_DATA to a folder on another disk"
    if free < DISK_FOR_CHAPTERS:
        return "FAIL", f"{found}, but the chapters need 1 GiB", fix
    if free < DISK_FOR_VOC:
        return "WARN", f"{found}, enough for the chapters but not for VOC", fix
    return "OK", found


def _check_packages():
    """Whether the installed packages are compatible, as pip says, and are the versions in requirements.lock."""
    asked = _run("-m", "pip", "--disable-pip-version-check", "check")
    found, locked = asked.stdout.splitlines() if asked.returncode else [], {}
    pins = LOCK.read_text() if LOCK.exists() else ""
    for name, version, marker in re.findall(r"^([a-z0-9-]+)==([^\s;]+)( ;)?", pins, re.MULTILINE):
        locked.setdefault((name, bool(marker)), []).append(version)  # with a marker: for some machines only
    for (name, optional), versions in locked.items():
        try:
            here = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            here = versions[0] if optional else "missing"
        if here not in versions:
            found.append(f"{name} {here} (locked: {' or '.join(versions)})")
    if found:
        return "WARN", "; ".join(found[:6]) + (f"; and {len(found) - 6} more" if len(found) > 6 else ""), INSTALL
    pip_says = "pip is not installed, so compatibility was not checked" if asked.returncode else "compatible"
    return "OK", f"{pip_says}; {'as in requirements.lock' if pins else 'there is no requirements.lock to compare with'}"


def _check_data():
    folder = get_data_home()
    prepared = sorted(folder.glob("*/**/[0-9]*.[0-9]*.[0-9]*/dataset_info.json"))
    names = ", ".join(path.parent.relative_to(folder).as_posix() for path in prepared)
    return "OK", f"{names or 'none yet (a chapter prepares its data set when it needs it)'} at {folder}"


def _check_imagenet():
    folder = _find_keras_home() / "models"
    missing = [name for name, file in IMAGENET_WEIGHTS.items() if not (folder / file).is_file()]
    found = f"{', '.join(name for name in IMAGENET_WEIGHTS if name not in missing) or 'no weights'} at {folder}"
    if not missing:
        return "OK", found
    fix = "Keras downloads what it needs; without a network, copy the files there"
    return "WARN", f"{found}; not there: {', '.join(missing)}", fix


def _check_mini_vgg(file=PACKAGE / "models" / "weights" / "mini_vgg.weights.h5"):
    fix = "git checkout fcn_keras/models/weights, or install the package again"
    if not file.is_file():
        return "FAIL", f"{file} is missing", fix
    if file.read_bytes()[:8] != b"\x89HDF\r\n\x1a\n":
        return "FAIL", f"{file} is not an HDF5 file", fix
    return "OK", f"{file.stat().st_size / 1e6:.1f} MB, part of the package"


CHECKS = {
    "Python": _check_python,
    "TensorFlow": functools.partial(_check_import, "TensorFlow"),
    "Keras": functools.partial(_check_import, "Keras"),
    "backend": _check_backend,
    "GPU": _check_gpu,
    "disk": _check_disk,
    "packages": _check_packages,
    "data": _check_data,
    "ImageNet": _check_imagenet,
    "MiniVGG": _check_mini_vgg,
}


def examine():
    """Runs the checks.

    Yields:
        A `Check` for each. If a check raises an error, its status is ``"FAIL"`` and the next check follows.

    Example:

    >>> next(examine()).name
    'Python'
    """
    for name, check in CHECKS.items():
        try:
            yield Check(name, *check())
        except Exception as error:
            yield Check(name, "FAIL", f"the check raised {type(error).__name__}: {error}", "report this line")


def main(as_json=False):
    """Prints one line for each check.

    Args:
        as_json: Whether to print JSON for programs instead.

    Returns:
        The exit status: 1 if a check failed, else 0.
    """
    found = []
    for check in examine():
        found.append(check)
        if not as_json:
            print(check, flush=True)
    if as_json:
        print(json.dumps([check._asdict() for check in found], indent=1))
    return int(any(check.status == "FAIL" for check in found))


if __name__ == "__main__":
    sys.exit(main("--json" in sys.argv[1:]))
