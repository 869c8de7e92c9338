"""The authors' nets to the last pixel: FCN-32s, 16s, 8s and 8s-at-once on VGG16, and FCN-AlexNet.

They pad the image by 100 pixels, so that even one pixel yields a unit of fc6, and crop what the upsampling paints. The
famous offsets 19; 5 and 27; 5, 9 and 31; 18 stand nowhere in this file: `fcn_keras.models.fusion` derives them.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4; Table 1; the authors' public net definitions.
"""

import keras
from keras import ops

from .. import geometry
from ..layers.preprocessing import Preprocessing
from ..models import fusion

register = keras.saving.register_keras_serializable(package="fcn_keras")

PADDING = 100
VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # channels by stage


def CaffeFCN32s(num_classes=21, upsampling="frozen", width=1, name="voc_fcn32s"):
    """The authors' FCN-32s on VGG16.

    A Functional model from RGB images ``(batch, H, W, 3)`` in 0–255, any size from 1×1 up, to logits
    ``(batch, H, W, num_classes)``. BGR order, mean colour and the padding of 100 pixels are inside. Layers have the
    authors' names, weights are random: see `load_caffemodel`.

    Args:
        num_classes: Number of classes, background included.
        upsampling: ``"frozen"`` bilinear, as in the released nets; ``"learned_inner"``, as in the CVPR paper: every
            transposed convolution but the last is learned from a bilinear start; or ``"learned"``.
        width: Factor of all numbers of channels but the classes; less than 1 makes a small net of the same layers.
        name: Name of the model.

    Raises:
        ValueError: If `upsampling` is none of these.

    Example:

    >>> model = CaffeFCN32s(width=1 / 16)
    >>> model(keras.ops.zeros((1, 37, 53, 3))).shape, model.get_layer("upscore_crop").offset
    (TensorShape([1, 37, 53, 21]), 19)

    Reference: Long et al. (CVPR 2015), §4.1; PAMI 2017, §4.
    """
    return _vgg_fcn(num_classes, upsampling, width, 32, (1, 1), name)


def CaffeFCN16s(num_classes=21, upsampling="frozen", width=1, name="voc_fcn16s"):
    """The authors' FCN-16s; arguments, returns and errors as in `CaffeFCN32s`. Crops: pool4 5, score 27.

    Example:

    >>> CaffeFCN16s(width=1 / 16).get_layer("upscore16_crop").offset
    27

    Reference: Long et al. (CVPR 2015), §4.2.
    """
    return _vgg_fcn(num_classes, upsampling, width, 16, (1, 1), name)


def CaffeFCN8s(num_classes=21, upsampling="frozen", width=1, name="voc_fcn8s"):
    """The authors' FCN-8s; arguments, returns and errors as in `CaffeFCN32s`. Crops: pool4 5, pool3 9, score 31.

    Example:

    >>> CaffeFCN8s(width=1 / 16).get_layer("score_pool3_crop").offset
    9

    Reference: Long et al. (CVPR 2015), §4.2.
    """
    return _vgg_fcn(num_classes, upsampling, width, 8, (1, 1), name)


def CaffeFCN8sAtOnce(num_classes=21, upsampling="frozen", width=1, name="voc_fcn8s_atonce"):
    """The authors' FCN-8s-at-once, trained without stages; arguments, returns and errors as in `CaffeFCN32s`.

    As `CaffeFCN8s`, with pool4 × 0.01 and pool3 × 0.0001 before their score layers.

    Example:

    >>> CaffeFCN8sAtOnce(width=1 / 16).get_layer("scale_pool3").scale
    0.0001

    Reference: PAMI 2017, §4.3.
    """
    return _vgg_fcn(num_classes, upsampling, width, 8, fusion.AT_ONCE_SCALES, name)


