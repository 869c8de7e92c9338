"""The training data of Mask R-CNN: rows of objects, from the package's data sets and from COCO's format."""

import json
import time

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image
from small import SMALL
from stand_ins import ids_of, write_voc

from fcn_keras import datasets, instances
from fcn_keras.instances import coco
from fcn_keras.instances.data import _fit, _make_rows


def arrays(dataset):
    return [{name: value.numpy() for name, value in batch.items()} for batch in dataset]


def test_objects_are_those_of_the_instance_masks(few_scenes):
    found = arrays(instances.load("shapes", "validation", batch=2, data_dir=few_scenes))
    assert [len(batch["image"]) for batch in found] == [2, 2, 1]  # to measure on: all of them
    raw = datasets.prepare("shapes", data_dir=few_scenes).as_dataset(split="validation", shuffle_files=False)
    for one, example in zip((row for batch in found for row in rows(batch)), raw.as_numpy_iterator(), strict=True):
        ids, classes = example["instance_mask"][..., 0], example["segmentation_mask"][..., 0]
        np.testing.assert_array_equal(one["image"], example["image"])
        expected = sorted(
            (classes[ids == i].max(), (ids == i).sum(), *box_of(ids == i)) for i in np.unique(ids) if i not in (0, 255)
        )
        there = one["classes"] > 0
        got = [(c, m.sum(), *b) for c, m, b in zip(one["classes"], one["masks"], one["boxes"], strict=True) if c]
        assert sorted(map(tuple, np.array(got).tolist())) == list(map(tuple, np.array(expected).tolist()))
        assert not one["masks"][~there].any() and not one["boxes"][~there].any()


def rows(batch):
    return [{name: value[i] for name, value in batch.items()} for i in range(len(batch["image"]))]


def box_of(mask):
    y, x = np.nonzero(mask)
    return y.min(), x.min(), y.max() + 1, x.max() + 1


def test_epochs_can_be_repeated_and_differ(few_scenes):
    load = lambda seed: arrays(  # noqa: E731
        instances.load("shapes", "train", batch=4, seed=seed, augment=True, data_dir=few_scenes)
    )
    first, again, other = load(1), load(1), load(2)
    for name in first[0]:
        np.testing.assert_array_equal(first[0][name], again[0][name])
    assert (first[0]["image"] != other[0]["image"]).any()
    assert len(first) == 3


def test_the_order_depends_on_the_seed_and_every_example_comes_once(few_scenes):
    def order(seed):
        batches = arrays(instances.load("shapes", "train", batch=4, seed=seed, data_dir=few_scenes))
        return [image.tobytes() for batch in batches for image in batch["image"]]

    stored = [
        image for batch in arrays(instances.load("shapes", "train", data_dir=few_scenes)) for image in batch["image"]
    ]
    stored = [image.tobytes() for image in stored]
    first, again, other = order(1), order(1), order(2)
    assert first == again and first != other and first != stored
    assert sorted(first) == sorted(other) == sorted(stored)


class Decoded:
    """Counts the images that are decoded, and the largest number of them that wait to be used."""

    def __init__(self):
        self.numbers, self.most_waiting = [], 0

    def __call__(self, number):
        self.numbers.append(int(number))
        return np.int32(0)

    def use_up(self, dataset):
        """Takes every batch slowly, so that the pipeline has time to prepare as many batches as it can."""
        used = 0
        for batch in dataset:
            time.sleep(0.05)
            self.most_waiting = max(self.most_waiting, len(self.numbers) - used)
            used += len(batch["image"])
        return used


@pytest.fixture
def decoded_files(monkeypatch):
    """Counts the images that TensorFlow Datasets' features decode; their masks, with one channel, are not counted."""
    count, decode = Decoded(), tfds.features.Image.decode_example

    def counted(feature, example):
        image = decode(feature, example)
        if image.shape[-1] == 3:
            with tf.control_dependencies([tf.numpy_function(count, [0], tf.int32)]):
                image = tf.identity(image)
        return image

    monkeypatch.setattr(tfds.features.Image, "decode_example", counted)
    return count


