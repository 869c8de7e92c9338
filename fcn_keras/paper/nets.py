"""The nets that the authors released: FCN-32s, 16s, 8s and 8s-at-once on VGG16, and FCN-AlexNet.

The released nets pad the image by 100 pixels, so that fc6 has an output even for an image of one pixel, and crop what
the upsampling adds. Their definitions give the crops as numbers: 19 for FCN-32s; 5 and 27 for FCN-16s; 5, 9 and 31 for
FCN-8s; 18 for FCN-AlexNet. Here `fcn_keras.models.fusion` computes them. The paper mentions neither the padding nor the
crops.

Reference: the net definitions that the authors published (``*.prototxt``); Long, Shelhamer & Darrell (CVPR 2015), §4;
Table 1.
"""

import keras
from keras import ops

from .. import geometry
from ..layers.preprocessing import Preprocessing
from ..models import fusion
from ..models.segmentation_model import SegmentationModel

register = keras.saving.register_keras_serializable(package="fcn_keras")

PADDING = 100
VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # channels by stage


def CaffeFCN32s(num_classes=21, upsampling="frozen", width=1, name="voc_fcn32s"):
    """Builds the released FCN-32s, on VGG16.

    Layers have the authors' names. The net contains the change to BGR, the subtraction of the mean colour and the
    padding of 100 pixels. Its weights are random; see `load_caffemodel`.

    Args:
        num_classes: Number of classes, background included.
        upsampling: ``"frozen"``: bilinear, as in the released nets. ``"learned_inner"``, as the CVPR paper describes:
            every transposed convolution except the last is learned, starting as bilinear. ``"learned"``: all are.
        width: Factor of the number of channels of all layers except the scores. Less than 1 makes a smaller net.
        name: Name of the model.

    Returns:
        A Functional model from RGB images ``(batch, H, W, 3)`` in 0–255, of any size from 1×1 up, to logits ``(batch,
        H, W, num_classes)``.

    Raises:
        ValueError: If `upsampling` is unknown.

    Example:

    >>> model = CaffeFCN32s(width=1 / 16)
    >>> model(keras.ops.zeros((1, 37, 53, 3))).shape, model.get_layer("upscore_crop").offset
    (TensorShape([1, 37, 53, 21]), 19)

    Reference: Long et al. (CVPR 2015), §4.1; PAMI 2017, §4; ``voc-fcn32s``.
    """
    return _build_on_vgg(num_classes, upsampling, width, 32, (1, 1), name)


def CaffeFCN16s(num_classes=21, upsampling="frozen", width=1, name="voc_fcn16s"):
    """Builds the released FCN-16s. Its crops are 5 at pool4 and 27 at the end.

    Args:
        num_classes: As in `CaffeFCN32s`.
        upsampling: As in `CaffeFCN32s`.
        width: As in `CaffeFCN32s`.
        name: Name of the model.

    Returns:
        A Functional model, as from `CaffeFCN32s`.

    Raises:
        ValueError: If `upsampling` is unknown.

    Example:

    >>> CaffeFCN16s(width=1 / 16).get_layer("upscore16_crop").offset
    27

    Reference: Long et al. (CVPR 2015), §4.2.
    """
    return _build_on_vgg(num_classes, upsampling, width, 16, (1, 1), name)


def CaffeFCN8s(num_classes=21, upsampling="frozen", width=1, name="voc_fcn8s"):
    """Builds the released FCN-8s. Its crops are 5 at pool4, 9 at pool3 and 31 at the end.

    Args:
        num_classes: As in `CaffeFCN32s`.
        upsampling: As in `CaffeFCN32s`.
        width: As in `CaffeFCN32s`.
        name: Name of the model.

    Returns:
        A Functional model, as from `CaffeFCN32s`.

    Raises:
        ValueError: If `upsampling` is unknown.

    Example:

    >>> CaffeFCN8s(width=1 / 16).get_layer("score_pool3_crop").offset
    9

    Reference: Long et al. (CVPR 2015), §4.2.
    """
    return _build_on_vgg(num_classes, upsampling, width, 8, (1, 1), name)


def CaffeFCN8sAtOnce(num_classes=21, upsampling="frozen", width=1, name="voc_fcn8s_atonce"):
    """Builds the released FCN-8s-at-once, which is trained without stages.

    It is `CaffeFCN8s` with pool4 multiplied by 0.01 and pool3 by 0.0001 before their score layers.

    Args:
        num_classes: As in `CaffeFCN32s`.
        upsampling: As in `CaffeFCN32s`.
        width: As in `CaffeFCN32s`.
        name: Name of the model.

    Returns:
        A Functional model, as from `CaffeFCN32s`.

    Raises:
        ValueError: If `upsampling` is unknown.

    Example:

    >>> CaffeFCN8sAtOnce(width=1 / 16).get_layer("scale_pool3").scale
    0.0001

    Reference: PAMI 2017, §4.3.
    """
    return _build_on_vgg(num_classes, upsampling, width, 8, fusion.AT_ONCE_SCALES, name)


