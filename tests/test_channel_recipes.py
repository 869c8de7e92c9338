"""The recipes of docs/channels.md, as they stand there."""

import pathlib
import re

import numpy as np
import pytest
from PIL import Image

import fcn_keras
from fcn_keras.datasets.check import check

# rasterio multiplies the matrices of the package affine in an older way.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
PAGE = pathlib.Path(__file__).parents[1] / "docs" / "channels.md"
RECIPES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def follow(tmp_path, monkeypatch):
    """Runs the recipe that holds some words, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(words):
        (recipe,) = [recipe for recipe in RECIPES if words in recipe]
        names = {}
        exec(compile(recipe, str(PAGE), "exec"), names)
        return names

    return run


def write_raster(path, bands, nodata):
    rasterio = pytest.importorskip("rasterio")
    count, height, width = bands.shape
    profile = {"count": count, "height": height, "width": width, "dtype": bands.dtype, "nodata": nodata}
    place = rasterio.transform.from_origin(500_000, 4_600_000, 10, 10)
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32633", transform=place, **profile) as target:
        target.write(bands)


def test_a_net_for_colour_and_depth(follow):
    assert follow("NYUDv2")["model"].input_shape == (None, None, None, 4)


@pytest.mark.parametrize("nodata", [-9999.0, np.nan])
def test_a_mask_of_a_geotiff_lies_where_its_bands_lie(follow, tmp_path, nodata):
    rasterio = pytest.importorskip("rasterio")
    bands = np.random.default_rng(0).uniform(0, 3000, (5, 70, 90)).astype("float32")
    bands[:, 10:20, 30:50] = nodata
    write_raster(tmp_path / "scene.tif", bands, nodata)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    model = fcn_keras.FCN32s(3, "mini_vgg", weights=None, channels=[(0, 3000)] * 5)
    model.get_layer("score_fr").set_weights([w + 1 for w in model.get_layer("score_fr").get_weights()])
    model.save(tmp_path / "runs" / "mine" / "best.keras")
    follow('scene.tif") as source')
    with rasterio.open(tmp_path / "scene.tif") as scene, rasterio.open(tmp_path / "mask.tif") as mask:
        assert (mask.crs, mask.transform, mask.shape) == (scene.crs, scene.transform, scene.shape)
        ids = mask.read(1)
    assert mask.count == 1 and mask.nodata == 255
    assert (ids[10:20, 30:50] == 255).all() and (ids == 255).sum() == 200


def test_a_geotiff_becomes_a_folder_to_train_on(follow, tmp_path):
    pytest.importorskip("rasterio")
    draw = np.random.default_rng(0)
    bands = draw.integers(100, 4000, (4, 1100, 1600), "uint16")
    bands[:, :300, :100] = 0
    write_raster(tmp_path / "scene.tif", bands, 0)
    labels = draw.integers(0, 3, (1, 11, 16), "uint8").repeat(100, 1).repeat(100, 2)
    write_raster(tmp_path / "labels.tif", labels, 255)
    follow("labels.tif")
    names = sorted(path.stem for path in (tmp_path / "my_data" / "images").iterdir())
    assert names == ["0_0", "0_1024", "0_512", "512_0", "512_1024", "512_512"]
    tile = np.load(tmp_path / "my_data" / "images" / "512_1024.npy")
    np.testing.assert_array_equal(tile, np.moveaxis(bands[:, 512:1024, 1024:1536], 0, -1))
    mask = np.asarray(Image.open(tmp_path / "my_data" / "masks" / "0_0.png"))
    assert (mask[:300, :100] == 255).all() and (mask == 255).sum() == 30_000
    (tmp_path / "my_data" / "train.txt").write_text("\n".join(names[:3]))
    (tmp_path / "my_data" / "validation.txt").write_text("\n".join(names[3:]))
    report = check(tmp_path / "my_data", progress=False)
    assert report.ok, report
    assert "uint16 with 4 channels" in str(report)


def test_photographs_of_phones_become_jpeg_files(follow, tmp_path):
    heif = pytest.importorskip("pillow_heif")
    (tmp_path / "photos").mkdir()
    pixels = np.full((64, 96, 3), (200, 30, 40), "uint8")
    pixels[:32] = (20, 160, 60)
    exif = Image.Exif()
    exif[274] = 6  # the camera was turned
    heif.from_pillow(Image.fromarray(pixels)).save(tmp_path / "photos" / "a.heic", quality=95, exif=exif.tobytes())
    follow("pillow_heif")
    found = np.asarray(Image.open(tmp_path / "photos" / "a.jpg"), int)
    wanted = np.asarray(Image.fromarray(pixels).transpose(Image.Transpose.ROTATE_270), int)
    assert found.shape == (96, 64, 3) and np.abs(found - wanted).mean() < 6
