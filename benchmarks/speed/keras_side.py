"""Work in Keras, on TensorFlow, JAX or PyTorch: with this package, and with plain Keras.

A case is a dict: ``part`` is the name of a function here, the rest its arguments.
"""

import dataclasses
import functools
import pathlib
import tempfile

import keras
import numpy as np

import fcn_keras
from fcn_keras.export.folding import fold_batch_norm
from fcn_keras.layers.depthwise import BilinearDepthwiseConv2DTranspose
from fcn_keras.layers.upsampling import BilinearConv2DTranspose, BilinearUpsampling2D
from fcn_keras.losses import PixelCrossentropy

from ..accuracy import keras_io

CLASSES = 21
_FOLDER = tempfile.TemporaryDirectory()  # lives as long as the process
NETS = {32: fcn_keras.FCN32s, 16: fcn_keras.FCN16s, 8: fcn_keras.FCN8s}
# What upscores a map: our default, twice; each class alone, learned; Keras' own layer, as tutorials have it.
UPSAMPLINGS = {"ours": "frozen", "folded": "frozen", "depthwise": "learned_depthwise", "dense": "learned"}


def prepare(variant, case):
    """A function without arguments that does the case's work once and waits for its end."""
    how, *switches = variant.split(", ")
    case = dict(case)
    part = PARTS[case.pop("part")]
    keras.config.set_dtype_policy("mixed_bfloat16" if "bfloat16" in switches else "float32")
    return part(how, "XLA" in switches, **case)


def forward(how, xla, *, finest, backbone, size, batch):
    """Images to logits."""
    model = _net(how, finest, backbone, size)
    return _on(_compiled(lambda x: model(x, training=False), xla), _images(batch, size))


def step(how, xla, *, finest, backbone, size, batch):
    """One training step: loss, gradients, SGD with momentum."""
    model = _net(how, finest, backbone, size)
    jit = True if keras.backend.backend() == "jax" else xla
    model.compile(keras.optimizers.SGD(1e-4, momentum=0.9), PixelCrossentropy(), jit_compile=jit)
    images, masks = _images(batch, size), np.random.default_rng(0).integers(0, CLASSES, (batch, size, size))
    images, masks = keras.ops.convert_to_tensor(images), keras.ops.convert_to_tensor(masks.astype("int32"))
    return lambda: model.train_on_batch(images, masks)


def upsampling(how, xla, *, factor, size, learning):
    """A map of class scores to `size` pixels; with `learning` also the gradients by the map and by the kernel."""
    layer = {
        "ours": lambda: BilinearUpsampling2D(factor),
        "depthwise": lambda: BilinearDepthwiseConv2DTranspose(factor),
        "dense": lambda: BilinearConv2DTranspose(CLASSES, factor),
    }[how]()
    units = size // factor
    scores = np.random.default_rng(0).normal(size=(1, units, units, CLASSES)).astype("float32")
    layer.build(scores.shape)
    work = _with_gradients(layer) if learning else layer
    return _on(_compiled(work, xla), scores)


def metric(how, xla, *, size, batch, given):
    """A metric's update, from logits or from predicted ids; ``bincount`` is NumPy's, as the authors count."""
    generator = np.random.default_rng(0)
    masks = generator.integers(0, CLASSES, (batch, size, size)).astype("int32")
    masks[generator.random(masks.shape) < 0.05] = 255
    logits = generator.normal(size=(*masks.shape, CLASSES)).astype("float32")
    ids = logits.argmax(-1).astype("int32")
    if how == "bincount":
        return lambda: _counted(masks, ids)
    if given == "ids":
        count = _compiled(lambda pair: fcn_keras.metrics.confusion_matrix(*pair, CLASSES), xla)
        return _on(count, (masks, ids))
    ours = fcn_keras.metrics.SegmentationMetrics(CLASSES)
    theirs = keras.metrics.MeanIoU(CLASSES, ignore_class=255, sparse_y_pred=False)
    update = {"ours": ours, "MeanIoU": theirs}[how].update_state
    return _on(_compiled(lambda pair: update(*pair) is None, xla), (masks, logits))


def _counted(masks, ids):
    """A confusion matrix with one `bincount`: ``fast_hist`` of the authors' score.py, rewritten."""
    valid = masks < CLASSES
    return np.bincount(CLASSES * masks[valid] + ids[valid], minlength=CLASSES**2)


def loss(how, xla, *, size, batch):
    """Loss and its gradient by the logits."""
    import tensorflow as tf

    generator = np.random.default_rng(0)
    masks = generator.integers(0, CLASSES, (batch, size, size)).astype("int32")
    logits = generator.normal(size=(*masks.shape, CLASSES)).astype("float32")
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    cost = {"ours": PixelCrossentropy(), "keras": theirs}[how]

    def work(pair):
        with tf.GradientTape() as tape:
            tape.watch(pair[1])
            value = cost(*pair)
        return tape.gradient(value, pair[1])

    return _on(_compiled(work, xla), (masks, logits))


