"""Turns images into the input that a pretrained network expects."""

import keras

CAFFE_BGR = (104.00699, 116.66877, 122.67892)
# The mean RGB of ImageNet. Images are padded with it, because preprocessing turns it into 0 for most networks.
MEAN_COLOR = (123.68, 116.779, 103.939)
# How a mode changes red, green and blue, x → (x - offset) / scale, where there are more or fewer channels than three.
CAFFE_RGB = CAFFE_BGR[::-1]
BY_CHANNEL = {
    "caffe": (MEAN_COLOR, (1,)),
    "berkeley": (CAFFE_RGB, (1,)),
    "tf": ((127.5,), (127.5,)),
    "torch": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
BGR = ("caffe", "berkeley")  # the modes whose networks take blue first
register = keras.saving.register_keras_serializable(package="fcn_keras")


def repeat_channels(values, channels):
    """Values of red, green and blue, repeated for any number of channels.

    Args:
        values: One value, or one for each of the three.
        channels: Number of channels.

    Returns:
        A tuple of values.

    Example:

    >>> repeat_channels((1, 2, 3), 5)
    (1, 2, 3, 1, 2)
    """
    return tuple(values[i % len(values)] for i in range(channels))


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
            offset, scale = (
                keras.ops.convert_to_tensor(repeat_channels(each, images.shape[-1]), dtype=images.dtype)
                for each in BY_CHANNEL[self.mode]
            )
            return (images - offset) / scale
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
