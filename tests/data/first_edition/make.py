"""Makes the files that tests/test_first_edition.py loads, with the code of the first edition: commit b758651.

    git worktree add ../first_edition b758651
    PYTHONPATH=../first_edition python tests/data/first_edition/make.py

writes beside this script ``models/*.keras``, one of every kind that the first edition could save; ``runs/``, folders of
runs that were stopped and of one that was finished; and ``numbers.npz``, what the first edition computed with them. It
runs on that commit only, since modules and names are others today.

Weights are not trained but coarse patterns that pack well, and the archives are deflated. Keras stores them unpacked.
"""

import json
import os
import pathlib
import shutil
import zipfile

# ruff: noqa: I001  # sorted for the first edition, whose modules these are
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import parts

import fcn_keras
from fcn_keras import berkeley, folding, rarefaction, superresolution
from fcn_keras.berkeley.solver import CaffeSGD
from fcn_keras.distribution import GlobalPixelCrossentropy
from fcn_keras.instances import MaskRCNN
from fcn_keras.losses import PixelCrossentropy
from fcn_keras.metrics import SegmentationMetrics
from fcn_keras.pooling import DilatedPooling2D
from fcn_keras.recipes import Recipe, train
from fcn_keras.training import SGD, AdamW, Ladder, Polynomial, Rung, Run, layer_rates

FOLDER = pathlib.Path(__file__).resolve().parent
SMALL = {"channels": 8, "width": 16, "mask_width": 8, "mask_size": 28, "candidates": 64, "train_proposals": 48,
         "detect_proposals": 32, "detections": 16, "regions_drawn": 24, "anchors_drawn": 32}  # fmt: skip
PERIOD, CHANGE = 251, 2500  # numbers after which a pattern repeats, and between two that break it
numbers = {}


