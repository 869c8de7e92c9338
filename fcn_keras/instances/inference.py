"""An image in, its objects out: boxes, classes, scores, and masks of the image's size."""

import dataclasses

import keras
import numpy as np

from ..datasets.images import read_image
from ..layers.labels import to_numpy


@dataclasses.dataclass(frozen=True)
class Instances:
    """The objects of one image, best first.

    Args:
        boxes: float32 ``(N, 4)``: top, left, bottom, right, pixel edges.
        classes: int32 ``(N,)``: class ids, from 1.
        scores: float32 ``(N,)`` in 0–1.
        masks: Boolean ``(N, H, W)``; masks of two objects may overlap.

    Example:

    >>> none = Instances(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0), np.zeros((0, 5, 7), bool))
    >>> len(none), none.id_mask().shape
    (0, (5, 7))
    """

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    masks: np.ndarray

    def __len__(self):
        return len(self.scores)

    def id_mask(self):
        """Integer mask ``(H, W)``: 0 where there is no object, else its number, from 1; the better lies on top."""
        ids = np.zeros(self.masks.shape[1:], "int32")
        for number in reversed(range(len(self))):
            ids[self.masks[number]] = number + 1
        return ids


def segment_instances(model, image, least_score=0.5, size=None):
    """Finds the objects in one image.

    Args:
        model: A trained `MaskRCNN`.
        image: Path, array or tensor ``(H, W, 3)``, RGB, 0–255, of any size.
        least_score: Objects with a lower score are left out; 0.05 and below keeps all that the model says.
        size: The image is looked at with this shorter side, in pixels, and what is found is brought back to its own
            size; None looks at it as it is. The paper: 800.

    Returns:
        `Instances`, in pixels of the image.

    Raises:
        ValueError: If the image is none.

    Example:

    >>> model = fcn_keras.instances.MaskRCNN(10, "mini_vgg", weights=None, settings={"channels": 16, "width": 32})
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
    found = {name: to_numpy(value)[0] for name, value in _detect(model)(seen).items()}
    found["boxes"] = found["boxes"] * np.array([height / seen.shape[1], width / seen.shape[2]] * 2, "float32")
    return instances_of(found, (height, width), least_score)


def instances_of(found, size, least_score=0.0):
    """`Instances` of one image from what the model returns for it: empty rows gone, masks pasted.

    Args:
        found: Dict of arrays: ``boxes`` ``(D, 4)``, ``classes`` and ``scores`` ``(D,)``, ``masks`` ``(D, m, m)``.
        size: ``(height, width)`` of the image.
        least_score: Rows with a lower score are left out.

    Example:

    >>> row = {"boxes": np.zeros((1, 4)), "classes": np.zeros(1, int), "scores": np.zeros(1)}
    >>> instances_of(row | {"masks": np.zeros((1, 28, 28))}, (5, 7)).masks.shape  # a score of 0: an empty row
    (0, 5, 7)
    """
    keep = (found["scores"] >= least_score) & (found["scores"] > 0)
    boxes, classes, scores, small = (found[name][keep] for name in ("boxes", "classes", "scores", "masks"))
    masks = [paste(mask, box, size) for mask, box in zip(small, boxes, strict=True)]
    return Instances(boxes, classes, scores, np.stack(masks) if masks else np.zeros((0, *size), bool))


def _detect(model):
    """The model as one function for images of every size."""
    if keras.backend.backend() != "tensorflow":
        return model
    import tensorflow as tf

    if not hasattr(model, "_detect"):
        model._detect = tf.function(
            lambda x: model(x, training=False),
            input_signature=[tf.TensorSpec((None, None, None, 3), "float32")],
            autograph=False,
        )
    return model._detect


def paste(mask, box, size, threshold=0.5):
    """A box's mask as a mask of the whole image.

    Cell ``i`` of ``m`` is centred ``(i + 0.5) / m`` into the box, pixel ``p`` of the image at ``p + 0.5``; between the
    centres it is interpolated, beyond the outermost it falls to 0 within a cell.

    Args:
        mask: Array ``(m, m)`` of probabilities.
        box: ``(top, left, bottom, right)``.
        size: ``(height, width)`` of the image.
        threshold: Least probability of a pixel of the object; None returns the probabilities.

    Returns:
        Boolean array ``(height, width)``.

    Example:

    >>> paste(np.ones((28, 28)), (0, 1, 2, 3), (2, 5)).astype(int).tolist()
    [[0, 1, 1, 0, 0], [0, 1, 1, 0, 0]]

    Reference: He et al. (ICCV 2017), §3.1: "the m×m floating-number mask output is then resized to the RoI size, and
    binarized at a threshold of 0.5"; as ``paste_masks_in_image`` of Detectron2, whose half pixels these are.
    """
    mask = np.asarray(mask, "float32")
    rows, columns = (_line(mask.shape[axis], box[axis], box[axis + 2], side) for axis, side in enumerate(size))
    values = rows @ mask @ columns.T
    return values if threshold is None else values >= threshold


def _line(cells, low, high, pixels):
    """``(pixels, cells)``: the share of each cell in each pixel, along one side."""
    place = (np.arange(pixels) + 0.5 - low) / max(high - low, 1e-6) * cells - 0.5
    return np.maximum(1 - np.abs(place[:, None] - np.arange(cells)), 0).astype("float32")
