"""Finds the objects of an image: boxes, classes, scores, and masks of the size of the image."""

import dataclasses

import keras
import numpy as np

from ..datasets.images import read_image
from ..layers.labels import to_numpy


@dataclasses.dataclass(frozen=True)
class Instances:
    """The objects of one image, best first.

    Args:
        boxes: float32 array ``(N, 4)``: top, left, bottom and right edge, in pixels.
        classes: int32 array ``(N,)`` of class ids, from 1.
        scores: float32 array ``(N,)`` in 0–1.
        masks: Boolean array ``(N, H, W)``. The masks of two objects may overlap.

    Example:

    >>> nothing = Instances(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0), np.zeros((0, 5, 7), bool))
    >>> len(nothing), nothing.draw_ids().shape
    (0, (5, 7))
    """

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    masks: np.ndarray

    def __len__(self):
        return len(self.scores)

    def draw_ids(self):
        """Draws all objects into one mask.

        Returns:
            int32 array ``(H, W)``: the number of the object, from 1, or 0 if there is no object. If two objects
            overlap, the one with the higher score is on top.
        """
        ids = np.zeros(self.masks.shape[1:], "int32")
        for number in reversed(range(len(self))):
            ids[self.masks[number]] = number + 1
        return ids


def segment_instances(model, image, least_score=0.5, size=None):
    """Finds the objects in one image.

    Args:
        model: A trained `MaskRCNN`.
        image: Path, array or tensor ``(H, W, 3)``, RGB, 0–255, of any size.
        least_score: Objects with a lower score are dropped. With 0.05 or less, all objects of the model are kept.
        size: Length in pixels to which the shorter side of the image is scaled before the model sees it. The results
            are scaled back. With None, the image is not scaled. The paper uses 800.

    Returns:
        `Instances`, in pixels of the image.

    Raises:
        ValueError: If `image` is not an image.

    Example:

    >>> model = fcn_keras.instances.MaskRCNN(10, "mini_vgg", weights=None, config={"channels": 16, "width": 32})
    >>> segment_instances(model, np.zeros((50, 70, 3), "uint8")).masks.shape[1:]
    (50, 70)

    Reference: He et al. (ICCV 2017), §3.1, "Inference".
    """
    pixels = read_image(image)
    height, width = pixels.shape[:2]
    seen = pixels[None].astype("float32")
    factor = 1.0 if size is None else size / min(height, width)
    if factor != 1:
        shape = [max(1, round(side * factor)) for side in (height, width)]
        seen = keras.ops.image.resize(seen, shape, antialias=True)
    found = {name: to_numpy(value)[0] for name, value in _compile_any_size(model)(seen).items()}
    found["boxes"] = found["boxes"] * np.array([height / seen.shape[1], width / seen.shape[2]] * 2, "float32")
    return to_instances(found, (height, width), least_score)


def to_instances(found, size, least_score=0.0):
    """Converts the model's output for one image: drops empty rows, and pastes the masks into the image.

    Args:
        found: Dict of arrays: ``boxes`` ``(D, 4)``, ``classes`` and ``scores`` ``(D,)``, ``masks`` ``(D, m, m)``.
        size: ``(height, width)`` of the image.
        least_score: Rows with a lower score are dropped.

    Returns:
        `Instances`.

    Example:

    >>> row = {"boxes": np.zeros((1, 4)), "classes": np.zeros(1, int), "scores": np.zeros(1)}
    >>> to_instances(row | {"masks": np.zeros((1, 28, 28))}, (5, 7)).masks.shape  # a score of 0 is an empty row
    (0, 5, 7)
    """
    keep = (found["scores"] >= least_score) & (found["scores"] > 0)
    boxes, classes, scores, small = (found[name][keep] for name in ("boxes", "classes", "scores", "masks"))
    masks = [paste_mask(mask, box, size) for mask, box in zip(small, boxes, strict=True)]
    return Instances(boxes, classes, scores, np.stack(masks) if masks else np.zeros((0, *size), bool))


def _compile_any_size(model):
    """Turns the model into a function that TensorFlow traces once, for images of every size."""
    if keras.backend.backend() != "tensorflow":
        return model
    import tensorflow as tf

    if not hasattr(model, "_compiled_for_any_size"):
        model._compiled_for_any_size = tf.function(
            lambda x: model(x, training=False),
            input_signature=[tf.TensorSpec((None, None, None, 3), "float32")],
            autograph=False,
        )
    return model._compiled_for_any_size


def paste_mask(mask, box, size, threshold=0.5):
    """Scales the mask of a box to its place in the image.

    The box has ``m`` cells along each side. The centre of cell ``i`` lies at ``(i + 0.5) / m`` of the side, and the
    centre of pixel ``p`` of the image lies at ``p + 0.5``. Between the centres of cells, the values are interpolated.
    Outside the outermost centres, they fall to 0 within one cell.

    Args:
        mask: Array ``(m, m)`` of probabilities.
        box: ``(top, left, bottom, right)``.
        size: ``(height, width)`` of the image.
        threshold: Smallest probability of a pixel of the object. With None, the function returns the probabilities.

    Returns:
        Boolean array ``(height, width)``, or float32 if `threshold` is None.

    Example:

    >>> paste_mask(np.ones((28, 28)), (0, 1, 2, 3), (2, 5)).astype(int).tolist()
    [[0, 1, 1, 0, 0], [0, 1, 1, 0, 0]]

    Reference: He et al. (ICCV 2017), §3.1: "the m×m floating-number mask output is then resized to the RoI size, and
    binarized at a threshold of 0.5". The half pixels are those of ``paste_masks_in_image`` of Detectron2.
    """
    mask = np.asarray(mask, "float32")
    rows, columns = (_find_shares(mask.shape[axis], box[axis], box[axis + 2], side) for axis, side in enumerate(size))
    values = rows @ mask @ columns.T
    return values if threshold is None else values >= threshold


def _find_shares(cells, low, high, pixels):
    """Computes the share of each cell in each pixel along one side, as an array ``(pixels, cells)``."""
    place = (np.arange(pixels) + 0.5 - low) / max(high - low, 1e-6) * cells - 0.5
    return np.maximum(1 - np.abs(place[:, None] - np.arange(cells)), 0).astype("float32")
