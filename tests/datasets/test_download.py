"""Downloads from servers on this machine that break off, lie, or know no ranges."""

import contextlib
import hashlib
import http.server
import io
import tarfile
import threading

import numpy as np
import pytest

from fcn_keras import datasets
from fcn_keras.datasets import download
from fcn_keras.datasets.download import ARCHIVES, Archive, fetch, unpack

CONTENT = np.random.default_rng(0).bytes(300_000)
PIECE = 6 * download.CHUNK


class Handler(http.server.BaseHTTPRequestHandler):
    """`/drops` sends a piece of what is asked for, then hangs up; so does `/drops-no-ranges`, from the start."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.log.append((self.path, self.headers.get("Range")))
        content = b"something else" * 9 if self.path == "/wrong" else CONTENT
        asked = int((self.headers.get("Range") or "bytes=0-")[len("bytes=") : -1])
        start = 0 if "no-ranges" in self.path else asked
        if self.path == "/404":
            return self.send_error(404)
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            first = start - 1 if self.path == "/shifted" else start
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = start + PIECE if "drops" in self.path else len(content)
        self.wfile.write(content[start:stop])
        self.close_connection = True

    def log_message(self, *arguments):
        """Stays silent."""


@pytest.fixture
def server():
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.log = []
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def archive(server, *paths):
    urls = tuple(f"http://127.0.0.1:{server.server_port}/{path}" for path in paths)
    return Archive("data.tar", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), urls, "Data")


def test_a_whole_file(server, tmp_path, capsys):
    found = fetch(archive(server, "good"), tmp_path / "downloads")
    assert found == tmp_path / "downloads" / "data.tar" and found.read_bytes() == CONTENT
    assert [path.name for path in found.parent.iterdir()] == ["data.tar"]
    told = capsys.readouterr().out
    assert "Downloading Data: data.tar, about 0.0 GB, from http://127.0.0.1" in told and "into" in told
    assert fetch(archive(server, "good"), found.parent) == found and len(server.log) == 1  # not again


def test_a_connection_that_breaks_off_is_gone_on_with(server, tmp_path):
    found = fetch(archive(server, "drops"), tmp_path)
    assert found.read_bytes() == CONTENT
    assert server.log == [("/drops", None), *(("/drops", f"bytes={k * PIECE}-") for k in (1, 2, 3))]


def test_a_program_that_was_killed_goes_on(server, tmp_path):
    (tmp_path / "data.tar.part").write_bytes(CONTENT[:123_457])
    assert fetch(archive(server, "good"), tmp_path).read_bytes() == CONTENT
    assert server.log == [("/good", "bytes=123457-")]


def test_a_whole_part_is_only_renamed(server, tmp_path):
    (tmp_path / "data.tar.part").write_bytes(CONTENT)
    assert fetch(archive(server, "good"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"x" * 50_000, CONTENT + b"more"])
def test_a_part_of_another_file_is_thrown_away(server, tmp_path, part):
    (tmp_path / "data.tar.part").write_bytes(part)
    assert fetch(archive(server, "good"), tmp_path).read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(server, tmp_path):
    (tmp_path / "data.tar.part").write_bytes(CONTENT[:1000])
    assert fetch(archive(server, "no-ranges"), tmp_path).read_bytes() == CONTENT


def test_addresses_are_tried_in_turn_and_share_what_arrived(server, tmp_path):
    found = fetch(archive(server, "404", "drops-no-ranges", "wrong", "good"), tmp_path)
    assert found.read_bytes() == CONTENT
    assert [path for path, _ in server.log[:2]] == ["/404", "/drops-no-ranges"]
    assert server.log[-1][0] == "/good"


def test_all_addresses_fail(server, tmp_path):
    with pytest.raises(ValueError) as caught:
        fetch(archive(server, "404", "wrong", "drops-no-ranges"), tmp_path)
    message, address = str(caught.value), f"http://127.0.0.1:{server.server_port}"
    for words in (f"{address}/404: HTTPError: 404", f"{address}/wrong: 126 bytes with the SHA-256 ", "Fix: try again"):
        assert words in message
    assert f"{address}/drops-no-ranges: " in message and "pass source=" in message
    assert not (tmp_path / "data.tar").exists()


def test_an_answer_that_begins_elsewhere(server, tmp_path):
    (tmp_path / "data.tar.part").write_bytes(CONTENT[:1000])
    with pytest.raises(ValueError, match="answered with bytes 999-299999/300000, not from 1000"):
        fetch(archive(server, "shifted"), tmp_path)


def test_nobody_answers(tmp_path):
    nobody = Archive("data.tar", 1, "0" * 64, ("http://127.0.0.1:9/data.tar",), "Data")
    with pytest.raises(ValueError, match=r"http://127\.0\.0\.1:9/data\.tar: ConnectionError"):
        fetch(nobody, tmp_path)


def test_a_file_put_there_by_hand(server, tmp_path):
    (tmp_path / "data.tar").write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=r"data\.tar has the SHA-256 .*expected .*Fix: delete it"):
        fetch(archive(server, "good"), tmp_path)
    (tmp_path / "data.tar").write_bytes(CONTENT)
    assert fetch(archive(server, "good"), tmp_path).read_bytes() == CONTENT
    assert not server.log


def test_a_disk_that_is_too_small(tmp_path):
    huge = Archive("data.tar", 10**18, "0" * 64, ("http://127.0.0.1:9/data.tar",), "Data")
    with pytest.raises(ValueError, match=r"Data takes about 3000000000\.0 GB: found .* GB free"):
        fetch(huge, tmp_path)


def test_the_addresses_of_the_real_archives():
    for archive in ARCHIVES.values():
        assert len(archive.sha256) == 64 and all(url.endswith(f"/{archive.name}") for url in archive.urls)
        assert archive.size > 1e9
    assert set(ARCHIVES) == {"2012", "2011", "sbd"}


def tar_of(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_unpacking(tmp_path, mode):
    path = tar_of(tmp_path / "data.tgz", {"folder/file.txt": b"content"}, mode)
    found = unpack(path, tmp_path / "out")
    assert (found / "folder" / "file.txt").read_bytes() == b"content" and found == tmp_path / "out" / "data"
    path.unlink()
    assert unpack(path, tmp_path / "out") == found  # once
    assert [below.name for below in (tmp_path / "out").iterdir()] == ["data"]


@pytest.mark.parametrize(
    "members",
    [{"../outside": b"x"}, {"a/../../outside": b"x"}, {"link": "/etc"}, {"link": "../.."}, {"link": "..", "link/outside": b"x"}],
)  # fmt: skip
def test_path_tricks_are_refused(tmp_path, members):
    path = tar_of(tmp_path / "data.tar", members)
    with pytest.raises(
        ValueError, match=r"data\.tar cannot be unpacked \(.*expected a whole tar file whose content stays"
    ):
        unpack(path, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir()) and not (tmp_path / "outside").exists()


def test_an_absolute_path_lands_below(tmp_path):
    path = tar_of(tmp_path / "data.tar", {f"{tmp_path}/outside": b"x"})
    with contextlib.suppress(ValueError):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_damaged_archives(tmp_path, share):
    whole = tar_of(tmp_path / "whole.tgz", {"file": CONTENT}, "w:gz").read_bytes()
    (tmp_path / "cut.tgz").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"(?s)cut\.tgz cannot be unpacked.*Fix: delete it"):
        unpack(tmp_path / "cut.tgz", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_voc_is_downloaded_unpacked_and_prepared(server, tmp_path, monkeypatch, capsys):
    """Without a source: the archive of a stand-in, over a connection that breaks off."""
    import stand_ins

    stand_ins.write_voc(tmp_path / "VOCdevkit" / "VOC2012", ["a", "b"], ["v"])
    with tarfile.open(tmp_path / "voc.tar", "w") as tar:
        tar.add(tmp_path / "VOCdevkit", "VOCdevkit")
    content = (tmp_path / "voc.tar").read_bytes()
    monkeypatch.setattr(f"{__name__}.CONTENT", content)
    monkeypatch.setattr(f"{__name__}.PIECE", download.CHUNK)
    stand_in = Archive(
        "voc.tar", len(content), hashlib.sha256(content).hexdigest(), archive(server, "drops").urls, "VOC2012"
    )
    monkeypatch.setitem(download.ARCHIVES, "2012", stand_in)
    assert len(datasets.load("voc", "train", data_dir=tmp_path / "data")) == 2
    assert (
        "Downloading VOC2012: voc.tar" in capsys.readouterr().out
        and len(server.log) == -(-len(content) // download.CHUNK) > 1
    )
    with pytest.raises(ValueError, match=r"prepared from the download, not from"):
        datasets.load("voc", "train", source=tmp_path, data_dir=tmp_path / "data")


def test_offline_voc_says_what_it_would_load_and_the_mend(tmp_path, capsys):
    with pytest.raises(ValueError, match=r"VOC2012 could not be downloaded\. Found: http://host.*Fix: .*pass source="):
        datasets.prepare("voc", data_dir=tmp_path)
    assert "VOCtrainval_11-May-2012.tar, about 2.0 GB, from http://host.robots" in capsys.readouterr().out
