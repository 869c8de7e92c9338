"""Pairs of classes that a mirrored image exchanges, found by their names."""

import pytest

from fcn_keras.datasets.left_right import find_pairs, find_sided, require_pairs


@pytest.mark.parametrize(
    "left, right",
    [
        ("left_eye", "right_eye"),
        ("Left Hand", "Right Hand"),
        ("kidney-left", "kidney-right"),
        ("armL", "armR"),
        ("l_brow", "r_brow"),
        ("LeftShoe", "RightShoe"),
        ("왼쪽눈", "오른쪽눈"),
        ("왼쪽 눈", "오른쪽 눈"),
        ("좌회전", "우회전"),
    ],
)
def test_pairs_by_name(left, right):
    names = ["ground", right, left, "sky"]
    assert find_pairs(names) == [(2, 1)]
    assert find_sided(names) == [right, left]
    assert require_pairs(names) == [(2, 1)]


@pytest.mark.parametrize(
    "names", [["road", "leftover", "bright", "copyright", "좌석"], ["l", "tree"], ["a", "a left b"]]
)
def test_names_without_a_pair(names):
    assert find_pairs(names) == []
    with pytest.raises(ValueError, match=r"no pair of left and right in the class names: .*Fix: .*--no-flip"):
        require_pairs(names)


def test_a_side_without_its_pair_is_told():
    assert find_sided(["road", "left lane", "오른쪽차선"]) == ["left lane", "오른쪽차선"]
