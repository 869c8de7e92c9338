"""Photographs finer than they were taken: a small fully convolutional super-resolver, and how it is measured.

Its last layer is the transposed convolution of FCN-32s: it starts as bilinear interpolation of the image's own colours
and learns what to add from features of the pixels around. It sees a few pixels and has few weights: it sharpens edges
that it knows the kind of, and invents nothing.

Reference: the last layer as in Long, Shelhamer & Darrell (CVPR 2015), §3.3; features at low resolution and one
transposed convolution behind them as in FSRCNN (Dong, Loy & Tang, ECCV 2016).
"""

import keras
import numpy as np
import tensorflow as tf

from ..geometry import Geometry, of_outputs
from ..layers.padding import CropLike, PadEdges
from .fusion import upsampled

FACTORS = (2, 3, 4)


def super_resolver(factor, features=32, depth=3, name=None):
    """A network that makes an image `factor` times as high and wide.

    A Functional model from RGB images ``(batch, H, W, 3)`` in 0–255, of any size, to ``(batch, factor H, factor W, 3)``
    in about 0–255: clip and round what is to be an image. Untrained, it interpolates bilinearly. Edges are repeated at
    the border, so that nothing fades to black there.

    Args:
        factor: 2, 3 or 4.
        features: Channels of each hidden layer.
        depth: Number of hidden 3×3 convolutions; a pixel of the result sees ``2 * depth + 2`` pixels of the image.
        name: Name of the model; by default ``super_resolver_x`` and the factor.

    Raises:
        ValueError: If the factor is none of these.

    Example:

    >>> super_resolver(2)(keras.ops.ones((1, 5, 7, 3))).shape
    TensorShape([1, 10, 14, 3])

    Reference: Dong et al. (ECCV 2016), §3.2; Long et al. (CVPR 2015), §3.3.
    """
    if factor not in FACTORS:
        raise ValueError(f"Found factor={factor!r}: expected one of {FACTORS}.")
    image = keras.Input((None, None, 3), name="image")
    x = PadEdges(depth + 1, name="edges")(image)
    x = features_of = keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(x)
    for i in range(1, depth + 1):
        x = keras.layers.Conv2D(features, 3, activation="relu", kernel_initializer="he_normal", name=f"conv{i}")(x)
    colours = keras.layers.Cropping2D(depth, name="colours")(features_of)
    both = keras.layers.Concatenate(name="colours_and_features")([colours, x])
    (place,) = of_outputs(keras.Model(image, both))
    fine = Geometry(1 / factor, 1, (1 / factor - 1) / 2)  # pixel q of the result lies at (q + 0.5) / factor - 0.5
    canvas, crop = upsampled(both, place, fine, learned=True, name="upscore", channels=3)
    x = CropLike(crop, factor, name="upscore_crop")([canvas, image])
    x = keras.layers.Rescaling(127.5, offset=127.5, dtype="float32", name="colours_out")(x)
    return keras.Model(image, x, name=name or f"super_resolver_x{factor}")


