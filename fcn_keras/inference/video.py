"""Segments videos frame by frame, and writes a video of overlays and, if you want, the mask of each frame.

PyAV (the extra ``video``) reads and writes the files with FFmpeg's libraries.
"""

import contextlib
from fractions import Fraction

import numpy as np
from PIL import Image

from .._files import replace_file, user_path
from ..datasets.images import put_on_white
from ..datasets.masks import read_mask
from ..visualization.overlays import overlay
from .files import to_file_values, write_mask
from .segment import segment


def segment_videos(model, videos, out, *, frames=False, palette=None, again=False, **options):
    """Segments videos one after the other. Videos whose overlay exists are skipped.

    Args:
        model: Keras model from images to logits.
        videos: Paths of video files.
        out: Folder for the videos of overlays, ``name.overlay.mp4``.
        frames: Whether to also write the mask of each frame, into a folder ``name``.
        palette: Colours ``(C, 3)`` of the classes; by default VOC's.
        again: Whether to segment a video again if its overlay exists, and a frame again if its mask exists.
        **options: ``tile``, ``scales``, ``flip``: see `fcn_keras.segment`.

    Yields:
        ``(record, frames done, frames in all)`` after each frame and each video. The record is a dict. Its ``image``
        and ``mask`` are paths. Its ``status`` is ``"running"``, ``"done"``, ``"skipped"``, or ``"bad"`` if the video
        cannot be read; then ``error`` says why.

    Raises:
        ValueError: If two videos would share a name.
        ImportError: If PyAV is not installed.
        OSError: If a file cannot be written.

    Example:

    >>> for record, done, frames in segment_videos(model, ["drive.mp4"], "videos"):  # doctest: +SKIP
    ...     print(record["image"], record["status"], done, frames)
    """
    videos, out = [user_path(video) for video in videos], user_path(out)
    first = {}
    for video in videos:
        if first.setdefault(video.stem, video) != video:
            raise ValueError(
                f"{first[video.stem]} and {video} would share the video {video.stem}.overlay.mp4. Fix: rename one, or "
                "segment them into two folders."
            )
    for video in videos:
        target = out / f"{video.stem}.overlay.mp4"
        record, done, total = {"image": str(video), "mask": str(target)}, 0, 0
        if target.exists() and not again:
            yield {**record, "status": "skipped"}, done, total
            continue
        masks = out / video.stem if frames else None
        try:
            steps = segment_video(model, video, target, masks=masks, palette=palette, again=again, **options)
            for done, total in steps:
                yield {**record, "status": "running"}, done, total
        except ValueError as error:
            yield {**record, "status": "bad", "error": str(error)}, done, total
        else:
            yield {**record, "status": "done"}, done, total


def segment_video(model, path, out, *, masks=None, palette=None, again=False, **options):
    """Writes a video of overlays in H.264, without sound. Every frame is upright and keeps its time.

    If the file has several streams, the function reads the video stream that players choose. Phones store the frames of
    upright videos rotated, and note the rotation in the file. The function turns the frames, so masks and overlays are
    upright. Transparent pixels become white. Videos in H.264 have even sides. If a side of a frame is odd, its overlay
    repeats the last row or column; its mask has the size of the frame.

    The video appears under its name when it is complete. Frames whose masks exist are not segmented again. So with
    `masks`, a run that was stopped continues.

    Args:
        model: Keras model from images to logits.
        path: Video file.
        out: Video to write, ``.mp4``. It starts at time 0. The time between two frames is that in `path`, also if the
            frame rate varies.
        masks: Folder for the masks of the frames, ``000000.png``, ``000001.png``, …. With None, no masks are written.
        palette: Colours ``(C, 3)`` of the classes; by default VOC's.
        again: Whether to segment a frame again if its mask exists.
        **options: ``tile``, ``scales``, ``flip``: see `fcn_keras.segment`.

    Yields:
        ``(frames done, frames in all)`` after each frame. The second number is 0 if the file does not contain it.

    Raises:
        ImportError: If PyAV is not installed.
        ValueError: If the file cannot be read as a video, or if its frames change their size.
        OSError: If a file cannot be written.

    Example:

    >>> for done, frames in segment_video(model, "drive.mp4", "drive.overlay.mp4"):  # doctest: +SKIP
    ...     print(done, frames)
    """
    class_ids = getattr(model, "class_ids", None)
    with _open(path) as (container, stream), replace_file(out) as temporary, _open_writer(temporary, stream) as write:
        for number, (image, time) in enumerate(_read_frames(container, stream)):
            file = None if masks is None else user_path(masks) / f"{number:06d}.png"
            mask = None if again else _read_finished(file, image.shape[:2], class_ids)
            if mask is None:
                mask = segment(model, image, progress=False, **options)
                if file is not None:
                    write_mask(file, mask, palette, class_ids, made_by=model.name)
            write(overlay(image, mask, palette=palette), time)
            yield number + 1, stream.frames


