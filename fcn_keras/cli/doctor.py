"""Says what a machine has, what it lacks, and the mend: ``python -m fcn_keras.cli.doctor [--json]``.

Stands on the standard library alone, and tries TensorFlow and Keras in a process of their own,
because the libraries it looks at may be missing, broken, or kill the process that imports them.
"""

import argparse
import dataclasses
import functools
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys

PACKAGE = pathlib.Path(__file__).resolve().parents[1]
ROOT = PACKAGE.parent
GIB = 1024**3

# The chapters' data and runs stay below the first; VOC's archive, its folder and the copy that
# `fcn_keras.datasets` prepares need about the second.
DISK_FOR_CHAPTERS, DISK_FOR_VOC = 1 * GIB, 6 * GIB

INSTALL = "rm -rf .venv && make setup (or: pip install --require-hashes -r requirements.lock)"

# The files that keras.applications looks for in the models folder of KERAS_HOME.
IMAGENET_WEIGHTS = {
    "VGG16": "vgg16_weights_tf_dim_ordering_tf_kernels.h5",
    "VGG16 without top": "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "MobileNetV2": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5",
    "MobileNetV2 without top": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
}

PROBE = """
import json

def ask(name, question):
    try:
        answer = {"found": question()}
    except BaseException as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print("@" + json.dumps([name, answer]), flush=True)

def tensorflow():
    import tensorflow
    return tensorflow.__version__

def gpus():
    from tensorflow import config
    devices = config.list_physical_devices("GPU")
    return [config.experimental.get_device_details(d).get("device_name", d.name) for d in devices]

def keras():
    import keras
    return keras.__version__

for question in (tensorflow, gpus, keras):
    ask(question.__name__, question)
"""


@dataclasses.dataclass(frozen=True)
class Check:
    """What one look at the machine found.

    Args:
        name: What was looked at.
        status: `"OK"`, `"WARN"` (something is out of reach) or `"FAIL"` (nothing will work).
        found: What is there.
        mend: What to do about it; empty when there is nothing to do.

    Example:

    >>> print(Check("disk", "WARN", "3 GiB free", "make room before VOC"))
    WARN  disk        3 GiB free. Fix: make room before VOC
    """

    name: str
    status: str
    found: str
    mend: str = ""

    def __str__(self):
        mend = f". Fix: {self.mend}" if self.mend else ""
        return f"{self.status:<4}  {self.name:<10}  {self.found}{mend}"


@functools.cache
def probe():
    """Imports TensorFlow and Keras in another process.

    Returns:
        A dict from `"tensorflow"`, `"gpus"` and `"keras"` to a dict with `"found"` or `"error"`.
    """
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    command = [sys.executable, "-c", PROBE]
    try:
        process = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=900, env=environment
        )
    except subprocess.TimeoutExpired:
        end, answers = "the import did not end within 15 minutes", {}
    else:
        end = _death(process)
        lines = process.stdout.splitlines()
        answers = dict(json.loads(line[1:]) for line in lines if line.startswith("@"))
    return {name: answers.get(name, {"error": end}) for name in ("tensorflow", "gpus", "keras")}


def _death(process):
    if process.returncode == -getattr(signal, "SIGILL", 4):
        return "the import died of SIGILL: this CPU lacks instructions (AVX) that TensorFlow needs"
    last = (process.stderr.strip().splitlines() or [""])[-1]
    return f"the import died with exit code {process.returncode} {last}".strip()


def check_python():
    """Looks at the Python that runs this."""
    found = f"{platform.python_version()} at {sys.executable}"
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Check("Python", "OK", found)
    mend = "use Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/python3.12"
    return Check("Python", "FAIL", found, mend)


def check_tensorflow():
    """Imports TensorFlow in another process."""
    return _check_import("TensorFlow")


def check_keras():
    """Imports Keras, with the backend that is set, in another process."""
    return _check_import("Keras")


