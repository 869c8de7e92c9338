"""Joint augmentation: whatever happens to the image happens to the mask, and every draw repeats."""

import colorsys
import sys

import numpy as np
import pytest
import tensorflow as tf

from fcn_keras.datasets.pipeline import make_pipeline
from fcn_keras.layers.preprocessing import MEAN_COLOR

VOID = 255
module = sys.modules[make_pipeline.__module__]


def id_at(rows, columns):
    return ((rows // 8) * 5 + columns // 8) % 21


def coordinates(count=24, height=50, width=70):
    """Images that show in each pixel its own row and column, and masks that follow from them."""
    rows, columns = np.mgrid[:height, :width]
    images = [np.stack([rows, columns, np.full_like(rows, i)], -1) for i in range(count)]
    masks = [id_at(rows, columns)[..., None]] * count
    return dataset(images, masks)


def dataset(images, masks):
    return tf.data.Dataset.from_tensor_slices(
        {"image": np.array(images, "uint8"), "segmentation_mask": np.array(masks, "uint8")}
    )


def drawn(examples, **options):
    return [(image, mask) for image, mask in make_pipeline(examples, **options).as_numpy_iterator()]


def assert_aligned(image, mask):
    """Every pixel's mask is the one of the place that the image says it comes from; elsewhere void and the mean colour."""
    outside = mask == VOID
    np.testing.assert_allclose(image[outside], np.broadcast_to(np.float32(MEAN_COLOR), image[outside].shape), rtol=1e-6)
    inside = np.round(image[~outside]).astype(int)
    np.testing.assert_allclose(image[~outside], inside, atol=1e-3)
    np.testing.assert_array_equal(mask[~outside], id_at(inside[:, 0], inside[:, 1]))


@pytest.mark.parametrize("size", [(32, 32), (64, 40), (40, 90), (96, 96), None])
def test_crops_pads_and_flips_keep_image_and_mask_together(size):
    for image, mask in drawn(coordinates(), size=size, augment=True, scales=(1, 1), seed=3):
        assert image.dtype == np.float32 and mask.dtype == np.uint8
        assert image.shape == (*(size or (50, 70)), 3) and mask.shape == image.shape[:2]
        assert_aligned(image, mask)
        visible = min(size[0], 50) * min(size[1], 70) if size else 50 * 70
        assert (mask != VOID).sum() == visible


@pytest.mark.parametrize("scales", [(0.5, 0.5), (2, 2), (0.5, 2.0)])
def test_scales_keep_image_and_mask_together(scales):
    """Away from edges between ids, a resized image shows the colour of its id, and masks hold no ids of their own making."""
    ids = np.kron(np.random.default_rng(0).choice([0, 3, 7, 20, VOID], (5, 7)), np.ones((16, 16), int))
    images = np.repeat(np.stack([ids, 255 - ids, ids // 2], -1)[None], 12, axis=0)
    examples = dataset(images, np.repeat(ids[None, ..., None], 12, axis=0))
    for image, mask in drawn(examples, augment=True, scales=scales, seed=1):
        assert set(np.unique(mask)) <= {0, 3, 7, 20, VOID}
        windows = np.lib.stride_tricks.sliding_window_view(mask, (5, 5))
        uniform = (windows == windows[:, :, 2:3, 2:3]).all((2, 3))
        assert uniform.mean() > 0.2
        middle, colors = mask[2:-2, 2:-2][uniform].astype(int), image[2:-2, 2:-2][uniform]
        np.testing.assert_allclose(colors, np.stack([middle, 255 - middle, middle // 2], -1), atol=1e-3)


def test_the_random_scale_covers_its_range():
    sides = {image.shape[0] for image, _ in drawn(coordinates(60), augment=True, scales=(0.5, 2.0), seed=1)}
    assert min(sides) >= 25 and max(sides) <= 100
    assert min(sides) < 32 and max(sides) > 80 and len(sides) > 20


def test_flips_go_left_to_right_only_and_about_half_the_time():
    flips = []
    for image, mask in drawn(coordinates(60), augment=True, scales=(1, 1), seed=0):
        np.testing.assert_array_equal(image[:, 0, 0], np.arange(50))  # the top stays the top
        flips.append(image[0, 0, 1] == 69)
        assert_aligned(image, mask)
    assert 15 < sum(flips) < 45


def test_no_flip_leaves_every_image_as_it_is():
    for image, mask in drawn(coordinates(60), augment=True, scales=(1, 1), flip=False, seed=0):
        assert image[0, 0, 1] == 0
        assert_aligned(image, mask)


def test_a_flip_exchanges_left_and_right():
    mask = np.zeros((4, 8, 1), "uint8")
    mask[:, :4], mask[:, 4:], mask[0] = 1, 2, 255
    image = np.repeat(np.arange(8)[None, :, None], 4, 0).repeat(3, 2)
    seen = set()
    for turned, found in drawn(dataset([image] * 40, [mask] * 40), augment=True, scales=(1, 1), flip=[(1, 2)], seed=0):
        seen.add(bool(turned[0, 0, 0] == 7))
        np.testing.assert_array_equal(found, mask[..., 0])  # what is on the left stays the left class
    assert seen == {True, False}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip": False}, "flip=False without augmentation"),
        ({"flip": [(1, 1)], "augment": True, "seed": 0}, r"flip=\[\(1, 1\)\]: expected pairs of class ids"),
        ({"flip": [(1, 256)], "augment": True, "seed": 0}, "expected pairs of class ids"),
    ],
)
def test_flips_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        make_pipeline(coordinates(1), **options)


def test_crops_reach_every_place():
    tops = {
        round(float(image[0, 0, 0]))
        for image, _ in drawn(coordinates(200), size=(46, 70), augment=True, scales=(1, 1), seed=0)
    }
    assert tops == {0, 1, 2, 3, 4}


def test_without_augmentation_the_middle_is_kept():
    ((image, mask), *_) = drawn(coordinates(), size=(30, 90))
    assert_aligned(image, mask)
    np.testing.assert_allclose(image[:, 10:80, 0], np.broadcast_to(np.arange(10, 40)[:, None], (30, 70)), atol=1e-4)
    assert (mask[:, :10] == VOID).all() and (mask[:, 80:] == VOID).all()
    for i, (image, mask) in enumerate(drawn(coordinates())):  # each at its own size, in order
        assert (image[..., 2] == i).all()
        assert_aligned(image, mask)


def test_another_void():
    ((_, mask), *_) = drawn(coordinates(1), size=(64, 96), ignore_class=21)
    assert (mask == 21).sum() == 64 * 96 - 50 * 70 and VOID not in mask


def flat(examples, **options):
    return np.stack([np.concatenate([image, mask[..., None]], -1) for image, mask in drawn(examples, **options)])


def test_seeds_repeat_and_differ():
    options = {"size": (32, 32), "augment": True}
    first, again, other = (flat(coordinates(), seed=seed, **options) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_each_pass_draws_anew_and_the_same_seed_gives_the_same_passes():
    options = {"size": (32, 32), "augment": True, "scales": (1, 1), "seed": 5, "batch": 4}
    first, again = (make_pipeline(coordinates(), **options).prefetch(1) for _ in range(2))
    passes, repeated = ([np.stack([image for image, _ in data]) for _ in range(3)] for data in (first, again))
    np.testing.assert_array_equal(passes, repeated)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        numbers = [images[:, :, 0, 0, 2].ravel() for images in (passes[one], passes[other])]
        assert (numbers[0] != numbers[1]).any()  # another order, and other crops of the same image
        crops = [{int(image[0, 0, 2]): image.tobytes() for image in p.reshape(-1, 32, 32, 3)} for p in passes]
        assert sum(crops[one][n] == crops[other][n] for n in crops[one] if n in crops[other]) < 3
    assert (first.cardinality(), first.element_spec[0].shape.as_list()) == (6, [None, 32, 32, 3])


def test_fit_sees_other_crops_in_each_epoch():
    import keras

    seen = []

    class See(keras.layers.Layer):
        def call(self, x):
            tf.py_function(lambda image: seen.append(float(tf.reduce_sum(image))), [x], [])
            return x

    model = keras.Sequential([keras.Input((32, 32, 3)), See(), keras.layers.Conv2D(2, 1)])
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    data = make_pipeline(coordinates(3), size=(32, 32), augment=True, batch=3, seed=0)
    model.fit(data.map(lambda image, mask: (image, mask % 2)), epochs=3, verbose=0, shuffle=False)
    assert len(set(seen[-3:])) == 3


def test_every_example_has_draws_of_its_own():
    crops = [
        image[..., :2].tobytes()
        for image, _ in drawn(coordinates(), size=(32, 32), augment=True, scales=(1, 1), seed=5)
    ]
    assert len(set(crops)) > 20


def test_a_seed_shuffles_and_loses_nothing():
    orders = [[int(image[0, 0, 2]) for image, _ in drawn(coordinates(), seed=seed)] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) == list(range(24)) != orders[0]


def test_batches():
    batches = make_pipeline(coordinates(10), size=(32, 48), batch=4)
    assert len(batches) == 3
    assert [mask.shape for _, mask in batches.as_numpy_iterator()] == [(4, 32, 48), (4, 32, 48), (2, 32, 48)]
    assert batches.element_spec[0].shape.as_list() == [None, 32, 48, 3]


def pillow_colored(image, brightness, contrast, saturation):
    """The same with arithmetic of its own: means per channel, and saturation in `colorsys`."""
    image = image / 255 + brightness
    image = (image - image.mean((0, 1))) * (1 + contrast) + image.mean((0, 1))
    hsv = np.array([[colorsys.rgb_to_hsv(*pixel) for pixel in row] for row in image])
    hsv[..., 1] = np.clip(hsv[..., 1] * (1 + saturation), 0, 1)
    return np.array([[colorsys.hsv_to_rgb(*pixel) for pixel in row] for row in hsv])


def test_colors_vary_as_the_definitions_say(monkeypatch):
    draws = iter([0.0, 0.0, 1.0, 0.4, -0.5, 0.8, 0.0])  # place of the crop, no flip, colours
    monkeypatch.setattr(module._Draws, "uniform", lambda self, low=0.0, high=1.0: tf.constant(next(draws)))
    monkeypatch.setattr(module, "_scaled", lambda image, mask, draw, scales: (image, mask))
    pixels = np.random.default_rng(0).integers(60, 190, (5, 6, 3))
    (image, mask) = next(
        iter(drawn(dataset([pixels], [np.zeros((5, 6, 1))]), size=(5, 6), augment=True, color=1, seed=0))
    )
    expected = pillow_colored(pixels, 0.4 * 0.25, -0.5 * 0.4, 0.8 * 0.4)
    np.testing.assert_allclose(image / 255, expected, atol=2e-6)
    assert (mask == 0).all()


def test_colors_leave_masks_and_padding_alone():
    options = {"size": (96, 96), "augment": True, "scales": (1, 1), "seed": 4}
    plain, varied = drawn(coordinates(), **options), drawn(coordinates(), color=1, **options)
    for (image, mask), (other, same) in zip(plain, varied, strict=True):
        np.testing.assert_array_equal(mask, same)
        np.testing.assert_array_equal(image[mask == VOID], other[mask == VOID])
        assert other.min() >= 0 and other.max() <= 255
        assert (image != other).any()


def test_colors_out_of_range():
    with pytest.raises(ValueError, match="Found color=-1: expected 0"):
        make_pipeline(coordinates(1), augment=True, seed=0, color=-1)


def test_augmentation_without_a_seed():
    with pytest.raises(ValueError, match="augment=True and seed=None.*seed=0"):
        make_pipeline(coordinates(1), augment=True)
