"""Images with their objects, in batches of the same shape: the training data of Mask R-CNN.

An object has a class, a mask and the box around its mask. All images have the same number of rows for objects; unused
rows are empty and come last. Sources are the data sets of `fcn_keras.datasets` that have instance masks (shapes, voc)
and files in COCO's format (`fcn_keras.instances.coco`).
"""

import tensorflow as tf

from ..layers.preprocessing import MEAN_COLOR
from . import coco
from .sources import Source, open_prepared


def load(name, split="train", *, size=(128, 128), objects=8, batch=8, seed=None, augment=False, **where):
    """Loads a split as batches for `fcn_keras.instances.MaskRCNN`.

    Args:
        name: ``"shapes"``, ``"voc"``, or ``"coco"`` for a file of annotations and a folder of images. It can also be a
            `Source` from `open_source`, so that COCO's file is not read again in each epoch.
        split: As in `fcn_keras.datasets.load`. It is ignored for ``"coco"`` and for a `Source`.
        size: ``(height, width)`` in pixels. Images are scaled to fit into it, and padded.
        objects: Number of rows for objects. If an image has more objects, the smallest are dropped.
        batch: Number of images in a batch. The last batch may be smaller. With a seed, a smaller batch is dropped,
            because a training step is compiled for one shape.
        seed: Integer that shuffles the images and fixes every random number. Take another seed for each epoch. With
            None, the images keep their order.
        augment: Whether to flip, scale and shift the images at random.
        **where: ``config``, ``source`` and ``data_dir``, as in `fcn_keras.datasets.prepare`. For ``"coco"``
            ``annotations`` and ``images``; see `fcn_keras.instances.coco.open_coco`.

    Returns:
        A `tf.data.Dataset` of dicts: ``image`` float32 ``(batch, H, W, 3)`` in 0–255, ``boxes`` float32 ``(batch, M,
        4)``, ``classes`` int32 ``(batch, M)``, 0 for an empty row and −1 for a crowd, and ``masks`` uint8 ``(batch, M,
        H, W)``. At most six batches of decoded images are in memory at a time, however many images there are.

    Raises:
        ValueError: If `augment` is True without a seed, or as in `open_source`.

    Example:

    >>> one = next(iter(load("shapes", "validation", batch=2)))
    >>> one["image"].shape, one["boxes"].shape, one["masks"].shape
    (TensorShape([2, 128, 128, 3]), TensorShape([2, 8, 4]), TensorShape([2, 8, 128, 128]))
    """
    if augment and seed is None:
        raise ValueError("Found augment=True and seed=None. Fix: pass a seed, a different one for each epoch.")
    source = name if isinstance(name, Source) else open_source(name, split, **where)
    numbered = source.undecoded.enumerate()
    if seed is not None:
        numbered = numbered.shuffle(len(numbered), seed=seed, reshuffle_each_iteration=False)

    def step(index, undecoded):
        example = source.decode(undecoded)
        image, masks, classes = example["image"], example["masks"], example["classes"]
        draws = _draw_numbers(seed, index) if augment else None
        image, masks = _fit(tf.cast(image, tf.float32), masks, size, draws)
        if draws is not None:
            image, masks = tf.cond(draws[3] < 0.5, lambda: (image[:, ::-1], masks[:, :, ::-1]), lambda: (image, masks))
        return {"image": tf.ensure_shape(image, (*size, 3)), **_make_rows(masks, classes, objects, size)}

    return (
        numbered.map(step, max(2, batch), deterministic=True)  # a fixed number of calls, since each holds an example
        .batch(batch, drop_remainder=seed is not None)
        .prefetch(1)
    )


def open_source(name, split="train", **where):
    """Opens a split, so that it can be loaded many times.

    Args:
        name: As in `load`.
        split: As in `load`.
        **where: As in `load`.

    Returns:
        A `Source`.

    Raises:
        ValueError: If there is no such data set, or if it has no instance masks.

    Example:

    >>> source = open_source("shapes", "validation")
    >>> next(iter(load(source, batch=2)))["masks"].shape
    TensorShape([2, 8, 128, 128])
    """
    return coco.open_coco(**where) if name == "coco" else open_prepared(name, split, **where)


def _draw_numbers(seed, index):
    """Draws four numbers for scale, place and flip. They only depend on the seed and the number of the example."""
    return tf.random.stateless_uniform((4,), tf.stack([tf.constant(seed, tf.int64), index]))


def _fit(image, masks, size, draws):
    """Scales an image and its masks to fit into `size`, and pads them on the right and at the bottom.

    With `draws`, the scale is multiplied by 0.8 to 1.25, the place is random, and the parts outside `size` are cut off.
    """
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    factor = tf.reduce_min(tf.cast(size, tf.float32) / sides)
    if draws is not None:
        factor *= 0.8 * (1.25 / 0.8) ** draws[0]
    fitted = tf.maximum(tf.cast(tf.round(sides * factor), tf.int32), 1)
    image = tf.image.resize(image, fitted) - MEAN_COLOR
    masks = tf.image.resize(masks[..., None], fitted, method="nearest")
    free = tf.constant(size) - fitted
    share = (0.0, 0.0) if draws is None else (draws[1], draws[2])
    place = tf.cast(tf.cast(tf.abs(free) + 1, tf.float32) * tf.stack(share), tf.int32)
    cut, before = (tf.where(where, place, 0) for where in (free < 0, free > 0))
    kept = tf.minimum(fitted, size)
    margins = tf.stack([before, size - kept - before], axis=1)

    def frame(x):
        x = tf.slice(x, [0, *tf.unstack(cut), 0], [-1, *tf.unstack(kept), -1])
        return tf.pad(x, tf.concat([[[0, 0]], margins, [[0, 0]]], axis=0))

    return frame(image[None])[0] + MEAN_COLOR, frame(masks)[..., 0]


def _make_rows(masks, classes, objects, size):
    """Computes the boxes around the masks. Drops objects without a pixel and, if there are too many, the smallest."""
    order = tf.argsort(tf.reduce_sum(tf.cast(masks, tf.int32), axis=(1, 2)), direction="DESCENDING", stable=True)
    masks, classes = tf.gather(masks, order)[:objects], tf.gather(classes, order)[:objects]
    there = tf.logical_and(tf.reduce_any(masks > 0, axis=(1, 2)), classes != 0)
    masks, classes = tf.boolean_mask(masks, there), tf.boolean_mask(classes, there)
    edges = []
    for axis, side in ((2, size[0]), (1, size[1])):
        line = tf.cast(tf.reduce_max(masks, axis=axis), tf.int32)  # (M, side): 1 if the object has pixels there
        edges.append((tf.argmax(line, axis=1), side - tf.argmax(line[:, ::-1], axis=1)))
    boxes = tf.cast(tf.stack([edges[0][0], edges[1][0], edges[0][1], edges[1][1]], axis=1), tf.float32)
    empty = objects - tf.shape(masks)[0]
    found = {"boxes": boxes, "classes": classes, "masks": masks}
    shapes = {"boxes": (objects, 4), "classes": (objects,), "masks": (objects, *size)}
    padded = {name: tf.pad(x, [[0, empty]] + [[0, 0]] * (x.shape.rank - 1)) for name, x in found.items()}
    return {name: tf.ensure_shape(x, shapes[name]) for name, x in padded.items()}
