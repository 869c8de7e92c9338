"""Turns single examples into batches, and augments image and mask together.

Masks are resized to the nearest id and never interpolated. Pixels outside the image are void in the mask. All random
numbers depend only on the seed, on Keras' global seed, and on how often the dataset was read before. So you can repeat
a run exactly, bit for bit, with any number of threads.
"""

import math

import numpy as np
import tensorflow as tf

from ..layers.preprocessing import repeat_mean_color

# The largest changes of the colours at strength 1: of brightness (where white is 1), of contrast and saturation
# (relative to their values), and of hue (where the full circle is 1).
COLOR_RANGES = (0.25, 0.4, 0.4, 0.05)


def make_pipeline(
    examples,
    *,
    size=None,
    augment=False,
    scales=(0.5, 2.0),
    color=0.0,
    flip=True,
    batch=None,
    seed=None,
    ignore_class=255,
    ranges=None,
    decode=None,
):
    """Turns a data set of ``{"image", "segmentation_mask"}`` into pairs for training or evaluation.

    Args:
        examples: A `tf.data.Dataset` of dicts, with images uint8 ``(H, W, 3)`` and masks uint8 ``(H, W, 1)``. Both may
            also be the bytes of JPEG and PNG files, which keeps the shuffle buffer small.
        size: ``(height, width)`` to which every image is cropped or padded. With `augment` the crop has a random
            position, without it the crop is centred. None keeps the size of each image.
        augment: Whether to scale, crop and flip (left to right) at random, and to vary the colours by `color`.
        scales: Smallest and largest factor of the random scale. The logarithm of the factor is uniform between them.
        color: How much colours vary with `augment`, in units of `COLOR_RANGES`: 0 not at all, 1 strongly.
        flip: Whether `augment` also mirrors images, left to right; or pairs of class ids that a mirrored mask
            exchanges, such as ``[(1, 2)]`` for the left and the right eye.
        batch: Number of images in a batch. They must all have the same size. None gives single examples.
        seed: An integer that determines the order of the examples and all random numbers. Each pass over the dataset,
            such as each epoch of ``fit``, has another order and other random numbers, and the same seed gives the same
            passes again. None keeps the order.
        ignore_class: Label of the padding in the masks.
        ranges: The lowest and the highest value of each channel of the images; by default RGB in 0–255. Colours vary
            relative to them. Only images of three channels have a saturation and a hue.
        decode: Function that decodes an image; by default one for JPEG and PNG files.

    Returns:
        A `tf.data.Dataset` of pairs: images float32, masks uint8.

    Raises:
        ValueError: If `augment` is True and there is no seed; if `scales` are not two positive numbers in order; if
            `color` is outside 0–2; if `flip` is given without `augment`, or names a class twice; or if the examples
            must be shuffled, but their number is not known.

    Example:

    >>> one = {"image": tf.zeros((1, 40, 60, 3), tf.uint8), "segmentation_mask": tf.zeros((1, 40, 60, 1), tf.uint8)}
    >>> dataset = make_pipeline(tf.data.Dataset.from_tensor_slices(one), size=(64, 64), augment=True, seed=1)
    >>> next(iter(dataset))[0].shape
    TensorShape([64, 64, 3])
    """
    if augment and seed is None:
        raise ValueError("Found augment=True and seed=None. Fix: seed=0.")
    if augment and not 0 < scales[0] <= scales[1]:
        raise ValueError(
            f"Found scales={tuple(scales)}: expected the smallest and the largest factor, such as (0.5, 2)."
        )
    if not 0 <= color <= 2:
        raise ValueError(f"Found color={color}: expected 0 (colours as they are) to 2.")
    if flip is not True and not augment:
        raise ValueError(f"Found flip={flip!r} without augmentation. Fix: augment=True, or leave flip out.")
    low, high = np.array([(0, 255)] * 3 if ranges is None else ranges, "float64").T
    padding = low + (high - low) * repeat_mean_color(len(low)) / 255
    exchange = None if isinstance(flip, bool) else _make_exchange(flip)
    numbered = examples.enumerate()
    if seed is not None:
        length = int(examples.cardinality())
        if length < 0:
            raise ValueError(
                f"Found examples of {'infinite' if length == -1 else 'unknown'} length: expected a known length, to "
                "shuffle all. Fix: examples.apply(tf.data.experimental.assert_cardinality(N)), or seed=None."
            )
        numbers = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)  # others in each pass
        numbered = tf.data.Dataset.zip(numbers, examples).shuffle(length, seed=seed, reshuffle_each_iteration=True)

    def step(number, example):
        image, mask = _decoded(example, decode, len(low))
        draw = _Draws(seed, number) if augment else None
        if augment:
            image, mask = _scaled(image, mask, draw, scales)
        if size is not None:
            image, mask = _cut(image, mask, size, draw)
        if augment and flip is not False:
            flipped = mask if exchange is None else tf.gather(exchange, tf.cast(mask, tf.int32))
            pairs = ((image, image), (mask, flipped))
            mirrored = draw.uniform() < 0.5
            image, mask = (tf.cond(mirrored, lambda y=y: tf.reverse(y, [1]), lambda x=x: x) for x, y in pairs)
        if augment and color:
            image = _colored(image, draw, color, low, high - low)
        if size is not None:
            image, mask = _padded(image, mask, size, ignore_class, padding)
        return image, mask[..., 0]

    pairs = numbered.map(step, tf.data.AUTOTUNE, deterministic=True)
    if batch is not None:
        pairs = pairs.batch(batch)
    return pairs.prefetch(tf.data.AUTOTUNE)


