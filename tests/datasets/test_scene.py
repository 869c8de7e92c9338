import itertools

import numpy as np
import pytest

from fcn_keras.datasets.shapes.scene import CLASS_NAMES, PALETTE, draw_object, draw_scene
from fcn_keras.datasets.shapes.sdf import FORMS

VOID = 255


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(np.random.default_rng([3, seed])) for seed in range(80)]


def dilate(region, reach):
    """Dilates by the Chebyshev distance, with shifted copies."""
    padded = np.pad(region, reach)
    height, width = region.shape
    shifts = itertools.product(range(2 * reach + 1), repeat=2)
    return np.any([padded[i : i + height, j : j + width] for i, j in shifts], axis=0)


def test_names_and_palette_go_together():
    assert CLASS_NAMES[0] == "background" and len(CLASS_NAMES) == len(PALETTE) == 10
    assert PALETTE.dtype == np.uint8 and len(np.unique(PALETTE, axis=0)) == 10


def test_scene_arrays(scenes):
    for scene in scenes:
        assert scene.image.shape == (128, 128, 3) and scene.image.dtype == np.uint8
        for mask in (scene.segmentation_mask, scene.instance_mask):
            assert mask.shape == (128, 128) and mask.dtype == np.uint8
        assert set(np.unique(scene.segmentation_mask)) <= {*range(10), VOID}


def test_two_to_seven_objects_of_one_class_each(scenes):
    hidden = 0
    for scene in scenes:
        instances = np.setdiff1d(scene.instance_mask, [0, VOID])
        assert len(instances) >= 2 and max(instances) <= 7
        hidden += max(instances) - len(instances)
        for instance in instances:
            classes = np.unique(scene.segmentation_mask[scene.instance_mask == instance])
            assert len(classes) == 1 and classes[0] in range(1, 10)
    assert hidden <= 1  # an object that later ones cover wholly: about one scene in a thousand


def test_both_masks_share_background_and_void(scenes):
    for scene in scenes:
        for value in (0, VOID):
            np.testing.assert_array_equal(scene.segmentation_mask == value, scene.instance_mask == value)


def test_void_keeps_different_instances_apart(scenes):
    for scene in scenes:
        ids = scene.instance_mask
        for a, b in ((ids[1:], ids[:-1]), (ids[:, 1:], ids[:, :-1])):
            known = (a != VOID) & (b != VOID)
            np.testing.assert_array_equal(a[known], b[known])


def test_void_hugs_the_objects(scenes):
    for scene in scenes:
        objects = (scene.instance_mask != 0) & (scene.instance_mask != VOID)
        # This leaves out sharp tips that contain no pixel's centre, and outlines just outside the frame.
        far = (scene.instance_mask == VOID) & ~dilate(objects, 2)
        assert far[1:-1, 1:-1].sum() <= 4


def test_same_state_same_scene():
    first, again, other = (draw_scene(np.random.default_rng(seed)) for seed in (5, 5, 6))
    for name, pixels in vars(first).items():
        np.testing.assert_array_equal(pixels, vars(again)[name])
        assert (pixels != vars(other)[name]).mean() > 0.05


@pytest.mark.parametrize("seed", range(4))
def test_finer_rendering_shows_the_same_scene(seed):
    coarse, double, triple = (draw_scene(np.random.default_rng(seed), render_scale=s) for s in (1, 2, 3))
    assert double.image.shape == (256, 256, 3)
    for name in ("segmentation_mask", "instance_mask"):
        ids = vars(coarse)[name]
        nearest = vars(double)[name][::2, ::2]  # a quarter of a pixel off: the outlines cannot agree, the rest must
        known = (ids != VOID) & (nearest != VOID)
        assert (ids == nearest)[known].mean() >= 0.97
        # Every third sample of a tripled rendering lies on a coarse pixel's centre: equal up to float32 rounding.
        assert (ids == vars(triple)[name][1::3, 1::3]).mean() > 0.9999
    pooled = double.image.reshape(128, 2, 128, 2, 3).mean((1, 3))
    assert np.abs(pooled - coarse.image).mean() < 4  # grey levels; edges of textures make up nearly all of it


def test_every_class_takes_its_share_of_pixels(scenes):
    ids = np.stack([scene.segmentation_mask for scene in scenes])
    share = np.bincount(ids.ravel(), minlength=256) / ids.size
    assert 0.45 < share[0] < 0.65
    assert share[1:10].min() > 0.012
    assert share[VOID] < 0.12


