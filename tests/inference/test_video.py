"""Films: every frame segmented, the film of overlays whole or absent, broken films named."""

import sys

import keras
import numpy as np
import pytest
from PIL import Image

from fcn_keras.inference.video import segment_films, segment_video

av = pytest.importorskip("av", reason="PyAV is not installed (the extra video)")


@pytest.fixture(scope="module")
def model():
    """The class of a pixel is the largest of its red, green and blue."""
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 1, use_bias=False)])
    model.set_weights([np.eye(3, dtype="float32")[None, None]])
    return model


def write_film(path, colours, size=(32, 48), codec="libx264", rate=10):
    """One frame of one colour each."""
    with av.open(str(path), "w") as film:
        stream = film.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for colour in colours:
            picture = np.broadcast_to(np.uint8(colour), (*size, 3)).copy()
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        film.mux(stream.encode())


def read_film(path):
    with av.open(str(path)) as film:
        rate = film.streams.video[0].average_rate
        return rate, [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def pixels(path):
    with Image.open(path) as file:
        return np.asarray(file)


RED_GREEN_BLUE = [(250, 20, 20), (20, 250, 20), (20, 20, 250)]


def test_every_frame_gets_its_mask_and_the_film_its_overlays(model, tmp_path):
    write_film(tmp_path / "in.mp4", RED_GREEN_BLUE * 2)
    palette = [(0, 0, 0), (255, 255, 0), (0, 255, 255)]
    told = list(segment_video(model, tmp_path / "in.mp4", tmp_path / "out.mp4", masks=tmp_path / "m", palette=palette))
    assert told == [(n, 6) for n in range(1, 7)]
    masks = [pixels(tmp_path / "m" / f"{n:06d}.png") for n in range(6)]
    assert [np.unique(mask).tolist() for mask in masks] == [[0], [1], [2]] * 2
    rate, frames = read_film(tmp_path / "out.mp4")
    assert rate == 10 and [frame.shape for frame in frames] == [(32, 48, 3)] * 6
    # 45 % of the image and 55 % of the class's colour; black leaves the image clear. H.264 rounds.
    np.testing.assert_allclose(frames[0].mean((0, 1)), (250, 20, 20), atol=6)
    np.testing.assert_allclose(
        frames[1].mean((0, 1)), 0.45 * np.array([20, 250, 20]) + 0.55 * np.array([255, 255, 0]), atol=6
    )
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", "out.mp4", "m"}


def test_odd_sizes_get_one_more_line(model, tmp_path):
    write_film(tmp_path / "in.mkv", RED_GREEN_BLUE, size=(31, 47), codec="ffv1")
    list(segment_video(model, tmp_path / "in.mkv", tmp_path / "out.mp4", masks=tmp_path / "m"))
    assert read_film(tmp_path / "out.mp4")[1][0].shape == (32, 48, 3)
    assert pixels(tmp_path / "m" / "000002.png").shape == (31, 47)


def test_masks_that_are_there_are_not_made_again(model, tmp_path):
    write_film(tmp_path / "in.mp4", RED_GREEN_BLUE)
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
    assert len(seen) == 2 and len(read_film(tmp_path / "out.mp4")[1]) == 3


def test_films_of_one_folder(model, tmp_path):
    write_film(tmp_path / "in.mp4", RED_GREEN_BLUE)
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    films, out = [tmp_path / "in.mp4", tmp_path / "broken.mp4"], tmp_path / "out"

    def run(**options):
        last = {record["image"]: record for record, *_ in segment_films(model, films, out, frames=True, **options)}
        return [last[str(film)]["status"] for film in films]

    assert run() == ["done", "bad"]
    assert run() == ["skipped", "bad"]
    Image.fromarray(np.full((32, 48), 9, "uint8")).save(out / "in" / "000000.png")
    assert run(again=True) == ["done", "bad"]
    assert pixels(out / "in" / "000000.png").max() == 0
    (tmp_path / "day").mkdir()
    with pytest.raises(ValueError, match=r"in\.mp4 and .*in\.mov would share the film in\.overlay\.mp4"):
        list(segment_films(model, [tmp_path / "in.mp4", tmp_path / "day" / "in.mov"], out))


def test_a_film_that_cannot_be_written_is_no_broken_film(model, tmp_path, monkeypatch):
    write_film(tmp_path / "in.mp4", RED_GREEN_BLUE)

    def full(*args, **options):
        raise av.error.OSError(28, "No space left on device")

    monkeypatch.setattr("fcn_keras.inference.video.overlay", full)  # as the encoder would, inside of the writer
    with pytest.raises(OSError, match=r"Could not write .*No space left on device.*Mend"):
        list(segment_films(model, [tmp_path / "in.mp4"], tmp_path / "out"))
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("content", [b"", b"no film at all", "truncated"])
def test_what_is_no_film_is_named(model, tmp_path, content):
    path = tmp_path / "broken.mp4"
    if content == "truncated":
        write_film(path, RED_GREEN_BLUE)
        path.write_bytes(path.read_bytes()[:200])
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.mp4 cannot be read as a film"):
        list(segment_video(model, path, tmp_path / "out.mp4"))
    assert [path.name for path in tmp_path.iterdir()] == ["broken.mp4"]


def test_sound_alone_is_no_film(model, tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as film:
        stream = film.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), "float32"), format="fltp", layout="mono")
        sound.rate = 44100
        film.mux(stream.encode(sound))
        film.mux(stream.encode())
    with pytest.raises(ValueError, match="holds no video"):
        list(segment_video(model, tmp_path / "sound.mp4", tmp_path / "out.mp4"))


def test_without_the_library_the_extra_is_named(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"fcn-keras\[video\]"):
        list(segment_video(model, "in.mp4", tmp_path / "out.mp4"))