def pattern(shape, seed):
    """Seventeen levels that repeat, with changes strewn in: what packs, but not so well that it looks like a bomb."""
    generator, size = np.random.RandomState(seed), int(np.prod(shape))
    values = np.resize(generator.randint(-8, 9, PERIOD), size)
    changed = np.arange(0, size, CHANGE) + generator.randint(0, CHANGE, -(-size // CHANGE))
    changed = changed[changed < size]
    values[changed] = generator.randint(-8, 9, len(changed))
    return (values / 8).reshape(shape).astype("float32")


def fill(model):
    """Gives every weight a pattern of its own, of about the size that keeps activations as large as they were."""
    for seed, weight in enumerate(model.weights):
        if not weight.dtype.startswith("float"):
            continue  # states of random numbers
        values = pattern(weight.shape, seed)
        if "variance" in weight.path:
            values = 1 + np.abs(values)
        elif "gamma" in weight.path:
            values = 1 + values / 4
        elif len(weight.shape) > 1:
            fan = np.prod(weight.shape[:-1]) if weight.shape[-1] > 1 else np.prod(weight.shape[:2])
            values *= 2.0 ** np.round(np.log2(np.sqrt(6 / fan)))
        else:
            values /= 4
        weight.assign(values)
    return model


def save(name, model):
    """The file, deflated."""
    path = FOLDER / "models" / f"{name}.keras"
    model.save(path)
    deflate(path)
    return path


def deflate(path):
    """Packs a zip archive (.keras, .npz), in place."""
    with zipfile.ZipFile(path) as archive:
        members = [(member, archive.read(member)) for member in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for member, content in members:
            archive.writestr(zipfile.ZipInfo(member.filename), content, zipfile.ZIP_DEFLATED, 9)


def stored(name, model):
    """Saves a model and what it computes: its output at some places."""
    loaded = fcn_keras.loading.load_model(save(name, model))
    output = keras.ops.convert_to_numpy(loaded(image(), training=False))
    numbers[f"{name}/output"] = output[:, ::4, ::5].astype("float32")


def image():
    return numbers["image"][None].astype("float32")


def tapped(model):
    """A backbone without names to look up: what `fcn_keras.FCN32s` takes a Keras model for."""
    return fcn_keras.backbones.Backbone(lambda weights: model, fcn_keras.taps.find_taps(model), pretrained=None)


def little(make=fcn_keras.FCN8s, *args, classes=3, **kwargs):
    return fill(make(classes, parts.little_backbone(), *args, **kwargs))


def nets():
    mini = {"backbone": "mini_vgg", "weights": None}
    fcn32s, fcn16s, fcn8s = fcn_keras.FCN32s, fcn_keras.FCN16s, fcn_keras.FCN8s
    stored("fcn32s_frozen", fill(fcn32s(3, **mini)))
    stored("fcn16s_learned_inner", fill(fcn16s(3, upsampling="learned_inner", **mini)))
    for upsampling in ("frozen", "learned_inner", "learned", "learned_depthwise"):
        stored(f"fcn8s_{upsampling}", fill(fcn8s(3, upsampling=upsampling, **mini)))
        stored(f"little_fcn32s_{upsampling}", little(fcn32s, upsampling=upsampling))
        stored(f"little_fcn16s_{upsampling}", little(fcn16s, upsampling=upsampling))
    stored("fcn8s_no_fc", fill(fcn8s(3, head="light", **mini)))
    stored("fcn8s_at_once", little(fcn8s, skip_scales=(0.01, 0.0001)))
    stored("fcn8s_refined", fill(fcn_keras.refine(fcn_keras.refine(little(fcn32s)))))
    stored("fcn8s_binary", little(fcn8s, classes=1))
    keras.config.set_dtype_policy("mixed_bfloat16")
    stored("fcn8s_bfloat16", little(fcn8s))
    keras.config.set_dtype_policy("float32")
    backbone = fcn_keras.backbones.Backbone(_strided, ("out3", "out4", "out5"), preprocessing="tf", pretrained=None)
    stored("fcn8s_strided", fill(fcn8s(3, backbone)))
    for mode in ("caffe", "torch", "berkeley"):
        image = keras.Input((None, None, 3))
        stored(f"preprocessing_{mode}", keras.Model(image, fcn_keras.backbones.Preprocessing(mode)(image)))


def _strided(weights):
    """As MobileNetV2 halves: its units lie on pixels, so the image is padded behind."""
    x = image = keras.Input((None, None, 3))
    for i in range(1, 6):
        x = keras.layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"pad{i}")(x)
        x = keras.layers.Conv2D(4, 3, strides=2, use_bias=False, name=f"conv{i}")(x)
        x = keras.layers.BatchNormalization(name=f"norm{i}")(x)
        x = keras.layers.ReLU(6, name=f"out{i}")(x)
    return keras.Model(image, x, name="strided")


def other_models():
    stored("fcn_x2", fill(superresolution.finer(little(), factor=2, features=4)))
    stored("super_resolver", fill(superresolution.super_resolver(2, features=4, depth=2)))
    stored("folded_bilinear", folding.fold_bilinear(_bilinear(little(upsampling="learned"))))
    mini = fill(fcn_keras.MiniVGG(weights=None))
    loaded = fcn_keras.loading.load_model(save("mini_vgg", mini))
    crop = np.resize(image(), (1, 96, 96, 3))
    numbers["mini_vgg/output"] = keras.ops.convert_to_numpy(loaded(crop))
    stored("mini_vgg_fcn", fcn_keras.convolutionalize(mini, padding="same"))
    stored("dilated", fill(rarefaction.rarefy(_pooled(), 4)))
    x = pixels = keras.Input((None, None, 3))
    for mode in ("max", "average"):
        x = DilatedPooling2D(3, dilation_rate=2, mode=mode, before=1, after=2, name=mode)(x)
    stored("dilated_pooling", keras.Model(pixels, x))


def _bilinear(model):
    """The model with its learned upsampling where it starts."""
    for layer in model.layers:
        if isinstance(layer, fcn_keras.upsampling.BilinearConv2DTranspose):
            layer.set_weights([fcn_keras.upsampling.Bilinear()(layer.kernel.shape)])
    return model


def _pooled():
    x = pixels = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="conv1")(x)
    x = keras.layers.MaxPooling2D(2, padding="same", name="pool1")(x)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="conv2")(x)
    x = keras.layers.AveragePooling2D(3, 2, padding="same", name="pool2")(x)
    x = keras.layers.MaxPooling2D(2, name="pool3")(x)
    return keras.Model(pixels, keras.layers.Conv2D(2, 3, padding="same", name="conv3")(x), name="pooled")


