"""What anyone would try first: the connected regions of each class in a mask, taken for objects.

It works until two objects of one class touch, or one lies across another.
"""

import numpy as np
from scipy import ndimage


def components(probabilities, smallest=10):
    """Objects from the class probabilities of an image.

    Args:
        probabilities: Array ``(H, W, C)``, as from `fcn_keras.inference.probabilities`; class 0 is background.
        smallest: Regions of fewer pixels are left out.

    Returns:
        A dict as `fcn_keras.instances.average_precision` takes it: ``classes`` and ``scores`` ``(N,)``, the mean
        probability of the class within the region, ``boxes`` ``(N, 4)``, ``masks`` ``(N, H, W)``.

    Example:

    >>> labels = np.array([[1, 1, 0, 1], [0, 0, 0, 1]])
    >>> found = components(np.eye(2)[labels], smallest=1)
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
    """Whether two objects of one class lie within `gap` pixels of each other: where components fail.

    Args:
        classes: Array ``(M,)``; 0 are empty rows, −1 crowds, and neither is an object.
        masks: Array ``(M, H, W)`` of 0 and 1.
        gap: Pixels, of which void rims take some.

    Example:

    >>> masks = np.array([[[1, 1, 0, 0, 0]], [[0, 0, 0, 1, 1]]])
    >>> has_touching_twins([4, 4], masks), has_touching_twins([4, 5], masks), has_touching_twins([4, 4], masks, gap=0)
    (True, False, False)
    """
    classes, masks = np.asarray(classes), np.asarray(masks, bool)
    near = [ndimage.binary_dilation(mask, np.ones((3, 3)), iterations=gap) if gap else mask for mask in masks]
    pairs = ((i, j) for i in range(len(classes)) for j in range(i) if classes[i] == classes[j] > 0)
    return any((near[i] & masks[j]).any() for i, j in pairs)
