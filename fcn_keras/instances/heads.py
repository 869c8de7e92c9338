"""The three heads of Mask R-CNN. Is there an object? Which class and box does it have? Which pixels belong to it?

Reference: He et al. (ICCV 2017), §3 and Figure 4, right; Ren et al. (NIPS 2015), §3.1.
"""

import keras

from ..layers.upsampling import BilinearConv2DTranspose


def rpn_head(channels, per_unit, name="rpn"):
    """Builds the head of the region proposal network (RPN), which judges the anchors of a map of the pyramid.

    The same head is used on all levels.

    Args:
        channels: Channels of the map.
        per_unit: Number of anchors of a unit.
        name: Name of the model.

    Returns:
        A model from ``(batch, h, w, channels)`` to logits ``(batch, h · w · per_unit)``, for "here is an object", and
        offsets ``(batch, h · w · per_unit, 4)``.

    Example:

    >>> [x.shape for x in rpn_head(64, per_unit=3)(np.zeros((1, 4, 4, 64)))]
    [TensorShape([1, 48]), TensorShape([1, 48, 4])]
    """
    units = keras.Input((None, None, channels))
    x = keras.layers.Conv2D(channels, 3, padding="same", activation="relu", name="shared")(units)
    logits = _make_output_conv(per_unit, "objectness")(x)
    offsets = _make_output_conv(4 * per_unit, "offsets")(x)
    flat = [keras.layers.Reshape((-1,))(logits), keras.layers.Reshape((-1, 4))(offsets)]
    return keras.Model(units, flat, name=name)


def box_head(channels, num_classes, width=1024, size=7, name="box_head"):
    """Builds the head that predicts the class of each proposal, and a better box for each class.

    Args:
        channels: Channels of the map below the proposal.
        num_classes: Number of classes, background (class 0) included.
        width: Units of the two dense layers; 1,024 in the paper.
        size: Height and width of the map.
        name: Name of the model.

    Returns:
        A model from ``(R, size, size, channels)`` to logits ``(R, num_classes)`` and offsets ``(R, num_classes, 4)``.

    Example:

    >>> [x.shape for x in box_head(64, num_classes=10)(np.zeros((5, 7, 7, 64)))]
    [TensorShape([5, 10]), TensorShape([5, 10, 4])]
    """
    cells = keras.Input((size, size, channels))
    x = keras.layers.Flatten()(cells)
    for i in (6, 7):
        x = keras.layers.Dense(width, activation="relu", kernel_initializer="he_normal", name=f"fc{i}")(x)
    logits, offsets = (
        keras.layers.Dense(units, kernel_initializer=_make_small_normal(), dtype="float32", name=name)(x)
        for units, name in ((num_classes, "classes"), (4 * num_classes, "offsets"))
    )
    return keras.Model(cells, [logits, keras.layers.Reshape((num_classes, 4))(offsets)], name=name)


def mask_head(channels, num_classes, width=256, size=14, name="mask_head"):
    """Builds the head that segments the object in each box: a small FCN.

    Four 3×3 convolutions, a transposed convolution that doubles the size and starts as bilinear upsampling, and a 1×1
    convolution for the scores. Each class has its own mask, whose logits only separate it from the background.
    The box head has already decided which class it is.

    Args:
        channels: Channels of the map below the box.
        num_classes: Number of classes, background included. The mask of the background is never used.
        width: Channels of the convolutions; 256 in the paper.
        size: Height and width of the map.
        name: Name of the model.

    Returns:
        A model from ``(R, size, size, channels)`` to logits ``(R, 2 · size, 2 · size, num_classes)``.

    Example:

    >>> mask_head(64, num_classes=10)(np.zeros((5, 14, 14, 64))).shape
    TensorShape([5, 28, 28, 10])

    Reference: He et al. (ICCV 2017), §3, "Mask Representation" and "Loss", Figure 4.
    """
    x = cells = keras.Input((size, size, channels))
    for i in range(1, 5):
        conv = keras.layers.Conv2D(width, 3, padding="same", activation="relu", kernel_initializer="he_normal")
        conv.name = f"conv{i}"
        x = conv(x)
    x = BilinearConv2DTranspose(width, 2, name="upsample")(x)  # its 4×4 kernel makes one pixel too many on each side
    x = keras.layers.ReLU()(keras.layers.Cropping2D(1, name="crop")(x))
    return keras.Model(cells, _make_output_conv(num_classes, "score")(x), name=name)


def _make_output_conv(filters, name):
    return keras.layers.Conv2D(filters, 1, kernel_initializer=_make_small_normal(), dtype="float32", name=name)


def _make_small_normal():
    """Makes the initializer of an output layer, whose first predictions should be close to zero.

    Each layer gets its own initializer, because an initializer draws its seed when it is made.
    """
    return keras.initializers.RandomNormal(stddev=0.01)
