"""MiniVGG, the small pretrained CNN that the chapters use."""

import pathlib

import keras

WEIGHTS = pathlib.Path(__file__).parent / "weights"


def MiniVGG(num_classes=9, weights="shapes", include_top=True, input_shape=None, name="mini_vgg"):
    """A small VGG16 with five poolings, total stride 32, fc6 and fc7: a pretrained CNN that needs no download.

    It takes RGB images in 0–255, which its first layer scales. Its 670,000 weights were trained on the config
    ``objects`` of the data set ``shapes``, by ``python -m fcn_keras.training.pretrain``.

    Args:
        num_classes: Number of classes of the top.
        weights: ``"shapes"``, a path to a ``.weights.h5`` file, or None for random weights.
        include_top: Whether to add the top, which flattens the last map and classifies the image.
        input_shape: ``(H, W, 3)``; by default ``(96, 96, 3)`` with the top, and any size without it.
        name: Name of the model.

    Returns:
        A Functional model from images to softmax probabilities ``(batch, num_classes)``, or to the map ``pool5``
        without the top.

    Raises:
        ValueError: If the weights do not fit the number of classes.

    Example:

    >>> MiniVGG(weights=None).output_shape
    (None, 9)

    Reference: based on VGG16 (Simonyan & Zisserman, ICLR 2015), the backbone of the paper, with 16 to 128 channels
    instead of 64 to 512.
    """
    if weights == "shapes" and include_top and num_classes != 9:
        raise ValueError(f'Found num_classes={num_classes}: the weights "shapes" are for 9 classes. Fix: weights=None.')
    shape = input_shape or ((96, 96, 3) if include_top else (None, None, 3))
    x = image = keras.Input(shape, name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(x)
    for stage, filters in enumerate([(16,), (32,), (64, 64), (96, 96), (128, 128)], start=1):
        for i, channels in enumerate(filters, start=1):
            x = _conv(channels, 3, name=f"conv{stage}_{i}")(x)
        x = keras.layers.MaxPooling2D(2, name=f"pool{stage}")(x)
    if include_top:
        x = keras.layers.Flatten(name="flatten")(x)
        for layer in ("fc6", "fc7"):
            x = keras.layers.Dense(160, activation="relu", kernel_initializer="he_normal", name=layer)(x)
        x = keras.layers.Dense(num_classes, activation="softmax", name="predictions")(x)
    model = keras.Model(image, x, name=name)
    if weights is not None:  # without the top, Keras ignores the weights of the top in the file
        model.load_weights(WEIGHTS / "mini_vgg.weights.h5" if weights == "shapes" else weights)
    return model


def _conv(filters, kernel, name):
    return keras.layers.Conv2D(
        filters, kernel, padding="same", activation="relu", kernel_initializer="he_normal", name=name
    )
