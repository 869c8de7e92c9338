"""A small backbone for tests of training: five convolutions with known initial weights."""

import keras

from fcn_keras.models.backbones import Backbone


def classifier(weights=None, normalized=False):
    x = image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    for stage in range(1, 6):
        start = keras.initializers.HeNormal(seed=stage)
        x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", kernel_initializer=start, name=f"conv{stage}")(
            x
        )
        if normalized:
            x = keras.layers.BatchNormalization()(x)
        x = keras.layers.MaxPooling2D(name=f"pool{stage}")(x)
    return keras.Model(image, x)


BACKBONE = Backbone(classifier, ("pool3", "pool4", "pool5"), pretrained=None)
