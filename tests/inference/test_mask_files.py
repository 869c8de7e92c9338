"""Masks of many files: names, palettes, skipped files and errors."""

import keras
import numpy as np
import pytest
from PIL import Image

from fcn_keras import segment
from fcn_keras.datasets.classes import voc_palette
from fcn_keras.inference import files
from fcn_keras.inference.files import find_images, segment_files, write_mask


@pytest.fixture(scope="module")
def model():
    """The class of a pixel is the largest of its red, green and blue."""
    layers = [keras.Input((None, None, 3)), keras.layers.Conv2D(3, 1, use_bias=False)]
    model = keras.Sequential(layers)
    model.set_weights([np.eye(3, dtype="float32")[None, None]])
    return model


@pytest.fixture
def photos(tmp_path):
    """Five images, two of them with the same stem and one broken, and files that are not images."""
    rng = np.random.default_rng(0)
    for place in ("a.png", "day/a.PNG", "day/b.png", "night/c.webp"):
        path = tmp_path / "photos" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(rng.integers(0, 256, (12, 17, 3), "uint8"))
        picture.save(path, **({"lossless": True} if path.suffix == ".webp" else {}))
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "photos" / "notes.txt").write_text("no picture either")
    (tmp_path / "photos" / "._a.png").write_bytes(b"what a Mac leaves behind")
    return tmp_path / "photos"


def pixels(path, mode=None):
    with Image.open(path) as file:
        return np.asarray(file.convert(mode) if mode else file)


def test_a_tree_of_images_keeps_its_shape(photos):
    found = find_images([photos])
    assert [str(place) for _, place in found] == ["a", "broken", "day/a", "day/b", "night/c"]
    assert [image.relative_to(photos).as_posix() for image, _ in found][2] == "day/a.PNG"


def test_two_files_that_would_share_a_mask_are_refused(photos):
    with pytest.raises(ValueError, match=r"a\.png and .*a\.PNG would share the mask a\.png"):
        find_images([photos / "a.png", photos / "day" / "a.PNG"])


def test_no_mask_takes_the_place_of_an_image(photos):
    with pytest.raises(ValueError, match=r"would replace the image .*photos/a\.png.*Fix: choose another folder"):
        find_images([photos], photos)
    with pytest.raises(ValueError, match=r"would replace the image .*a\.png"):
        list(segment_files(None, [photos / "a.png"], photos / ".." / "photos", again=True))
    assert find_images([photos / "night"], photos)  # its image is no PNG


def test_the_truth_of_a_data_set_is_no_place_for_masks(model, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.jpg")
    truth = tmp_path / "masks" / "a.png"
    Image.new("L", (8, 8), 1).save(truth)
    before = truth.read_bytes()
    with pytest.raises(ValueError, match="labels of a data set"):
        list(segment_files(model, [tmp_path / "images"], tmp_path / "masks", again=True))
    assert truth.read_bytes() == before


def test_masks_of_before_are_no_images(model, photos):
    out = photos / "masks"
    first = list(segment_files(model, [photos], out, overlays=True))
    second = list(segment_files(model, [photos], out, overlays=True))
    assert [record["image"] for record in second] == [record["image"] for record in first]
    assert {record["status"] for record in second} == {"skipped", "bad"}


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="Found nothing at .*nowhere"):
        find_images([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="holds no image"):
        find_images([tmp_path])


@pytest.mark.parametrize("palette", [None, [(1, 2, 3), (4, 5, 6)]])
def test_a_mask_file_holds_ids_and_shows_colors(tmp_path, palette):
    mask = np.array([[0, 1, 255], [1, 1, 0]])
    write_mask(tmp_path / "deep" / "mask.png", mask, palette)
    with Image.open(tmp_path / "deep" / "mask.png") as file:
        assert file.mode == "P"
        np.testing.assert_array_equal(np.asarray(file), mask)
        colors = np.asarray(file.convert("RGB"))
    expected = voc_palette().copy()
    if palette:
        expected[:2] = palette
    np.testing.assert_array_equal(colors, expected[mask])
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["mask.png"]


@pytest.mark.parametrize(
    ("mask", "palette", "told"),
    [
        ([[0, -1]], None, "not class ids, such as -1"),
        ([[0, 256]], None, "ids up to 256 in the mask: expected 0–255"),
        ([[0, 0.5]], None, "not class ids, such as 0.5"),
        (np.zeros((4, 4, 3)), None, r"shape \(4, 4, 3\): expected ids \(H, W\)"),
        ([[0, 1]], [(0, 0), (1, 1)], r"palette of shape \(2, 2\)"),
    ],
)
def test_what_is_no_mask_or_palette_is_refused(tmp_path, mask, palette, told):
    with pytest.raises(ValueError, match=told):
        write_mask(tmp_path / "mask.png", np.array(mask), palette and np.array(palette))
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    write_mask(tmp_path / "mask.png", [[1]])
    before = (tmp_path / "mask.png").read_bytes()

    def fail(self, path, *args, **options):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        write_mask(tmp_path / "mask.png", [[0]])
    assert (tmp_path / "mask.png").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_files_are_segmented_skipped_and_told(model, photos, tmp_path):
    out = tmp_path / "masks"
    records = list(segment_files(model, [photos], out, overlays=True))
    assert [record["status"] for record in records] == ["done", "bad", "done", "done", "done"]
    assert "broken.jpg" in records[1]["error"]
    for image, place in find_images([photos]):
        if image.name == "broken.jpg":
            assert not (out / f"{place}.png").exists()
            continue
        expected = pixels(image, "RGB").argmax(-1)
        np.testing.assert_array_equal(pixels(out / f"{place}.png"), expected)
        np.testing.assert_array_equal(segment(model, image), expected)
        assert pixels(out / f"{place}.overlay.jpg").shape == (12, 17, 3)

    (out / "day" / "b.png").unlink()
    again = list(segment_files(model, [photos], out, overlays=True))
    assert [record["status"] for record in again] == ["skipped", "bad", "skipped", "done", "skipped"]


def test_again_does_everything_again(model, photos, tmp_path):
    list(segment_files(model, [photos / "a.png"], tmp_path / "masks"))
    write_mask(tmp_path / "masks" / "a.png", [[7]])
    assert [r["status"] for r in segment_files(model, [photos / "a.png"], tmp_path / "masks", again=True)] == ["done"]
    assert pixels(tmp_path / "masks" / "a.png").shape == (12, 17)


def test_every_suffix_named_can_be_read(model, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (6, 5, 3), "uint8")
    for suffix in files.SUFFIXES:
        path = tmp_path / f"picture{suffix[1:]}{suffix}"
        np.save(path, pixels) if suffix == ".npy" else Image.fromarray(pixels).save(path)
    records = list(segment_files(model, [tmp_path], tmp_path / "masks"))
    assert [record["status"] for record in records] == ["done"] * len(files.SUFFIXES)
