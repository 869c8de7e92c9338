"""Segmenting a film, frame by frame: a film of overlays, and the masks if wanted.

PyAV (the extra ``video``) reads and writes the files, through FFmpeg's libraries.
"""

import contextlib
import os

import numpy as np
from PIL import Image

from .._files import user_path
from ..visualization.colors import overlay
from .files import write_mask
from .segment import segment

SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg")


def segment_films(model, films, out, *, frames=False, palette=None, again=False, **options):
    """Segments films one after the other; what is there already is skipped, what cannot be read is told.

    Args:
        model: Keras model from images to logits.
        films: Paths of video files.
        out: Folder for the films of overlays, ``name.overlay.mp4``.
        frames: Whether to keep the mask of each frame, too, in a folder ``name``.
        palette: Colours ``(C, 3)`` of the classes; by default VOC's.
        again: Whether to do finished films, and masks of frames, again.
        **options: ``tile``, ``scales``, ``flip``: see `fcn_keras.segment`.

    Yields:
        ``(record, frames done, frames in all)`` after each frame and each film. The record is a dict of ``image``,
        ``mask`` (paths) and ``status``: ``"running"``, ``"done"``, ``"skipped"`` or ``"bad"``, with the reason as
        ``error``.

    Raises:
        ValueError: If two films would share a name.
        ImportError: If PyAV is not installed.
        OSError: If a film cannot be written.

    Example:

    >>> for record, done, frames in segment_films(model, ["drive.mp4"], "films"):  # doctest: +SKIP
    ...     print(record["image"], record["status"], done, frames)
    """
    films, out = [user_path(film) for film in films], user_path(out)
    first = {}
    for film in films:
        if first.setdefault(film.stem, film) != film:
            raise ValueError(
                f"{first[film.stem]} and {film} would share the film {film.stem}.overlay.mp4. Fix: rename one, or "
                "segment them into two folders."
            )
    for film in films:
        target = out / f"{film.stem}.overlay.mp4"
        record, done, total = {"image": str(film), "mask": str(target)}, 0, 0
        if target.exists() and not again:
            yield {**record, "status": "skipped"}, done, total
            continue
        masks = out / film.stem if frames else None
        try:
            for done, total in segment_video(model, film, target, masks=masks, palette=palette, again=again, **options):
                yield {**record, "status": "running"}, done, total
        except ValueError as error:
            yield {**record, "status": "bad", "error": str(error)}, done, total
        else:
            yield {**record, "status": "done"}, done, total


def segment_video(model, path, out, *, masks=None, palette=None, again=False, **options):
    """Writes a film of overlays: H.264, at the frame rate of the original, without its sound.

    The film is written beside and renamed when its last frame is in it. Masks that are there already are not computed
    again, so that with `masks` a run that was stopped goes on where it was.

    Args:
        model: Keras model from images to logits.
        path: Video file.
        out: Film to write, ``.mp4``.
        masks: Folder for the masks ``000000.png``, ``000001.png``, … of the frames; None keeps none.
        palette: Colours ``(C, 3)`` of the classes; by default VOC's.
        again: Whether to compute masks that are there again.
        **options: ``tile``, ``scales``, ``flip``: see `fcn_keras.segment`.

    Yields:
        ``(frames done, frames in all)`` after each frame; the second is 0 if the file does not tell.

    Raises:
        ImportError: If PyAV is not installed.
        ValueError: If the file cannot be read as a film.
        OSError: If the film cannot be written.

    Example:

    >>> for done, frames in segment_video(model, "drive.mp4", "drive.overlay.mp4"):  # doctest: +SKIP
    ...     print(done, frames)
    """
    path, out = user_path(path), user_path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f"partial-{out.name}")
    try:
        with _film(path) as (film, stream), _writer(beside, stream.average_rate) as write:
            for number, frame in enumerate(_frames(film, stream)):
                image = frame.to_ndarray(format="rgb24")
                file = None if masks is None else user_path(masks) / f"{number:06d}.png"
                mask = _mask_there(file, again)
                if mask is None:
                    mask = segment(model, image, progress=False, **options)
                    if file is not None:
                        write_mask(file, mask, palette)
                write(overlay(image, mask, palette=palette))
                yield number + 1, stream.frames
        os.replace(beside, out)
    finally:
        beside.unlink(missing_ok=True)


def _mask_there(file, again):
    """The mask of a frame from its file, if there is one to be kept."""
    if file is None or again or not file.exists():
        return None
    with Image.open(file) as mask:
        return np.asarray(mask)


@contextlib.contextmanager
def _film(path):
    """The opened file and its video stream."""
    with _reading(path):
        film = _library().open(str(path))
    with film:
        if not film.streams.video:
            raise ValueError(f"{path} holds no video: expected a film such as .mp4, .mov or .mkv.")
        yield film, film.streams.video[0]


def _frames(film, stream):
    with _reading(film.name):
        yield from film.decode(stream)


@contextlib.contextmanager
def _reading(path):
    """What FFmpeg says of a broken file becomes a ValueError."""
    try:
        yield
    except _library().error.FFmpegError as error:
        raise ValueError(f"{path} cannot be read as a film: {error}. Fix: play it; convert it to .mp4.") from error


@contextlib.contextmanager
def _writing(path):
    """What FFmpeg says of a full disk becomes an OSError."""
    try:
        yield
    except _library().error.FFmpegError as error:
        mend = "Fix: free some space, or see to the folder's permissions, and run the same again."
        raise OSError(f"Could not write {path}: {error}. {mend}") from error


@contextlib.contextmanager
def _writer(path, rate):
    """A function that appends a picture ``(H, W, 3)`` to a film; H.264 takes even sizes, so an edge may be doubled."""
    av = _library()
    with _writing(path), av.open(str(path), "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=rate or 25)
        stream.pix_fmt = "yuv420p"

        def write(picture):
            height, width = picture.shape[:2]
            picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            if not stream.codec_context.is_open:
                stream.height, stream.width = picture.shape[:2]
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))

        yield write
        film.mux(stream.encode())


def _library():
    try:
        import av
    except ImportError as error:
        raise ImportError('Films need PyAV. Fix: pip install "fcn-keras[video]", or pip install av.') from error
    return av