def CaffeFCNAlexNet(num_classes=21, upsampling="frozen", width=1, name="voc_fcn_alexnet"):
    """Builds the released FCN-AlexNet, the first line of the paper's Table 1.

    Its units are centred on pixels (32 i + 13), not between pixels. So its upsampling kernel has an odd size, 63, and
    its crop is 18.

    Args:
        num_classes: As in `CaffeFCN32s`.
        upsampling: As in `CaffeFCN32s`.
        width: As in `CaffeFCN32s`.
        name: Name of the model.

    Returns:
        A Functional model, as from `CaffeFCN32s`.

    Raises:
        ValueError: If `upsampling` is unknown.

    Example:

    >>> model = CaffeFCNAlexNet(width=1 / 16)
    >>> model.get_layer("upscore").kernel_size, model.get_layer("upscore_crop").offset
    ((63, 63), 18)

    Reference: Long et al. (CVPR 2015), §4.1, Table 1; Krizhevsky et al. (NIPS 2012), §3; ``voc-fcn-alexnet``.
    """
    fusion.require_upsampling(upsampling)
    image, x = _pad_image()
    x = _add_conv(x, _widen(96, width), 11, "conv1", strides=4, padding="valid")
    x = LocalResponseNormalization(name="norm1")(_add_pool(x, "pool1"))
    x = _add_conv(x, _widen(256, width), 5, "conv2", groups=2)
    x = LocalResponseNormalization(name="norm2")(_add_pool(x, "pool2"))
    x = _add_conv(x, _widen(384, width), 3, "conv3")
    x = _add_conv(x, _widen(384, width), 3, "conv4", groups=2)
    x = _add_conv(x, _widen(256, width), 3, "conv5", groups=2)
    top = _add_fc6_fc7(_add_pool(x, "pool5"), 6, width)
    places = geometry.trace_outputs(keras.Model(image, top))
    logits = fusion.fuse([top], places, image, num_classes, upsampling=upsampling, padded=True)
    return SegmentationModel(image, logits, name=name)


def _build_on_vgg(num_classes, upsampling, width, finest, skip_scales, name):
    fusion.require_upsampling(upsampling)
    image, x = _pad_image()
    pools = []
    for stage, channels in enumerate(VGG16, start=1):
        for i, number in enumerate(channels, start=1):
            first = (stage, i) == (1, 1)  # its padding of 100 is a separate layer
            x = _add_conv(x, _widen(number, width), 3, f"conv{stage}_{i}", padding="valid" if first else "same")
        x = keras.layers.MaxPooling2D(2, padding="same", name=f"pool{stage}")(x)  # rounds up, as Caffe does
        pools.append(x)
    maps = [pools[2], pools[3], _add_fc6_fc7(pools[4], 7, width)]
    places = geometry.trace_outputs(keras.Model(image, maps))
    options = {"finest": finest, "upsampling": upsampling, "skip_scales": skip_scales, "padded": True}
    logits = fusion.fuse(maps, places, image, num_classes, **options)
    return SegmentationModel(image, logits, name=name)


def _pad_image():
    image = keras.Input((None, None, 3), name="image")
    x = Preprocessing("berkeley", name="preprocessing")(image)
    return image, keras.layers.ZeroPadding2D(PADDING, name="pad")(x)


def _widen(channels, width):
    """Scales a number of channels. The result is even, so that it can be split into two groups."""
    return max(2, 2 * round(channels * width / 2))


def _add_conv(x, channels, kernel, name, padding="same", **kwargs):
    return keras.layers.Conv2D(channels, kernel, padding=padding, activation="relu", name=name, **kwargs)(x)


def _add_pool(x, name):
    """Adds 3×3 max pooling with stride 2 that rounds the size up, as Caffe does.

    It pads with zeros, which do not change a maximum after a ReLU.
    """
    x = keras.layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x)
    return keras.layers.MaxPooling2D(3, 2, name=name)(x)


def _add_fc6_fc7(x, kernel, width):
    for name, size in (("fc6", kernel), ("fc7", 1)):
        x = _add_conv(x, _widen(4096, width), size, name, padding="valid")
        x = keras.layers.Dropout(0.5, name=f"drop{name[2]}")(x)
    return x


@register
class LocalResponseNormalization(keras.layers.Layer):
    """Divides each value by a power of the squares of its neighbours in other channels, as Caffe's LRN layer does.

    ``x / (1 + alpha / size * sum of squares over size channels) ** beta``, on ``(batch, h, w, channels)``.

    Args:
        size: Number of channels in the sum, including the value's own channel. It is odd.
        alpha: Weight of the squares.
        beta: Exponent.
        **kwargs: As in `keras.layers.Layer`.

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

    def compute_geometry(self, incoming):
        """Returns the geometry of the output, for `fcn_keras.geometry.trace`: the units stay where they are."""
        return incoming[0]

    def get_config(self):
        return {**super().get_config(), "size": self.size, "alpha": self.alpha, "beta": self.beta}
