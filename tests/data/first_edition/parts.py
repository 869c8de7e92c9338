"""What make.py and tests/test_first_edition.py share: images, a small backbone, a net and its data.

Nothing here imports `fcn_keras`, so the same lines run beside the first edition and beside today's code.
"""

import keras
import numpy as np
import tensorflow as tf

CLASSES = ["ground", "disc", "ring"]
STEPS, BATCH, SIZE = 4, 2, 32


def little_backbone(name="little"):
    """Five convolutions and poolings with four channels: a network of stride 32 with 700 weights."""
    x = image = keras.Input((None, None, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(x)
    for i in range(1, 6):
        x = keras.layers.Conv2D(4, 3, padding="same", use_bias=i != 2, name=f"conv{i}")(x)
        if i == 2:
            x = keras.layers.BatchNormalization(name="norm2")(x)
        x = keras.layers.ReLU(name=f"relu{i}")(x)
        x = keras.layers.MaxPooling2D(2, name=f"pool{i}")(x)
    return keras.Model(image, x, name=name)


def little_net():
    """A net of one's own, for `Run`: it has all kinds of state that a checkpoint holds."""
    x = image = keras.Input((None, None, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(x)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.25)(x)
    return keras.Model(image, keras.layers.Conv2D(len(CLASSES), 1, dtype="float32")(x), name="little_net")


def scenes(count, seed, size=SIZE):
    """Grey noise with a bright disc and a dark ring: images ``(count, size, size, 3)`` and their masks."""
    generator = np.random.RandomState(seed)  # whose numbers NumPy promises never to change
    rows, columns = np.mgrid[:size, :size]
    images, masks = np.empty((count, size, size, 3), "float32"), np.zeros((count, size, size), "uint8")
    for image, mask in zip(images, masks, strict=True):
        distance = np.hypot(rows - generator.uniform(8, size - 8), columns - generator.uniform(8, size - 8))
        mask[distance < 7], mask[distance < 4] = 2, 1
        image[:] = np.choose(mask, [120, 230, 20])[..., None] + generator.uniform(-20, 20, (size, size, 3))
        mask[0] = 255
    return images, masks


def batches(seed):
    """The training data of an epoch: the same scenes in an order that the seed decides."""
    images, masks = scenes(STEPS * BATCH, seed=0)
    order = np.random.RandomState(seed % 2**31).permutation(STEPS * BATCH)
    return tf.data.Dataset.from_tensor_slices((images[order], masks[order])).batch(BATCH)


def validation():
    """The data that a run is measured on."""
    return tf.data.Dataset.from_tensor_slices(scenes(4, seed=1)).batch(2)


def objects():
    """Two images with a disc and a ring each, as Mask R-CNN takes them to learn from."""
    images, masks = scenes(2, seed=2, size=64)
    each = np.stack([masks == 1, masks == 2], axis=1)
    boxes = np.array([[[f(np.flatnonzero(m.any(a))) for f, a in ((np.min, 1), (np.min, 0), (np.max, 1), (np.max, 0))]
                       for m in image] for image in each], "float32")  # fmt: skip
    boxes[..., 2:] += 1
    return {"image": images, "boxes": boxes, "classes": np.array([[1, 2]] * 2, "int32"), "masks": each.astype("uint8")}