def authors_nets():
    for make in (berkeley.nets.FCN32s, berkeley.nets.FCN16s, berkeley.nets.FCN8s, berkeley.nets.FCN8sAtOnce):
        upsampling = "learned" if make is berkeley.nets.FCN8s else "frozen"
        stored(f"authors_{make.__name__.lower()}", fill(make(3, upsampling, width=1 / 64)))
    stored("authors_fcnalexnet", fill(berkeley.nets.FCNAlexNet(3, width=1 / 64)))


def compiled_models():
    metric = lambda: SegmentationMetrics(3, parts.CLASSES)  # noqa: E731
    loss = PixelCrossentropy(class_weights=[0.5, 1.0, 2.0], label_smoothing=0.1)
    adam = lambda model: AdamW(  # noqa: E731
        Polynomial(0.05, 20, warmup=3), layer_rates(model, 0.25), 1e-3, use_ema=True, ema_momentum=0.8
    )
    sgd = lambda model: SGD(Polynomial(0.02, 20), layer_rates(model, 0.5), 1e-3, gradient_accumulation_steps=2)  # noqa: E731
    trained("adamw", adam, loss, metric())
    trained("sgd", sgd, PixelCrossentropy(), metric())
    trained("caffe_sgd", lambda model: CaffeSGD(1e-6, 0.9), PixelCrossentropy(reduction="sum"), metric())
    trained(
        "global_loss", lambda model: keras.optimizers.Adam(Polynomial(0.02, 20)), GlobalPixelCrossentropy(), metric()
    )
    trained(
        "scaled_adamw",
        lambda model: keras.optimizers.LossScaleOptimizer(AdamW(0.02, decay=1e-3)),
        PixelCrossentropy(void=255),
        metric(),
    )
    trained("binary_adamw", lambda model: AdamW(0.02), PixelCrossentropy(), SegmentationMetrics(2), classes=1)


def trained(name, optimizer, loss, metric, classes=3):
    """A model saved after three steps, and what one more step gives after loading."""
    model = little(classes=classes)
    model.compile(optimizer(model), loss, metrics=[metric], jit_compile=False)
    images, masks = parts.scenes(4, seed=3)
    masks = np.where((masks == 2) & (classes == 1), 0, masks)
    for _ in range(3):
        model.train_on_batch(images, masks)
    loaded = fcn_keras.loading.load_model(save(f"compiled_{name}", model))
    numbers[f"compiled_{name}/state"] = np.array([float(keras.ops.sum(keras.ops.abs(keras.ops.cast(v, "float32"))))
                                                  for v in loaded.optimizer.variables], "float32")  # fmt: skip
    loaded.reset_metrics()
    told = loaded.train_on_batch(images, masks, return_dict=True)
    numbers[f"compiled_{name}/step"] = np.array(list(told.values()), "float32")  # the loss, then the paper's four
    numbers[f"compiled_{name}/output"] = keras.ops.convert_to_numpy(loaded(image(), training=False))[:, ::4, ::5]


