"""The Makefile on machines that this is not, the lock, and the wall around the tests."""

import ast
import importlib.metadata
import itertools
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"

# A Python that makes no environment but writes down what it is asked to do.
PYTHON = """#!/bin/sh
case "$1" in
  -c) exit {suitable} ;;
  --version) echo "Python 3.12.0" ;;
esac
echo "$*" >> "$LOG"
if [ "$2" = venv ]; then
  rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python
fi
if [ "$2" = pip ] && [ -e pip_fails ]; then exit 1; fi
"""
SHIM = "#!/bin/sh\necho 'pyenv: python3.13: command not found' >&2\nexit 127\n"


class Machine:
    """A project folder and a PATH with only the named programs and the usual tools."""

    def __init__(self, folder):
        self.project, self.bin, self.log = folder / "a project", folder / "bin", folder / "log"
        self.project.mkdir()
        self.bin.mkdir()
        for name in ("Makefile", "pyproject.toml", "requirements.lock"):
            shutil.copy(ROOT / name, self.project)
        for tool in ("sh", "rm", "mkdir", "cp", "touch", "sed"):
            (self.bin / tool).symlink_to(shutil.which(tool))

    def program(self, name, text):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def make(self, *arguments):
        """Runs make and returns its exit code, what it said, and what Python was asked to do."""
        self.log.write_text("")
        process = subprocess.run(
            [shutil.which("make"), *arguments],
            cwd=self.project,
            env={"PATH": str(self.bin), "LOG": str(self.log), "HOME": str(self.project)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        asked = re.findall(r"^-m (\w+ \w*)", self.log.read_text(), re.MULTILINE)
        return process.returncode, process.stdout, asked


@pytest.fixture
def machine(tmp_path):
    if not shutil.which("make"):
        pytest.skip("there is no make on this machine; environment.yml is its set-up")
    return Machine(tmp_path)


SET_UP = ["venv ", "pip install", "pip install"]
LINT = ["ruff check", "ruff format"]


def test_make_sets_up_once(machine):
    machine.program("python3.13", SHIM)  # passed over
    machine.program("python3", PYTHON.format(suitable=1))  # too old
    machine.program("python", PYTHON.format(suitable=0))
    assert machine.make("lint")[::2] == (0, SET_UP + LINT)
    assert machine.make("lint")[::2] == (0, LINT)


def test_make_starts_over_after_an_interrupted_set_up(machine):
    machine.program("python3", PYTHON.format(suitable=0))
    (machine.project / "pip_fails").touch()
    code, _, asked = machine.make("lint")
    assert code != 0 and asked == SET_UP[:2]
    (machine.project / "pip_fails").unlink()
    assert machine.make("lint")[::2] == (0, SET_UP + LINT)


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_make_follows_changes_without_starting_over(machine, name):
    machine.program("python3", PYTHON.format(suitable=0))
    machine.make("lint")
    stamp = machine.project / ".venv" / ".ready"
    os.utime(stamp, (0, 0))
    os.utime(machine.project / name)
    assert machine.make("lint")[::2] == (0, SET_UP[1:] + LINT)
    assert machine.make("lint")[::2] == (0, LINT)


def test_make_starts_over_when_its_python_is_gone(machine):
    machine.program("python3", PYTHON.format(suitable=0))
    machine.make("lint")
    python = machine.project / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/not/there/python3.12")
    assert machine.make("lint")[::2] == (0, SET_UP + LINT)


def test_make_doctor_needs_no_environment(machine):
    machine.program("python3", PYTHON.format(suitable=0))
    assert machine.make("doctor")[0] == 0 and machine.log.read_text() == "-m fcn_keras.cli.doctor\n"
    machine.make("lint")  # makes .venv, whose Python it then is
    (machine.bin / "python3").unlink()
    assert machine.make("doctor")[0] == 0 and machine.log.read_text() == "-m fcn_keras.cli.doctor\n"


def test_make_says_what_is_missing(machine):
    machine.program("python3", PYTHON.format(suitable=1))
    code, said, asked = machine.make("test", "PYTHON=/opt/my/python")
    assert code != 0 and not asked
    assert "No Python 3.11, 3.12 or 3.13" in said and "make PYTHON=" in said
    assert "PYTHON=/opt/my/python is not Python" in said


def test_make_lists_its_targets(machine):
    code, said, asked = machine.make()
    assert code == 0 and not asked
    for target in ("lab", "walkthrough", "site", "doctor", "quick", "test", "lint", "lock", "clean", "help"):
        assert f"make {target} " in said


def test_the_lock_names_files_by_their_hash_alone():
    text = LOCK.read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=[a-z0-9])", text)[1:]
    assert len(entries) > 100
    assert not [entry for entry in entries if "--hash=sha256:" not in entry]
    assert not [entry for entry in entries if not re.match(r"[a-z0-9-]+==\S+", entry)]


def test_the_lock_holds_what_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + extras["notebooks"] + extras["tests"] + extras["site"] + ["setuptools"]
    names = {re.match(r"[\w-]+", entry)[0].replace("_", "-") for entry in wanted}
    assert names <= set(re.findall(r"^([a-z0-9-]+)==", LOCK.read_text(), re.MULTILINE))


def test_the_package_imports_what_it_declares():
    """Every library that fcn_keras imports, in functions too, is a dependency or belongs to an extra."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "fcn_keras").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    names = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"fcn_keras"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = itertools.chain(project["dependencies"], *project["optional-dependencies"].values())
    declared = {re.match(r"[\w-]+", entry)[0].lower().replace("_", "-") for entry in wanted}
    brought_by = importlib.metadata.packages_distributions()
    undeclared = {
        name for name in names if not {d.lower() for d in brought_by.get(name, [name.replace("_", "-")])} & declared
    }
    assert len(names) > 10 and not undeclared


@pytest.mark.parametrize("host", ["example.org", "192.0.2.1", "2001:db8::1"])
def test_tests_cannot_reach_the_network(host):
    with pytest.raises(RuntimeError, match="tests run offline"):
        socket.create_connection((host, 80), timeout=1)


def test_tests_can_reach_this_machine():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
