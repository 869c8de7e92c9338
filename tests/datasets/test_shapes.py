import numpy as np
import pytest
import tensorflow_datasets as tfds

from fcn_keras.datasets import load
from fcn_keras.datasets.builders import make_class_metadata, make_features
from fcn_keras.datasets.shapes import Shapes, make_rng
from fcn_keras.datasets.shapes.scene import CLASS_NAMES, PALETTE, draw_object, draw_scene

FULL = Shapes.SIZES
SMALL = {"scenes": {"train": 6, "validation": 2, "test": 2}, "objects": {"train": 9, "validation": 2}}
SMALL |= {f"fine_x{scale}": {"train": 3, "validation": 1} for scale in (1, 2)}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(Shapes, "SIZES", SMALL)
    tfds.disable_progress_bar()


def build(data_dir, config="scenes"):
    builder = Shapes(config=config, data_dir=data_dir)
    builder.download_and_prepare()
    return builder


def read(builder, split):
    examples = tfds.as_numpy(builder.as_dataset(split=split))
    return {example.pop("file_name").decode(): example for example in examples}


def test_full_sizes():
    assert {
        "scenes": {"train": 1000, "validation": 200, "test": 200},
        "objects": {"train": 4500, "validation": 900},
        **{f"fine_x{scale}": {"train": 400, "validation": 100} for scale in (1, 2, 4)},
    } == FULL


def test_scenes_read_back_as_drawn(tmp_path):
    builder = build(tmp_path)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == SMALL["scenes"]
    for split in SMALL["scenes"]:
        for file_name, example in read(builder, split).items():
            index = int(file_name.removesuffix(".png").rsplit("_")[-1])
            drawn = draw_scene(make_rng("1.0.0", "scenes", split, index))
            np.testing.assert_array_equal(example["image"], drawn.image)
            np.testing.assert_array_equal(example["segmentation_mask"][..., 0], drawn.segmentation_mask)
            np.testing.assert_array_equal(example["instance_mask"][..., 0], drawn.instance_mask)


def test_objects_read_back_as_drawn(tmp_path):
    builder = build(tmp_path, "objects")
    assert builder.info.features["label"].names == list(CLASS_NAMES[1:])
    examples = read(builder, "train")
    assert sorted(example["label"] for example in examples.values()) == list(range(9))
    for file_name, example in examples.items():
        index = int(file_name.removesuffix(".png").rsplit("_")[-1])
        rng = make_rng("1.0.0", "objects", "train", index)
        np.testing.assert_array_equal(example["image"], draw_object(rng, example["label"]))


def test_fine_masks_are_the_same_scenes_rendered_finer(tmp_path):
    scenes = read(build(tmp_path), "train")
    for scale in (1, 2):
        builder = build(tmp_path, f"fine_x{scale}")
        assert builder.info.metadata["mask_scale"] == scale
        for file_name, example in read(builder, "train").items():
            mask, coarse = example["segmentation_mask"][..., 0], scenes[file_name]["segmentation_mask"][..., 0]
            np.testing.assert_array_equal(example["image"], scenes[file_name]["image"])
            assert mask.shape == (128 * scale, 128 * scale) and mask.max() < 10  # no void
            at_centres = mask.reshape(128, scale, 128, scale).transpose(0, 2, 1, 3)
            whole = (at_centres == at_centres[:, :, :1, :1]).all(axis=(2, 3)) & (coarse != 255)
            np.testing.assert_array_equal(at_centres[whole][:, 0, 0], coarse[whole])
            assert whole.mean() > 0.8


def test_fine_masks_are_not_cut(tmp_path):
    build(tmp_path, "fine_x2")
    images, masks = next(iter(load("shapes", "train", config="fine_x2", data_dir=tmp_path, batch=2)))
    assert images.shape == (2, 128, 128, 3) and masks.shape == (2, 256, 256)
    with pytest.raises(ValueError, match="fine_x2 has masks 2 times as large.*expected neither"):
        load("shapes", "train", config="fine_x2", data_dir=tmp_path, size=(64, 64))


def test_examples_depend_neither_on_the_number_nor_on_the_split(tmp_path, monkeypatch):
    few = read(build(tmp_path / "few"), "train")
    monkeypatch.setattr(Shapes, "SIZES", {"scenes": {"train": 8, "validation": 2, "test": 2}})
    more = build(tmp_path / "more")
    many = read(more, "train")
    assert len(many) == 8
    for file_name, example in few.items():
        for name, pixels in example.items():
            np.testing.assert_array_equal(pixels, many[file_name][name])
    images = [example["image"].tobytes() for split in ("train", "validation") for example in read(more, split).values()]
    assert len(set(images)) == 10


def test_names_and_colors_travel_with_the_data(tmp_path):
    folder = build(tmp_path).data_dir
    metadata = tfds.builder_from_directory(folder).info.metadata
    assert metadata["class_names"] == list(CLASS_NAMES)
    np.testing.assert_array_equal(metadata["palette"], PALETTE)
    assert metadata["void"] == 255


def test_an_interrupted_build_is_not_believed(tmp_path, monkeypatch):
    def stop(self, split, index):
        if (split, index) == ("validation", 1):
            raise KeyboardInterrupt
        return example(self, split, index)

    example = Shapes._make_example
    monkeypatch.setattr(Shapes, "_make_example", stop)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path)
    monkeypatch.setattr(Shapes, "_make_example", example)
    assert not Shapes(data_dir=tmp_path).is_prepared()
    assert len(read(build(tmp_path), "validation")) == 2


def test_shared_features():
    assert set(make_features("jpeg")) == {"image", "segmentation_mask", "file_name"}
    both = make_features("png", instance_mask=True)
    assert both["instance_mask"].shape == both["segmentation_mask"].shape == (None, None, 1)


def test_a_palette_that_misses_a_color_is_refused():
    with pytest.raises(ValueError, match=r"palette has shape \(9, 3\), expected \(10, 3\)"):
        make_class_metadata(CLASS_NAMES, PALETTE[1:])
