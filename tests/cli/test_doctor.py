"""The doctor names what is missing, and starts where nothing else does."""

import inspect
import json
import os
import pathlib
import subprocess
import sys
from collections import namedtuple

import pytest

from fcn_keras.cli import doctor
from fcn_keras.cli.doctor import Check

FILE = pathlib.Path(doctor.__file__)


def run(*command, **environment):
    process = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    return process.returncode, process.stdout


def statuses(text):
    return {check["name"]: check["status"] for check in json.loads(text)}


def test_as_a_module():
    code, text = run("-m", "fcn_keras.cli.doctor", "--json")
    found = statuses(text)
    for name in ("Python", "TensorFlow", "Keras", "backend", "disk", "data"):
        assert found[name] == "OK", text
    assert set(found.values()) <= {"OK", "WARN", "FAIL"}
    assert code == int("FAIL" in found.values())


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ImportError('DLL load failed')", "ImportError: DLL load failed"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "AVX"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import os; os._exit(9)", "exit code 9"),
    ],
)
def test_survives_a_broken_tensorflow(tmp_path, body, said):
    (tmp_path / "tensorflow.py").write_text(body)
    code, text = run(str(FILE), "--json", PYTHONPATH=str(tmp_path))
    assert code == 1
    found = {check["name"]: check for check in json.loads(text)}
    assert found["TensorFlow"]["status"] == "FAIL"
    assert said in found["TensorFlow"]["found"]
    assert "requirements.lock" in found["TensorFlow"]["mend"]
    assert found["GPU"]["status"] == "WARN"
    assert found["Python"]["status"] == "OK"


def test_one_line_per_check(monkeypatch, capsys):
    checks = (lambda: Check("disk", "OK", "much"), lambda: Check("GPU", "WARN", "none", "buy one"))
    monkeypatch.setattr(doctor, "CHECKS", checks)
    assert doctor.main([]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "OK    disk        much",
        "WARN  GPU         none. Fix: buy one",
    ]


def test_a_broken_check_is_a_failure_and_the_others_go_on(monkeypatch, capsys):
    def check_moon():
        raise OSError("no moon")

    monkeypatch.setattr(doctor, "CHECKS", (check_moon, doctor.check_python))
    assert doctor.main(["--json"]) == 1
    assert statuses(capsys.readouterr().out) == {"moon": "FAIL", "Python": "OK"}


@pytest.mark.parametrize(("version", "status"), [((3, 10), "FAIL"), ((3, 11), "OK"), ((3, 14), "FAIL")])
def test_python(monkeypatch, version, status):
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    assert doctor.check_python().status == status


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
    check = doctor.check_backend()
    assert check.status == status
    assert said in str(check)


def test_backend_that_is_not_installed(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    assert doctor.check_backend().status == "FAIL"
    assert "pip install torch" in doctor.check_backend().mend
    monkeypatch.setattr(doctor, "probe", lambda: {"keras": {"error": "ImportError: torch"}})
    assert doctor.check_keras().mend == "see backend"


@pytest.mark.parametrize(
    ("answer", "driver", "status", "said"),
    [
        ({"found": ["NVIDIA A", "NVIDIA B"]}, True, "OK", "NVIDIA A, NVIDIA B"),
        ({"found": []}, True, "WARN", "sees no GPU"),
        ({"found": []}, False, "WARN", "CPU"),
        ({"error": "ImportError"}, False, "WARN", "mend TensorFlow"),
    ],
)
def test_gpu(monkeypatch, answer, driver, status, said):
    monkeypatch.setattr(doctor, "probe", lambda: {"gpus": answer})
    monkeypatch.setattr(doctor.shutil, "which", lambda name: name if driver else None)
    check = doctor.check_gpu()
    assert check.status == status
    assert said in str(check)


@pytest.mark.parametrize(("free", "status"), [(0.5, "FAIL"), (5, "WARN"), (50, "OK")])
def test_disk(monkeypatch, tmp_path, free, status):
    usage = namedtuple("usage", "free")(free * doctor.GIB)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setenv("FCN_KERAS_DATA", str(tmp_path / "not" / "there"))
    assert doctor.check_disk().status == status


def test_versions(tmp_path, monkeypatch):
    lock = tmp_path / "requirements.lock"
    text = """# a comment
aa==1.0 \\
    --hash=sha256:00
bb==2.0 ; python_full_version >= '3.11' \\
    --hash=sha256:00
cc==3.0 ; python_full_version < '3' \\
    --hash=sha256:00
"""
    assert doctor.check_versions(lock).status == "OK"  # an installed package has no lock beside it
    lock.write_text(text)
    monkeypatch.setattr(doctor.importlib.metadata, "version", {"aa": "1.0", "bb": "2.0"}.get)
    assert doctor.check_versions(lock) == Check("versions", "OK", "all 2 as in requirements.lock")
    monkeypatch.setattr(doctor.importlib.metadata, "version", {"aa": "1.0", "bb": "2.1"}.get)
    assert doctor.check_versions(lock).found == "bb 2.1 (locked: 2.0)"
    assert doctor.check_versions(lock).status == "WARN"


def test_data_home_is_that_of_the_datasets(monkeypatch):
    from fcn_keras import datasets

    assert doctor.data_home() == datasets.data_home()
    monkeypatch.delenv("FCN_KERAS_DATA")
    assert doctor.data_home() == datasets.data_home()


def test_data(monkeypatch, tmp_path):
    monkeypatch.setenv("FCN_KERAS_DATA", str(tmp_path))
    assert "none yet" in doctor.check_data().found
    unfinished = tmp_path / "voc" / "incomplete.X_1.0.0"
    for folder in (tmp_path / "shapes" / "scenes" / "1.0.0", unfinished):
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").touch()
    assert doctor.check_data().found == f"shapes/scenes/1.0.0 at {tmp_path}"


def test_imagenet(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert doctor.check_imagenet().status == "WARN"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / doctor.IMAGENET_WEIGHTS["MobileNetV2"]).touch()
    found, _, missing = doctor.check_imagenet().found.partition("; not there: ")
    assert found == f"MobileNetV2 at {tmp_path / 'models'}"
    assert missing.split(", ") == [name for name in doctor.IMAGENET_WEIGHTS if name != "MobileNetV2"]
    for file in doctor.IMAGENET_WEIGHTS.values():
        (tmp_path / "models" / file).touch()
    assert doctor.check_imagenet().status == "OK"


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
    file = tmp_path / "mini_vgg.weights.h5"
    assert "missing" in doctor.check_mini_vgg(file).found
    file.write_text("version https://git-lfs.github.com/spec/v1")
    assert doctor.check_mini_vgg(file).status == "FAIL"
    file.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert doctor.check_mini_vgg(file).status == "OK"
