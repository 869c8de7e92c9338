"""The doctor says what is missing. It starts even if no library is installed."""

import inspect
import json
import os
import pathlib
import subprocess
import sys
from collections import namedtuple

import pytest

from fcn_keras.cli import doctor
from fcn_keras.cli.doctor import CHECKS

ROOT = pathlib.Path(__file__).parents[2]


def run(*command, **environment):
    process = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=os.environ | environment)
    return process.returncode, process.stdout, process.stderr


def by_name(text):
    return {check["name"]: check for check in json.loads(text)}


def test_as_a_module():
    code, text, _ = run("-m", "fcn_keras.cli.doctor", "--json")
    found = {name: check["status"] for name, check in by_name(text).items()}
    assert list(found) == list(CHECKS)
    for name in ("Python", "TensorFlow", "Keras", "backend", "disk", "data"):
        assert found[name] == "OK", text
    assert set(found.values()) <= {"OK", "WARN", "FAIL"}
    assert code == int("FAIL" in found.values())


BARE = """
import runpy, sys
assert not any("site-packages" in path for path in sys.path)
class Refuse:
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root not in sys.stdlib_module_names and root != "fcn_keras":
            raise AssertionError(f"{name} is not of the standard library")
sys.meta_path.insert(0, Refuse())
sys.path.append(sys.argv.pop(1))
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "tensorflow" else find_spec(name)
sys.executable = sys.argv.pop(1)
runpy.run_module("fcn_keras.cli.doctor", run_name="__main__")
"""


def test_where_nothing_is_installed(tmp_path):
    """Neither the process nor its child has site-packages. An import of any other library raises an error."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    python.chmod(0o755)
    code, text, errors = run("-S", "-I", "-c", BARE, ROOT, python, "--json", KERAS_BACKEND="")
    assert code == 1 and not errors, errors
    found = by_name(text)
    assert found["TensorFlow"]["found"] == "ModuleNotFoundError: No module named 'tensorflow'"
    assert found["backend"]["status"] == "FAIL" and "is not installed" in found["backend"]["found"]
    assert found["packages"]["status"] == "WARN" and "absl-py missing (locked: " in found["packages"]["found"]
    assert "make setup" in found["packages"]["fix"] and "make test" not in text
    assert [name for name in found if "the check raised" in found[name]["found"]] == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ImportError('DLL load failed')", "ImportError: DLL load failed"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "AVX"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import os; os._exit(9)", "exit code 9"),
    ],
)
def test_survives_a_broken_tensorflow(tmp_path, monkeypatch, body, said):
    (tmp_path / "tensorflow.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(doctor, "_probe", doctor._probe.__wrapped__)
    status, found, fix = CHECKS["TensorFlow"]()
    assert status == "FAIL" and said in found and "make setup" in fix and "requirements.lock" in fix
    assert CHECKS["GPU"]() == ("WARN", "unknown, because TensorFlow does not start", "fix TensorFlow first")


def test_one_line_for_each_check(monkeypatch, capsys):
    checks = {"disk": lambda: ("OK", "much"), "GPU": lambda: ("WARN", "none", "buy one")}
    monkeypatch.setattr(doctor, "CHECKS", checks)
    assert doctor.main() == 0
    assert capsys.readouterr().out.splitlines() == ["OK    disk        much", "WARN  GPU         none. Fix: buy one"]


def test_a_broken_check_is_a_failure_and_the_others_go_on(monkeypatch, capsys):
    def moon():
        raise OSError("no moon")

    monkeypatch.setattr(doctor, "CHECKS", {"moon": moon, "Python": CHECKS["Python"]})
    assert doctor.main(as_json=True) == 1
    found = by_name(capsys.readouterr().out)
    assert {name: check["status"] for name, check in found.items()} == {"moon": "FAIL", "Python": "OK"}


@pytest.mark.parametrize(("version", "status"), [((3, 10), "FAIL"), ((3, 11), "OK"), ((3, 14), "FAIL")])
def test_python(monkeypatch, version, status):
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    assert CHECKS["Python"]()[0] == status


@pytest.mark.parametrize(
    ("settings", "variable", "status", "said"),
    [
        (None, "", "OK", "tensorflow"),
        ('{"backend": "tensorflow"}', "", "OK", "tensorflow"),
        ('{"backend": "jax"}', "tensorflow", "OK", "tensorflow"),
        ('{"backend": "theano"}', "", "FAIL", "keras.json"),
        (None, "theano", "FAIL", "KERAS_BACKEND"),
        ('{"image_data_format": "channels_first"}', "", "FAIL", "channels_last"),
        ("not json", "", "FAIL", "delete"),
    ],
)
def test_backend(monkeypatch, tmp_path, settings, variable, status, said):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", variable)
    if settings:
        (tmp_path / "keras.json").write_text(settings)
    found = CHECKS["backend"]()
    assert found[0] == status
    assert said in " ".join(found)


def test_backend_that_is_not_installed(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    status, _, fix = CHECKS["backend"]()
    assert status == "FAIL" and "pip install torch" in fix
    monkeypatch.setattr(doctor, "_probe", lambda: {"Keras": {"error": "ImportError: torch"}})
    assert CHECKS["Keras"]() == ("FAIL", "ImportError: torch", "see backend")


@pytest.mark.parametrize(
    ("answer", "driver", "status", "said"),
    [
        ({"found": ["NVIDIA A", "NVIDIA B"]}, True, "OK", "NVIDIA A, NVIDIA B"),
        ({"found": []}, True, "WARN", "sees no GPU"),
        ({"found": []}, False, "WARN", "CPU"),
        ({"error": "ImportError"}, False, "WARN", "fix TensorFlow"),
    ],
)
def test_gpu(monkeypatch, answer, driver, status, said):
    monkeypatch.setattr(doctor, "_probe", lambda: {"GPU": answer})
    monkeypatch.setattr(doctor.shutil, "which", lambda name: name if driver else None)
    found = CHECKS["GPU"]()
    assert found[0] == status
    assert said in " ".join(found)


@pytest.mark.parametrize(("free", "status"), [(0.5, "FAIL"), (5, "WARN"), (50, "OK")])
def test_disk(monkeypatch, tmp_path, free, status):
    usage = namedtuple("usage", "free")(free * doctor.GIB)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setenv("FCN_KERAS_DATA", str(tmp_path / "not" / "there"))
    assert CHECKS["disk"]()[0] == status


LOCKED = r"""# a comment
aa==1.0 \
    --hash=sha256:00