def test_a_shuffled_data_set_is_decoded_batch_by_batch(few_scenes, decoded_files):
    split = "+".join(["train"] * 10)
    dataset = instances.load("shapes", split, batch=2, seed=1, augment=True, data_dir=few_scenes)
    assert decoded_files.use_up(dataset) == 120 == len(decoded_files.numbers)
    assert decoded_files.most_waiting <= 12  # six batches


def test_coco_is_decoded_batch_by_batch(tmp_path, monkeypatch):
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    images = [{"id": number, "file_name": "a.png"} for number in range(100)]
    path = write_coco(tmp_path, images=images)
    decoded, read_image = Decoded(), coco.read_image
    monkeypatch.setattr(coco, "read_image", lambda path: decoded(0) or read_image(path))
    source = {"annotations": path, "images": tmp_path}
    assert decoded.use_up(instances.load("coco", size=(32, 32), batch=2, seed=1, **source)) == 100
    assert decoded.most_waiting <= 12  # six batches


def test_cocos_file_is_read_once(tmp_path, monkeypatch):
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    path, reads, loads = write_coco(tmp_path), [], json.loads
    monkeypatch.setattr(coco.json, "loads", lambda text: reads.append(text) or loads(text))
    recipe = instances.MaskRCNNRecipe(
        config=instances.MaskRCNNConfig(**SMALL), weights=None, epochs=3, batch=2, size=(32, 32)
    )
    where = {"annotations": path, "images": tmp_path}
    monkeypatch.setattr(instances.InstanceRun, "run", lambda run: [run.train(seed) for seed in range(3)])
    instances.train("coco", tmp_path / "run", recipe, where=where, verbose=0)
    assert len(reads) == 2  # what is trained on, and what is measured on


def test_boxes_follow_their_masks_through_augmentation(few_scenes):
    for batch in arrays(instances.load("shapes", "train", batch=4, seed=3, augment=True, data_dir=few_scenes)):
        for one in rows(batch):
            for c, mask, box in zip(one["classes"], one["masks"], one["boxes"], strict=True):
                assert (c > 0) == mask.any()
                assert c == 0 or tuple(box) == box_of(mask)


def test_augmentation_moves_image_and_masks_alike():
    """The image shows the mask. After augmentation it still does, except for the smoothing at outlines."""
    mask = np.zeros((40, 60), "uint8")
    mask[10:25, 20:50] = 1
    for draws in np.random.default_rng(0).uniform(size=(20, 3)).astype("float32"):
        image = np.repeat(255.0 * mask[..., None], 3, axis=-1).astype("float32")
        image, masks = _fit(tf.constant(image), tf.constant(mask[None]), (48, 48), tf.constant(draws))
        assert image.shape == (48, 48, 3) and masks.shape == (1, 48, 48)
        bright = image.numpy()[..., 0] > 190
        assert (bright != masks.numpy()[0].astype(bool)).sum() < 0.12 * masks.numpy().sum() + 12


def test_the_smallest_objects_are_left_out_and_lost_ones_forgotten():
    masks = np.zeros((4, 8, 8), "uint8")
    masks[0, :2, :2], masks[1, :, :3], masks[3, 3, 4:7] = 1, 1, 1  # of the third nothing is left
    found = {
        name: value.numpy()
        for name, value in _make_rows(tf.constant(masks), tf.constant([5, 6, 7, 8]), 2, (8, 8)).items()
    }
    assert found["classes"].tolist() == [6, 5]
    assert found["boxes"].tolist() == [[0, 0, 8, 3], [0, 0, 2, 2]]
    found = {
        name: value.numpy()
        for name, value in _make_rows(tf.constant(masks), tf.constant([5, 6, 7, 8]), 5, (8, 8)).items()
    }
    assert found["classes"].tolist() == [6, 5, 8, 0, 0]


