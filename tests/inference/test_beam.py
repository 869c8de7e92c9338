"""Many files with Beam: masks equal those of `segment`, bad files are reported, and a killed run loses nothing."""

import json
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import fcn_keras
from fcn_keras.inference import beam

pytest.importorskip("apache_beam")
GOOD = [f"{folder}/{number}.png" for folder in ("day", "night/rain") for number in range(8)]
BAD = ["broken.png", "cut.jpg", "empty.png", "text.png"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A tiny model and a folder of good and damaged images."""
    folder = tmp_path_factory.mktemp("beam")
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(5, 3, padding="same")(image))
    model.save(folder / "model.keras")
    generator = np.random.default_rng(0)
    for number, name in enumerate(GOOD):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (20 + number, 30, 3), "uint8")
        Image.fromarray(pixels).save(folder / "images" / name)
    Image.fromarray(pixels).save(folder / "whole.jpg", quality=95)
    whole = (folder / "images" / GOOD[0]).read_bytes()
    (folder / "images" / "broken.png").write_bytes(whole[:60] + b"\0" * 40 + whole[100:])
    (folder / "images" / "cut.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:700])
    (folder / "images" / "empty.png").write_bytes(b"")
    (folder / "images" / "text.png").write_text("no image")
    return folder, model


def run(scene, output, images="images", **options):
    return beam.segment_with_beam(scene[0] / "model.keras", scene[0] / images, output, **options)


def require_masks(scene, output):
    folder, model = scene
    found = sorted(str(path.relative_to(output)) for path in output.rglob("*.png"))
    assert found == sorted(GOOD)
    for name in GOOD:
        mask = Image.open(output / name)
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.asarray(mask), fcn_keras.segment(model, folder / "images" / name))


def bad(output):
    lines = [json.loads(line) for line in (output / "bad.jsonl").read_text().splitlines()]
    return {line["path"]: line["error"] for line in lines}


def test_masks_bad_files_and_counts(scene, tmp_path):
    assert run(scene, tmp_path) == {"done": 16, "skipped": 0, "bad": 4}
    require_masks(scene, tmp_path)
    assert sorted(bad(tmp_path)) == BAD
    assert all("cannot be read as an image" in error for error in bad(tmp_path).values())
    (tmp_path / GOOD[3]).unlink()
    assert run(scene, tmp_path) == {"done": 1, "skipped": 15, "bad": 4}
    require_masks(scene, tmp_path)
    assert sorted(bad(tmp_path)) == BAD


KILLED = """
import os, pathlib, signal, sys
from fcn_keras.inference import beam
write = beam.write_mask
def write_and_die(path, *mask_and_colors, **name):
    if len(list(pathlib.Path(sys.argv[3]).rglob("*.png"))) == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, *mask_and_colors, **name)
beam.write_mask = write_and_die
beam.segment_with_beam(*sys.argv[1:4])
"""


def test_a_killed_run_loses_nothing(scene, tmp_path):
    words = [str(scene[0] / "model.keras"), str(scene[0] / "images"), str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True, text=True, timeout=240)
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    assert len(list(tmp_path.rglob("*.png"))) == 7
    assert run(scene, tmp_path) == {"done": 9, "skipped": 7, "bad": 4}
    require_masks(scene, tmp_path)


def test_lists_and_patterns_stay_in_their_root(scene, tmp_path):
    outside = tmp_path / "outside.png"
    Image.new("RGB", (4, 4)).save(outside)
    listed = tmp_path / "list.txt"
    listed.write_text(f"day/0.png\n\n../whole.jpg\n{outside}\nday/../day/1.png\nday/9.png\n")
    counts = run(scene, tmp_path / "masks", images=listed, root=scene[0] / "images")
    assert counts == {"done": 1, "skipped": 0, "bad": 4}
    errors = bad(tmp_path / "masks")
    for name in ("../whole.jpg", str(outside), "day/../day/1.png"):
        assert "is outside" in errors[name]
    assert "No image file" in errors["day/9.png"]
    assert [path.name for path in (tmp_path / "masks").rglob("*.png")] == ["0.png"]
    assert run(scene, tmp_path / "rain", images="images/night/**/*.png")["done"] == 8
    assert (tmp_path / "rain" / "rain" / "0.png").exists()


def test_refusals(scene, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="Found no image in"):
        run(scene, tmp_path, images="nothing/*.png")
    (tmp_path / "list.txt").write_text("a.png\na.jpg\n")
    with pytest.raises(ValueError, match=r"a\.jpg and .*a\.png would share the mask a\.png"):
        run(scene, tmp_path, images=tmp_path / "list.txt")
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(ImportError, match=r"fcn-keras\[beam\]"):
        run(scene, tmp_path)
