"""Reads the JSON files of LabelMe, COCO and Label Studio. Every shape becomes a segmentation in COCO's format.

References: LabelMe, https://github.com/wkentaro/labelme; Lin et al. (ECCV 2014), *Microsoft COCO*, its page "Data
format"; Label Studio, "Label Studio JSON format of annotated tasks".
"""

import base64
import collections
import functools
import io
import json
import re
import urllib.parse

import numpy as np
import PIL.Image

from ..images import SUFFIXES
from .brush import decode_brush
from .recognize import find_files, name_tool
from .samples import Sample, Shape, find_split

CIRCLE = np.stack([np.cos(np.arange(360) * np.pi / 180), np.sin(np.arange(360) * np.pi / 180)], axis=-1)
NO_AREA = "shapes without an area, such as points and lines, or without a label"


def read_shapes(source, tool):
    """Reads all JSON files of a label tool in a folder.

    Args:
        source: A `pathlib.Path`.
        tool: ``"LabelMe"``, ``"COCO"`` or ``"Label Studio"``.

    Returns:
        A list of `fcn_keras.datasets.label_tools.samples.Sample`; the class names in their order, or None if the files
        give no order; and a `collections.Counter` of what is left out.

    Raises:
        ValueError: If a file is damaged or does not have the structure of its tool. The message names the file.

    Example:

    >>> samples, names, left_out = read_shapes(pathlib.Path("my_project"), "LabelMe")  # doctest: +SKIP
    """
    samples, names, left_out, images = [], {}, collections.Counter(), {}
    files = sorted(find_files(source, "*.json"), key=lambda path: "stuff" not in path.name)  # things lie on stuff
    for path in files:
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
            if name_tool(content) != tool:
                continue
            if tool == "COCO":
                _read_coco(path, content, names, images, left_out)
            else:
                read = _read_labelme if tool == "LabelMe" else _read_label_studio
                samples += read(path, content, left_out)
        except (OSError, ValueError, RecursionError) as error:  # JSON's errors are ValueErrors
            fix = "" if "Fix:" in str(error) else " Fix: correct the label, or export it again."
            raise ValueError(f"{path} cannot be read: {error}{fix}") from error
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(
                f"{path} lacks the structure of {tool}'s JSON ({error!r}). Fix: export it again."
            ) from error
    samples += [Sample(*image, tuple(shapes.values()), split=split) for image, split, shapes in images.values()]
    if not samples and not left_out:  # Label Studio's PNG files
        raise ValueError(
            f"{source} holds masks of Label Studio, whose names do not tell to which images they belong. Fix: export "
            "the project as JSON, which also holds the masks, and put that file next to the images."
        )
    return samples, [names[id_] for id_ in sorted(names)] or None, left_out


def _read_labelme(path, content, left_out):
    shapes = []
    for number, shape in enumerate(content["shapes"]):
        label, group, segmentation = str(shape["label"]), shape.get("group_id"), _get_labelme_segmentation(shape)
        if segmentation is None:
            left_out[NO_AREA] += 1
        else:
            shapes.append(Shape(label, segmentation, number if group is None else (label, str(group))))
    size = content.get("imageHeight"), content.get("imageWidth")
    yield Sample(str(path), (content["imagePath"],), path.parent, size if all(size) else None, tuple(shapes))


def _get_labelme_segmentation(shape):
    kind, points = shape.get("shape_type") or "polygon", _read_points(shape["points"])
    if kind == "mask":
        return functools.partial(_place_png, shape["mask"], points[0].astype(int))
    if kind == "circle":
        points = points[0] + np.hypot(*(points[1] - points[0])) * CIRCLE
    elif kind == "rectangle" and len(points) == 2:
        points = _get_corners(*points[0], *points[1])
    elif kind not in ("polygon", "rectangle", "oriented_rectangle"):
        return None
    return [points.ravel().tolist()]


def _read_points(values):
    try:
        points = np.asarray(values, "float64").reshape(-1, 2)
    except (TypeError, ValueError):
        points = np.array([np.nan])
    if not (np.abs(points) < 1e9).all():
        raise ValueError(f"found the points {str(values)[:40]}: expected pairs of numbers.")
    return points


def _get_corners(left, top, right, bottom):
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], "float64")


def _place_png(text, corner, height, width):
    """Decodes LabelMe's shape "mask": a PNG file, as text, whose upper left pixel lies at `corner`."""
    mask, (left, top) = PIL.Image.new("L", (width, height)), corner.tolist()
    try:
        with PIL.Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",)) as file:
            if not (0 <= left <= width - file.width and 0 <= top <= height - file.height):
                raise ValueError("it does not fit into the image")
            mask.paste(file.convert("L"), (left, top))
    except Exception as error:  # Pillow's decoders raise errors of many kinds on damaged files
        raise ValueError(f"a mask cannot be read ({error}). Fix: draw it again.") from error
    return (np.asarray(mask) > 0).astype("uint8")


