"""The parts of Mask R-CNN, compared with torchvision's numbers (see make_references.py), NumPy, and closed forms."""

import pathlib

import numpy as np
import pytest
from keras import ops

from fcn_keras.geometry import Geometry
from fcn_keras.instances import losses
from fcn_keras.instances.anchors import make_anchors
from fcn_keras.instances.boxes import batched_gather, clip, decode, encode, intersection_over_area, iou
from fcn_keras.instances.inference import paste_mask
from fcn_keras.instances.matching import CROWD, assign, subsample
from fcn_keras.instances.model import make_mask_targets
from fcn_keras.instances.nms import non_max_suppression
from fcn_keras.instances.roi_align import assign_levels, roi_align


@pytest.fixture(scope="module")
def theirs():
    with np.load(pathlib.Path(__file__).with_name("torchvision.npz")) as file:
        return {name: file[name] for name in file.files}


def yxyx(boxes):
    """torchvision has x before y."""
    return boxes[..., [1, 0, 3, 2]]


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.mark.parametrize(("size", "samples"), [(7, 2), (14, 1), (3, 3)])
def test_roi_align_is_torchvisions(theirs, size, samples):
    maps, boxes = np.moveaxis(theirs["roi_map"], 1, -1), yxyx(theirs["roi_boxes"]).reshape(2, 6, 4)
    found = roi_align([maps], [Geometry(4, 4, 1.5)], ops.array(boxes), size, samples)
    expected = np.moveaxis(theirs[f"roi_{size}_{samples}"], 1, -1).reshape(2, 6, size, size, 3)
    np.testing.assert_allclose(numpy(found), expected, atol=2e-5)


def test_roi_align_reads_each_box_from_its_level(theirs):
    maps, boxes = np.moveaxis(theirs["roi_map"], 1, -1), yxyx(theirs["roi_boxes"]).reshape(2, 6, 4)
    places, levels = [Geometry(4, 4, 1.5), Geometry(4, 4, 1.5)], np.array([[0, 1, 0, 1, 1, 0]] * 2)
    both = roi_align([maps, -2 * maps[:, :-1, :-3]], places, ops.array(boxes), 7, levels=levels)
    alone = [roi_align([x], places, ops.array(boxes), 7) for x in (maps, -2 * maps[:, :-1, :-3])]
    np.testing.assert_allclose(
        numpy(both), np.where(levels[..., None, None, None], *map(numpy, alone[::-1])), atol=1e-5
    )


def test_roi_align_knows_where_maps_lie():
    """If the value of each unit is its place on the image, RoIAlign must return the places of the cells."""
    for stride, offset in ((4, 1.5), (8, 0.0), (16, -9.0)):
        places = offset + stride * np.arange(40) + 0.5
        ramp = np.stack(np.broadcast_arrays(places[:, None], places[None]), axis=-1)[None].astype("float32")
        found = roi_align([ramp], [Geometry(stride, 1, offset)], ops.array([[[40.0, 60, 75, 81]]]), size=7)
        rows, columns = 40 + 35 * (np.arange(7) + 0.5) / 7, 60 + 21 * (np.arange(7) + 0.5) / 7
        np.testing.assert_allclose(numpy(found)[0, 0, :, 0, 0], rows, atol=1e-3)
        np.testing.assert_allclose(numpy(found)[0, 0, 0, :, 1], columns, atol=1e-3)


def test_levels_are_torchvisions(theirs):
    np.testing.assert_array_equal(numpy(assign_levels(ops.array(theirs["level_boxes"]), 4)), theirs["levels"])


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_suppression_is_torchvisions(theirs, threshold):
    boxes, classes = ops.array(yxyx(theirs["nms_boxes"]))[None], ops.array(theirs["nms_classes"])[None]
    for groups, name in ((None, "nms"), (classes, "nms_by_class")):
        stays = numpy(non_max_suppression(boxes, threshold, groups))[0]
        np.testing.assert_array_equal(np.flatnonzero(stays), theirs[f"{name}_{threshold}"])


def test_suppression_settles_the_longest_chain():
    """Each box only overlaps the next. So every second box stays, and the last decision needs all rounds."""
    top = np.arange(50.0)
    chain = np.stack([top, 0 * top, top + 1.5, 0 * top + 1], axis=-1)[None].astype("float32")
    np.testing.assert_array_equal(numpy(non_max_suppression(ops.array(chain), 0.1))[0], np.arange(50) % 2 == 0)


def test_overlaps_are_torchvisions(theirs):
    boxes = ops.array(yxyx(theirs["nms_boxes"]))
    np.testing.assert_allclose(numpy(iou(boxes, boxes)), theirs["iou"], atol=1e-4)  # Keras adds 1e-7 to areas


