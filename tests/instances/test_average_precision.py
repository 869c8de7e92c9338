"""Average precision in cases with known answers, components, and `Instances`."""

import numpy as np
import pytest

from fcn_keras import instances, visualization
from fcn_keras.instances.average_precision import InstanceEvaluation

pytest.importorskip("pycocotools", reason="pycocotools is not installed")


def square(top, left, side=10, size=(40, 40)):
    mask = np.zeros(size, "uint8")
    mask[top : top + side, left : left + side] = 1
    return mask


def objects(*squares, classes=None, scores=None):
    masks = np.stack([square(*one) for one in squares]) if squares else np.zeros((0, 40, 40), "uint8")
    boxes = np.array([[top, left, top + 10, left + 10] for top, left in squares], "float32").reshape(-1, 4)
    found = {"classes": np.array(classes or [1] * len(squares), int), "masks": masks, "boxes": boxes}
    return found | ({} if scores is None else {"scores": np.array(scores)})


@pytest.mark.parametrize("kind", ["masks", "boxes"])
def test_all_found_none_found_and_half_found(kind):
    truth = [objects((0, 0), (20, 20))]
    every = [objects((0, 0), (20, 20), scores=[0.9, 0.8])]
    half = [objects((0, 0), scores=[0.9])]
    assert instances.average_precision(truth, every, kind)["AP"] == pytest.approx(1)
    assert instances.average_precision(truth, [objects(scores=[])], kind)["AP"] == 0
    # Precision 1 at the 51 of 101 recalls up to 0.5.
    assert instances.average_precision(truth, half, kind)["AP"] == pytest.approx(51 / 101)


def test_a_shift_costs_the_overlaps_above_its_own():
    """Two rows of ten lower: overlap 8 / 12 = 0.67, enough for 0.5, 0.55, 0.6, 0.65 of the ten."""
    found = instances.average_precision([objects((5, 5))], [objects((7, 5), scores=[0.9])])
    assert found["AP50"] == pytest.approx(1) and found["AP75"] == 0 and found["AP"] == pytest.approx(0.4)


def test_a_false_one_in_front_halves_precision():
    truth, guess = [objects((0, 0))], [objects((25, 25), (0, 0), scores=[0.9, 0.8])]
    assert instances.average_precision(truth, guess)["AP50"] == pytest.approx(0.5)


def test_a_second_finding_of_one_object_is_false():
    truth = [objects((0, 0), (20, 20))]
    guess = [objects((0, 0), (0, 0), (20, 20), scores=[0.9, 0.8, 0.7])]
    # Precision 1 to recall 0.5, then 2 of 3.
    assert instances.average_precision(truth, guess)["AP50"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_classes_are_averaged_and_crowds_forgiven():
    truth = [objects((0, 0), (20, 20), classes=[1, 2])]
    guess = [objects((0, 0), classes=[1], scores=[0.9])]
    found = instances.average_precision(truth, guess)
    assert found["AP"] == pytest.approx(0.5) and found["per_class"] == pytest.approx({1: 1.0, 2: 0.0})
    crowd = [objects((0, 0), (20, 20), classes=[1, -1])]
    inside = [objects((20, 20), (0, 0), classes=[1, 1], scores=[0.9, 0.8])]
    assert instances.average_precision(crowd, inside)["AP"] == pytest.approx(1)


def test_images_without_objects():
    none = objects()
    assert np.isnan(instances.average_precision([none], [objects(scores=[])])["AP"])
    truth, guess = [none, objects((0, 0))], [objects((3, 3), scores=[0.95]), objects((0, 0), scores=[0.9])]
    assert instances.average_precision(truth, guess)["AP50"] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="Found the truth of 1 images and the findings of 2"):
        instances.average_precision([none], guess)


def test_components_are_one_where_twins_touch():
    labels = np.zeros((20, 30), int)
    labels[2:8, 2:8], labels[10:18, 5:12], labels[10:18, 12:20], labels[3, 20] = 1, 2, 2, 1
    found = instances.find_components(np.eye(3)[labels] * 0.8 + 0.2 / 3)
    assert found["classes"].tolist() == [1, 2]  # the single pixel is too small, the two squares of class 2 are one
    assert found["boxes"].tolist() == [[2, 2, 8, 8], [10, 5, 18, 20]]
    assert found["scores"] == pytest.approx([0.8 + 0.2 / 3] * 2)
    assert instances.find_components(np.eye(3)[np.zeros((4, 4), int)])["masks"].shape == (0, 4, 4)


def test_objects_lie_on_each_other_by_score():
    masks = np.stack([square(0, 0), square(5, 5)]).astype(bool)
    found = instances.Instances(np.zeros((2, 4)), np.array([1, 1]), np.array([0.9, 0.8]), masks)
    ids = found.draw_ids()
    assert ids[7, 7] == 1 and ids[12, 12] == 2 and ids[30, 30] == 0 and len(found) == 2


def test_drawn_are_a_box_and_a_name_for_each():
    one = objects((0, 0), (20, 20), classes=[1, 2], scores=[0.9, 0.75])
    image = np.full((40, 40, 3), 200, "uint8")
    figure = visualization.show_instances([image, image], [one, objects((5, 5))], ["ground", "disc", "box"])
    first, second = figure.axes
    assert {text.get_text() for text in first.texts} == {"disc 0.90", "box 0.75"}
    assert [text.get_text() for text in second.texts] == ["disc"] and len(first.patches) == 2
    picture = first.images[0].get_array()
    assert (picture[5, 5] != 200).any() and (picture[15, 15] == 200).all()
    rectangle = second.patches[0]
    assert (rectangle.get_x(), rectangle.get_y(), rectangle.get_width()) == (4.5, 4.5, 10)
    with pytest.raises(ValueError, match="Found 1 images and 2 sets of objects"):
        visualization.show_instances([image], [one, one])


def test_the_table_is_in_percent():
    row = {"AP": 0.123, "AP50": 0.5, "AP75": float("nan"), "per_class": {2: 0.123}}
    text = InstanceEvaluation({"masks": row, "boxes": row}, ["ground", "disc", "box"]).table()
    assert "| masks | 12.3 | 50.0 | nan |" in text and "| box | 12.3 |" in text
