"""Files in COCO's format: one JSON file of annotations and one folder of images.

Reference: Lin et al. (ECCV 2014), *Microsoft COCO*; its page "Data format": polygons, and run lengths for crowds.
"""

import json

import numpy as np
import tensorflow as tf

from .._files import user_path
from ..datasets.images import read_image
from ..datasets.segmentations import draw_segmentation, import_pycocotools
from ..training import fingerprints
from .matching import CROWD
from .sources import Source


def open_coco(annotations, images):
    """Opens images and their objects. It reads the JSON file once; each image is read when it is needed.

    Args:
        annotations: Path of the JSON file with ``images``, ``categories`` and ``annotations``. Each annotation has a
            ``segmentation``, polygons or run lengths, which `pycocotools` draws.
        images: Folder of the images.

    Returns:
        A `Source` whose elements are numbers of images. Classes count from 1, in the order of the ids of the
        categories. A crowd has class −1.

    Raises:
        ValueError: If the file is not such a JSON file, or if an annotation is not complete. The message names it.
        ImportError: If pycocotools is not installed.

    Example:

    >>> source = open_coco("annotations/instances_val2017.json", "val2017")  # doctest: +SKIP
    >>> source.class_names[:2]  # doctest: +SKIP
    ['background', 'person']
    """
    content = _read_content(annotations)
    categories = sorted(content["categories"], key=lambda category: category["id"])
    ids = {category["id"]: number for number, category in enumerate(categories, start=1)}
    objects = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        _require(annotation, ids, objects, annotations)
        objects[annotation["image_id"]].append(annotation)
    import_pycocotools("mask")  # an error comes here, not in the middle of an epoch
    files = [(user_path(images) / image["file_name"], objects[image["id"]]) for image in content["images"]]

    def example(number):
        path, own = files[number]
        pixels = read_image(path)
        masks = [draw_segmentation(one["segmentation"], *pixels.shape[:2]) for one in own]
        classes = [CROWD if one.get("iscrowd") else ids[one["category_id"]] for one in own]
        empty = np.zeros((0, *pixels.shape[:2]), "uint8")
        return pixels, np.stack(masks) if masks else empty, np.array(classes, "int32")

    def decode(number):
        image, masks, classes = tf.numpy_function(example, [number], (tf.uint8, tf.uint8, tf.int32), stateful=False)
        return {
            "image": tf.ensure_shape(image, (None, None, 3)),
            "masks": tf.ensure_shape(masks, (None, None, None)),
            "classes": tf.ensure_shape(classes, (None,)),
        }

    names = ["background", *(category["name"] for category in categories)]
    identity = {
        "annotations": fingerprints.hash_file(user_path(annotations)),
        "images": str(user_path(images).resolve()),
    }
    return Source(tf.data.Dataset.range(len(files)), decode, names, identity)


def _read_content(path):
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
        raise ValueError(f"{name} belongs to image {annotation.get('image_id')}, which is not among the images.")
    if annotation.get("category_id") not in ids:
        raise ValueError(f"{name} has category {annotation.get('category_id')}: expected one of {sorted(ids)}.")
    if not annotation.get("segmentation"):
        raise ValueError(
            f"{name} has no segmentation: expected polygons or run lengths. Fix: remove objects that only have a box."
        )