def _read_finished(file, size, class_ids):
    """Reads the mask of a frame from its file; None if there is no mask of this size."""
    if file is None or not file.exists():
        return None
    mask = to_file_values(read_mask(file), class_ids, inverse=True)
    return mask if mask.shape == size else None


@contextlib.contextmanager
def _open(path):
    """Yields the opened file and its video stream: the one that players show, if there are several."""
    path = user_path(path)
    with _report_errors(path):
        container = _import_av().open(str(path))
    with container:
        stream = container.streams.best("video")
        if stream is None:
            raise ValueError(f"{path} holds no video: expected a file such as .mp4, .mov or .mkv.")
        yield container, stream


def _read_frames(container, stream):
    """Yields images ``(H, W, 3)`` and their times in units of the time base of the stream. The first time is 0."""
    step = max(1, round(1 / ((stream.average_rate or 25) * stream.time_base)))
    first = size = None
    time = -step
    with _report_errors(container.name):
        for frame in container.decode(stream):
            image = turn_upright(_read_pixels(frame), _read_display_matrix(frame))
            if size not in (None, image.shape):
                before, now = (f"{height} x {width}" for height, width, _ in (size, image.shape))
                raise ValueError(
                    f"{container.name} changes from {before} to {now} pixels: expected frames of one size. "
                    "Fix: convert it to .mp4, with frames of one size."
                )
            size = image.shape
            if frame.pts is None:
                time += step
            else:
                first = frame.pts - max(time, 0) if first is None else first
                time = max(frame.pts - first, time + 1)  # the times in a damaged file may decrease
            yield image, time


def _read_pixels(frame):
    """Returns the frame in RGB, on white where it is transparent, as `fcn_keras.datasets.images.read_image` does."""
    if not any(component.is_alpha for component in frame.format.components):
        return frame.to_ndarray(format="rgb24")
    return np.asarray(put_on_white(Image.fromarray(frame.to_ndarray(format="rgba"))))


def _read_display_matrix(frame):
    """Returns how players turn the frame: an array ``(2, 2)``, or None if they do not turn it."""
    found = frame.side_data.get("DISPLAYMATRIX")
    return None if found is None else np.frombuffer(found, "int32").reshape(3, 3)[:2, :2]


def turn_upright(picture, matrix):
    """Turns and mirrors a picture according to the display matrix of a video.

    Args:
        picture: Array ``(H, W, …)``.
        matrix: Array ``(2, 2)``: the pixel at ``(x, y)`` is shown at ``(x, y) @ matrix``, up to a shift and a scale.
            The picture is turned by the nearest multiple of 90 degrees. With None, it stays as it is.

    Returns:
        Array ``(H, W, …)`` or ``(W, H, …)``.

    Example:

    >>> turn_upright(np.array([[1, 2, 3], [4, 5, 6]]), np.array([[0, 1], [-1, 0]]))
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
def _report_errors(path):
    """Turns an error of FFmpeg about a broken file into a ValueError."""
    try:
        yield
    except _import_av().error.FFmpegError as error:
        raise ValueError(f"{path} cannot be read as a video: {error}. Fix: play it; convert it to .mp4.") from error


@contextlib.contextmanager
def _open_writer(path, source):
    """Yields a function that appends a picture ``(H, W, 3)`` to a video, at a time in the time base of `source`."""
    av = _import_av()
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=source.average_rate or Fraction(25))
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = source.time_base
        stream.codec_context.colorspace = av.video.reformatter.Colorspace.ITU601  # without this, players guess

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
            container.mux(stream.encode(frame))

        yield write
        container.mux(stream.encode())


def _import_av():
    try:
        import av
    except ImportError as error:
        raise ImportError('Videos need PyAV. Fix: pip install "fcn-keras[video]", or pip install av.') from error
    return av