def CaffeFCNAlexNet(num_classes=21, upsampling="frozen", width=1, name="voc_fcn_alexnet"):
    """The authors' FCN-AlexNet: the first line of Table 1.

    Arguments, returns and errors as in `CaffeFCN32s`. Its units lie on pixels (32 i + 13), so the kernel is odd, 63, and the
    crop 18.

    Example:

    >>> model = CaffeFCNAlexNet(width=1 / 16)
    >>> model.get_layer("upscore").kernel_size, model.get_layer("upscore_crop").offset
    (63, 18)

    Reference: Long et al. (CVPR 2015), §4.1, Table 1; Krizhevsky et al. (NIPS 2012), §3.
    """
    fusion.require_upsampling(upsampling)
    image, x = _padded_image()
    x = _conv(x, _wide(96, width), 11, "conv1", strides=4, padding="valid")
    x = LocalResponseNormalization(name="norm1")(_pool3(x, "pool1"))
    x = _conv(x, _wide(256, width), 5, "conv2", groups=2)
    x = LocalResponseNormalization(name="norm2")(_pool3(x, "pool2"))
    x = _conv(x, _wide(384, width), 3, "conv3")
    x = _conv(x, _wide(384, width), 3, "conv4", groups=2)
    x = _conv(x, _wide(256, width), 3, "conv5", groups=2)
    top = _fully_convolutional(_pool3(x, "pool5"), 6, width)
    places = geometry.of_outputs(keras.Model(image, top))
    logits = fusion.fuse([top], places, image, num_classes, upsampling=upsampling, padded=True)
    return keras.Model(image, logits, name=name)


def _vgg_fcn(num_classes, upsampling, width, finest, skip_scales, name):
    fusion.require_upsampling(upsampling)
    image, x = _padded_image()
    pools = []
    for stage, channels in enumerate(VGG16, start=1):
        for i, number in enumerate(channels, start=1):
            first = (stage, i) == (1, 1)  # its padding of 100 is a layer of its own
            x = _conv(x, _wide(number, width), 3, f"conv{stage}_{i}", padding="valid" if first else "same")
        x = keras.layers.MaxPooling2D(2, padding="same", name=f"pool{stage}")(x)  # rounds up, as Caffe does
        pools.append(x)
    maps = [pools[2], pools[3], _fully_convolutional(pools[4], 7, width)]
    places = geometry.of_outputs(keras.Model(image, maps))
    logits = fusion.fuse(
        maps,
        places,
        image,
        num_classes,
        finest=finest,
        upsampling=upsampling,
        skip_scales=skip_scales,
        padded=True,
    )
    return keras.Model(image, logits, name=name)


def _padded_image():
    image = keras.Input((None, None, 3), name="image")
    x = Preprocessing("berkeley", name="preprocessing")(image)
    return image, keras.layers.ZeroPadding2D(PADDING, name="pad")(x)


def _wide(channels, width):
    """A number of channels, even so that it can be split into two groups."""
    return max(2, 2 * round(channels * width / 2))


def _conv(x, channels, kernel, name, padding="same", **kwargs):
    return keras.layers.Conv2D(channels, kernel, padding=padding, activation="relu", name=name, **kwargs)(x)


def _pool3(x, name):
    """Overlapping pooling 3/2, rounding up: one more row and column of zeros, the least that a ReLU gives."""
    x = keras.layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x)
    return keras.layers.MaxPooling2D(3, 2, name=name)(x)


def _fully_convolutional(x, kernel, width):
    for name, size in (("fc6", kernel), ("fc7", 1)):
        x = _conv(x, _wide(4096, width), size, name, padding="valid")
        x = keras.layers.Dropout(0.5, name=f"drop{name[2]}")(x)
    return x


@register
class LocalResponseNormalization(keras.layers.Layer):
    """Divides each number by a power of the squares around it, across channels, as Caffe's LRN layer does.

    ``x / (1 + alpha / size * sum of squares over size channels) ** beta``, on ``(batch, h, w, channels)``.

    Args:
        size: Number of neighbouring channels, odd.
        alpha: Weight of the squares.
        beta: Exponent.

    Example:

    >>> LocalResponseNormalization(alpha=5.0, beta=1.0)(keras.ops.ones((1, 1, 1, 1)))[0, 0, 0, 0].numpy()
    np.float32(0.5)

    Reference: Krizhevsky et al. (NIPS 2012), §3.3.
    """

    def __init__(self, size=5, alpha=1e-4, beta=0.75, **kwargs):
        super().__init__(**kwargs)
        self.size, self.alpha, self.beta = size, alpha, beta

    def call(self, x):
        channels, reach = x.shape[-1], self.size // 2
        squares = ops.pad(ops.square(x), [[0, 0], [0, 0], [0, 0], [reach, reach]])
        around = sum(squares[..., i : i + channels] for i in range(self.size))
        return x / (1 + self.alpha / self.size * around) ** self.beta

    def compute_output_shape(self, input_shape):
        return input_shape

    def geometry(self, incoming):
        """Geometry of the output, for `fcn_keras.geometry.trace`: units stay where they are."""
        return incoming[0]

    def get_config(self):
        return {**super().get_config(), "size": self.size, "alpha": self.alpha, "beta": self.beta}
