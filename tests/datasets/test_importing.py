"""Exports of label tools, made here in their documented formats, become folders whose masks are right at every pixel."""

import base64
import functools
import io
import json
import os
import re
import shutil

import matplotlib.path
import numpy as np
import PIL.Image
import pytest
from pycocotools import mask as coco_tools

from fcn_keras import datasets, instances
from fcn_keras.cli import main
from fcn_keras.datasets.check import check
from fcn_keras.datasets.classes import read_classes
from fcn_keras.datasets.label_tools.importing import import_labels
from fcn_keras.datasets.label_tools.recognize import advise_import, recognize
from fcn_keras.datasets.label_tools.shapes import NO_AREA
from fcn_keras.datasets.masks import read_mask
from fcn_keras.datasets.segmentations import draw_segmentation

SIZE = (24, 32)
EXIF_ORIENTATION = 0x0112


def write_photo(path, size=SIZE, orientation=None, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.random.default_rng([seed, *path.name.encode()]).integers(0, 256, (*size, 3), "uint8")
    image, exif = PIL.Image.fromarray(levels), PIL.Image.Exif()
    if orientation:
        exif[EXIF_ORIENTATION] = orientation
    image.save(path, exif=exif)
    return path


def write_png(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(array).save(path)


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def box(left, top, right, bottom, id_=1, on=None, size=SIZE):
    """A mask with a rectangle, drawn in closed form: columns left … right − 1 and rows top … bottom − 1."""
    mask = np.zeros(size, "uint8") if on is None else on.copy()
    mask[top:bottom, left:right] = id_
    return mask


def corners(left, top, right, bottom):
    return [left, top, right, top, right, bottom, left, bottom]


def masks_of(target):
    folder = target / "masks"
    return {path.relative_to(folder).with_suffix("").as_posix(): read_mask(path) for path in folder.rglob("*.png")}


def lines_of(path):
    return path.read_text(encoding="utf-8").splitlines()


# --- LabelMe ---


def labelme(shapes, image="1.jpg", size=SIZE, **more):
    return {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None,
            "imageHeight": size[0], "imageWidth": size[1], **more}  # fmt: skip


def shape(label, points, kind="polygon", group=None, **more):
    return {"label": label, "points": points, "group_id": group, "shape_type": kind, "flags": {}, **more}


def test_labelme(tmp_path):
    source, target = tmp_path / "export", tmp_path / "my_data"
    png = io.BytesIO()
    stroke = np.array([[1, 0, 1], [1, 1, 1]], bool)
    PIL.Image.fromarray(stroke).save(png, "PNG")
    shapes = [
        shape("road", [[2, 3], [20, 3], [20, 10], [2, 10]]),
        shape("car", [[15, 12], [5, 5]], "rectangle", group=7),  # corners in any order
        shape("car", [[20, 5], [25, 8]], "rectangle", group=7),
        shape("sign", [[28, 20], [29, 22]], "mask", mask=base64.b64encode(png.getvalue()).decode()),
        shape("car", [[3, 15], [3, 20]], "line"),
        shape("road", [[8, 8], [10, 8], [10, 10], [8, 10]]),  # later: on top of the car
    ]
    shapes[3]["points"] = [[28, 20], [30, 21]]
    write_json(source / "labels" / "1.json", labelme(shapes, "../photos/1.jpg"))
    write_photo(source / "photos" / "1.jpg")
    result = import_labels(source, target)

    expected = box(2, 3, 20, 10, 2)
    car = box(20, 5, 25, 8, 1, box(5, 5, 15, 12))
    expected = np.where(car > 0, 1, expected)
    expected[20:22, 28:31] = 3 * stroke
    expected[8:10, 8:10] = 2
    np.testing.assert_array_equal(masks_of(target)["1"], expected)
    assert lines_of(target / "classes.txt") == ["background", "car", "road", "sign"]
    assert result["left_out"] == {NO_AREA: 1}
    assert (result["tool"], result["images"], result["objects"]) == ("LabelMe", 1, 4)
    (path,) = target.glob("instances_*.json")  # a single image: of one split
    found = json.loads(path.read_text())
    grouped = [one for one in found["annotations"] if one["category_id"] == 1]
    assert len(grouped) == 1  # two shapes with one group id
    np.testing.assert_array_equal(coco_tools.decode(grouped[0]["segmentation"]), car)
    assert (target / "images" / "1.jpg").read_bytes() == (source / "photos" / "1.jpg").read_bytes()


def test_a_circle_is_round(tmp_path):
    write_json(tmp_path / "export" / "1.json", labelme([shape("ball", [[16, 12], [16, 20]], "circle")]))
    write_photo(tmp_path / "export" / "1.jpg")
    import_labels(tmp_path / "export", tmp_path / "my_data")
    rows, columns = np.indices(SIZE) + 0.5
    distance = np.hypot(rows - 12, columns - 16)
    found = masks_of(tmp_path / "my_data")["1"]
    clear = np.abs(distance - 8) > 0.75
    np.testing.assert_array_equal(found[clear], (distance < 8)[clear])


def test_the_order_of_labelme_classes_comes_from_labels_txt(tmp_path):
    shapes = [shape("tree", corner) for corner in ([[0, 0], [4, 0], [4, 4], [0, 4]],)]
    shapes += [shape("__ignore__", [[8, 8], [12, 8], [12, 12], [8, 12]])]
    write_json(tmp_path / "export" / "1.json", labelme(shapes))
    write_photo(tmp_path / "export" / "1.jpg")
    (tmp_path / "export" / "labels.txt").write_text("__ignore__\n_background_\nwater\ntree\n")
    import_labels(tmp_path / "export", tmp_path / "a")
    assert lines_of(tmp_path / "a" / "classes.txt") == ["_background_", "water", "tree"]
    np.testing.assert_array_equal(masks_of(tmp_path / "a")["1"], box(8, 8, 12, 12, 255, box(0, 0, 4, 4, 2)))
    (tmp_path / "export" / "labels.txt").write_text("_background_\nwater\n")
    with pytest.raises(ValueError, match=r"labels.txt does not name the labels \['tree'\]. Fix: "):
        import_labels(tmp_path / "export", tmp_path / "b")


# --- COCO ---


def coco(images, annotations, categories=((3, "car"), (7, "dog"))):
    return {
        "images": [{"id": i, "file_name": name, "height": SIZE[0], "width": SIZE[1]} for i, name in images.items()],
        "categories": [{"id": i, "name": name} for i, name in categories],
        "annotations": [{"id": n, "iscrowd": 0, **one} for n, one in enumerate(annotations, start=1)],
    }


def annotate(image, category, segmentation, **more):
    return {"image_id": image, "category_id": category, "segmentation": segmentation, **more}


def test_coco_polygons_run_lengths_and_crowds(tmp_path):
    source, target = tmp_path / "export", tmp_path / "my_data"
    crowd = box(20, 0, 30, 6)
    dog = np.asfortranarray(box(4, 4, 9, 9))
    text = coco_tools.encode(dog)["counts"].decode()
    counts, flat = [], crowd.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    annotations = [
        annotate(1, 7, [corners(2, 2, 6, 6), corners(10, 2, 12, 6)]),  # one object of two parts
        annotate(1, 3, {"size": list(SIZE), "counts": text}),
        annotate(1, 7, {"size": list(SIZE), "counts": counts}, iscrowd=1),
        annotate(1, 3, [], bbox=[1, 1, 2, 2]),
    ]
    for annotation in annotations:
        annotation["id"] = 0  # scripts write such files
    write_json(source / "annotations" / "instances_default.json", coco({1: "a/1.jpg", 2: "b/1.jpg"}, annotations))
    for name in ("a", "b"):
        write_photo(source / "images" / name / "1.jpg", seed=ord(name))
    result = import_labels(source, target)

    expected = box(10, 2, 12, 6, 2, box(2, 2, 6, 6, 2))
    expected = box(20, 0, 30, 6, 2, box(4, 4, 9, 9, 1, expected))
    found = masks_of(target)
    np.testing.assert_array_equal(found["a/1"], expected)
    assert not found["b/1"].any()  # nobody drew anything: background
    assert lines_of(target / "classes.txt") == ["background", "car", "dog"]
    assert result["left_out"] == {"objects that have only a box": 1}

    files = {path.name: json.loads(path.read_text()) for path in target.glob("instances_*.json")}
    (file,) = [name for name, content in files.items() if content["annotations"]]
    source = instances.open_source("coco", annotations=target / file, images=target / "images")
    examples = [source.decode(one) for one in source.undecoded]
    (example,) = [one for one in examples if len(one["classes"])]
    assert source.class_names == ["background", "car", "dog"]
    assert example["classes"].numpy().tolist() == [2, 1, -1]
    np.testing.assert_array_equal(example["masks"][1], dog)
    np.testing.assert_array_equal(example["masks"][2], crowd)


def test_coco_things_lie_on_stuff_and_splits_are_kept(tmp_path):
    source, target = tmp_path / "export", tmp_path / "my_data"
    for split in ("train", "val"):
        name = f"{split}.jpg"
        things = coco({1: name}, [annotate(1, 3, [corners(2, 2, 10, 10)])])
        stuff = coco({1: name}, [annotate(1, 150, [corners(0, 0, 32, 8)])], [(150, "sky")])
        keypoints = coco(
            {1: name}, [annotate(1, 3, [corners(2, 2, 10, 10)])]
        )  # repeats the annotation of the instances
        for kind, content in (("instances", things), ("stuff", stuff), ("person_keypoints", keypoints)):
            write_json(source / "annotations" / f"{kind}_{split}2017.json", content)
        write_photo(source / f"{split}2017" / name)
    result = import_labels(source, target)
    for mask in masks_of(target).values():
        np.testing.assert_array_equal(mask, box(2, 2, 10, 10, 1, box(0, 0, 32, 8, 3)))
    assert lines_of(target / "classes.txt") == ["background", "car", "dog", "sky"]
    assert result["splits"] == {"train": 1, "validation": 1} and result["objects"] == 2  # sky is no object
    assert lines_of(target / "train.txt") == ["train2017/train"]
    found = json.loads((target / "instances_validation.json").read_text())
    assert [image["file_name"] for image in found["images"]] == ["val2017/val.jpg"]
    assert check(target).counts == {"train": 1, "validation": 1}


@pytest.mark.parametrize("seed", range(5))
def test_polygons_are_those_of_pycocotools(seed, tmp_path):
    points = np.random.default_rng(seed).uniform(-5, 40, (3, 10)).tolist()
    write_json(tmp_path / "export" / "x.json", coco({1: "1.jpg"}, [annotate(1, 3, points)]))
    write_photo(tmp_path / "export" / "1.jpg")
    import_labels(tmp_path / "export", tmp_path / "my_data")
    expected = coco_tools.decode(coco_tools.merge(coco_tools.frPyObjects(points, *SIZE)))
    np.testing.assert_array_equal(masks_of(tmp_path / "my_data")["1"], expected)
    np.testing.assert_array_equal(draw_segmentation(points, *SIZE), expected)


@pytest.mark.parametrize("edges", [(0, 0, 32, 24), (3, 4, 4, 5), (1, 2, 31, 23), (-3, -3, 5, 5), (30, 20, 40, 30)])
def test_rectangles_cover_the_pixels_between_their_corners(edges):
    left, top, right, bottom = edges
    expected = box(max(left, 0), max(top, 0), right, bottom)
    np.testing.assert_array_equal(draw_segmentation([corners(*edges)], *SIZE), expected)


@pytest.mark.parametrize("seed", range(4))
def test_a_pixel_belongs_to_a_polygon_if_its_centre_lies_inside(seed):
    generator = np.random.default_rng(seed)
    angles, radii = np.sort(generator.uniform(0, 2 * np.pi, 9)), generator.uniform(4, 11, 9)
    points = np.stack([16 + radii * np.cos(angles), 12 + radii * np.sin(angles)], axis=-1)
    outline = matplotlib.path.Path(points, closed=False)
    centres = np.indices(SIZE)[::-1].reshape(2, -1).T + 0.5
    inside = outline.contains_points(centres, radius=0).reshape(SIZE)
    steps = np.linspace(points, np.roll(points, -1, axis=0), 200).reshape(-1, 2)
    clear = (np.linalg.norm(centres[:, None] - steps, axis=-1).min(axis=1) > 0.5).reshape(SIZE)
    found = draw_segmentation([points.ravel().tolist()], *SIZE)
    np.testing.assert_array_equal(found[clear], inside[clear])
    assert clear.mean() > 0.8 and inside.any()


@pytest.mark.parametrize("size", [(1, 1), (24, 32), (90, 7)])
def test_run_lengths_are_those_of_pycocotools(size):
    for share in (0, 0.1, 0.5, 0.97, 1):
        mask = (np.random.default_rng(3).random(size) < share).astype("uint8")
        mask = np.kron(mask, np.ones((3, 2), "uint8"))
        runs = coco_tools.encode(np.asfortranarray(mask))
        np.testing.assert_array_equal(draw_segmentation(runs, *mask.shape), mask)
        runs["counts"] = runs["counts"].decode()
        np.testing.assert_array_equal(draw_segmentation(runs, *mask.shape), mask)


TALL = "do not add up to 24×32 pixels"
DAMAGED = {
    "two points": ([[1, 1, 5, 5]], "x and y of three points"),  # pycocotools takes it for a box
    "odd": ([[1, 1, 5, 5, 2, 2, 7]], "x and y of three points"),
    "no numbers": ([["a"] * 6], "x and y of three points"),
    "NaN": ([[1, 1, 5, float("nan"), 2, 2]], "far outside"),
    "infinite": ([[1, 1, 5, float("inf"), 2, 2]], "far outside"),
    "huge": ([[1, 1, 1e9, 5, 2, 2]], "far outside"),
    "too short": ({"size": [24, 32], "counts": [700]}, TALL),  # pycocotools returns memory that nobody wrote
    "too long": ({"size": [24, 32], "counts": [10, 10**9]}, TALL),
    "negative": ({"size": [24, 32], "counts": [-1, 769]}, TALL),
    "text": ({"size": [24, 32], "counts": "1"}, TALL),
    "bad text": ({"size": [24, 32], "counts": "zzzz~~~"}, TALL),
    "no counts": ({"size": [24, 32]}, TALL),
    "size": ({"size": [32, 24], "counts": [768]}, "size .32, 24.: expected 24×32"),
    "word": ("car", "expected polygons or run lengths"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_segmentations_are_named(name, tmp_path):
    segmentation, told = DAMAGED[name]
    write_json(tmp_path / "export" / "x.json", coco({1: "1.jpg"}, [annotate(1, 3, segmentation)]))
    write_photo(tmp_path / "export" / "1.jpg")
    with pytest.raises(ValueError, match=rf"x\.json, image 1: .*{told}"):
        import_labels(tmp_path / "export", tmp_path / "my_data")
    assert os.listdir(tmp_path) == ["export"]  # nothing is left of the failed import


# --- Label Studio ---


def pack(values):
    """Encodes RGBA values as Label Studio does (rle-pack): a header, then runs that are repeated or written out."""
    bits = f"{len(values):032b}" + f"{8 - 1:05b}" + "".join(f"{n - 1:04b}" for n in (3, 4, 8, 16))
    start = 0
    while start < len(values):
        end = start
        while end < len(values) and values[end] == values[start] and end - start < 2**16:
            end += 1
        if end - start >= 3:
            bits += "1" + f"{3:02b}" + f"{end - start - 1:016b}" + f"{values[start]:08b}"
        else:
            end = min(start + 7, len(values))
            bits += "0" + f"{0:02b}" + f"{end - start - 1:03b}" + "".join(f"{value:08b}" for value in values[start:end])
        start = end
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def brush(mask):
    rgba = np.repeat((mask * 255).astype("uint8")[..., None], 4, axis=-1)
    return pack(rgba.ravel().tolist())


def region(kind, geometry, label="car", **more):
    value = {**geometry, f"{kind}labels": [label]} if label else geometry
    return {"id": f"{kind}{len(str(value))}", "type": f"{kind}labels", "value": value, "original_width": SIZE[1],
            "original_height": SIZE[0], "image_rotation": 0, "from_name": "tag", "to_name": "image"} | more  # fmt: skip


def task(number, results, image="/data/upload/1/0a1b2c3d-1.jpg", **more):
    annotations = [{"id": number, "result": results, "was_cancelled": False}]
    return {"id": number, "data": {"image": image, "text": "a note"}, "annotations": annotations, **more}


def percent(left, top, right, bottom):
    return {"x": 100 * left / SIZE[1], "y": 100 * top / SIZE[0], "width": 100 * (right - left) / SIZE[1],
            "height": 100 * (bottom - top) / SIZE[0], "rotation": 0}  # fmt: skip


def test_label_studio(tmp_path):
    source, target = tmp_path / "export", tmp_path / "my_data"
    stroke = np.random.default_rng(1).random(SIZE) < 0.3
    points = [[100 * x / SIZE[1], 100 * y / SIZE[0]] for x, y in ((4, 4), (12, 4), (12, 12), (4, 12))]
    turned = {**percent(20, 4, 28, 8), "rotation": 90}  # clockwise around its upper left corner
    results = [
        region("brush", {"format": "rle", "rle": brush(stroke)}, "grass"),
        region("polygon", {"points": points, "closed": True}),
        region("rectangle", percent(6, 6, 9, 20), "sign"),
        region("rectangle", turned, "sign"),
        region("keypoint", {"x": 10, "y": 10, "width": 0.3}),
        region("polygon", {"points": points}, None),
        {"id": "c", "type": "choices", "value": {"choices": ["day"]}, "from_name": "when", "to_name": "image"},
    ]
    results.append({"id": results[1]["id"], "type": "textarea", "value": {"text": ["dirty"]}})  # about a region
    for result in results[2:4]:
        del result["id"]  # of predictions that were accepted
    empty = {"id": 3, "data": {"image": "s3://bucket/b/사진.jpg?signature=1"}, "annotations": [{"result": []}]}
    open_ = {"id": 4, "data": {"image": "/data/upload/1/none.jpg"}, "annotations": []}
    write_json(source / "project.json", [task(1, results), empty, open_])
    write_photo(source / "photos" / "1.jpg")
    write_photo(source / "photos" / "사진.jpg")
    result = import_labels(source, target)

    expected = box(4, 4, 12, 12, 1, 2 * stroke.astype("uint8"))
    expected = box(16, 4, 20, 12, 3, box(6, 6, 9, 20, 3, expected))
    found = masks_of(target)
    np.testing.assert_array_equal(found["1"], expected)
    assert sorted(found) == ["1", "사진"] and not found["사진"].any()
    assert lines_of(target / "classes.txt") == ["background", "car", "grass", "sign"]
    assert result["objects"] == 4
    assert result["left_out"] == {
        NO_AREA: 2,
        "images that nobody has labelled": 1,
    }


def test_label_studio_several_annotators(tmp_path):
    source = tmp_path / "export"
    write_photo(source / "1.jpg")
    one = task(1, [region("rectangle", percent(0, 0, 4, 4))])
    one["annotations"].append({"result": [region("rectangle", percent(8, 8, 12, 12))]})
    write_json(source / "p.json", [one])
    with pytest.raises(ValueError, match="task 1 has 2 annotations: expected one. Fix: mark one as ground truth"):
        import_labels(source, tmp_path / "a")
    one["annotations"][1]["ground_truth"] = True
    write_json(source / "p.json", [one])
    import_labels(source, tmp_path / "b")
    np.testing.assert_array_equal(masks_of(tmp_path / "b")["1"], box(8, 8, 12, 12))


def test_label_studio_masks_without_the_json(tmp_path):
    write_photo(tmp_path / "export" / "1.jpg")
    write_png(tmp_path / "export" / "task-1-annotation-1-by-1-tag-car-0.png", 255 * box(2, 2, 9, 9))
    with pytest.raises(
        ValueError, match="names do not tell to which images they belong. Fix: export the project as JSON"
    ):
        import_labels(tmp_path / "export", tmp_path / "a")
    write_json(tmp_path / "export" / "p.json", [task(1, [region("brush", {"rle": brush(box(2, 2, 9, 9))})])])
    import_labels(tmp_path / "export", tmp_path / "b")
    np.testing.assert_array_equal(masks_of(tmp_path / "b")["1"], box(2, 2, 9, 9))


@pytest.mark.parametrize(
    "change", [lambda c: c[:20], lambda c: [0, 0, 0, 9, *c[4:]], lambda c: [300, *c], lambda c: "ab"]
)
def test_label_studio_damaged_strokes(change, tmp_path):
    write_photo(tmp_path / "export" / "1.jpg")
    code = change(brush(box(2, 2, 9, 9)))
    write_json(tmp_path / "export" / "p.json", [task(1, [region("brush", {"rle": code})])])
    with pytest.raises(ValueError, match="p.json, task 1: a brush stroke"):
        import_labels(tmp_path / "export", tmp_path / "a")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"image_rotation": 90}, "a rotated image"),
        ({"value": {**percent(0, 0, 4, 4), "rectanglelabels": ["a", "b"]}}, "the labels"),
    ],
)
def test_label_studio_regions_that_are_not_clear(more, told, tmp_path):
    write_photo(tmp_path / "export" / "1.jpg")
    write_json(tmp_path / "export" / "p.json", [task(1, [region("rectangle", percent(0, 0, 4, 4), **more)])])
    with pytest.raises(ValueError, match=told):
        import_labels(tmp_path / "export", tmp_path / "a")


