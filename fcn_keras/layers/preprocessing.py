"""Turns images into the input that a pretrained network expects."""

import keras

CAFFE_BGR = (104.00699, 116.66877, 122.67892)
# The mean RGB of ImageNet. Images are padded with it, because preprocessing turns it into 0 for most networks.
MEAN_COLOR = (123.68, 116.779, 103.939)
BGR = ("caffe", "berkeley")  # the modes whose networks take blue first
register = keras.saving.register_keras_serializable(package="fcn_keras")


def list_colors(channels, bgr=False):
    """The places of the colours red, green and blue, repeated for any number of channels.

    Args:
        channels: Number of channels.
        bgr: Whether the colours lie in the order blue, green, red.

    Returns:
        List of integers.

    Example:

    >>> list_colors(5), list_colors(5, bgr=True)
    ([0, 1, 2, 0, 1], [2, 1, 0, 2, 1])
    """
    return [2 - i % 3 if bgr else i % 3 for i in range(channels)]


def repeat_mean_color(channels):
    """`MEAN_COLOR`, repeated for any number of channels.

    Args:
        channels: Number of channels.

    Example:

    >>> repeat_mean_color(4)
    (123.68, 116.779, 103.939, 123.68)
    """
    return tuple(MEAN_COLOR[i] for i in list_colors(channels))


@register
class Preprocessing(keras.layers.Layer):
    """Turns RGB images in 0–255 into the input that a pretrained network expects, as in `keras.applications`.

    The layer takes ``(batch, H, W, 3)`` and returns the same shape. Another number of channels is treated as red,
    green, blue, red, green, …, and keeps its order in all modes.

    Args:
        mode: ``"caffe"`` (BGR minus the mean colour: VGG, ResNet), ``"tf"`` (−1 to 1: MobileNetV2), ``"torch"`` (each
            channel with mean 0 and variance 1), ``"none"`` (for networks that preprocess images themselves:
            EfficientNetV2, ConvNeXt, MiniVGG) or ``"berkeley"`` (BGR minus the FCN authors' more exact mean colour).
        **kwargs: Arguments of `keras.layers.Layer`, such as ``name``.

    Raises:
        ValueError: If the mode is none of these.

    Example:

    >>> Preprocessing("tf")(keras.ops.ones((1, 1, 1, 3)) * 255)[0, 0, 0, 0].numpy()
    np.float32(1.0)
    """

    def __init__(self, mode, **kwargs):
        super().__init__(**kwargs)
        if mode not in ("caffe", "tf", "torch", "none", "berkeley"):
            raise ValueError(
                f'Found preprocessing mode {mode!r}: expected "caffe", "tf", "torch", "none" or "berkeley".'
            )
        self.mode = mode

    def call(self, images):
        if self.mode == "none":
            return images
        if images.shape[-1] != 3:
            colors = list_colors(images.shape[-1], self.mode in BGR)
            ends = [self.call(keras.ops.full((1, 3), value, dtype=images.dtype)) for value in (0, 255)]
            black, white = (keras.ops.take(end, colors, axis=-1) for end in ends)
            return images * ((white - black) / 255) + black
        if self.mode == "berkeley":
            return keras.ops.flip(images, axis=-1) - keras.ops.convert_to_tensor(CAFFE_BGR, dtype=images.dtype)
        return keras.applications.imagenet_utils.preprocess_input(images, "channels_last", self.mode)

    def compute_output_shape(self, input_shape):
        return input_shape

    def compute_geometry(self, incoming):
        """Geometry of the output, for `fcn_keras.geometry.trace`: every pixel stays where it is."""
        return incoming[0]

    def get_config(self):
        return {**super().get_config(), "mode": self.mode}