def _make_exchange(pairs):
    """The class id in a mirrored mask for each of the 256 ids."""
    exchange = np.arange(256, dtype="uint8")
    ids = [id_ for pair in pairs for id_ in pair]
    if len(set(ids)) < len(ids) or not all(0 <= id_ < 256 for id_ in ids):
        raise ValueError(f"Found flip={pairs!r}: expected pairs of class ids in [0, 256), with each class in one pair.")
    for one, other in pairs:
        exchange[[one, other]] = other, one
    return exchange


class _Draws:
    """Random numbers that depend on the seed, on the number of an example, and on how many were drawn before."""

    def __init__(self, seed, number):
        self.seed, self.number, self.count = seed, number, 0

    def uniform(self, low=0.0, high=1.0):
        self.count += 1
        key = tf.stack([tf.constant(self.seed, tf.int64) * 16 + self.count, self.number])
        return tf.random.stateless_uniform((), key, low, high)


def _decoded(example, decode, channels):
    image, mask = example["image"], example["segmentation_mask"]
    if decode is not None:
        image = decode(image)
    elif image.dtype == tf.string:
        image = tf.io.decode_image(image, channels=3, expand_animations=False)
    if mask.dtype == tf.string:
        mask = tf.io.decode_png(mask, channels=1)  # the builders store ids as grey levels
    return tf.cast(tf.ensure_shape(image, (None, None, channels)), tf.float32), tf.ensure_shape(mask, (None, None, 1))


def _scaled(image, mask, draw, scales):
    factor = tf.exp(draw.uniform(math.log(scales[0]), math.log(scales[1])))
    size = tf.cast(tf.round(tf.cast(tf.shape(mask)[:2], tf.float32) * factor), tf.int32)
    image = tf.image.resize(image, size)
    return image, tf.image.resize(mask, size, method="nearest")


def _cut(image, mask, size, draw):
    """Crops image and mask at the same place to at most `size`. Without `draw`, the crop is centred, not random."""
    shape = tf.shape(mask)
    cut = [tf.minimum(shape[axis], size[axis]) for axis in (0, 1)]
    room = [shape[axis] - cut[axis] for axis in (0, 1)]
    if draw is None:
        place = [n // 2 for n in room]
    else:
        place = [tf.cast(draw.uniform() * tf.cast(n + 1, tf.float32), tf.int32) for n in room]
    return tf.slice(image, [*place, 0], [*cut, -1]), tf.slice(mask, [*place, 0], [*cut, 1])


def _padded(image, mask, size, ignore_class, color):
    """Pads image and mask on all sides to `size`: the image with `color`, the mask with `ignore_class`."""
    more = [size[axis] - tf.shape(mask)[axis] for axis in (0, 1)]
    margins = [[n // 2, n - n // 2] for n in more] + [[0, 0]]
    image = tf.pad(image - color, margins) + color
    mask = tf.pad(mask, margins, constant_values=tf.cast(ignore_class, mask.dtype))
    return tf.ensure_shape(image, [*size, len(color)]), tf.ensure_shape(mask, [*size, 1])


def _colored(image, draw, strength, low, span):
    """Varies brightness, contrast, saturation and hue, as different weather, light and cameras do."""
    brightness, contrast, saturation, hue = (draw.uniform(-1.0, 1.0) * strength * most for most in COLOR_RANGES)
    image = tf.image.adjust_brightness((image - low) / span, brightness)
    image = tf.image.adjust_contrast(image, tf.maximum(1 + contrast, 0))
    if len(low) == 3:
        image = tf.image.adjust_saturation(image, tf.maximum(1 + saturation, 0))
        image = tf.clip_by_value(tf.image.adjust_hue(image, hue), 0, 1)
    return image * span + low