def _read_coco(path, content, names, images, left_out):
    """Adds a file to `names`, a dict from id to name, and to `images`: files of objects and of stuff share them."""
    for category in content["categories"]:
        name = str(category["name"])
        if names.setdefault(category["id"], name) != name:
            raise ValueError(f"category {category['id']} is {name!r}, in another file {names[category['id']]!r}.")
    shapes_of = {}
    for image in content["images"]:
        size = (image["height"], image["width"]) if image.get("height") else None
        sample = f"{path}, image {image['id']}", (image["file_name"],), path.parent, size
        known = images.setdefault((path.parent, image["file_name"]), (sample, find_split(path.stem), {}))
        shapes_of[image["id"]] = known[2]
    for number, annotation in enumerate(content["annotations"]):
        id_, category, image = annotation.get("id", number), annotation["category_id"], annotation["image_id"]
        if image not in shapes_of or category not in names:
            raise ValueError(
                f"annotation {id_} has image {image} and category {category}, which the file does not list."
            )
        if annotation.get("segmentation"):
            key = None if "stuff" in path.name else (path, number)
            shape = Shape(names[category], annotation["segmentation"], key, bool(annotation.get("iscrowd")))
            same = id_, category, hash(str(shape.segmentation))  # files of objects and of keypoints repeat each other
            shapes_of[image].setdefault(same, shape)
        else:
            left_out["objects that have only a box"] += 1


def _read_label_studio(path, content, left_out):
    for task in content:
        place = f"task {task.get('id')}"
        annotations = [one for one in task["annotations"] if not one.get("was_cancelled")]
        annotations = [one for one in annotations if one.get("ground_truth")] or annotations
        if not annotations:
            left_out["images that nobody has labelled"] += 1
            continue
        if len(annotations) > 1:
            fix = "Fix: mark one as ground truth, or delete the others."
            raise ValueError(f"{place} has {len(annotations)} annotations: expected one. {fix}")
        results = annotations[0]["result"]
        shapes = tuple(_read_results(results, place, left_out))
        sizes = {(one["original_height"], one["original_width"]) for one in results if "original_width" in one}
        images = [names for value in task["data"].values() if (names := _get_names(str(value)))]
        if len(images) != 1 or len(sizes) > 1:
            raise ValueError(f"{place} has {max(len(images), len(sizes))} images: expected one for each task.")
        yield Sample(f"{path}, {place}", images[0], path.parent, next(iter(sizes), None), shapes)


def _get_names(address):
    """The names that the image at an address may have: its own, and the one from before the upload; or None."""
    path = "/" + urllib.parse.unquote(urllib.parse.urlsplit(address.replace("?d=", "/", 1)).path).lstrip("/")
    return (path, re.sub(r"/[0-9a-f]{8}-([^/]+)$", r"/\1", path)) if path.lower().endswith(SUFFIXES) else None


def _read_results(results, place, left_out):
    regions = {}  # id → labels, shape, rotation. Some versions write a region twice, with and without its label
    for number, result in enumerate(results):
        found = (value for key, value in result.get("value", {}).items() if key.lower().endswith("labels"))
        new = next(found, []), _get_studio_segmentation(result), result.get("image_rotation")
        known = regions.get(result.get("id", number), (None, None, None))
        regions[result.get("id", number)] = tuple(old or found for old, found in zip(known, new, strict=True))
    for id_, (labels, segmentation, rotation) in regions.items():
        if not labels or segmentation is None:
            left_out[NO_AREA] += bool(labels) or segmentation is not None  # neither: a choice or a text
        elif len(labels) > 1 or rotation:
            found = f"the labels {labels}" if len(labels) > 1 else "a rotated image"
            raise ValueError(f"{place} has {found}: expected one label, and an upright image. Fix: correct it.")
        else:
            yield Shape(str(labels[0]), segmentation, id_)


@np.errstate(invalid="ignore")  # `draw_segmentation` refuses what is not a number
def _get_studio_segmentation(result):
    value, scale = result.get("value", {}), [result.get(f"original_{side}", 0) / 100 for side in ("width", "height")]
    if "rle" in value:
        return functools.partial(decode_brush, value["rle"])
    corner = _read_points([value.get("x", 0), value.get("y", 0)])  # all numbers are percentages
    if "points" in value:
        points = _read_points(value["points"]) - corner
    elif "radiusX" in value:
        points = CIRCLE * _read_points([value["radiusX"], value["radiusY"]])
    elif "height" in value:
        points = _get_corners(0, 0, *_read_points([value["width"], value["height"]])[0])
    else:
        return None
    angle = np.deg2rad(value.get("rotation") or 0)  # clockwise, as seen
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return [(points * scale @ turn + corner * scale).ravel().tolist()]