def instances():
    model = fill(MaskRCNN(3, "mini_vgg", weights=None, settings=SMALL))
    model.compile(AdamW(1e-3), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(7)
    path = save("mask_rcnn", model)
    loaded = fcn_keras.loading.load_model(path)
    images = parts.objects()["image"]
    found = loaded(images, training=False)
    for name in ("boxes", "classes", "scores"):
        numbers[f"mask_rcnn/{name}"] = keras.ops.convert_to_numpy(found[name])
    numbers["mask_rcnn/masks"] = keras.ops.convert_to_numpy(found["masks"])[:, :, ::5, ::5]
    losses = loaded(parts.objects(), training=False)
    numbers["mask_rcnn/losses"] = np.array([float(losses[name]) for name in sorted(losses)], "float32")


class StoppedError(Exception):
    """Ends a run where it shall be found."""


def stopping(epochs):
    """Training data that are there for so many epochs only."""
    asked = []

    def of(seed):
        asked.append(seed)
        if len(asked) > epochs + 1:  # the first call counts the steps
            raise StoppedError
        return parts.batches(seed)

    return of


def little_run(directory, train=parts.batches):
    return Run(
        directory, parts.little_net, _averaging, train, parts.validation(), parts.CLASSES, epochs=4,
        settings={"recipe": "first edition"}, seed=5, samples=0, verbose=0,
    )  # fmt: skip


def _averaging(model, steps):
    return AdamW(Polynomial(1e-2, steps), decay=1e-3, use_ema=True, ema_momentum=0.8)


def little_ladder(directory, train=parts.batches):
    rungs = [Rung("FCN-32s", 2, 1e-2), Rung("FCN-16s", 3, 5e-3)]
    return Ladder(
        directory, rungs, train, parts.validation(), parts.CLASSES, parts.little_backbone(), weights=None,
        seed=5, verbose=0, settings={"recipe": "first edition"},
    )  # fmt: skip


def runs():
    keras.utils.set_random_seed(1)
    half, whole = FOLDER / "runs" / "half", FOLDER / "runs" / "finished"
    _stopped(lambda: little_run(half, stopping(2)).run())
    shutil.copytree(half, whole)
    run = little_run(whole)
    model = run.run()
    numbers["run/output"] = keras.ops.convert_to_numpy(model(image(), training=False))[:, ::4, ::5]
    recipe = Recipe(
        backbone=tapped(parts.little_backbone()), net="FCN-16s", upsampling="frozen", epochs=2, scales=None, size=None
    )
    data = (parts.batches, parts.validation())
    train(recipe, data, FOLDER / "runs" / "recipe", class_names=parts.CLASSES, samples=0, verbose=0, seed=3)
    ladder = FOLDER / "runs" / "ladder"
    _stopped(lambda: little_ladder(ladder, stopping(5)).run())
    for path in sorted((FOLDER / "runs").rglob("*")):
        if path.suffix in (".keras", ".npz"):
            deflate(path)
        elif path.name == "tensorboard":
            shutil.rmtree(path)
        elif path.name == "environment.json":  # where it ran is nobody's business
            starts = json.loads(path.read_text())
            kept = ("date", "python", "keras", "tensorflow", "numpy", "backend")
            path.write_text(json.dumps([{name: start[name] for name in kept} for start in starts], indent=1) + "\n")


def _stopped(run):
    try:
        run()
    except StoppedError:
        return
    raise AssertionError("the run came to its end")


def main():
    for folder in ("models", "runs"):
        shutil.rmtree(FOLDER / folder, ignore_errors=True)
    (FOLDER / "models").mkdir()
    keras.utils.set_random_seed(0)
    numbers["image"] = np.random.RandomState(0).randint(0, 256, (37, 53, 3)).astype("uint8")
    for make in (nets, other_models, authors_nets, compiled_models, instances, runs):
        print(make.__name__, flush=True)
        make()
    np.savez_compressed(FOLDER / "numbers.npz", **numbers)


if __name__ == "__main__":
    main()