bb==2.0 ; python_full_version < '3.12' \
    --hash=sha256:00
bb==2.1 ; python_full_version >= '3.12' \
    --hash=sha256:00
for-windows==3.0 ; sys_platform == 'win32' \
    --hash=sha256:00
"""


@pytest.mark.parametrize(
    ("installed", "pip", "expected"),
    [
        ({"aa": "1.0", "bb": "2.1"}, (0, ""), ("OK", "compatible; as in requirements.lock")),
        (
            {"aa": "1.0", "bb": "2.1"},
            (1, ""),
            ("OK", "pip is not installed, so compatibility was not checked; as in requirements.lock"),
        ),
        ({"aa": "1.0", "bb": "2.2"}, (0, ""), ("WARN", "bb 2.2 (locked: 2.0 or 2.1)", doctor.INSTALL)),
        ({"bb": "2.0"}, (0, ""), ("WARN", "aa missing (locked: 1.0)", doctor.INSTALL)),
        (
            {"aa": "1.0", "bb": "2.0"},
            (1, "aa 1.0 requires cc, which is not installed.\n"),
            ("WARN", "aa 1.0 requires cc, which is not installed.", doctor.INSTALL),
        ),
    ],
)
def test_packages(tmp_path, monkeypatch, installed, pip, expected):
    def version(name):
        if name not in installed:
            raise doctor.importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    done = subprocess.CompletedProcess([], pip[0], stdout=pip[1])
    monkeypatch.setattr(doctor.subprocess, "run", lambda command, **options: done)
    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    monkeypatch.setattr(doctor, "LOCK", tmp_path / "requirements.lock")
    (tmp_path / "requirements.lock").write_text(LOCKED)
    assert CHECKS["packages"]() == expected


def test_packages_of_an_installed_package_have_no_lock_beside_them(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "LOCK", tmp_path / "requirements.lock")
    assert CHECKS["packages"]()[1].endswith("; there is no requirements.lock to compare with")


def test_data(monkeypatch, tmp_path):
    monkeypatch.setenv("FCN_KERAS_DATA", str(tmp_path))
    assert "none yet" in CHECKS["data"]()[1]
    unfinished = tmp_path / "voc" / "incomplete.X_1.0.0"
    for folder in (tmp_path / "shapes" / "scenes" / "1.0.0", unfinished):
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").touch()
    assert CHECKS["data"]() == ("OK", f"shapes/scenes/1.0.0 at {tmp_path}")


def test_data_home_is_that_of_the_datasets_and_may_begin_with_a_tilde(monkeypatch, tmp_path):
    from fcn_keras import datasets

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FCN_KERAS_DATA", "~/prepared")
    assert doctor.get_data_home is datasets.get_data_home
    assert CHECKS["data"]()[1].endswith(f" at {tmp_path / 'prepared'}")


def test_imagenet(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert CHECKS["ImageNet"]()[0] == "WARN"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / doctor.IMAGENET_WEIGHTS["MobileNetV2"]).touch()
    found, _, missing = CHECKS["ImageNet"]()[1].partition("; not there: ")
    assert found == f"MobileNetV2 at {tmp_path / 'models'}"
    assert missing.split(", ") == [name for name in doctor.IMAGENET_WEIGHTS if name != "MobileNetV2"]
    for file in doctor.IMAGENET_WEIGHTS.values():
        (tmp_path / "models" / file).touch()
    assert CHECKS["ImageNet"]()[0] == "OK"


def test_imagenet_file_names_are_those_of_keras(monkeypatch):
    from keras.src.applications import mobilenet_v2, vgg16

    class AskedError(Exception):
        pass

    def get_file(name, *arguments, **keywords):
        raise AskedError(name)

    monkeypatch.setattr(mobilenet_v2.file_utils, "get_file", get_file)
    for name, has_top in (("MobileNetV2", True), ("MobileNetV2 without top", False)):
        with pytest.raises(AskedError, match=f"^{doctor.IMAGENET_WEIGHTS[name]}$"):
            mobilenet_v2.MobileNetV2(include_top=has_top, input_shape=(224, 224, 3))
    for name in ("VGG16", "VGG16 without top"):  # read, not built: half a gigabyte
        assert f'"{doctor.IMAGENET_WEIGHTS[name]}"' in inspect.getsource(vgg16)


def test_mini_vgg(tmp_path):
    from fcn_keras.models.mini_vgg import WEIGHTS

    file = tmp_path / "mini_vgg.weights.h5"
    assert doctor._check_mini_vgg()[0] == "OK" and doctor._check_mini_vgg.__defaults__ == (
        WEIGHTS / "mini_vgg.weights.h5",
    )
    assert "missing" in doctor._check_mini_vgg(file)[1]
    file.write_text("version https://git-lfs.github.com/spec/v1")
    assert doctor._check_mini_vgg(file)[0] == "FAIL"
    file.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert doctor._check_mini_vgg(file)[0] == "OK"
