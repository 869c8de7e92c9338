"""Super-resolution of photographs: a small fully convolutional network, its training data, and its measures.

The last layer of the network is a transposed convolution, as in FCN-32s. It starts as bilinear interpolation of the
image's colours. It learns to add details, which it computes from features of the surrounding pixels. The network has a
small receptive field and few weights. It can sharpen edges like those it has seen in training, but it cannot invent new
content.

Reference: the last layer is that of Long, Shelhamer & Darrell (CVPR 2015), §3.3. FSRCNN (Dong, Loy & Tang, ECCV 2016)
also computes features at low resolution and ends in one transposed convolution.
"""

import keras
import numpy as np
import tensorflow as tf

from ..geometry import Geometry, trace_outputs
from ..layers.cropping import CropLike
from ..layers.padding import PadEdges
from .fusion import upsample

FACTORS = (2, 3, 4)


def SuperResolver(factor, features=32, depth=3, name=None):
    """A network that makes an image `factor` times as high and wide.

    A Functional model from RGB images ``(batch, H, W, 3)`` in 0–255, of any size, to images
    ``(batch, factor H, factor W, 3)`` in about 0–255. `clip_and_round` turns the result into whole numbers in 0–255. An
    untrained network interpolates bilinearly. The network repeats the outermost pixels beyond the border, so that the
    result does not fade to black there.

    Args:
        factor: 2, 3 or 4.
        features: Channels of each hidden layer.
        depth: Number of hidden 3×3 convolutions. A pixel of the result depends on ``2 * depth + 2`` pixels of the image
            along each axis.
        name: Name of the model; by default ``super_resolver_x`` and the factor.

    Raises:
        ValueError: If the factor is none of these.

    Example:

    >>> SuperResolver(2)(keras.ops.ones((1, 5, 7, 3))).shape
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
    colors = keras.layers.Cropping2D(depth, name="colors")(features_of)
    both = keras.layers.Concatenate(name="colors_and_features")([colors, x])
    (geometry,) = trace_outputs(keras.Model(image, both))
    fine = Geometry(1 / factor, 1, (1 / factor - 1) / 2)  # pixel q of the result lies at (q + 0.5) / factor - 0.5
    canvas, crop = upsample(both, geometry, fine, learned=True, name="upscore", channels=3)
    x = CropLike(crop, factor, name="upscore_crop")([canvas, image])
    x = keras.layers.Rescaling(127.5, offset=127.5, dtype="float32", name="colors_out")(x)
    return keras.Model(image, x, name=name or f"super_resolver_x{factor}")


def downsample(images, factor):
    """Reduces images, so that they look as if taken by a camera with fewer pixels (bicubic, antialiased, rounded).

    Args:
        images: Array or tensor ``(batch, H, W, 3)`` in 0–255; H and W must be multiples of `factor`.
        factor: How many times smaller.

    Returns:
        Float32 tensor ``(batch, H / factor, W / factor, 3)`` of whole numbers in 0–255.

    Raises:
        ValueError: If the sides are not multiples of the factor.

    Example:

    >>> downsample(np.full((1, 8, 12, 3), 200), 4).shape
    TensorShape([1, 2, 3, 3])
    """
    height, width = images.shape[1:3]
    if height % factor or width % factor:
        raise ValueError(f"Found images of {height} × {width}: expected multiples of {factor}. Fix: crop them first.")
    images = tf.cast(images, tf.float32)
    return clip_and_round(tf.image.resize(images, (height // factor, width // factor), "bicubic", antialias=True))


def clip_and_round(x):
    """Clips to 0–255 and rounds to whole numbers, as an image file would.

    Args:
        x: Array or tensor of any shape.

    Returns:
        Tensor of the same shape and type.

    Example:

    >>> clip_and_round(np.array([-3.2, 127.6, 300.0])).numpy()
    array([  0., 128., 255.])
    """
    return tf.round(tf.clip_by_value(x, 0, 255))


def interpolate(images, factor, method="bicubic"):
    """Resizes images to `factor` times their size with `tf.image.resize`. This is the baseline for a super-resolver.

    Args:
        images: Array or tensor ``(batch, H, W, 3)`` in 0–255.
        factor: How many times larger.
        method: ``"bicubic"``, ``"bilinear"`` or another method of `tf.image.resize`.

    Returns:
        Float32 tensor ``(batch, factor H, factor W, 3)``.

    Example:

    >>> interpolate(np.ones((1, 4, 5, 3), "float32"), 2).shape
    TensorShape([1, 8, 10, 3])
    """
    height, width = images.shape[1:3]
    return tf.image.resize(images, (factor * height, factor * width), method)


def make_pairs(images, factor, *, crop=96, batch=16, seed=0):
    """An infinite data set to train a super-resolver: pairs of a reduced and an original piece of an image.

    Args:
        images: List of RGB arrays ``(H, W, 3)`` in 0–255, whose sides are at least `crop`.
        factor: How many times smaller the first image of each pair is.
        crop: Side of the pieces in pixels; a multiple of `factor`.
        batch: Number of pieces in a batch.
        seed: Seed of the order, the positions and the flips.

    Returns:
        A `tf.data.Dataset` of pairs of float32 tensors, ``(batch, crop / factor, crop / factor, 3)`` and
        ``(batch, crop, crop, 3)``.

    Raises:
        ValueError: If there are no images, if an image is too small, or if `crop` is not a multiple of the factor.

    Example:

    >>> low, high = next(iter(make_pairs([np.zeros((100, 120, 3), "uint8")], factor=4, crop=64, batch=2)))
    >>> low.shape, high.shape
    (TensorShape([2, 16, 16, 3]), TensorShape([2, 64, 64, 3]))
    """
    if crop % factor:
        raise ValueError(f"Found crop={crop} for factor={factor}: expected a multiple.")
    small = [image.shape for image in images if min(image.shape[:2]) < crop]
    if small or not len(images):
        found = f"{len(small)} smaller than {crop} × {crop}, such as {small[0]}" if small else "none"
        raise ValueError(
            f"Found among {len(images)} images: {found}. Fix: leave these images out, or pass a smaller crop."
        )

    def piece(index, draws):
        image = tf.py_function(lambda i: tf.cast(images[int(i)], tf.float32), [index], tf.float32)
        image = tf.image.stateless_random_crop(tf.ensure_shape(image, (None, None, 3)), (crop, crop, 3), draws)
        return tf.image.stateless_random_flip_left_right(image, draws)

    indices = tf.data.Dataset.range(len(images)).shuffle(len(images), seed=seed).repeat()
    draws = tf.data.Dataset.counter().map(lambda n: tf.stack([tf.constant(seed, tf.int64), n]))
    pieces = tf.data.Dataset.zip(indices, draws).map(piece, tf.data.AUTOTUNE, deterministic=True)
    high = pieces.batch(batch, drop_remainder=True)
    return high.map(lambda x: (downsample(x, factor), x), tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def psnr_ssim(images, factor, enlarge):
    """The mean PSNR and SSIM of images that are reduced and enlarged again, compared with the originals.

    Args:
        images: List of RGB arrays ``(H, W, 3)`` in 0–255. Each is cropped to multiples of `factor`.
        factor: Factor by which the images are reduced and enlarged again.
        enlarge: Function from ``(1, h, w, 3)`` to ``(1, factor h, factor w, 3)``, such as a model or `interpolate`.

    Returns:
        Dict with ``psnr`` in dB and ``ssim``, which is at most 1.

    Example:

    >>> flat = [np.full((32, 32, 3), 90, "uint8")]
    >>> psnr_ssim(flat, 2, lambda low: interpolate(low, 2))["ssim"]
    1.0

    Reference: SSIM of Wang et al. (IEEE TIP 2004), as `tf.image.ssim` computes it.
    """
    found = []
    for image in images:
        height, width = (side - side % factor for side in image.shape[:2])
        high = tf.cast(image[None, :height, :width], tf.float32)
        again = clip_and_round(tf.convert_to_tensor(enlarge(downsample(high, factor))))
        found.append([float(measure(again, high, 255)[0]) for measure in (tf.image.psnr, tf.image.ssim)])
    return dict(zip(("psnr", "ssim"), np.mean(found, axis=0).tolist(), strict=True))