def test_offsets_are_torchvisions(theirs):
    boxes, boxes_around = (ops.array(yxyx(theirs[name])) for name in ("coded_boxes", "coded_anchors"))
    scale, order = (0.1, 0.1, 0.2, 0.2), [1, 0, 3, 2]
    found = encode(boxes, boxes_around, scale)
    np.testing.assert_allclose(numpy(found), theirs["coded"][:, order], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(numpy(decode(found, boxes_around, scale)), numpy(boxes), atol=1e-4)
    decoded = decode(ops.array(theirs["wild"][:, order]), boxes_around, scale)
    np.testing.assert_allclose(numpy(decoded), yxyx(theirs["decoded"]), rtol=1e-4, atol=1e-2)


def test_masks_are_pasted_as_grid_sample_does(theirs):
    for mask, box, expected in zip(theirs["pasted_masks"], yxyx(theirs["pasted_boxes"]), theirs["pasted"], strict=True):
        np.testing.assert_allclose(paste_mask(mask, box, (30, 40), threshold=None), expected, atol=1e-5)


def test_what_is_cut_out_is_pasted_back():
    """The target mask of a disc in a box of odd place and size, pasted back, is the disc except for its rim."""
    y, x = np.mgrid[:64, :80] + 0.5
    disc = ((y - 30.3) ** 2 + (x - 41.7) ** 2 < 17.2**2).astype("uint8")
    box = np.array([12.4, 23.1, 48.9, 60.3], "float32")
    target = numpy(make_mask_targets(disc[None, None], ops.array(box[None, None]), np.array([[0]])))[0, 0]
    pasted = paste_mask(target, box, disc.shape)
    assert (pasted & (disc > 0)).sum() / (pasted | (disc > 0)).sum() > 0.95
    rows, columns = (np.average(axis, weights=pasted) for axis in (y, x))
    assert abs(rows - 30.3) < 0.1 and abs(columns - 41.7) < 0.1  # no shift of half a pixel


def test_anchors_lie_around_their_units():
    places, sizes = [Geometry(4, 1, 1.5), Geometry(64, 1, -3.0)], [(3, 5), (1, 2)]
    found = numpy(make_anchors(places, sizes, scale=8, ratios=(0.5, 1, 2)))
    assert found.shape == ((15 + 2) * 3, 4)
    centres = (found[:, :2] + found[:, 2:]) / 2
    expected = [(2 + 4 * i, 2 + 4 * j) for i in range(3) for j in range(5)] + [(-2.5, -2.5 + 64 * j) for j in range(2)]
    np.testing.assert_allclose(centres, np.repeat(expected, 3, axis=0), atol=1e-4)
    heights, widths = (found[:, 2:] - found[:, :2]).T
    np.testing.assert_allclose(heights * widths, [32**2] * 45 + [512**2] * 6, rtol=1e-4)
    np.testing.assert_allclose(heights / widths, [0.5, 1, 2] * 17, rtol=1e-4)


def test_boxes_belong_to_objects_crowds_or_the_background():
    objects = np.array([[[0.0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 0, 0], [40, 40, 60, 60]]])
    classes = np.array([[2, 1, 0, CROWD]])
    boxes = np.array(
        [[[0.0, 0, 10, 9], [0, 0, 10, 5.5], [0, 0, 10, 2], [45, 45, 50, 50], [80, 80, 90, 90], [20, 20, 30, 23]]]
    )
    labels, rows = assign(ops.array(boxes), ops.array(objects), classes, 0.3, 0.7)
    assert numpy(labels).tolist() == [[1, -1, 0, -1, 0, -1]]
    labels, rows = assign(ops.array(boxes), ops.array(objects), classes, 0.3, 0.7, keep_best=True)
    assert numpy(labels).tolist() == [[1, -1, 0, -1, 0, 1]]  # little of the second object, and the most there is
    assert numpy(rows)[0, [0, 5]].tolist() == [0, 1]


def test_nothing_is_matched_in_an_empty_image():
    labels, _ = assign(ops.ones((1, 5, 4)), ops.zeros((1, 3, 4)), ops.zeros((1, 3), "int32"), 0.3, 0.7, keep_best=True)
    assert numpy(labels).tolist() == [[0] * 5]


@pytest.mark.parametrize("objects", [0, 3, 40])
def test_draws_are_balanced(objects):
    random = np.random.default_rng(0)
    labels = np.array([[1] * objects + [-1] * 20 + [0] * (80 - objects)] * 2)
    indices, weights = map(numpy, subsample(labels, 32, 0.25, random.uniform(size=labels.shape).astype("float32")))
    drawn = labels[np.arange(2)[:, None], indices]
    most = min(objects, 8)
    assert (drawn[:, :most] == 1).all() and (drawn[:, most:] == 0).all() and (weights == 1).all()
    assert all(len(set(row)) == 32 for row in indices)


def test_too_few_boxes_weigh_nothing():
    _, weights = subsample(np.array([[1, 0, -1, -1]]), 4, 0.5, np.full((1, 4), 0.5, "float32"))
    assert numpy(weights).tolist() == [[1, 1, 0, 0]]


def test_shares_that_crowds_cover():
    boxes, crowds = ops.array([[[0.0, 0, 4, 4], [2, 2, 4, 4]]]), ops.array([[[0.0, 0, 4, 2], [2, 2, 9, 9]]])
    assert numpy(intersection_over_area(boxes, crowds)).tolist() == [[[0.5, 0.25], [0, 1]]]


def test_boxes_are_cut_at_the_borders():
    boxes = clip(ops.array([[-5.0, 3, 20, 40]]), 16, 32)
    assert numpy(boxes).tolist() == [[0, 3, 16, 32]]


def test_rows_are_taken_image_by_image():
    values = np.arange(24).reshape(2, 3, 4)
    found = batched_gather(ops.array(values), np.array([[2, 2], [0, 1]]))
    np.testing.assert_array_equal(numpy(found), np.stack([values[0, [2, 2]], values[1, [0, 1]]]))


def test_losses_are_those_of_numpy():
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(2, 5)).astype("float32"), random.integers(0, 2, (2, 5))
    weights, positive = random.integers(0, 2, (2, 5)).astype("float32"), random.integers(0, 2, (2, 5)).astype("float32")
    sure = 1 / (1 + np.exp(-logits))
    each = -np.log(np.where(labels == 1, sure, 1 - sure))
    found = losses.objectness_loss(ops.array(logits), labels == 1, weights)
    assert float(found) == pytest.approx((each * weights).sum() / weights.sum(), rel=1e-5)

    scores, ids = random.normal(size=(2, 5, 4)).astype("float32"), random.integers(0, 4, (2, 5))
    shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    each = -np.log(np.take_along_axis(shares, ids[..., None], -1)[..., 0])
    found = losses.class_loss(ops.array(scores), ids, weights)
    assert float(found) == pytest.approx((each * weights).sum() / weights.sum(), rel=1e-5)

    offsets, targets = random.normal(size=(2, 2, 5, 4)).astype("float32")
    for beta in (1.0, 1 / 9):
        away = np.abs(offsets - targets)
        each = np.where(away < beta, away**2 / (2 * beta), away - beta / 2).sum(-1)
        found = losses.box_loss(ops.array(offsets), targets, positive, weights, beta)
        assert float(found) == pytest.approx((each * positive).sum() / weights.sum(), rel=1e-5)

    logits, truth = random.normal(size=(2, 5, 6, 6)).astype("float32"), random.integers(0, 2, (2, 5, 6, 6))
    sure = 1 / (1 + np.exp(-logits))
    each = -np.log(np.where(truth == 1, sure, 1 - sure)).mean((2, 3))
    found = losses.mask_loss(ops.array(logits), truth, positive)
    assert float(found) == pytest.approx((each * positive).sum() / positive.sum(), rel=1e-5)


