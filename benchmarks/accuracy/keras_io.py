"""The choices of the keras.io example "Image Segmentation using Composable Fully-Convolutional Networks".

The example does this, and so does this file, with the crops and feature layers of this package:

- image *and mask* are resized bilinearly to the size of the net (there 224², here the next multiples of 32);
- the backbone is frozen; fully connected layers are taken over without their biases (MobileNetV2 has none);
- the top is scored by a 1×1 convolution with ReLU; the scores of the skips start at zero; sums are upsampled ×2
  bilinearly, and another 1×1 convolution ends in softmax *before* the last bilinear upsampling;
- FCN-32s, FCN-16s and FCN-8s are trained one after the other on the same layers, here a third of the steps each;
- AdamW at a constant 1e-3, weight decay 1e-4, cross-entropy of probabilities; void counts as a class.

Two things are left out: it preprocesses twice, but only for its pictures; and it uses float16, for its GPU.
"""

import functools
import time

import keras
import numpy as np
import tensorflow as tf

from fcn_keras.layers import Preprocessing
from fcn_keras.models import backbones

VOID = 255


def run(task, directory):
    """Trains the three nets one after the other and measures FCN-8s; arguments and returns as in `ours.run`."""
    keras.utils.set_random_seed(task.seed)
    void = len(task.class_names)
    build = functools.partial(nets, void + 1, *frozen(task.recipe.backbone, task.recipe.weights))
    stages = build(fitted(next(task.arrays())[0]).shape[1:3])
    for model in stages:
        optimizer = keras.optimizers.AdamW(1e-3, weight_decay=1e-4)
        model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(), jit_compile=False)
    started = time.perf_counter()
    for step, (images, masks) in enumerate(task.arrays()):
        stages[len(stages) * step // task.steps].train_on_batch(fitted(images), fitted_masks(masks, void))
    seconds = (time.perf_counter() - started) / task.steps
    trained, judges = stages[-1], {}

    def predict(images):
        inside = fitted(images)
        size = inside.shape[1:3]
        if size not in judges:
            judges[size] = build(size)[-1]
            judges[size].set_weights(trained.get_weights())
        probabilities = judges[size].predict_on_batch(inside)[..., :-1]  # void is not an answer
        return tf.image.resize(probabilities, images.shape[1:3])

    found = task.measured(predict)
    return {**found, "seconds_per_step": seconds, "parameters": trained.count_params()}


def fitted(images):
    """Resized bilinearly to the next multiples of 32."""
    return tf.image.resize(images, [(side + 31) // 32 * 32 for side in images.shape[1:3]]).numpy()


def fitted_masks(masks, void):
    """Also resized bilinearly, with void as one more class. Ids appear that nobody has drawn."""
    ids = np.where(masks == VOID, void, masks)[..., None]
    return fitted(ids)[..., 0].astype("int32")  # cut off, as the loss does


def frozen(name, weights):
    """The backbone, frozen, with the feature layers of this package; and the mode of its preprocessing."""
    backbone = backbones.get(name)
    extractor = backbone.feature_extractor(weights)
    extractor.trainable = False
    for layer in backbone.fully_connected:
        kernel, bias = extractor.get_layer(layer).get_weights()
        extractor.get_layer(layer).set_weights([kernel, np.zeros_like(bias)])
    return extractor, backbone.preprocessing


def nets(num_classes, backbone, mode, size):
    """FCN-32s, FCN-16s and FCN-8s for one size, from RGB in 0–255 to probabilities; their layers are shared."""

    def score(features, **options):
        return keras.layers.Conv2D(num_classes, 1, **options)(features)

    def upsampled(maps, factor):
        return keras.layers.UpSampling2D(factor, interpolation="bilinear")(maps)

    image = keras.Input((*size, 3))
    pool3, pool4, top = backbone(Preprocessing(mode)(image))
    scores = [score(top, activation="relu")]
    for skip in (pool4, pool3):
        scores.append(keras.layers.Add()([score(skip, kernel_initializer="zeros"), upsampled(scores[-1], 2)]))
    strides = (32, 16, 8)
    outputs = [upsampled(score(s, activation="softmax"), f) for s, f in zip(scores, strides, strict=True)]
    return [keras.Model(image, output) for output in outputs]