def instances(how, xla, *, backbone, size, batch, learning):
    """Mask R-CNN with the paper's configuration: detection, or a training step with four objects in each image."""
    config = dataclasses.replace(fcn_keras.instances.PAPER, least_score=0.0)  # a random net finds the most it may
    model = fcn_keras.instances.MaskRCNN(CLASSES, backbone, weights=None, config=config)
    images = _images(batch, size)
    if not learning:
        return _on(_compiled(lambda x: model(x, training=False), xla), images)
    top_left = np.random.default_rng(0).integers(0, size // 2, (batch, 4, 2))
    boxes = np.concatenate([top_left, top_left + size // 4], axis=-1).astype("float32")
    masks = np.zeros((batch, 4, size, size), "uint8")
    for image, object_ in np.ndindex(batch, 4):
        top, left, bottom, right = boxes[image, object_].astype(int)
        masks[image, object_, top:bottom, left:right] = 1
    known = {"image": images, "boxes": boxes, "classes": np.ones((batch, 4), "int32"), "masks": masks}
    model.compile(keras.optimizers.SGD(1e-4, momentum=0.9), jit_compile=xla)
    known = keras.tree.map_structure(keras.ops.convert_to_tensor, known)
    return lambda: model.train_on_batch(known)


def segment(how, xla, *, height, width, tile):
    """`fcn_keras.segment` of a photograph, reading its file included, for the whole image or in tiles."""
    model = _net(how, 8, "mobilenet_v2", None)
    photograph = _photographs(1, height, width) / "images" / "0.jpg"
    return lambda: fcn_keras.segment(model, photograph, tile=tile, progress=False)


def pipeline(how, xla, *, images, size, batch):
    """One pass over photographs of 375 × 500 with their masks: read, decoded, scaled, cut, flipped, in batches."""
    folder = _photographs(images, 375, 500)
    options = {"size": (size, size), "augment": True, "seed": 0, "batch": batch, "cache": how == "in memory"}
    batches = fcn_keras.datasets.load("folder", source=folder, data_dir=folder / "prepared", **options)
    return lambda: sum(len(masks) for _, masks in batches)


@functools.cache
def _photographs(number, height, width):
    """A folder of smooth noise, which JPEG compresses about as well as photographs, and masks of blocks."""
    from PIL import Image

    generator, folder = np.random.default_rng(0), pathlib.Path(_FOLDER.name) / f"{number}-{height}-{width}"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index in range(number + 1):  # the last to validate on, which a folder must have
        coarse = generator.integers(0, 256, (height // 8, width // 8, 3)).astype("uint8")
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(folder / f"images/{index}.jpg")
        blocks = Image.fromarray(generator.integers(0, CLASSES, (6, 8)).astype("uint8"))
        blocks.resize((width, height), Image.Resampling.NEAREST).save(folder / f"masks/{index}.png")
    (folder / "classes.txt").write_text("".join(f"class_{index}\n" for index in range(CLASSES)))
    (folder / "train.txt").write_text("".join(f"{index}\n" for index in range(number)))
    (folder / "validation.txt").write_text(f"{number}\n")
    return folder


def matmul(how, xla, *, side):
    """The machine's limit: a product of two square matrices."""
    matrix = keras.ops.cast(
        np.random.default_rng(0).normal(size=(side, side)), keras.config.dtype_policy().compute_dtype
    )
    return _on(_compiled(lambda x: keras.ops.matmul(x, x), xla), matrix)


def _net(how, finest, backbone, size):
    if how == "keras.io":
        return keras_io.nets(CLASSES, *keras_io.frozen(backbone, None), (size, size))[(32, 16, 8).index(finest)]
    net = NETS[finest](CLASSES, backbone, weights=None, upsampling=UPSAMPLINGS[how])
    return fold_batch_norm(net) if how == "folded" else net


def _images(batch, size):
    return np.random.default_rng(0).uniform(0, 255, (batch, size, size, 3)).astype("float32")


def _compiled(work, xla):
    """A TensorFlow graph, compiled by XLA if asked. JAX always compiles by XLA; Keras on PyTorch is eager."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.jit(work)
    if backend == "torch":
        import torch

        return torch.inference_mode()(work)
    import tensorflow as tf

    return tf.function(work, jit_compile=xla, autograph=False)


def _with_gradients(layer):
    """Output and gradients of a layer, as in a training step; the loss is a sum with fixed weights."""
    if keras.backend.backend() == "jax":
        import jax

        values = [variable.value for variable in layer.trainable_variables]

        def loss(values, x):
            y, _ = layer.stateless_call(values, [], x)
            return (y * y).sum()

        return lambda x: jax.grad(loss, argnums=(0, 1))(values, x)
    import tensorflow as tf

    def work(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(layer(x)))
        return tape.gradient(loss, [x, *(variable.value for variable in layer.trainable_variables)])

    return work


def _on(work, x):
    x = keras.tree.map_structure(keras.ops.convert_to_tensor, x)
    return lambda: _finish(work(x))


def _finish(result):
    """Waits for the result on its device."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        jax.block_until_ready(result)
    elif backend == "torch":
        import torch

        torch.cuda.synchronize() if torch.cuda.is_available() else None
    else:
        keras.tree.map_structure(np.asarray, result)


ALL = (forward, step, upsampling, metric, loss, instances, segment, pipeline, matmul)
PARTS = {part.__name__: part for part in ALL}
