"""Atomic writing and the lock of a folder, with several processes, some of which are killed."""

import errno
import json
import os
import platform
import subprocess
import sys
import threading

import pytest

from fcn_keras import _files


def test_two_writers_of_one_file(tmp_path):
    """Both write at the same time. The last one to finish wins, and the file is never a mixture."""
    path, first_is_in, second_is_done, seen = tmp_path / "last.keras", threading.Event(), threading.Event(), []

    def first():
        with _files.replace_file(path) as temporary:
            with open(temporary, "w") as file:
                file.write("first, ")
                file.flush()
                first_is_in.set()
                assert second_is_done.wait(10)
                file.write("first")
            seen.append(temporary)

    thread = threading.Thread(target=first)
    thread.start()
    assert first_is_in.wait(10)
    with _files.replace_file(path) as temporary:
        temporary.write_text("second")
        seen.append(temporary)
    assert path.read_text() == "second"
    second_is_done.set()
    thread.join()
    assert path.read_text() == "first, first"
    assert [each.name for each in tmp_path.iterdir()] == ["last.keras"]
    assert len(set(seen)) == 2 and all(each.suffix == ".keras" and each.parent == tmp_path for each in seen)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_a_writer_that_fails_leaves_the_earlier_file_and_nothing_else(error, tmp_path):
    path = tmp_path / "deep" / "file.txt"
    _files.atomic_write(path, lambda temporary: temporary.write_text("whole"))

    def fails(temporary):
        temporary.write_text("ha")
        raise error

    with pytest.raises(type(error)) as told:
        _files.atomic_write(path, fails)
    assert path.read_text() == "whole" and [each.name for each in path.parent.iterdir()] == ["file.txt"]
    if isinstance(error, OSError):
        assert told.value.errno == errno.ENOSPC and f"Could not write {path}: No space left" in str(told.value)


def test_a_file_gets_the_usual_permissions(tmp_path):
    (tmp_path / "plain").write_text("")
    _files.atomic_write(tmp_path / "ours", lambda temporary: temporary.write_text(""))
    assert (tmp_path / "plain").stat().st_mode == (tmp_path / "ours").stat().st_mode


HOLD = "import sys; from fcn_keras import _files; lock = _files.lock_folder(sys.argv[1]); lock.__enter__(); print('in', flush=True); sys.stdin.read()"


def holder(folder):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "in\n"
    return child


def test_a_locked_folder_names_its_holder_and_a_killed_holder_lets_go(tmp_path):
    child = holder(tmp_path)
    told = json.loads((tmp_path / "running.json").read_text())
    assert told["pid"] == child.pid and told["host"] == platform.node()
    with (
        pytest.raises(BlockingIOError, match=f"process {child.pid} on .*, since {told['since'][:10]}.*Fix: wait"),
        _files.lock_folder(tmp_path),
    ):
        pass
    (tmp_path / "running.json").write_text("half a f")
    with pytest.raises(BlockingIOError, match="a process that has just started"), _files.lock_folder(tmp_path):
        pass
    (tmp_path / "partial-0123-checkpoint.npz").write_text("half")
    child.kill()
    child.communicate()
    assert (tmp_path / "running.json").exists()  # it could not say goodbye
    with _files.lock_folder(tmp_path):
        assert json.loads((tmp_path / "running.json").read_text())["pid"] == os.getpid()
        with pytest.raises(BlockingIOError, match=f"process {os.getpid()} on "), _files.lock_folder(tmp_path):
            pass
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_block_that_fails_lets_go(tmp_path):
    with pytest.raises(KeyboardInterrupt), _files.lock_folder(tmp_path):
        raise KeyboardInterrupt
    child = holder(tmp_path)
    child.communicate("")
    assert child.returncode == 0