def test_coarse_strides_lose_what_fine_ones_keep(scenes):
    """Mean IoU of the labels, reduced to a stride by majority and enlarged again: the best that a network can reach."""

    def bound(stride):
        confusion = np.zeros((10, 10))
        for scene in scenes:
            truth, cells = scene.segmentation_mask, 128 // stride
            blocks = truth.reshape(cells, stride, cells, stride)
            votes = np.stack([(blocks == c).sum((1, 3)) for c in range(10)])
            guess = votes.argmax(0).repeat(stride, 0).repeat(stride, 1)
            np.add.at(confusion, (truth[truth != VOID], guess[truth != VOID]), 1)
        hits = np.diag(confusion)
        return np.mean(hits / (confusion.sum(0) + confusion.sum(1) - hits))

    at_32, at_16, at_8 = bound(32), bound(16), bound(8)
    assert at_32 < 0.45 and at_8 < 0.85
    assert at_16 - at_32 > 0.1 and at_8 - at_16 > 0.1


def test_color_tells_nothing_about_the_class(scenes):
    colors = {label: [] for label in range(1, 10)}
    for scene in scenes:
        for instance in np.setdiff1d(scene.instance_mask, [0, VOID]):
            own = scene.instance_mask == instance
            colors[scene.segmentation_mask[own][0]].append(scene.image[own].mean(0))
    everything = np.concatenate(list(colors.values()))
    # By chance, the class explains about 8 / n of the variance of the mean colours of n objects.
    explained = sum(len(c) * (np.mean(c, 0) - everything.mean(0)) ** 2 for c in colors.values())
    assert (explained / ((everything - everything.mean(0)) ** 2).sum(0)).max() < 0.1


@pytest.mark.parametrize("label", range(9))
def test_object_images_differ_with_the_label(label):
    image = draw_object(np.random.default_rng(1), label)
    assert image.shape == (96, 96, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(image, draw_object(np.random.default_rng(1), label))
    assert not np.array_equal(image, draw_object(np.random.default_rng(1), (label + 1) % 9))


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("radius", [9.0, 30.0])
def test_a_forms_field_is_the_distance_to_its_outline(name, radius):
    """Compares with the nearest inner sample of a fine grid, in the band that rims and shadows use."""
    shape, _ = FORMS[name]
    step = 0.25
    axis = np.arange(-1.3 * radius - 4, 1.3 * radius + 4, step, dtype=np.float32)
    v, u = np.meshgrid(axis, axis, indexing="ij")
    distance = shape(np.random.default_rng(2), radius)(u, v)
    inner = distance < 0
    edge = inner & ~(np.roll(inner, 1, 0) & np.roll(inner, -1, 0) & np.roll(inner, 1, 1) & np.roll(inner, -1, 1))
    band = np.argwhere((distance > 0) & (distance < 3))
    band = band[:: max(len(band) // 400, 1)]
    points, edge = axis[band], axis[np.argwhere(edge)]
    nearest = np.sqrt(((points[:, None] - edge[None]) ** 2).sum(-1).min(1))
    error = nearest - distance[band[:, 0], band[:, 1]]
    assert error.min() > -1e-3  # no inner sample is nearer than the field says
    assert np.quantile(error, 0.95) < 2 * step  # and there is one about as near; sharp tips fall between samples


@pytest.mark.parametrize("angle", np.linspace(0, np.pi, 13))
def test_a_pole_keeps_its_pixels_at_any_angle(angle):
    shape, _ = FORMS["pole"]
    ys, xs = np.mgrid[:128, :128] + 0.5 - 64
    for seed in range(5):
        distance = shape(np.random.default_rng(seed), 50.0)
        own = distance(np.cos(angle) * xs + np.sin(angle) * ys, np.cos(angle) * ys - np.sin(angle) * xs) < 0
        along = own.any(0 if abs(np.cos(angle)) > abs(np.sin(angle)) else 1)
        reach = np.flatnonzero(along)
        assert along[reach[0] : reach[-1] + 1].all()
        assert 2 * 100 * 0.95 < own.sum() < 4 * 100 * 1.05  # two to four pixels wide


@pytest.mark.parametrize("arguments", [{"size": 16}, {"render_scale": 0}, {"render_scale": 1.5}])
def test_impossible_sizes_are_refused(arguments):
    with pytest.raises(ValueError, match="expected a size of at least 32 pixels, and a whole number"):
        draw_scene(np.random.default_rng(0), **arguments)


@pytest.mark.parametrize("label", [-1, 9])
def test_impossible_labels_are_refused(label):
    with pytest.raises(ValueError, match=f"Found label={label}: expected 0–8"):
        draw_object(np.random.default_rng(0), label)
