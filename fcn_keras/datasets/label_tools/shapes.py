"""Reads the JSON files of LabelMe, COCO and Label Studio. Every shape becomes a segmentation in COCO's format.

References: LabelMe, https://github.com/wkentaro/labelme; Lin et al. (ECCV 2014), *Microsoft COCO*, its page "Data
format"; Label Studio, "Label Studio JSON format of annotated tasks".
"""

import base64
import collections
import functools
import io
import json
import urllib.parse

import numpy as np
import PIL.Image

from ..images import SUFFIXES
from .recognize import find_files, name_tool
from .samples import Sample, Shape, find_split

CIRCLE = np.arange(360) * np.pi / 180  # a circle is drawn as a polygon of 360 points


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
    files, left_out = [], collections.Counter()
    for path in find_files(source, "*.json"):
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise ValueError(f"{path} cannot be read as JSON ({error}). Fix: export it again.") from error
        if name_tool(content) == tool:
            files.append((path, content))
    if not files:  # Label Studio's PNG files
        raise ValueError(
            f"{source} holds masks of Label Studio, whose names do not tell to which images they belong. Fix: export "
            "the project as JSON, put that file next to the images, and import their folder. It also holds the masks."
        )
    if tool == "COCO":
        return *_read_coco(files, left_out), left_out
    read = {"LabelMe": _read_labelme, "Label Studio": _read_label_studio}[tool]
    return (
        [sample for path, content in files for sample in _guard(path, tool, read, path, content, left_out)],
        None,
        left_out,
    )


def _guard(path, tool, function, *arguments):
    """Calls a function that reads a part of a file, and names the file if that does not have the expected structure."""
    try:
        return function(*arguments)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{path} does not have the structure of {tool}'s JSON ({error!r}). Fix: export it again."
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _read_labelme(path, content, left_out):
    shapes = []
    for number, shape in enumerate(content["shapes"]):
        segmentation = _get_labelme_segmentation(shape)
        if segmentation is None:
            left_out["shapes without an area, such as points and lines"] += 1
            continue
        group = shape.get("group_id")
        shapes.append(Shape(str(shape["label"]), segmentation, number if group is None else (shape["label"], group)))
    size = content.get("imageHeight"), content.get("imageWidth")
    return [Sample(str(path), (content["imagePath"],), path.parent, size if all(size) else None, shapes)]


def _get_labelme_segmentation(shape):
    kind, points = shape.get("shape_type") or "polygon", np.asarray(shape["points"], "float64").reshape(-1, 2)
    if kind == "mask":
        return functools.partial(_place_png, shape["mask"], points[0])
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points.tolist()
        return [[left, top, right, top, right, bottom, left, bottom]]
    if kind == "circle":
        radius = np.hypot(*(points[1] - points[0]))
        return [_draw_ellipse(*points[0], radius, radius)]
    return [points.ravel().tolist()] if kind in ("polygon", "rectangle", "oriented_rectangle") else None


def _place_png(text, corner, height, width):
    """Decodes LabelMe's shape "mask": a PNG file, as text, whose upper left pixel lies at `corner`."""
    try:
        with PIL.Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",)) as file:
            part = np.asarray(file.convert("L")) > 0 if max(file.size) <= max(height, width) else None
    except Exception as error:  # Pillow's decoders raise errors of many kinds on damaged files
        raise ValueError(f"a mask cannot be read ({error}).") from error
    left, top = (int(value) for value in corner)
    if part is None or min(left, top) < 0 or top + part.shape[0] > height or left + part.shape[1] > width:
        raise ValueError("a mask does not fit into the image.")
    mask = np.zeros((height, width), "uint8")
    mask[top : top + part.shape[0], left : left + part.shape[1]] = part
    return mask


def _draw_ellipse(x, y, radius_x, radius_y):
    return np.stack([x + radius_x * np.cos(CIRCLE), y + radius_y * np.sin(CIRCLE)], axis=-1).ravel().tolist()


def _read_coco(files, left_out):
    names, images, shapes = {}, {}, collections.defaultdict(dict)
    for path, content in sorted(files, key=lambda file: ("stuff" not in file[0].name, file[0])):  # things lie on stuff
        _guard(path, "COCO", _add_coco, path, content, names, images, shapes, left_out)
    samples = [Sample(*image[:4], list(shapes[key].values()), split=image[4]) for key, image in images.items()]
    return samples, [names[number] for number in sorted(names)]


def _add_coco(path, content, names, images, shapes, left_out):
    for category in content["categories"]:
        if names.setdefault(category["id"], str(category["name"])) != str(category["name"]):
            known = names[category["id"]]
            raise ValueError(f"category {category['id']} is {category['name']!r}, in another file {known!r}.")
    keys, split = {}, find_split(path.stem)
    for image in content["images"]:
        keys[image["id"]] = key = (path.parent, image["file_name"])
        size = (image["height"], image["width"]) if image.get("height") else None
        images.setdefault(key, (f"{path}, image {image['id']}", (image["file_name"],), path.parent, size, split))
    for number, annotation in enumerate(content["annotations"]):
        place, category = f"annotation {annotation.get('id', number)}", annotation["category_id"]
        if annotation["image_id"] not in keys:
            raise ValueError(f"{place} belongs to image {annotation['image_id']}, which is not among the images.")
        if category not in names:
            raise ValueError(f"{place} has category {category}: expected one of {sorted(names)[:20]}.")
        if not annotation.get("segmentation"):
            left_out["objects that have only a box"] += 1
            continue
        identity = (annotation.get("id", number), category)  # files of objects and of keypoints repeat each other
        crowd, thing = bool(annotation.get("iscrowd")), "stuff" not in path.name
        shape = Shape(names[category], annotation["segmentation"], identity, crowd, thing)
        shapes[keys[annotation["image_id"]]][identity] = shape


