"""Videos: every frame is segmented, the video of overlays is complete or absent, and errors name broken videos."""

import fractions
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from fcn_keras.inference.video import segment_video, segment_videos
from fcn_keras.models import with_classes

av = pytest.importorskip("av", reason="PyAV is not installed (the extra video)")


@pytest.fixture(scope="module")
def model():
    """The class of a pixel is the largest of its red, green and blue."""
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 1, use_bias=False)])
    model.set_weights([np.eye(3, dtype="float32")[None, None]])
    return model


def write_video(path, colors, size=(32, 48), codec="libx264", rate=10, **options):
    """Writes a video with one frame for each colour."""
    write_pictures(path, [np.broadcast_to(np.uint8(color), (*size, 3)) for color in colors], codec, rate, **options)


def write_pictures(path, pictures, codec="libx264", rate=10, pix_fmt="yuv420p", matrix=None, ratio=None, times=None):
    """A video of arrays; `times` in milliseconds, `matrix` the 3 x 3 integers of FFmpeg's display matrix."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], pix_fmt
        if matrix is not None:
            stream.set_display_matrix(matrix)
        if ratio is not None:
            stream.codec_context.sample_aspect_ratio = ratio
        if times is not None:
            stream.codec_context.time_base = fractions.Fraction(1, 1000)
        for number, picture in enumerate(pictures):
            form = "rgba" if picture.shape[-1] == 4 else "rgb24"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=form)
            if times is not None:
                frame.pts, frame.time_base = times[number], fractions.Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def read_video(path):
    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate
        return rate, [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def pixels(path):
    with Image.open(path) as file:
        return np.asarray(file)


RED_GREEN_BLUE = [(250, 20, 20), (20, 250, 20), (20, 20, 250)]


def test_every_frame_gets_its_mask_and_the_video_its_overlays(model, tmp_path):
    write_video(tmp_path / "in.mp4", RED_GREEN_BLUE * 2)
    palette = [(0, 0, 0), (255, 255, 0), (0, 255, 255)]
    told = list(segment_video(model, tmp_path / "in.mp4", tmp_path / "out.mp4", masks=tmp_path / "m", palette=palette))
    assert told == [(n, 6) for n in range(1, 7)]
    masks = [pixels(tmp_path / "m" / f"{n:06d}.png") for n in range(6)]
    assert [np.unique(mask).tolist() for mask in masks] == [[0], [1], [2]] * 2
    rate, frames = read_video(tmp_path / "out.mp4")
    assert rate == 10 and [frame.shape for frame in frames] == [(32, 48, 3)] * 6
    # 45 % of the image and 55 % of the class's colour; black leaves the image clear. H.264 rounds.
    np.testing.assert_allclose(frames[0].mean((0, 1)), (250, 20, 20), atol=6)
    np.testing.assert_allclose(
        frames[1].mean((0, 1)), 0.45 * np.array([20, 250, 20]) + 0.55 * np.array([255, 255, 0]), atol=6
    )
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", "out.mp4", "m"}


def test_odd_sizes_get_one_more_line(model, tmp_path):
    write_video(tmp_path / "in.mkv", RED_GREEN_BLUE, size=(31, 47), codec="ffv1")
    list(segment_video(model, tmp_path / "in.mkv", tmp_path / "out.mp4", masks=tmp_path / "m"))
    assert read_video(tmp_path / "out.mp4")[1][0].shape == (32, 48, 3)
    assert pixels(tmp_path / "m" / "000002.png").shape == (31, 47)


ONE = 1 << 16
TURNS = {  # display matrices, and what a player does with the stored frame, in NumPy's words
    "upside down": ([-ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30], lambda stored: np.rot90(stored, 2)),
    "a quarter to the right": ([0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30], lambda stored: np.rot90(stored, -1)),
    "a quarter to the left": ([0, -ONE, 0, ONE, 0, 0, 0, 0, 1 << 30], lambda stored: np.rot90(stored, 1)),
    "mirrored": ([-ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30], lambda stored: stored[:, ::-1]),
    "transposed": ([0, ONE, 0, ONE, 0, 0, 0, 0, 1 << 30], lambda stored: stored.swapaxes(0, 1)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_videos_of_phones_are_turned_upright(turn, model, tmp_path):
    """A green object near one corner of a red field, so that no quarter of the frame is like another."""
    matrix, shown = TURNS[turn]
    stored = np.broadcast_to(np.uint8((250, 20, 20)), (48, 96, 3)).copy()
    stored[4:20, 6:40] = (20, 250, 20)
    write_pictures(tmp_path / "in.mp4", [stored] * 2, matrix=matrix)
    list(segment_video(model, tmp_path / "in.mp4", tmp_path / "out.mp4", masks=tmp_path / "m"))
    mask, expected = pixels(tmp_path / "m" / "000001.png"), shown(stored[..., 1] > 128)
    assert mask.shape == expected.shape and ((mask == 1) != expected).mean() < 0.01  # H.264 blurs edges
    with av.open(str(tmp_path / "out.mp4")) as container:
        frames = list(container.decode(video=0))
    assert [frame.rotation for frame in frames] == [0, 0]
    assert frames[0].colorspace == 5  # BT.601, written into the file: players would guess
    found = frames[1].to_ndarray(format="rgb24")  # red is class 0 and clear, green is class 1 under VOC's dark red
    assert found.shape == (*expected.shape, 3)
    assert abs(found[expected][:, 0] - 0.45 * 20 - 0.55 * 128).mean() < 30 and found[~expected][:, 0].mean() > 230


def test_masks_of_another_size_are_made_again(model, tmp_path):
    """For example, masks of a video that was not turned upright."""
    write_video(tmp_path / "in.mp4", RED_GREEN_BLUE)
    (tmp_path / "m").mkdir()
    Image.new("L", (32, 48), 7).save(tmp_path / "m" / "000000.png")
    list(segment_video(model, tmp_path / "in.mp4", tmp_path / "out.mp4", masks=tmp_path / "m"))
    assert pixels(tmp_path / "m" / "000000.png").shape == (32, 48)


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv"])
def test_every_frame_keeps_its_time(name, model, tmp_path):
    times = [200, 233, 300, 1300, 1310, 1500]
    write_video(tmp_path / name, RED_GREEN_BLUE * 2, times=times)
    list(segment_video(model, tmp_path / name, tmp_path / "out.mp4"))
    with av.open(str(tmp_path / "out.mp4")) as container:
        found = [frame.time for frame in container.decode(video=0)]
    np.testing.assert_allclose(found, (np.array(times) - 200) / 1000, atol=5e-4)


def test_pixels_that_are_not_square_stay_so(model, tmp_path):
    quarter, _ = TURNS["a quarter to the left"]
    for matrix, ratio in ((None, fractions.Fraction(16, 11)), (quarter, fractions.Fraction(11, 16))):
        write_video(tmp_path / "in.mp4", RED_GREEN_BLUE, ratio=fractions.Fraction(16, 11), matrix=matrix)
        list(segment_video(model, tmp_path / "in.mp4", tmp_path / "out.mp4"))
        with av.open(str(tmp_path / "out.mp4")) as container:
            assert container.streams.video[0].sample_aspect_ratio == ratio


def test_what_is_transparent_shows_white(model, tmp_path):
    clear = np.full((32, 48, 4), (10, 20, 250, 0), "uint8")
    clear[:, :24, 3] = 255
    write_pictures(tmp_path / "in.mov", [clear], codec="png", pix_fmt="rgba")
    list(segment_video(model, tmp_path / "in.mov", tmp_path / "out.mp4", palette=[(0, 0, 0)] * 3))
    (frame,) = read_video(tmp_path / "out.mp4")[1]
    np.testing.assert_allclose(frame[:, :20].mean((0, 1)), (10, 20, 250), atol=8)
    np.testing.assert_allclose(frame[:, 28:].mean((0, 1)), (255, 255, 255), atol=8)


def test_sound_and_a_still_picture_are_left_out(model, tmp_path):
    """Players show the second video stream. The first stream contains one small picture."""
    with av.open(str(tmp_path / "in.mkv"), "w") as container:
        still, stream, sound = (
            container.add_stream("mjpeg"),
            container.add_stream("libx264", rate=10),
            container.add_stream("aac"),
        )
        still.height, still.width, still.pix_fmt = 16, 16, "yuvj420p"
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        container.mux(still.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), "uint8"), format="rgb24")))
        for color in RED_GREEN_BLUE:
            picture = np.broadcast_to(np.uint8(color), (32, 48, 3)).copy()
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), "float32"), format="fltp", layout="mono")
        silence.rate = sound.rate
        container.mux(sound.encode(silence))
        for each in (still, stream, sound):
            container.mux(each.encode())
    list(segment_video(model, tmp_path / "in.mkv", tmp_path / "out.mp4"))
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    assert [frame.shape for frame in read_video(tmp_path / "out.mp4")[1]] == [(32, 48, 3)] * 3


def test_frames_that_change_their_size_are_told(model, tmp_path):
    """Two streams of H.264 in one file, as in the record of a call over a bad network."""
    write_video(tmp_path / "a.h264", RED_GREEN_BLUE)
    write_video(tmp_path / "b.h264", RED_GREEN_BLUE, size=(48, 64))
    (tmp_path / "in.h264").write_bytes((tmp_path / "a.h264").read_bytes() + (tmp_path / "b.h264").read_bytes())
    with pytest.raises(
        ValueError, match=r"in\.h264 changes from 32 x 48 to 48 x 64 pixels: expected frames of one size"
    ):
        list(segment_video(model, tmp_path / "in.h264", tmp_path / "out.mp4"))
    assert not (tmp_path / "out.mp4").exists()


def test_a_file_that_gives_no_times_plays_at_its_rate(model, tmp_path):
    write_video(tmp_path / "in.h264", RED_GREEN_BLUE, rate=25)
    list(segment_video(model, tmp_path / "in.h264", tmp_path / "out.mp4"))
    with av.open(str(tmp_path / "out.mp4")) as container:
        np.testing.assert_allclose([frame.time for frame in container.decode(video=0)], [0, 0.04, 0.08], atol=5e-4)


def test_masks_that_are_there_are_not_made_again(model, tmp_path):
    write_video(tmp_path / "in.mp4", RED_GREEN_BLUE)
    stopped = segment_video(model, tmp_path / "in.mp4", tmp_path / "out.mp4", masks=tmp_path / "m")
    assert next(stopped)[0] == 1
    stopped.close()
    assert not (tmp_path / "out.mp4").exists() and len(list((tmp_path / "m").iterdir())) == 1
    seen = []
    watched = keras.Sequential([model])

    def counting(*args, **kwargs):
        seen.append(1)
        return np.zeros((32, 48), "uint8")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fcn_keras.inference.video.segment", counting)
        list(segment_video(watched, tmp_path / "in.mp4", tmp_path / "out.mp4", masks=tmp_path / "m"))
    assert len(seen) == 2 and len(read_video(tmp_path / "out.mp4")[1]) == 3


def test_frames_hold_the_values_of_the_users_masks_and_are_read_again(model, tmp_path):
    own = with_classes(model, ["red", "green", "blue"], [(0, 0, 0), (255, 255, 0), (0, 255, 255)], [10, 255, 0])
    write_video(tmp_path / "in.mp4", RED_GREEN_BLUE)
    videos = []
    for name in ("first", "again"):
        list(
            segment_video(own, tmp_path / "in.mp4", tmp_path / f"{name}.mp4", masks=tmp_path / "m", palette=own.palette)
        )
        masks = [pixels(tmp_path / "m" / f"{n:06d}.png") for n in range(3)]
        assert [np.unique(mask).tolist() for mask in masks] == [[10], [255], [0]]
        videos.append(read_video(tmp_path / f"{name}.mp4")[1])
    np.testing.assert_array_equal(*videos)


def test_videos_of_one_folder(model, tmp_path):
    write_video(tmp_path / "in.mp4", RED_GREEN_BLUE)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    videos, out = [tmp_path / "in.mp4", tmp_path / "broken.mp4"], tmp_path / "out"

    def run(**options):
        last = {record["image"]: record for record, *_ in segment_videos(model, videos, out, frames=True, **options)}
        return [last[str(video)]["status"] for video in videos]

    assert run() == ["done", "bad"]
    assert run() == ["skipped", "bad"]
    Image.fromarray(np.full((32, 48), 9, "uint8")).save(out / "in" / "000000.png")
    assert run(again=True) == ["done", "bad"]
    assert pixels(out / "in" / "000000.png").max() == 0
    (tmp_path / "day").mkdir()
    with pytest.raises(ValueError, match=r"in\.mp4 and .*in\.mov would share the video in\.overlay\.mp4"):
        list(segment_videos(model, [tmp_path / "in.mp4", tmp_path / "day" / "in.mov"], out))


def test_a_video_that_cannot_be_written_is_no_broken_video(model, tmp_path, monkeypatch):
    write_video(tmp_path / "in.mp4", RED_GREEN_BLUE)

    def full(*args, **options):
        raise av.error.OSError(28, "No space left on device")

    monkeypatch.setattr("fcn_keras.inference.video.overlay", full)  # as the encoder would, inside of the writer
    with pytest.raises(OSError, match=r"Could not write .*No space left on device.*Fix"):
        list(segment_videos(model, [tmp_path / "in.mp4"], tmp_path / "out"))
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("content", [b"", b"no video at all", "truncated"])
def test_what_is_no_video_is_named(model, tmp_path, content):
    path = tmp_path / "broken.mp4"
    if content == "truncated":
        write_video(path, RED_GREEN_BLUE)
        path.write_bytes(path.read_bytes()[:200])
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.mp4 cannot be read as a video"):
        list(segment_video(model, path, tmp_path / "out.mp4"))
    assert [path.name for path in tmp_path.iterdir()] == ["broken.mp4"]


def test_sound_alone_is_no_video(model, tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), "float32"), format="fltp", layout="mono")
        sound.rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(ValueError, match="holds no video"):
        list(segment_video(model, tmp_path / "sound.mp4", tmp_path / "out.mp4"))


def test_without_the_library_the_extra_is_named(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"fcn-keras\[video\]"):
        list(segment_video(model, "in.mp4", tmp_path / "out.mp4"))
