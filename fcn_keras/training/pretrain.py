"""Trains the small classifier `MiniVGG` on single shapes: ``python -m fcn_keras.training.pretrain``.

The segmentation networks start from its weights, as the paper's networks start from VGG16 trained on ImageNet. Training
takes about ten minutes on two CPU cores and writes ``mini_vgg.weights.h5`` into the package.
"""

import argparse

import keras
import tensorflow as tf
import tensorflow_datasets as tfds

from .._files import atomic_write
from ..datasets import prepare
from ..models.mini_vgg import WEIGHTS, MiniVGG

EPOCHS = 10
BATCH = 32
LEARNING_RATE = 1e-3
SEED = 1


def load_objects(split, *, data_dir=None, seed=None):
    """Loads batches of images of one object each, 96×96, with their classes.

    Args:
        split: ``"train"`` or ``"validation"``.
        data_dir: As in `fcn_keras.datasets.prepare`.
        seed: Seed of the order and of augmentation (turns, flips, brightness, contrast). None gives the examples
            unchanged and in order.

    Returns:
        A `tf.data.Dataset` of images float32 ``(batch, 96, 96, 3)`` in 0–255 and labels ``(batch,)``.

    Example:

    >>> images, labels = next(iter(load_objects("validation")))
    """
    builder = prepare("shapes", "objects", data_dir=data_dir)
    undecoded = {"image": tfds.decode.SkipDecoding()}
    examples = builder.as_dataset(split=split, as_supervised=True, decoders=undecoded).cache()
    if seed is not None:  # shuffle encoded files, because decoded pixels need more memory
        examples = examples.shuffle(len(examples), seed=seed)
    decode = builder.info.features["image"].decode_example
    examples = examples.map(lambda image, label: (tf.cast(decode(image), tf.float32), label), tf.data.AUTOTUNE)
    if seed is not None:
        examples = examples.map(_augment, tf.data.AUTOTUNE)
    return examples.batch(BATCH).prefetch(tf.data.AUTOTUNE)


def _augment(image, label):
    """Applies a random turn, flip, brightness and contrast, which do not change the class of an object."""
    image = tf.image.rot90(image, tf.random.uniform((), 0, 4, tf.int32))
    image = tf.image.random_flip_left_right(image)
    image = tf.image.random_contrast(image, 0.7, 1.3) + tf.random.uniform((), -25, 25)
    return tf.clip_by_value(image, 0, 255), label


def pretrain(path=WEIGHTS / "mini_vgg.weights.h5", epochs=EPOCHS, data_dir=None, verbose=2):
    """Trains MiniVGG and writes its weights in one atomic write.

    Args:
        path: File to write, ending in ``.weights.h5``.
        epochs: Passes over the 4,500 training objects.
        data_dir: As in `fcn_keras.datasets.prepare`.
        verbose: As in `keras.Model.fit`.

    Returns:
        Accuracy on the validation objects, in ``[0, 1]``.

    Example:

    >>> accuracy = pretrain("build/mini_vgg.weights.h5", epochs=1)  # doctest: +SKIP
    """
    keras.utils.set_random_seed(SEED)
    train, validation = (
        load_objects("train", data_dir=data_dir, seed=SEED),
        load_objects("validation", data_dir=data_dir),
    )
    model = MiniVGG(weights=None)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, len(train) * epochs, warmup_target=LEARNING_RATE, warmup_steps=200
    )
    model.compile(
        keras.optimizers.AdamW(rate), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False
    )
    model.fit(train, validation_data=validation, epochs=epochs, verbose=verbose, shuffle=False)
    bare = MiniVGG(weights=None)  # a compiled model also saves its optimizer, which triples the size
    bare.set_weights(model.get_weights())
    atomic_write(path, bare.save_weights)
    return model.evaluate(validation, verbose=0, return_dict=True)["accuracy"]


def main():
    """The command ``python -m fcn_keras.training.pretrain``."""
    parser = argparse.ArgumentParser(
        prog="python -m fcn_keras.training.pretrain", description="Train the embedded MiniVGG."
    )
    parser.add_argument("--path", default=WEIGHTS / "mini_vgg.weights.h5", help="file to write (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="default: %(default)s")
    arguments = parser.parse_args()
    print(f"validation accuracy {pretrain(arguments.path, arguments.epochs):.3f}")


if __name__ == "__main__":
    main()
