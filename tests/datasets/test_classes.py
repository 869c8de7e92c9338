"""The file classes.txt, and masks that hold colours."""

import os

import numpy as np
import pytest

from fcn_keras.datasets.classes import Classes, colors_to_ids, read_classes, voc_palette


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ground\nroad\n", Classes(("ground", "road"))),
        ("ground 0 0 0\nthe road 128 64 128\n", Classes(("ground", "the road"), ((0, 0, 0), (128, 64, 128)))),
        ("\n# mine\na 1,2,3  # first\nb\t4 5 6\r\nvoid 9 9 9", Classes(("a", "b"), ((1, 2, 3), (4, 5, 6)), (9, 9, 9))),
        ("도로 1 2 3", Classes(("도로",), ((1, 2, 3),))),
        ("lane-2 1 2 3\n", Classes(("lane-2",), ((1, 2, 3),))),
        ("void\na\nb", Classes(("a", "b"), void_id=0)),
        ("a\n# b\n\nvoid\nc", Classes(("a", "c"), void_id=1)),
        ("\ufeffground\nroad\n", Classes(("ground", "road"))),
        ("\n".join(f"c{i}x" for i in range(255)), Classes(tuple(f"c{i}x" for i in range(255)))),
    ],
)
def test_reading(text, expected, tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text(text, encoding="utf-8")
    assert read_classes(path) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "names no class"),
        (b"void 1 2 3", "names no class"),
        (b"a\nb\na", "line 3: found the name a, which line 1 already has"),
        (b"a 1 2 3\nb 1 2 3", r"line 2: found the colour \(1, 2, 3\), which line 1 already has"),
        (b"a,1,2", "line 1: found 'a,1,2': expected a name, or a name and three integers"),
        (b"a 1 2 256", "three integers in 0–255"),
        (b"a 1 2 -1", "three integers in 0–255"),
        (b"a 0.5 0.5 0.5", "three integers in 0–255"),
        (b"a 1 2 3\nb", "line 2: 'b' has no colour, but other lines have one"),
        (b"name,r,g,b\na,1,2,3", "line 1: 'name,r,g,b' has no colour, but other lines have one.*heading"),
        ("\n".join(f"c{i}x" for i in range(256)).encode(), "names 256 classes: expected at most 255"),
        ("\n".join(["void", *(f"c{i}x" for i in range(255))]).encode(), "names 255 classes: expected at most 254"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_bad_files(text, message, tmp_path):
    path = tmp_path / "classes.txt"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=message):
        read_classes(path)


def test_no_file(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        read_classes(tmp_path / "none.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(ValueError, match="not a regular file"):
        read_classes(tmp_path / "pipe.txt")


@pytest.mark.parametrize("mask", [np.zeros((2, 2, 4), "uint8"), np.zeros((2, 2), "uint8"), np.zeros((2, 2, 3))])
def test_no_mask_in_colors(mask):
    with pytest.raises(ValueError, match=r"expected uint8 \(H, W, 3\), RGB"):
        colors_to_ids(mask, Classes(("ground",), ((0, 0, 0),)))


def test_colors_become_the_ids_that_they_were_drawn_for():
    ids = np.random.default_rng(0).integers(0, 21, (13, 17)).astype("uint8")
    ids[0] = 255
    palette = voc_palette()
    classes = Classes(tuple("abcdefghijklmnopqrstu"), tuple(map(tuple, palette[:21])), tuple(palette[255]))
    np.testing.assert_array_equal(colors_to_ids(palette[ids], classes), ids)


def test_colors_of_no_class_are_named_with_their_pixels():
    mask = np.zeros((4, 5, 3), "uint8")
    mask[0], mask[1, 0] = (1, 2, 3), (0, 0, 255)
    with pytest.raises(
        ValueError, match=r"holds 2 colours of no class: \(1, 2, 3\) \(5 pixels\), \(0, 0, 255\) \(1 pixels\)"
    ):
        colors_to_ids(mask, Classes(("ground",), ((0, 0, 0),)))
    with pytest.raises(ValueError, match="the classes have none. Fix: write them into classes.txt"):
        colors_to_ids(mask, Classes(("ground",)))


GROUND_ROAD = Classes(("ground", "road"))
COLORED = Classes(("ground", "road"), ((0, 0, 0), (128, 64, 128)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# label:color_rgb:parts:actions\nground:0,0,0::\nroad:128,64,128::", COLORED),  # CVAT's labelmap.txt
        ("ground:0,0,0\nroad:128,64,128", COLORED),
        ("ground;0;0;0\nroad;128;64;128;", COLORED),
        ("ground #000000\nroad #804080  # grey-purple", COLORED),
        ("ground;#000000\nroad: #804080", COLORED),
        ("__ignore__\nground\nroad", GROUND_ROAD),  # LabelMe's labels.txt
        ("Pixel Value, Class\n0, ground\n1, road", GROUND_ROAD),  # Roboflow's _classes.csv
        ("0: ground\n1: road", GROUND_ROAD),
        ("0 ground\n1 road\n255 void", GROUND_ROAD),
        ("0;ground\n1;road", GROUND_ROAD),
        ("0) ground 0 0 0\n1) road 128 64 128", COLORED),
        ("0 void\n1 ground\n2 road", Classes(("ground", "road"), void_id=0)),
        ("grade 1\ngrade 2", Classes(("grade 1", "grade 2"))),
        ("grade 1 0 0 0\ngrade 2 128 64 128", Classes(("grade 1", "grade 2"), COLORED.colors)),
        ('"2 wheels"\n"4 wheels"', Classes(("2 wheels", "4 wheels"))),
        ("2d map\nroad", Classes(("2d map", "road"))),
    ],
)
def test_lists_of_other_tools(text, expected, tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text(text, encoding="utf-8")
    assert read_classes(path) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1: ground\n2: road", "line 1: found '1: ground', but the id of this line is 0"),
        ("0, ground\n2, road", "line 2: found '2, road', but the id of this line is 1"),
        ("2 wheels\n4 wheels", 'line 1: .*in quotes: "2 wheels"'),
        ("ground;0;0\nroad;1;1", "line 1: found 'ground;0;0': expected a name"),
        ("ground:0,0,0::\nroad", "line 2: 'road' has no colour"),
    ],
)
def test_a_line_that_is_not_read_is_named(text, message, tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_classes(path)
