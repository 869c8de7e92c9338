"""Shows what goes wrong if masks are augmented with the layers of Keras 3.15, and that `pipeline` avoids it.

Where a test fails at its first half, Keras has mended the trap.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_keras.datasets.pipeline import make_pipeline
from fcn_keras.layers.preprocessing import MEAN_COLOR

VOID = 255
IDS = np.random.default_rng(0).choice(np.array([0, 5, 20, VOID], "uint8"), (40, 60))
IMAGE = np.stack([IDS, 255 - IDS, IDS // 2], -1)  # every pixel shows its id
MANY = 16


def layer(layer, count=1):
    pair = {
        "images": np.repeat(IMAGE[None].astype("float32"), count, 0),
        "segmentation_masks": np.repeat(IDS[None, ..., None], count, 0),
    }
    found = layer(pair, training=True)
    return [keras.ops.convert_to_numpy(found[name]) for name in ("images", "segmentation_masks")]


def ours(**options):
    examples = tf.data.Dataset.from_tensors({"image": IMAGE, "segmentation_mask": IDS[..., None]}).repeat(MANY)
    examples = examples.apply(tf.data.experimental.assert_cardinality(MANY))
    return list(make_pipeline(examples, seed=0, augment=True, **{"scales": (1, 1), **options}).as_numpy_iterator())


@pytest.mark.parametrize(
    "make",
    [lambda: keras.layers.RandomFlip(), lambda: keras.layers.RandomCrop(8, 8), lambda: keras.layers.CenterCrop(8, 8)],
)
def test_masks_come_back_as_float32(make):
    _, mask = layer(make())
    assert mask.dtype == np.float32
    assert all(mask.dtype == np.uint8 for _, mask in ours(size=(8, 8)))


@pytest.mark.parametrize("make", [keras.layers.RandomCrop, keras.layers.CenterCrop])
def test_a_crop_that_is_larger_than_the_image_invents_ids(make):
    _, mask = layer(make(64, 96))
    assert set(np.unique(mask)) - {0, 5, 20, VOID}  # bilinear
    for image, mask in ours(size=(64, 96)):
        assert image.shape == (64, 96, 3) and set(np.unique(mask)) == {0, 5, 20, VOID}
        assert (mask == VOID).sum() == (IDS == VOID).sum() + 64 * 96 - 40 * 60


def test_one_fill_value_for_colors_and_ids():
    image, mask = layer(keras.layers.RandomTranslation((0.5, 0.5), 0.0, fill_mode="constant", fill_value=VOID))
    assert (mask[0, 0] == VOID).all() and (image[0, 0] == VOID).all()  # void in the mask, and white in the image
    for image, mask in ours(size=(64, 60)):
        assert (mask[0] == VOID).all()
        np.testing.assert_allclose(image[0], np.broadcast_to(np.float32(MEAN_COLOR), (60, 3)), rtol=1e-6)


def test_one_crop_for_a_whole_batch():
    images, _ = layer(keras.layers.RandomCrop(8, 8, seed=1), count=MANY)
    assert (images == images[:1]).all()
    assert len({image.tobytes() for image, _ in ours(size=(8, 8))}) > MANY // 2


def test_a_flip_is_upside_down_by_default():
    images, _ = layer(keras.layers.RandomFlip(seed=1), count=64)
    tops = {image[0].tobytes() for image in images}
    assert {IMAGE[-1].astype("float32").tobytes(), IMAGE[-1, ::-1].astype("float32").tobytes()} & tops
    tops = {image[0].tobytes() for image, _ in ours()}
    assert tops == {IMAGE[0].astype("float32").tobytes(), IMAGE[0, ::-1].astype("float32").tobytes()}
