"""Files in COCO's format: one JSON of annotations, one folder of images.

Reference: Lin et al. (ECCV 2014), *Microsoft COCO*; its page "Data format": polygons, run lengths for crowds.
"""

import json

import numpy as np
import tensorflow as tf

from .._files import user_path
from ..datasets.images import read_image
from .matching import CROWD


def read(annotations, images):
    """The images of a file of annotations, each with its objects.

    Args:
        annotations: Path of the JSON file: ``images``, ``categories``, ``annotations`` with a ``segmentation``, as
            polygons or run lengths. `pycocotools` draws them.
        images: Folder of the images.

    Returns:
        A `tf.data.Dataset` of dicts: ``image`` uint8 ``(H, W, 3)``, ``masks`` uint8 ``(M, H, W)``, ``classes`` int32
        ``(M,)``: 1 for the first of the categories, ordered by id; −1 for a crowd. Images without objects have M = 0.

    Raises:
        ValueError: If the file is no such JSON, or an annotation lacks what is needed; the message names it.
        ImportError: If pycocotools is not installed.

    Example:

    >>> dataset = read("annotations/instances_val2017.json", "val2017")  # doctest: +SKIP
    """
    content = _content(annotations)
    ids = {category["id"]: number for number, category in enumerate(_categories(content), start=1)}
    objects = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        _require(annotation, ids, objects, annotations)
        objects[annotation["image_id"]].append(annotation)

    def examples():
        for image in content["images"]:
            pixels = read_image(user_path(images) / image["file_name"])
            own = objects[image["id"]]
            masks = [_mask(one["segmentation"], *pixels.shape[:2]) for one in own]
            classes = [CROWD if one.get("iscrowd") else ids[one["category_id"]] for one in own]
            yield {
                "image": pixels,
                "masks": np.stack(masks) if masks else np.zeros((0, *pixels.shape[:2]), "uint8"),
                "classes": np.array(classes, "int32"),
            }

    signature = {
        "image": tf.TensorSpec((None, None, 3), "uint8"),
        "masks": tf.TensorSpec((None, None, None), "uint8"),
        "classes": tf.TensorSpec((None,), "int32"),
    }
    dataset = tf.data.Dataset.from_generator(examples, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(content["images"])))


def class_names(annotations):
    """The class names of a file of annotations, ``background`` first.

    Example:

    >>> class_names("annotations/instances_val2017.json")[:2]  # doctest: +SKIP
    ['background', 'person']
    """
    return ["background", *(category["name"] for category in _categories(_content(annotations)))]


def _categories(content):
    return sorted(content["categories"], key=lambda category: category["id"])


def _content(path):
    try:
        content = json.loads(user_path(path).read_text(encoding="utf-8"))
        missing = [key for key in ("images", "categories", "annotations") if key not in content]
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} could not be read as COCO's JSON: {error}.") from error
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: expected images, categories and annotations.")
    return content


def _require(annotation, ids, objects, path):
    name = f"{path}: annotation {annotation.get('id')}"
    if annotation.get("image_id") not in objects:
        raise ValueError(f"{name} is of image {annotation.get('image_id')}, which is not among the images.")
    if annotation.get("category_id") not in ids:
        raise ValueError(f"{name} has category {annotation.get('category_id')}: expected one of {sorted(ids)}.")
    if not annotation.get("segmentation"):
        raise ValueError(f"{name} has no segmentation: expected polygons or run lengths. Fix: leave boxes alone out.")


def _mask(segmentation, height, width):
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ImportError('COCO\'s masks need pycocotools. Fix: pip install "fcn-keras[instances]"') from error
    if isinstance(segmentation, list):
        runs = mask.merge(mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        runs = mask.frPyObjects(segmentation, height, width)
    else:
        runs = segmentation
    return mask.decode(runs)