def reduced(images, factor):
    """Images made smaller, as a camera of fewer pixels would have taken them: antialiased bicubic, whole numbers.

    Args:
        images: Array or tensor ``(batch, H, W, 3)`` in 0–255; H and W are multiples of `factor`.
        factor: How many times smaller.

    Returns:
        Float32 tensor ``(batch, H / factor, W / factor, 3)`` of whole numbers in 0–255.

    Raises:
        ValueError: If the sides are no multiples of the factor.

    Example:

    >>> reduced(np.full((1, 8, 12, 3), 200), 4).shape
    TensorShape([1, 2, 3, 3])
    """
    height, width = images.shape[1:3]
    if height % factor or width % factor:
        raise ValueError(f"Found images of {height} × {width}: expected multiples of {factor}. Fix: crop them first.")
    images = tf.cast(images, tf.float32)
    return as_image(tf.image.resize(images, (height // factor, width // factor), "bicubic", antialias=True))


def as_image(x):
    """Clipped to 0–255 and rounded to whole numbers, as a file would hold it.

    Example:

    >>> as_image(np.array([-3.2, 127.6, 300.0])).numpy()
    array([  0., 128., 255.])
    """
    return tf.round(tf.clip_by_value(x, 0, 255))


def interpolated(images, factor, method="bicubic"):
    """The baseline: `tf.image.resize` to `factor` times the size.

    Args:
        images: Array or tensor ``(batch, H, W, 3)`` in 0–255.
        factor: How many times larger.
        method: ``"bicubic"``, ``"bilinear"`` or another that `tf.image.resize` knows.

    Returns:
        Float32 tensor ``(batch, factor H, factor W, 3)``.

    Example:

    >>> interpolated(np.ones((1, 4, 5, 3), "float32"), 2).shape
    TensorShape([1, 8, 10, 3])
    """
    height, width = images.shape[1:3]
    return tf.image.resize(images, (factor * height, factor * width), method)


def pairs(images, factor, *, crop=96, batch=16, seed=0):
    """Training pairs for a super-resolver, without end: random pieces of images, and the same pieces reduced.

    Args:
        images: List of RGB arrays ``(H, W, 3)`` in 0–255, of any sizes not smaller than `crop`.
        factor: How many times smaller the first of a pair is.
        crop: Side of the pieces; a multiple of `factor`.
        batch: Pieces in a batch.
        seed: Seed of order, place and flips.

    Returns:
        A `tf.data.Dataset` of pairs of float32 tensors, ``(batch, crop / factor, crop / factor, 3)`` and
        ``(batch, crop, crop, 3)``.

    Raises:
        ValueError: If there are no images, an image is too small, or `crop` is no multiple of the factor.

    Example:

    >>> low, high = next(iter(pairs([np.zeros((100, 120, 3), "uint8")], factor=4, crop=64, batch=2)))
    >>> low.shape, high.shape
    (TensorShape([2, 16, 16, 3]), TensorShape([2, 64, 64, 3]))
    """
    if crop % factor:
        raise ValueError(f"Found crop={crop} for factor={factor}: expected a multiple.")
    small = [image.shape for image in images if min(image.shape[:2]) < crop]
    if small or not len(images):
        found = f"{len(small)} smaller than {crop} × {crop}, such as {small[0]}" if small else "none"
        raise ValueError(f"Found among {len(images)} images {found}. Fix: leave them out, or a smaller crop.")

    def piece(index, draws):
        image = tf.py_function(lambda i: tf.cast(images[int(i)], tf.float32), [index], tf.float32)
        image = tf.image.stateless_random_crop(tf.ensure_shape(image, (None, None, 3)), (crop, crop, 3), draws)
        return tf.image.stateless_random_flip_left_right(image, draws)

    indices = tf.data.Dataset.range(len(images)).shuffle(len(images), seed=seed).repeat()
    draws = tf.data.Dataset.counter().map(lambda n: tf.stack([tf.constant(seed, tf.int64), n]))
    pieces = tf.data.Dataset.zip(indices, draws).map(piece, tf.data.AUTOTUNE, deterministic=True)
    high = pieces.batch(batch, drop_remainder=True)
    return high.map(lambda x: (reduced(x, factor), x), tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def quality(images, factor, enlarge):
    """PSNR and SSIM of enlarged images against the originals: means over the images.

    Args:
        images: List of RGB arrays ``(H, W, 3)`` in 0–255, each cropped here to multiples of `factor`.
        factor: How many times the images are reduced, and enlarged again.
        enlarge: Function from ``(1, h, w, 3)`` to ``(1, factor h, factor w, 3)``: a model, or `interpolated`.

    Returns:
        Dict of ``psnr``, in dB, and ``ssim``, at most 1.

    Example:

    >>> flat = [np.full((32, 32, 3), 90, "uint8")]
    >>> quality(flat, 2, lambda low: interpolated(low, 2))["ssim"]
    1.0

    Reference: SSIM of Wang et al. (IEEE TIP 2004), as `tf.image.ssim` computes it.
    """
    found = []
    for image in images:
        height, width = (side - side % factor for side in image.shape[:2])
        high = tf.cast(image[None, :height, :width], tf.float32)
        again = as_image(tf.convert_to_tensor(enlarge(reduced(high, factor))))
        found.append([float(measure(again, high, 255)[0]) for measure in (tf.image.psnr, tf.image.ssim)])
    return dict(zip(("psnr", "ssim"), np.mean(found, axis=0).tolist(), strict=True))
