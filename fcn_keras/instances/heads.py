"""The three heads of Mask R-CNN: what is an object, which and where exactly, and its outline.

Reference: He et al. (ICCV 2017), §3 and Figure 4, right; Ren et al. (NIPS 2015), §3.1.
"""

import keras

from ..layers.upsampling import BilinearConv2DTranspose


def rpn_head(channels, per_unit, name="rpn"):
    """From a map of the pyramid to what it thinks of its anchors; one head for all levels.

    Args:
        channels: Channels of the map.
        per_unit: Anchors of a unit.
        name: Name of the model.

    Returns:
        A model from ``(batch, h, w, channels)`` to logits ``(batch, h · w · per_unit)``, that there is an object, and
        offsets ``(batch, h · w · per_unit, 4)``.

    Example:

    >>> [x.shape for x in rpn_head(64, per_unit=3)(np.zeros((1, 4, 4, 64)))]
    [TensorShape([1, 48]), TensorShape([1, 48, 4])]
    """
    units = keras.Input((None, None, channels))
    x = keras.layers.Conv2D(channels, 3, padding="same", activation="relu", name="shared")(units)
    logits = _said(per_unit, "objectness")(x)
    offsets = _said(4 * per_unit, "offsets")(x)
    flat = [keras.layers.Reshape((-1,))(logits), keras.layers.Reshape((-1, 4))(offsets)]
    return keras.Model(units, flat, name=name)


def box_head(channels, num_classes, width=1024, size=7, name="box_head"):
    """From the map below a proposal to its class, and for each class to a better box.

    Args:
        channels: Channels of the map.
        num_classes: Number of classes, background (class 0) included.
        width: Units of the two dense layers; the paper has 1,024.
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
    logits = keras.layers.Dense(num_classes, kernel_initializer=_quiet(), dtype="float32", name="classes")(x)
    offsets = keras.layers.Dense(4 * num_classes, kernel_initializer=_quiet(), dtype="float32", name="offsets")(x)
    return keras.Model(cells, [logits, keras.layers.Reshape((num_classes, 4))(offsets)], name=name)


def mask_head(channels, num_classes, width=256, size=14, name="mask_head"):
    """From the map below a box to a mask of twice its size for each class: a small FCN.

    Four 3×3 convolutions, a transposed convolution ×2 that starts bilinear, scores by a 1×1 convolution. Each class has
    a mask of its own, a logit against nothing but background: which class it is, the box head has said.

    Args:
        channels: Channels of the map.
        num_classes: Number of classes, background included; its mask is never asked for.
        width: Channels of the convolutions; the paper has 256.
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
    x = BilinearConv2DTranspose(width, 2, name="upsample")(x)  # one pixel too many on each side: its kernel is 4 wide
    x = keras.layers.ReLU()(keras.layers.Cropping2D(1, name="crop")(x))
    return keras.Model(cells, _said(num_classes, "score")(x), name=name)


def _quiet():
    """Initializer of the layers that say something: at first, next to nothing."""
    return keras.initializers.RandomNormal(stddev=0.01)  # one for each layer, as it draws its seed when it is made


def _said(filters, name):
    return keras.layers.Conv2D(filters, 1, kernel_initializer=_quiet(), dtype="float32", name=name)