def write_coco(folder, **changes):
    """Two images: one with two objects and a crowd, and one without objects."""
    for name, shape in (("a.png", (20, 30)), ("b.png", (16, 16))):
        Image.fromarray(np.full((*shape, 3), 90, "uint8")).save(folder / name)
    crowd = {"size": [20, 30], "counts": [400, 100, 100]}  # run lengths down the columns
    annotations = [
        {"id": 1, "image_id": 7, "category_id": 90, "segmentation": [[2, 3, 12, 3, 12, 9, 2, 9]], "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 3, "segmentation": [[20, 4, 29, 4, 29, 19, 20, 19]]},
        {"id": 3, "image_id": 7, "category_id": 3, "segmentation": crowd, "iscrowd": 1},
    ]
    content = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 9, "file_name": "b.png"}],
        "categories": [{"id": 90, "name": "cup"}, {"id": 3, "name": "car"}],
        "annotations": annotations,
    }
    (folder / "instances.json").write_text(json.dumps(content | changes))
    return folder / "instances.json"


def test_coco(tmp_path):
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    path = write_coco(tmp_path)
    source = coco.open_coco(path, tmp_path)
    assert source.class_names == ["background", "car", "cup"]
    first, second = source.undecoded.map(source.decode).as_numpy_iterator()
    assert first["classes"].tolist() == [2, 1, -1] and first["masks"].shape == (3, 20, 30)
    assert box_of(first["masks"][0]) == (3, 2, 9, 12) and box_of(first["masks"][1]) == (4, 20, 19, 29)
    np.testing.assert_array_equal(first["masks"][2], np.arange(600).reshape(30, 20).T // 100 == 4)
    assert second["masks"].shape == (0, 16, 16)
    (batch,) = arrays(
        instances.load("coco", annotations=path, images=tmp_path, size=(32, 32), objects=4, batch=2, seed=None)
    )
    assert batch["classes"].tolist()[1] == [0, 0, 0, 0] and sorted(batch["classes"][0]) == [-1, 0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": [{"id": 5, "image_id": 8}]}, "annotation 5 belongs to image 8, which is not among the images"),
        ({"annotations": [{"id": 5, "image_id": 7, "category_id": 1}]}, r"category 1: expected one of \[3, 90\]"),
        ({"annotations": [{"id": 5, "image_id": 7, "category_id": 3}]}, "annotation 5 has no segmentation"),
    ],
)
def test_what_is_wrong_in_cocos_file_is_named(tmp_path, changes, message):
    path = write_coco(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        coco.open_coco(path, tmp_path)


def test_no_coco_file(tmp_path):
    with pytest.raises(ValueError, match=r"could not be read as COCO's JSON"):
        coco.open_coco(tmp_path / "none.json", tmp_path)
    (tmp_path / "list.json").write_text('{"images": []}')
    with pytest.raises(ValueError, match="lacks categories, annotations"):
        coco.open_coco(tmp_path / "list.json", tmp_path)


def test_augmentation_wants_a_seed_and_instances_are_needed(few_scenes):
    with pytest.raises(ValueError, match="augment=True and seed=None"):
        instances.load("shapes", "train", augment=True, data_dir=few_scenes)


def test_voc(tmp_path):
    write_voc(tmp_path / "VOCdevkit" / "VOC2012", ["a", "b"], ["c"])
    (batch,) = arrays(
        instances.load("voc", "train", size=(16, 16), objects=6, batch=2, source=tmp_path, data_dir=tmp_path / "data")
    )
    expected = []
    for name in "ab":
        ids, classes = ids_of(name, "voc objects", 0, 5), ids_of(name, "voc", 0, 21)
        expected.append(sorted(int(classes[(ids == i) & (classes != 255)].max()) for i in range(1, 5)))
    assert sorted(sorted(one["classes"][one["classes"] > 0].tolist()) for one in rows(batch)) == sorted(expected)
    for one in rows(batch):
        for c, mask, box in zip(one["classes"], one["masks"], one["boxes"], strict=True):
            assert (c == 0) == (not mask.any()) and (c == 0 or tuple(box) == box_of(mask))


@pytest.mark.real_data
def test_voc_without_instance_masks_is_refused(shared_data, tmp_path):
    with pytest.raises(ValueError, match="prepared from a folder without instance masks"):
        instances.load("voc", "validation[:6]", source=shared_data, data_dir=tmp_path)
