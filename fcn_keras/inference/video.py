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
    """Writes a film of overlays: H.264, every frame upright and at its own time, without sound.

    Of a file with several streams, only the video stream that a player would choose is read; sound, subtitles and
    data are left out. A film that a phone took while it was held upright is stored lying on its side, with a note for
    the player; masks and overlays are upright. What is transparent shows white. An odd height or width gains a line
    in the film of overlays, since H.264 takes even sizes only; masks have the size of the frame.

    The film is written under another name, and renamed after its last frame. Masks that exist are not computed
    again: with `masks`, a run that was stopped continues where it was.

    Args:
        model: Keras model from images to logits.
        path: Video file.
        out: Film to write, ``.mp4``. It starts at time 0, and its frames are as far apart as those of `path`, also
            where these come at a variable rate.
        masks: Folder for the masks ``000000.png``, ``000001.png``, … of the frames; None keeps none.
        palette: Colours ``(C, 3)`` of the classes; by default VOC's.
        again: Whether to compute masks again that exist.
        **options: ``tile``, ``scales``, ``flip``: see `fcn_keras.segment`.

    Yields:
        ``(frames done, frames in all)`` after each frame; the second is 0 if the file does not tell.

    Raises:
        ImportError: If PyAV is not installed.
        ValueError: If the file cannot be read as a film, or its frames change their size.
        OSError: If the film cannot be written.

    Example:

    >>> for done, frames in segment_video(model, "drive.mp4", "drive.overlay.mp4"):  # doctest: +SKIP
    ...     print(done, frames)
    """
    path, out = user_path(path), user_path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f"partial-{out.name}")
    try:
        with _film(path) as (film, stream), _writer(beside, stream) as write:
            for number, (image, time) in enumerate(_frames(film, stream)):
                file = None if masks is None else user_path(masks) / f"{number:06d}.png"
                mask = None if again else _finished_mask(file, image.shape[:2])
                if mask is None:
                    mask = segment(model, image, progress=False, **options)
                    if file is not None:
                        write_mask(file, mask, palette)
                write(overlay(image, mask, palette=palette), time)
                yield number + 1, stream.frames
        os.replace(beside, out)
    finally:
        beside.unlink(missing_ok=True)


def _finished_mask(file, size):
    """The mask of a frame from its file, if there is one of this size."""
    if file is None or not file.exists():
        return None
    with Image.open(file) as mask:
        return np.asarray(mask) if (mask.height, mask.width) == size else None


@contextlib.contextmanager
def _film(path):
    """The opened file and its video stream; of several, the one that players show."""
    with _reading(path):
        film = _library().open(str(path))
    with film:
        stream = film.streams.best("video")
        if stream is None:
            raise ValueError(f"{path} holds no video: expected a film such as .mp4, .mov or .mkv.")
        yield film, stream


def _frames(film, stream):
    """Pairs of an image ``(H, W, 3)`` and its time, which rises from 0, in units of the stream's time base."""
    step = max(1, round(1 / ((stream.average_rate or 25) * stream.time_base)))
    first = size = None
    time = -step
    with _reading(film.name):
        for frame in film.decode(stream):
            image = upright(_pixels(frame), _display_matrix(frame))
            if size not in (None, image.shape):
                raise ValueError(
                    f"{film.name} changes from {_by(size)} to {_by(image.shape)} pixels: expected frames of one size. "
                    "Fix: convert it to .mp4, which scales them to one."
                )
            size = image.shape
            if frame.pts is None:
                time += step
            else:
                first = frame.pts - max(time, 0) if first is None else first
                time = max(frame.pts - first, time + 1)  # a damaged file may count back
            yield image, time


def _pixels(frame):
    """The frame in RGB, on white where it is transparent, as `fcn_keras.datasets.images.read_image` does it."""
    if not any(component.is_alpha for component in frame.format.components):
        return frame.to_ndarray(format="rgb24")
    picture = Image.fromarray(frame.to_ndarray(format="rgba"))
    return np.asarray(Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB"))


def _display_matrix(frame):
    """How the frame is to be turned: ``(2, 2)``, or None for not at all."""
    found = frame.side_data.get("DISPLAYMATRIX")
    return None if found is None else np.frombuffer(found, "int32").reshape(3, 3)[:2, :2]


def upright(picture, matrix):
    """Turns and mirrors a picture as the display matrix of a film asks for.

    Args:
        picture: Array ``(H, W, …)``.
        matrix: Array ``(2, 2)``: the pixel at ``(x, y)`` is shown at ``(x, y) @ matrix``, up to a shift and a factor.
            Films are shown with turns by multiples of 90 degrees; another matrix is taken for the nearest of these.
            None leaves the picture as it is.

    Returns:
        Array ``(H, W, …)`` or ``(W, H, …)``.

    Example:

    >>> upright(np.array([[1, 2, 3], [4, 5, 6]]), np.array([[0, 1], [-1, 0]]))
    array([[4, 1],
           [5, 2],
           [6, 3]])
    """
    if matrix is None:
        return picture
    (xx, xy), (yx, yy) = matrix.tolist()
    if abs(xy) + abs(yx) > abs(xx) + abs(yy):  # x becomes y
        picture, xx, yy = picture.swapaxes(0, 1), yx, xy
    return picture[:: -1 if yy < 0 else 1, :: -1 if xx < 0 else 1]


@contextlib.contextmanager
def _reading(path):
    """FFmpeg's error about a broken file becomes a ValueError."""
    try:
        yield
    except _library().error.FFmpegError as error:
        raise ValueError(f"{path} cannot be read as a film: {error}. Fix: play it; convert it to .mp4.") from error


@contextlib.contextmanager
def _writing(path):
    """FFmpeg's error about a full disk becomes an OSError."""
    try:
        yield
    except _library().error.FFmpegError as error:
        fix = "Fix: free some space or check the folder's permissions, and run the same command again."
        raise OSError(f"Could not write {path}: {error}. {fix}") from error


@contextlib.contextmanager
def _writer(path, source):
    """A function that appends a picture ``(H, W, 3)`` at a time, in the time base of the stream `source`, to a film."""
    av = _library()
    with _writing(path), av.open(str(path), "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=source.average_rate or 25)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = source.time_base

        def write(picture, time):
            height, width = picture.shape[:2]
            picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            if not stream.codec_context.is_open:
                stream.height, stream.width = picture.shape[:2]
                if source.sample_aspect_ratio:  # pixels that are not square
                    ratio = source.sample_aspect_ratio
                    stream.codec_context.sample_aspect_ratio = ratio if height == source.height else 1 / ratio
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, source.time_base
            film.mux(stream.encode(frame))

        yield write
        film.mux(stream.encode())


def _library():
    try:
        import av
    except ImportError as error:
        raise ImportError('Films need PyAV. Fix: pip install "fcn-keras[video]", or pip install av.') from error
    return av


def _by(shape):
    return f"{shape[0]} x {shape[1]}"