# --- CVAT, VOC, Roboflow ---

LABELMAP = "# label:color_rgb:parts:actions\nroad:128,64,128::\nbackground:0,0,0::\nbig car:10,20,200::\n"


def write_cvat(source, name="a/1", images=True, lists=("default",)):
    ids = box(2, 2, 20, 9, 1)  # 0 background, 1 road, 2 big car
    ids = box(22, 10, 30, 20, 2, box(4, 12, 12, 20, 2, ids))
    colors = np.array([(0, 0, 0), (128, 64, 128), (10, 20, 200)], "uint8")
    objects = box(22, 10, 30, 20, 3, box(4, 12, 12, 20, 2, box(2, 2, 20, 9, 1)))
    write_png(source / "SegmentationClass" / f"{name}.png", colors[ids])
    write_png(
        source / "SegmentationObject" / f"{name}.png",
        np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0), (9, 9, 9)], "uint8")[objects],
    )
    (source / "labelmap.txt").write_text(LABELMAP)
    for file in lists:
        path = source / "ImageSets" / "Segmentation" / f"{file}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")
    if images:
        write_photo(source / "JPEGImages" / f"{name}.jpg")
    return ids, objects


def test_cvat(tmp_path):
    source, target = tmp_path / "export", tmp_path / "my_data"
    ids, objects = write_cvat(source)
    result = import_labels(source, target)
    assert lines_of(target / "classes.txt") == ["background", "road", "big car"]
    np.testing.assert_array_equal(masks_of(target)["a/1"], ids)
    assert (result["tool"], result["objects"], result["splits"]) == ("CVAT", 3, {})
    (path,) = [path for path in target.glob("instances_*.json") if json.loads(path.read_text())["annotations"]]
    found = json.loads(path.read_text())["annotations"]
    by_color = {1: 2, 2: 3, 3: 1}  # objects in the order of the codes of their colours
    for one, color in zip(
        found, sorted(by_color, key=lambda c: ((0, 0), (128, 0, 0), (0, 128, 0), (9, 9, 9))[c]), strict=True
    ):
        mask = coco_tools.decode(one["segmentation"])
        assert any((mask == (objects == number)).all() for number in (1, 2, 3)), color
        assert (ids[mask > 0] == one["category_id"]).all()


