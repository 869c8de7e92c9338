"""Segmenting a film, frame by frame: a film of overlays, and the masks if wanted.

PyAV (the extra ``video``) reads and writes the files, through FFmpeg's libraries.
"""

import contextlib
import os
import pathlib

import numpy as np
from PIL import Image

from .inference import segment
from .mask_files import write_mask
from .visualization.colors import overlay

SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg")


def segment_video(model, path, out, *, masks=None, palette=None, **options):
    """Writes a film of overlays: H.264, at the frame rate of the original, without its sound.

    The film is written beside and renamed when its last frame is in it. Masks that are there already are not computed
    again, so that with `masks` a run that was stopped goes on where it was.

    Args:
        model: Keras model from images to logits.
        path: Video file.
        out: Film to write, ``.mp4``.
        masks: Folder for the masks ``000000.png``, ``000001.png``, … of the frames; None keeps none.
        palette: Colours ``(C, 3)`` of the classes; by default VOC's.
        **options: ``tile``, ``scales``, ``flip``: see `fcn_keras.segment`.

    Yields:
        ``(frames done, frames in all)`` after each frame; the second is 0 if the file does not tell.

    Raises:
        ImportError: If PyAV is not installed.
        ValueError: If the file cannot be read as a film.

    Example:

    >>> for done, frames in segment_video(model, "drive.mp4", "drive.overlay.mp4"):  # doctest: +SKIP
    ...     print(done, frames)
    """
    out = pathlib.Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f"partial-{out.name}")
    try:
        with _film(path) as (film, stream), _writer(beside, stream.average_rate) as write:
            for number, frame in enumerate(film.decode(stream)):
                image = frame.to_ndarray(format="rgb24")
                file = None if masks is None else pathlib.Path(masks) / f"{number:06d}.png"
                write(overlay(image, _mask(model, image, file, palette, options), palette=palette))
                yield number + 1, stream.frames
        os.replace(beside, out)
    finally:
        beside.unlink(missing_ok=True)


def _mask(model, image, file, palette, options):
    """The mask of a frame: from its file where there is one."""
    if file is not None and file.exists():
        with Image.open(file) as mask:
            return np.asarray(mask)
    mask = segment(model, image, progress=False, **options)
    if file is not None:
        write_mask(file, mask, palette)
    return mask


@contextlib.contextmanager
def _film(path):
    """The opened file and its video stream; what FFmpeg says of a broken file becomes a ValueError."""
    av = _library()
    try:
        with av.open(str(path)) as film:
            if not film.streams.video:
                raise ValueError(f"{path} holds no video: expected a film such as .mp4, .mov or .mkv.")
            yield film, film.streams.video[0]
    except av.error.FFmpegError as error:
        raise ValueError(f"{path} cannot be read as a film: {error}. Mend: play it; convert it to .mp4.") from error


@contextlib.contextmanager
def _writer(path, rate):
    """A function that appends a picture ``(H, W, 3)`` to a film; H.264 takes even sizes, so an edge may be doubled."""
    av = _library()
    with av.open(str(path), "w", format="mp4") as film:
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
        raise ImportError('Films need PyAV. Mend: pip install "fcn-keras[video]", or pip install av.') from error
    return av