def _check_import(name):
    answer = probe()[name.lower()]
    if "found" in answer:
        return Check(name, "OK", answer["found"])
    # TensorFlow imports Keras: a wrong backend stops both.
    mend = "see backend" if check_backend().status == "FAIL" else INSTALL
    return Check(name, "FAIL", " ".join(answer["error"].split())[:300], mend)


def keras_home():
    """Finds the folder of Keras' settings and downloads: `KERAS_HOME`, or `~/.keras`."""
    if "KERAS_HOME" in os.environ:
        return pathlib.Path(os.environ["KERAS_HOME"])  # Keras takes a ~ in it for the name of a folder
    return pathlib.Path("~/.keras").expanduser()


def check_backend():
    """Looks whether the backend that Keras is told to use is installed, and how images lie."""
    settings = keras_home() / "keras.json"
    try:
        config = json.loads(settings.read_text()) if settings.exists() else {}
    except ValueError:
        return Check("backend", "FAIL", f"{settings} is not JSON", f"delete {settings}")
    source = "KERAS_BACKEND" if os.environ.get("KERAS_BACKEND") else str(settings)
    backend = os.environ.get("KERAS_BACKEND") or config.get("backend", "tensorflow")
    if backend not in ("tensorflow", "jax", "torch"):
        return Check("backend", "FAIL", f"{backend!r}, set by {source}", "use tensorflow, jax or torch")
    if importlib.util.find_spec(backend) is None:
        mend = f"pip install {backend}, or set the backend to tensorflow in {source}"
        return Check("backend", "FAIL", f"{backend}, set by {source}, is not installed", mend)
    if config.get("image_data_format", "channels_last") != "channels_last":
        mend = f'set "image_data_format" to "channels_last" in {settings}'
        return Check("backend", "FAIL", f"{backend}, images channels first", mend)
    return Check("backend", "OK", backend)


def check_gpu():
    """Looks for GPUs through TensorFlow, and says what their absence costs."""
    answer = probe()["gpus"]
    if "error" in answer:
        return Check("GPU", "WARN", "not known: TensorFlow does not start", "mend TensorFlow first")
    if answer["found"]:
        return Check("GPU", "OK", ", ".join(answer["found"]))
    if shutil.which("nvidia-smi"):
        found = "an NVIDIA driver is here, but TensorFlow sees no GPU"
        if sys.platform == "win32":
            return Check("GPU", "WARN", found, "TensorFlow reaches it from WSL2 only")
        return Check("GPU", "WARN", found, 'pip install "tensorflow[and-cuda]>=2.21,<2.22"')
    found = (
        "none. Every chapter runs on the CPU, in the minutes of the README's table; "
        "training on VOC (100,000 steps a stage in the paper) is work for a GPU"
    )
    return Check("GPU", "WARN", found)


def data_home():
    """Finds the folder of generated and prepared data, as `fcn_keras.datasets.data_home` does."""
    project = ROOT / "data" if (ROOT / "pyproject.toml").exists() else "~/fcn_keras_data"
    return pathlib.Path(os.environ.get("FCN_KERAS_DATA", project)).expanduser()


def check_disk():
    """Looks at the free space where the data lie."""
    folder = data_home().resolve()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    found = f"{free / GIB:.1f} GiB free at {folder}"
    mend = "make room, or set FCN_KERAS_DATA to a folder elsewhere"
    if free < DISK_FOR_CHAPTERS:
        return Check("disk", "FAIL", f"{found}, the chapters need 1 GiB", mend)
    if free < DISK_FOR_VOC:
        return Check("disk", "WARN", f"{found}, enough for the chapters, not for VOC", mend)
    return Check("disk", "OK", found)