def test_cvat_without_images(tmp_path):
    write_cvat(tmp_path / "export", images=False)
    with pytest.raises(ValueError, match="the image a/1 is missing.* Fix: copy the images into"):
        import_labels(tmp_path / "export", tmp_path / "my_data")
    write_photo(tmp_path / "export" / "photos" / "a" / "1.jpg")
    assert import_labels(tmp_path / "export", tmp_path / "my_data")["images"] == 1


def test_cvat_colors(tmp_path):
    ids, _ = write_cvat(tmp_path / "export")
    labelmap = tmp_path / "export" / "labelmap.txt"
    labelmap.write_text(LABELMAP.replace("background:0,0,0::\n", ""))  # what nobody labelled is black all the same
    import_labels(tmp_path / "export", tmp_path / "a")
    assert lines_of(tmp_path / "a" / "classes.txt") == ["background", "road", "big car"]
    np.testing.assert_array_equal(masks_of(tmp_path / "a")["a/1"], ids)
    labelmap.write_text(LABELMAP.replace("10,20,200", "10,20,201"))
    with pytest.raises(ValueError, match=r"SegmentationClass/a/1.png: .*colours of no class: \(10, 20, 200\)"):
        import_labels(tmp_path / "export", tmp_path / "b")


def test_voc_with_its_lists(tmp_path):
    source, target = tmp_path / "export", tmp_path / "my_data"
    for number, split in enumerate(("train", "val", "test")):
        ids = box(2, 2, 9, 9, 1, box(2, 2, 10, 10, 255))
        path = source / "SegmentationClass" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = PIL.Image.fromarray(ids)
        image.putpalette(np.arange(768, dtype="uint8").tobytes())
        image.save(path)
        write_photo(source / "JPEGImages" / f"{number}.jpg")
        (source / "ImageSets" / "Segmentation").mkdir(parents=True, exist_ok=True)
        (source / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(f"{number}\n")
    with pytest.raises(ValueError, match="does not name its classes. Fix: write .*classes.txt"):
        import_labels(source, target)
    (source / "class_names.txt").write_text("_background_\ncar\n")
    result = import_labels(source, target)
    assert result["splits"] == {"train": 1, "validation": 1, "test": 1}
    assert lines_of(target / "validation.txt") == ["1"]
    np.testing.assert_array_equal(masks_of(target)["2"], box(2, 2, 9, 9, 1, box(2, 2, 10, 10, 255)))


def test_voc_itself(tmp_path):
    source = tmp_path / "VOCdevkit" / "VOC2012"
    write_png(source / "SegmentationClass" / "1.png", box(2, 2, 9, 9, 15))
    write_photo(source / "JPEGImages" / "1.jpg")
    assert import_labels(tmp_path / "VOCdevkit", tmp_path / "my_data")["classes"][15] == "person"
    np.testing.assert_array_equal(masks_of(tmp_path / "my_data")["VOC2012/1"], box(2, 2, 9, 9, 15))


def test_roboflow(tmp_path):
    source, target = tmp_path / "export", tmp_path / "my_data"
    for split in ("train", "valid", "test"):
        write_photo(source / split / "a_jpg.rf.0f3e.jpg", seed=len(split))
        write_png(source / split / "a_jpg.rf.0f3e_mask.png", box(2, 2, 9, 9, len(split) - 4 or 1))
        (source / split / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, blue car\n")
    write_png(source / "test" / "a_jpg.rf.0f3e_mask.png", box(1, 1, 9, 9))
    result = import_labels(source, target)
    assert result["splits"] == {"train": 1, "validation": 1, "test": 1} and result["objects"] == 0
    assert lines_of(target / "classes.txt") == ["background", "blue car"]
    np.testing.assert_array_equal(masks_of(target)["test/a_jpg.rf.0f3e"], box(1, 1, 9, 9))
    assert lines_of(target / "validation.txt") == ["valid/a_jpg.rf.0f3e"]
    (source / "test" / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, red car\n")
    with pytest.raises(ValueError, match="name different classes. Fix: "):
        import_labels(source, tmp_path / "b")


# --- Names ---


@pytest.mark.parametrize(
    ("image", "mask"),
    [("1.jpg", "1_mask.png"), ("images/1.jpg", "masks/1.jpg.png"), ("Images/1.png", "Masks/1.png"), ("a/1.jpg", "a/1_GT.tif"),
     ("imgs/x/1.jpeg", "labels/x/1-label.bmp"), ("images/1_label.jpg", "Masks/1_label.png")],
)  # fmt: skip
def test_names_with_suffixes(image, mask, tmp_path):
    source, target = tmp_path / "export", tmp_path / "my_data"
    write_photo(source / image)
    write_png(source / mask, box(2, 2, 9, 9))
    (source / "classes.txt").write_text("ground\ncar\n")
    assert "fcn-keras import" in advise_import(source)
    import_labels(source, target)
    (path,) = (target / "masks").rglob("1*.*")
    assert path.read_bytes() == (source / mask).read_bytes() and path.suffix == os.path.splitext(mask)[1]
    assert len(check(target).class_names) == 2


def test_a_mask_for_each_class(tmp_path):
    source, target = tmp_path / "export", tmp_path / "my_data"
    write_photo(source / "images" / "day-1.jpg")
    write_photo(source / "images" / "day-1-b.jpg")
    write_png(source / "masks" / "day-1-car-0.png", 255 * box(2, 2, 9, 9))
    write_png(source / "masks" / "day-1-car-1.png", 255 * box(12, 2, 15, 9))
    write_png(source / "masks" / "day-1_road.png", box(0, 8, 32, 24))
    write_png(source / "masks" / "day-1-b-road.png", 255 * box(0, 8, 32, 24))
    import_labels(source, target)
    assert lines_of(target / "classes.txt") == ["background", "car", "road"]
    expected = box(0, 8, 32, 24, 2, box(12, 2, 15, 9, 1, box(2, 2, 9, 9)))
    np.testing.assert_array_equal(masks_of(target)["day-1"], expected)
    np.testing.assert_array_equal(masks_of(target)["day-1-b"], box(0, 8, 32, 24, 2))
    write_png(source / "masks" / "day-1-car-1.png", box(12, 2, 15, 9, 7, box(1, 1, 3, 3)))
    with pytest.raises(ValueError, match="day-1-car-1.png .*holds 3 values: expected 24×32, and two values"):
        import_labels(source, tmp_path / "b")


def test_names_that_do_not_pair(tmp_path):
    for name in ("1", "2"):
        write_photo(tmp_path / "export" / f"{name}.jpg")
    for name in ("1_mask", "3_mask"):
        write_png(tmp_path / "export" / f"{name}.png", box(2, 2, 9, 9))
    with pytest.raises(ValueError, match=r"3_mask.png has no image.*Fix: "):
        import_labels(tmp_path / "export", tmp_path / "my_data")


# --- What is the same for all tools ---


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("upright", [True, False])
def test_labels_of_images_that_exif_turns(orientation, upright, tmp_path):
    """Tools that show the image upright, and tools that do not: the mask fits the image as `read_image` reads it."""
    stored = np.zeros((*SIZE, 3), "uint8")
    stored[3:9, 5:21] = 255
    exif = PIL.Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    source = tmp_path / "export"
    source.mkdir()
    PIL.Image.fromarray(stored).save(source / "1.png", exif=exif)
    shown = datasets.images.read_image(source / "1.png")
    if not upright and shown.shape == stored.shape:
        pytest.skip("the size does not tell")
    seen = shown if upright else stored
    rows, columns = np.nonzero(seen[..., 0])
    rectangle = [[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]]
    label = shape("car", np.array(rectangle).tolist(), "rectangle")
    write_json(source / "1.json", labelme([label], "1.png", seen.shape[:2]))
    import_labels(source, tmp_path / "my_data")
    read = datasets.images.read_image(tmp_path / "my_data" / "images" / "1.png")
    np.testing.assert_array_equal(masks_of(tmp_path / "my_data")["1"], read[..., 0] > 0)
    (path,) = [p for p in (tmp_path / "my_data").glob("instances_*") if json.loads(p.read_text())["annotations"]]
    opened = instances.open_source("coco", annotations=path, images=tmp_path / "my_data" / "images")
    np.testing.assert_array_equal(opened.decode(next(iter(opened.undecoded)))["masks"][0], read[..., 0] > 0)


ONE = [[2, 2], [9, 2], [9, 9], [2, 9]]
REFUSED = {
    "missing": (lambda: labelme([shape("car", ONE)], "2.jpg", imageData="aGk="), "the image 2.jpg is missing.*those inside of JSON files are not read"),
    "outside": (lambda: labelme([shape("car", ONE)], "../../secret.jpg"), r"the image ../../secret.jpg lies outside of"),
    "other size": (lambda: labelme([shape("car", ONE)], size=(48, 64)), "is 24×32, its labels 48×64. Fix: "),
    "no shape": (lambda: labelme([]), "holds no label that covers an area"),
    "no points": (lambda: labelme([{"label": "car"}]), "x.json lacks the structure of LabelMe's JSON"),
    "no path": (lambda: labelme([shape("car", ONE)], ""), "is missing"),
    "name": (lambda: labelme([shape("a#b", ONE)]), "class name 'a#b' cannot be written"),
    "PNG": (lambda: labelme([shape("car", ONE[:2], "mask", mask="no PNG")]), "a mask cannot be read"),
    "text": (lambda: "{", "x.json cannot be read: "),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named_and_leaves_nothing(name, tmp_path):
    content, told = REFUSED[name]
    source = tmp_path / "home" / "export"
    write_photo(source / "1.jpg")
    write_photo(tmp_path / "secret.jpg")
    write_json(source / "a.json", labelme([shape("dog", ONE)]) if name == "text" else {})
    content = content()
    (source / "x.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=told):
        import_labels(source, tmp_path / "my_data")
    assert sorted(os.listdir(tmp_path)) == ["home", "secret.jpg"]


ODD = [None, -1, "x", [], {}, 1e9, float("nan"), float("inf"), True, "../../etc/passwd", [[1]], {"a": 1}, "\0", 10**30]


def find_nodes(content, path=()):
    yield path
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in [*items][:20]:
        yield from find_nodes(value, (*path, key))


@pytest.mark.parametrize("tool", ["LabelMe", "COCO", "Label Studio"])
def test_damaged_files_are_refused_or_imported_whole(tool, tmp_path):
    """Values that are missing or odd, anywhere in the file: one line says what is wrong, and nothing is left behind."""
    runs = {"size": list(SIZE), "counts": [700, 68]}
    shapes = [shape("road", ONE, group=1), shape("car", ONE[::2], "rectangle"), shape("ball", ONE[:2], "circle")]
    regions = [region("brush", {"rle": brush(box(2, 2, 9, 9))}), region("rectangle", percent(1, 1, 9, 9)),
               region("polygon", {"points": ONE}), region("ellipse", {"x": 50, "y": 50, "radiusX": 10, "radiusY": 5})]  # fmt: skip
    content = {
        "LabelMe": labelme(shapes),
        "COCO": coco({1: "1.jpg"}, [annotate(1, 3, [corners(2, 2, 9, 9)]), annotate(1, 7, runs, iscrowd=1)]),
        "Label Studio": [task(1, regions)],
    }[tool]
    source, target = tmp_path / "export", tmp_path / "my_data"
    write_photo(source / "1.jpg")
    generator, refused = np.random.default_rng(0), 0
    paths = [path for path in find_nodes(content) if path]
    for _ in range(70):
        damaged = json.loads(json.dumps(content))
        *path, last = paths[generator.integers(len(paths))]
        place = functools.reduce(lambda inside, key: inside[key], path, damaged)
        if generator.random() < 0.3:
            del place[last]
        else:
            place[last] = ODD[generator.integers(len(ODD))]
        write_json(source / "x.json", damaged)
        try:
            import_labels(source, target)
            assert masks_of(target)["1"].shape == SIZE
            shutil.rmtree(target)
        except ValueError as error:
            refused += 1
            assert "Fix:" in str(error) or "expected" in str(error), error
        assert os.listdir(tmp_path) == ["export"]
    assert 10 < refused < 60


def test_links_that_lead_out_are_not_followed(tmp_path):
    write_photo(tmp_path / "secret.jpg")
    write_json(tmp_path / "export" / "1.json", labelme([shape("car", ONE)]))
    (tmp_path / "export" / "1.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(ValueError, match="is a link that leads out of the folder. Fix: copy the file"):
        import_labels(tmp_path / "export", tmp_path / "my_data")


def test_all_problems_are_named_at_once(tmp_path):
    for number in range(30):
        write_json(tmp_path / "export" / f"{number:02}.json", labelme([shape("car", ONE)], f"{number}.jpg"))
    with pytest.raises(ValueError, match=r"(?s)00.json: .*19.json: .*and 10 more"):
        import_labels(tmp_path / "export", tmp_path / "my_data")


def test_names_that_occur_twice(tmp_path):
    source = tmp_path / "export"
    for folder in "ab":
        write_photo(source / folder / "1.jpg", seed=ord(folder))
        write_json(source / folder / "1.json", labelme([shape(folder, ONE)]))  # beside its image: clear
    import_labels(source, tmp_path / "c")
    assert {name: mask.max() for name, mask in masks_of(tmp_path / "c").items()} == {"a/1": 1, "b/1": 2}
    for folder in "ab":
        (source / folder / "1.json").unlink()
    write_json(source / "x.json", coco({1: "1.jpg"}, [annotate(1, 3, [corners(2, 2, 9, 9)])]))
    with pytest.raises(ValueError, match="the image 1.jpg may be .*a/1.jpg or .*b/1.jpg. Fix: "):
        import_labels(source, tmp_path / "d")
    write_photo(source / "a" / "1.png")
    write_json(source / "x.json", coco({1: "a/1.jpg", 2: "a/1.png"}, [annotate(1, 3, [corners(2, 2, 9, 9)])]))
    with pytest.raises(
        ValueError, match="x.json, image 2: two images are called a/1, or .*1.png has two labels. Fix: "
    ):
        import_labels(source, tmp_path / "d")


def test_unicode_forms_and_windows_paths(tmp_path):
    write_photo(tmp_path / "export" / "사진" / "Caf\u0065\u0301.jpg")  # decomposed, as on macOS
    write_json(tmp_path / "export" / "1.json", labelme([shape("차", ONE)], "C:\\Users\\me\\사진\\Caf\u00e9.jpg"))
    import_labels(tmp_path / "export", tmp_path / "my_data")
    assert read_classes(tmp_path / "my_data" / "classes.txt").names == ("background", "차")
    assert [mask.max() for mask in masks_of(tmp_path / "my_data").values()] == [1]


def test_targets(tmp_path):
    source, target = tmp_path / "export", tmp_path / "my_data"
    write_cvat(source)
    target.mkdir()
    import_labels(source, target)  # an empty folder is taken
    before = sorted(path.name for path in target.rglob("*"))
    with pytest.raises(ValueError, match="exists already. Fix: "):
        import_labels(source, target)
    assert sorted(path.name for path in target.rglob("*")) == before
    with pytest.raises(ValueError, match="lies inside of"):
        import_labels(source, source / "my_data")
    with pytest.raises(ValueError, match="There is no exprt.*Did you mean 'export'"):
        import_labels(tmp_path / "exprt", tmp_path / "b")
    (tmp_path / "x.zip").touch()
    with pytest.raises(ValueError, match="x.zip is a file. Fix: unpack it"):
        import_labels(tmp_path / "x.zip", tmp_path / "b")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(
        ValueError, match="is not the export of a label tool that is known: found nothing; expected CVAT"
    ):
        import_labels(tmp_path / "nothing", tmp_path / "b")


def test_an_import_that_is_stopped_leaves_nothing(tmp_path, monkeypatch):
    write_cvat(tmp_path / "export")

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.copyfile", stop)
    with pytest.raises(KeyboardInterrupt):
        import_labels(tmp_path / "export", tmp_path / "my_data")
    assert os.listdir(tmp_path) == ["export"]


def write_many(source, tool):
    """The same ten images as an export of each tool."""
    images = {number: f"{number}.jpg" for number in range(10)}
    if tool == "COCO":
        write_json(source / "x.json", coco(images, [annotate(n, 3, [corners(2, 2, 20, 20)]) for n in images]))
    for number, name in images.items():
        write_photo(source / "JPEGImages" / name if tool == "CVAT" else source / name)
        if tool == "CVAT":
            write_cvat(source, str(number), images=False)
        elif tool == "LabelMe":
            write_json(source / f"{number}.json", labelme([shape("car", ONE)], name))
        elif tool == "Roboflow":
            write_png(source / f"{number}_mask.png", box(2, 2, 9, 9))
            (source / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, car\n")
        elif tool == "images and masks whose names differ":
            write_png(source / f"{number}_mask.png", box(2, 2, 9, 9))
    if tool == "Label Studio":
        results = [region("rectangle", percent(2, 2, 9, 9))]
        write_json(
            source / "x.json", [task(n, results, f"/data/upload/1/0a1b2c3d-{name}") for n, name in images.items()]
        )


@pytest.mark.parametrize(
    "tool", ["CVAT", "LabelMe", "COCO", "Label Studio", "Roboflow", "images and masks whose names differ"]
)
def test_check_names_the_command_and_the_folder_can_be_used(tool, tmp_path, capsys):
    source, target = tmp_path / "my export", tmp_path / "my_data"
    write_many(source, tool)
    assert recognize(source) == tool
    assert main(["check", str(source)]) == 2
    told = capsys.readouterr().err
    assert f"Fix: fcn-keras import '{source}' my_data" in told, told
    with pytest.raises(ValueError, match="Fix: fcn-keras import"):
        datasets.prepare(source, data_dir=tmp_path / "data")
    assert main(["import", str(source), str(target), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["images"] == 10 and result["tool"] == tool
    assert main(["check", str(target)]) == 0
    builder = datasets.prepare(target, data_dir=tmp_path / "data")
    names = result["classes"] or ["class 0", "class 1"]
    assert list(builder.info.metadata["class_names"]) == names
    image, mask = next(iter(datasets.load(builder, "train", batch=1)))
    assert image.shape[1:3] == SIZE and 0 < mask.numpy().max() < len(names)


def test_the_command_says_what_it_did(tmp_path, capsys):
    write_many(tmp_path / "export", "LabelMe")
    shapes = [shape("car", ONE), shape("car", ONE[:2], "line")]
    write_json(tmp_path / "export" / "0.json", labelme(shapes, "0.jpg"))
    assert main(["import", str(tmp_path / "export"), str(tmp_path / "my_data")]) == 0
    told = capsys.readouterr().out
    assert "10 images, 10 objects (LabelMe)" in told and "Classes: background, car" in told
    assert "Left out: 1 shapes without an area" in told and re.search("Next: fcn-keras check .*my_data", told)
    assert main(["import", str(tmp_path / "export"), str(tmp_path / "my_data")]) == 2
    assert "exists already. Fix: " in capsys.readouterr().err