def _read_label_studio(path, content, left_out):
    samples = []
    for task in content:
        place = f"task {task.get('id')}"
        annotations = [one for one in task["annotations"] if not one.get("was_cancelled")]
        annotations = [one for one in annotations if one.get("ground_truth")] or annotations
        if not annotations:
            left_out["images that nobody has labelled"] += 1
            continue
        if len(annotations) > 1:
            raise ValueError(
                f"{place} has {len(annotations)} annotations: expected one. Fix: mark one of them as ground truth, or "
                "delete the others."
            )
        references, sizes = _get_references(task), set()
        shapes = _read_results(annotations[0]["result"], place, sizes, left_out)
        if len(sizes) > 1 or len(references) != 1:
            raise ValueError(f"{place} has {max(len(sizes), len(references))} images: expected one for each task.")
        samples.append(Sample(f"{path}, {place}", references[0], path.parent, next(iter(sizes), None), shapes))
    return samples


def _get_references(task):
    """The names that each image of a task may have: its address, and without the eight letters that uploads get."""
    found = []
    for address in task["data"].values():
        path = urllib.parse.unquote(urllib.parse.urlsplit(str(address).replace("?d=", "/", 1)).path)
        if path.lower().endswith(SUFFIXES):
            folder, _, name = ("/" + path.lstrip("/")).rpartition("/")
            plain = name[9:] if name[8:9] == "-" and all(letter in "0123456789abcdef" for letter in name[:8]) else name
            found.append((f"{folder}/{name}", f"{folder}/{plain}"))
    return found


def _read_results(results, place, sizes, left_out):
    shapes, named = [], {result.get("id") for result in results if _get_labels(result)}
    for number, result in enumerate(results):
        labels = _get_labels(result)
        if "original_width" in result:
            sizes.add((result["original_height"], result["original_width"]))
        segmentation = _get_studio_segmentation(result)
        if not labels or segmentation is None:
            unnamed = segmentation is not None and result.get("id") not in named
            what = "regions without a label" if unnamed else "shapes without an area, such as points and lines"
            left_out[what] += bool(unnamed or (labels and segmentation is None))
            continue
        if len(labels) > 1 or result.get("image_rotation"):
            found = (
                f"the labels {labels}: expected one" if len(labels) > 1 else "a rotated image: expected an upright one"
            )
            raise ValueError(
                f"{place} has a region with {found}. Fix: correct it in Label Studio, and export it again."
            )
        shapes.append(Shape(str(labels[0]), segmentation, number))
    return shapes


def _get_labels(result):
    return next((value for key, value in result.get("value", {}).items() if key.lower().endswith("labels")), [])


def _get_studio_segmentation(result):
    value = result.get("value", {})
    if "rle" in value:
        return functools.partial(_decode_brush, value["rle"])
    if not {"points", "x"} & value.keys() or "original_width" not in result:
        return None
    scale = np.array([result["original_width"], result["original_height"]]) / 100  # the numbers are percentages
    if "points" in value:
        return [(np.asarray(value["points"], "float64").reshape(-1, 2) * scale).ravel().tolist()]
    x, y = value["x"], value["y"]
    if "radiusX" in value:
        points = np.reshape(_draw_ellipse(x, y, value["radiusX"], value["radiusY"]), (-1, 2))
    elif "height" in value:
        width, height = value["width"], value["height"]
        points = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], "float64")
    else:
        return None
    angle = np.deg2rad(value.get("rotation") or 0)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corner = np.array([x, y]) * scale
    return [((points * scale - corner) @ turn + corner).ravel().tolist()]


def _decode_brush(code, height, width):
    """Decodes the run lengths of Label Studio's brush: RGBA values, of which alpha above 128 is the mask.

    A header holds the count of values, the bits of a value, and four lengths in bits. Then come runs: one bit tells
    whether a value is repeated, two bits choose one of the lengths, and so many bits hold the count minus one.

    Reference: the package ``rle-pack`` of https://github.com/thi-ng/umbrella.
    """
    try:
        bits = np.unpackbits(np.array(code, "uint8"))
    except (OverflowError, ValueError, TypeError) as error:
        raise ValueError("a brush stroke is damaged: expected integers in 0–255.") from error
    text, place, out, start = (bits + 48).tobytes(), 0, np.zeros(4 * height * width, "uint8"), 0

    def read(count):
        nonlocal place
        place += count
        if place > len(text):
            raise ValueError("a brush stroke is damaged: it ends too early.")
        return int(text[place - count : place], 2)

    count, word, lengths = read(32), read(5) + 1, [read(4) + 1 for _ in range(4)]
    if count != out.size or word != 8:
        raise ValueError(f"a brush stroke has {count} values of {word} bits: expected {out.size} of 8 bits.")
    while start < count:
        repeated = read(1)
        end = min(start + 1 + read(lengths[read(2)]), count)
        if repeated:
            out[start:end] = read(8)
        else:
            read(8 * (end - start))
            out[start:end] = np.packbits(bits[place - 8 * (end - start) : place])
        start = end
    return (out[3::4] > 128).astype("uint8").reshape(height, width)