def check_versions(lock=ROOT / "requirements.lock"):
    """Compares what is installed with the versions that the project is tested with."""
    if not lock.exists():
        return Check("versions", "OK", "not compared: no requirements.lock beside the package")
    pins, drift = list(_pins(lock.read_text())), []
    for name, version in pins:
        try:
            here = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            here = "missing"
        if here != version:
            drift.append(f"{name} {here} (locked: {version})")
    if not drift:
        return Check("versions", "OK", f"all {len(pins)} as in requirements.lock")
    more = f" and {len(drift) - 6} more" if len(drift) > 6 else ""
    return Check("versions", "WARN", ", ".join(drift[:6]) + more, INSTALL)


def _pins(text):
    """Yields name and version of the lock's lines that hold for this Python and platform."""
    from packaging.requirements import Requirement

    for line in text.splitlines():
        if line[:1].isalnum():
            requirement = Requirement(line.rstrip("\\ "))
            if requirement.marker is None or requirement.marker.evaluate():
                yield requirement.name, next(iter(requirement.specifier)).version


def check_data():
    """Lists the data sets at hand."""
    folder = data_home()
    prepared = sorted(folder.glob("*/**/[0-9]*.[0-9]*.[0-9]*/dataset_info.json"))
    names = ", ".join(path.parent.relative_to(folder).as_posix() for path in prepared)
    none_yet = "none yet (a chapter makes its data set when it needs it)"
    return Check("data", "OK", f"{names or none_yet} at {folder}")


def check_imagenet():
    """Lists the ImageNet weights that need no download."""
    folder = keras_home() / "models"
    here = [name for name, file in IMAGENET_WEIGHTS.items() if (folder / file).is_file()]
    found = f"{', '.join(here) or 'no weights'} at {folder}"
    if len(here) == len(IMAGENET_WEIGHTS):
        return Check("ImageNet", "OK", found)
    missing = ", ".join(name for name in IMAGENET_WEIGHTS if name not in here)
    mend = "Keras downloads what it needs; without a network, copy the files there"
    return Check("ImageNet", "WARN", f"{found}; not there: {missing}", mend)


def check_mini_vgg(file=PACKAGE / "models" / "weights" / "mini_vgg.weights.h5"):
    """Looks whether the weights that come with the package are whole."""
    mend = "git checkout fcn_keras/models/weights, or install the package again"
    if not file.is_file():
        return Check("MiniVGG", "FAIL", f"{file} is missing", mend)
    with file.open("rb") as stream:
        if stream.read(8) != b"\x89HDF\r\n\x1a\n":
            return Check("MiniVGG", "FAIL", f"{file} is no HDF5 file", mend)
    return Check("MiniVGG", "OK", f"{file.stat().st_size / 1e6:.1f} MB, comes with the package")


CHECKS = (
    check_python,
    check_tensorflow,
    check_keras,
    check_backend,
    check_gpu,
    check_disk,
    check_versions,
    check_data,
    check_imagenet,
    check_mini_vgg,
)


def examine(checks):
    """Runs the checks.

    Args:
        checks: Functions that take nothing and return a `Check`.

    Yields:
        One `Check` each; a check that breaks yields a `"FAIL"` and does not stop the others.
    """
    for check in checks:
        try:
            yield check()
        except Exception as error:
            name = check.__name__.removeprefix("check_")
            yield Check(name, "FAIL", f"the check broke: {type(error).__name__}: {error}", "report this line")


def main(arguments=None):
    """Prints one line per check.

    Args:
        arguments: Command line, `None` for that of the process.

    Returns:
        1 when a check failed, else 0.
    """
    parser = argparse.ArgumentParser(prog="python -m fcn_keras.cli.doctor", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print a list of objects for programs")
    as_json = parser.parse_args(arguments).json
    found = []
    for check in examine(CHECKS):
        found.append(check)
        if not as_json:
            print(check, flush=True)
    if as_json:
        print(json.dumps([dataclasses.asdict(check) for check in found], indent=1))
    return int(any(check.status == "FAIL" for check in found))


if __name__ == "__main__":
    sys.exit(main())