def test_losses_of_nothing_are_nothing():
    none = np.zeros((2, 3), "float32")
    assert float(losses.objectness_loss(ops.ones((2, 3)), none, none)) == 0
    assert float(losses.box_loss(ops.ones((2, 3, 4)), ops.zeros((2, 3, 4)), none, none)) == 0
    assert float(losses.mask_loss(ops.ones((2, 3, 4, 4)), ops.zeros((2, 3, 4, 4)), none)) == 0


def test_gradients_reach_the_maps_through_roi_align():
    """Compared with finite differences, on TensorFlow."""
    tf = pytest.importorskip("tensorflow")
    random = np.random.default_rng(0)
    x, direction = random.normal(size=(2, 1, 6, 5, 2)).astype("float32")
    boxes, weights = ops.array([[[1.0, 2, 19, 15]]]), random.normal(size=(1, 1, 3, 3, 2)).astype("float32")
    value = lambda x: ops.sum(roi_align([x], [Geometry(4, 4, 1.5)], boxes, 3) * weights)  # noqa: E731
    with tf.GradientTape() as tape:
        variable = tf.Variable(x)
        gradient = tape.gradient(value(variable), variable)
    step = 0.1  # RoIAlign is linear in the map
    expected = (value(ops.array(x + step * direction)) - value(ops.array(x - step * direction))) / (2 * step)
    assert float(ops.sum(ops.convert_to_tensor(gradient) * direction)) == pytest.approx(float(expected), rel=1e-3)
