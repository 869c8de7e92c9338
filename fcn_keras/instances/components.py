"""The simplest way to turn a mask of classes into objects: each connected region of a class is one object.

It fails if two objects of the same class touch, or if an object lies across another and cuts it in two.
"""

import numpy as np
from scipy import ndimage


def find_components(probabilities, smallest=10):
    """Finds the connected regions of each class.

    Args:
        probabilities: Array ``(H, W, C)``, as from `fcn_keras.inference.predict_probabilities`; class 0 is background.
        smallest: Regions with fewer pixels do not count.

    Returns:
        A dict for `fcn_keras.instances.average_precision`: ``classes`` and ``scores`` ``(N,)``, ``boxes``
        ``(N, 4)`` and ``masks`` ``(N, H, W)``. The score is the mean probability of the class in the region.

    Example:

    >>> labels = np.array([[1, 1, 0, 1], [0, 0, 0, 1]])
    >>> found = find_components(np.eye(2)[labels], smallest=1)
    >>> found["masks"].sum((1, 2)).tolist(), found["boxes"][1].tolist()
    ([2, 2], [0.0, 3.0, 2.0, 4.0])
    """
    labels = probabilities.argmax(-1)
    classes, scores, boxes, masks = [], [], [], []
    for c in range(1, probabilities.shape[-1]):
        regions, _ = ndimage.label(labels == c, structure=np.ones((3, 3)))
        for number, (rows, columns) in enumerate(ndimage.find_objects(regions), start=1):
            mask = regions == number
            if mask.sum() >= smallest:
                classes.append(c)
                scores.append(probabilities[..., c][mask].mean())
                boxes.append([rows.start, columns.start, rows.stop, columns.stop])
                masks.append(mask)
    shape = (len(masks), *labels.shape)
    return {
        "classes": np.array(classes, "int32"),
        "scores": np.array(scores, "float32"),
        "boxes": np.array(boxes, "float32").reshape(-1, 4),
        "masks": np.array(masks, bool).reshape(shape),
    }


def has_touching_twins(classes, masks, gap=3):
    """Returns whether two objects of the same class are so close that `find_components` would join them.

    Args:
        classes: Array ``(M,)``. Rows of class 0 are empty, and rows of class −1 are crowds. Neither counts.
        masks: Array ``(M, H, W)`` of 0 and 1.
        gap: Largest distance in pixels that counts as touching. Many objects have a rim of void pixels between them.

    Returns:
        True if there are two such objects.

    Example:

    >>> masks = np.array([[[1, 1, 0, 0, 0]], [[0, 0, 0, 1, 1]]])
    >>> has_touching_twins([4, 4], masks), has_touching_twins([4, 5], masks), has_touching_twins([4, 4], masks, gap=0)
    (True, False, False)
    """
    classes, masks = np.asarray(classes), np.asarray(masks, bool)
    near = [ndimage.binary_dilation(mask, np.ones((3, 3)), iterations=gap) if gap else mask for mask in masks]
    pairs = ((i, j) for i in range(len(classes)) for j in range(i) if classes[i] == classes[j] > 0)
    return any((near[i] & masks[j]).any() for i, j in pairs)
