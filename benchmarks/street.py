"""What helps on a street that no training image shows? Short trainings on CamVid, with one street held out of train.

    python -m benchmarks.street --source FOLDER [NAME ...] [--street 0006R0] [--epochs 8] [--seed 0]

Run it from the project's root. FOLDER is CamVid's, as for ``fcn-keras train camvid``. The test images of CamVid show
other streets, in other light, than its validation images, which come from a street of train. A net that is chosen on
the validation images is therefore not the best one on the test images. So each variant of `VARIANTS` (by default all)
trains without one street of train. It is measured on that street, at scales 1 and 1.5, and on the validation images.

The names of CamVid's files start with the name of the sequence: 0006R0 and 0016E5 are streets by day, 0001TP is at
dusk. When it was stopped, the same command continues. It leaves ``street.json``, with the history of every training.
"""

import argparse
import dataclasses
import datetime
import json
import pathlib
import shutil
import sys
from collections.abc import Callable

import keras
import tensorflow as tf

import fcn_keras
from fcn_keras import datasets, training
from fcn_keras._files import write_json
from fcn_keras.geometry import Geometry
from fcn_keras.layers import CropLike
from fcn_keras.models import FCN4s, fusion
from fcn_keras.models.dilation import dilate
from fcn_keras.models.image_input import apply_to_image
from fcn_keras.training.data import load_splits, prepare_splits
from fcn_keras.training.recipes import DATA_FIELDS, Recipe

BLUR = 9  # side of the Gaussian kernel, in pixels
SPLITS = ("train", "validation")
SCALES = (1.0, 1.5)


@dataclasses.dataclass(frozen=True)
class Dilated(Recipe):
    """FCN-4s whose last stage is dilated, as in §3.2 of the paper: its scores have a unit every 16 pixels, not 32."""

    def build(self, num_classes, net=None, channels=3):
        fcn4s = FCN4s(num_classes, self.backbone, self.weights, self.head, self.upsampling)
        backbone = dilate(fcn4s.get_layer("backbone"), 2, name="backbone")
        for layer in backbone.layers:
            layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
        image, maps, geometries = apply_to_image(backbone, fcn4s.get_layer("preprocessing").mode)
        learned, last = fusion.UPSAMPLINGS[self.upsampling]
        score = [
            keras.layers.Conv2D(num_classes, 1, kernel_initializer="zeros", name=f"score_{i}") for i in range(len(maps))
        ]
        scores = keras.layers.Add()([score[-1](maps[-1]), score[-2](maps[-2])])
        geometry = geometries[-2]
        for i in (1, 0):
            skip = score[i](maps[i])
            scores, geometry = fusion.add_skip(scores, geometry, skip, geometries[i], learned, f"up_{i}", f"skip_{i}")
        scores, crop = fusion.upsample(scores, geometry, Geometry(), last, "upscore4")
        return keras.Model(image, CropLike(crop, name="crop")([scores, image]))


@dataclasses.dataclass(frozen=True)
class Dropout(Recipe):
    """FCN-4s with dropout of a fifth of the channels of the last map."""

    def build(self, num_classes, net=None, channels=3):
        fcn4s = super().build(num_classes, channels=channels)

        def change(layer):
            if layer.name != "score_fr":
                return layer
            return keras.Sequential([keras.layers.SpatialDropout2D(0.2), layer], name="score_fr")

        return keras.models.clone_model(fcn4s, clone_function=change)


def dim(batches, seed):
    """Changes the light of images as between noon and dusk: a gamma curve, a gain for each channel, blur and noise."""

    def changed(index, pair):
        images, masks = pair
        count = tf.shape(images)[0]
        key = tf.stack([tf.cast(seed, tf.int64), index])
        draw = tf.random.stateless_uniform((count, 6), key, -1.0, 1.0)[:, :, None, None, None]
        gamma, gains = tf.exp(0.7 * draw[:, 0]), tf.exp(0.25 * tf.concat([draw[:, i] for i in (1, 2, 3)], -1))
        sigma = tf.maximum(1.5 * draw[:, 4], 0.05)[..., 0]  # half of the images stay sharp
        images = tf.map_fn(lambda both: blur(*both), (images, sigma), fn_output_signature=tf.float32)
        images = tf.pow(tf.maximum(images, 0) / 255, gamma) * gains * 255
        noise = tf.random.stateless_normal(tf.shape(images), key) * 8 * tf.abs(draw[:, 5])
        return tf.clip_by_value(images + noise, 0, 255), masks

    return batches.enumerate().map(changed, num_parallel_calls=tf.data.AUTOTUNE)


def blur(image, sigma):
    """Blurs an image with a Gaussian of so many pixels."""
    at = tf.range(BLUR, dtype=tf.float32) - BLUR // 2
    line = tf.nn.softmax(-tf.square(at / sigma[0, 0]) / 2)
    x = tf.pad(image, [[BLUR // 2] * 2, [BLUR // 2] * 2, [0, 0]], "SYMMETRIC")[None]
    for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
        x = tf.nn.depthwise_conv2d(x, tf.tile(tf.reshape(line, shape), (1, 1, 3, 1)), (1, 1, 1, 1), "VALID")
    return x[0]


@dataclasses.dataclass(frozen=True)
class Variant:
    """One change.

    Args:
        what: What it changes, in the words of the table.
        recipe: The recipe.
        change: Function from the batches of an epoch and its seed to changed batches, or None.
    """

    what: str
    recipe: Recipe
    change: Callable | None = None


LIGHT = training.RECIPES["light"]
FINE = dataclasses.replace(LIGHT, net="FCN-4s")
LARGE = dataclasses.replace(FINE, size=(360, 480), scales=(1.2, 2.6))


def _large(what, kind=Recipe, change=None, **fields):
    return Variant(f"FCN-4s, larger images, {what}", kind(**vars(LARGE) | fields), change)


VARIANTS = {
    "fcn8s": Variant("FCN-8s, recipe `light`", LIGHT),
    "fcn4s": Variant("FCN-4s: one skip connection more", FINE),
    "dilated": Variant("FCN-4s, last stage dilated", Dilated(**vars(FINE))),
    "large": Variant("FCN-4s, larger crops of larger images (1.2 to 2.6 times, not 0.9 to 2.2)", LARGE),
    "larger": _large("1.5 to 3.2 times", scales=(1.5, 3.2)),
    "slow": _large("backbone at a tenth of the learning rate, not three tenths", backbone_rate=0.1),
    "dropout": _large("dropout before the last score layer", Dropout),
    "color": _large("half as much again of colour augmentation", color=1.5),
    "dim": _large("light, blur and noise of the images varied", change=dim),
    "weights": _large("rare classes weigh more (power 0.5, not 0.25)", class_weights=0.5),
    "depthwise": _large("upsampling learned for each class separately", upsampling="learned_depthwise"),
    "smoothing": _large("label smoothing of 0.1", label_smoothing=0.1),
    "overwrite": _large("each epoch starts from the averaged weights", ema_overwrite=True),
}


def main(arguments=None):
    """Trains and measures the variants, and prints a table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(VARIANTS))
    parser.add_argument("--source", type=pathlib.Path, required=True, help="the folder of CamVid")
    parser.add_argument("--street", default="0006R0", help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--directory", type=pathlib.Path, default=pathlib.Path("runs/street"))
    found = parser.parse_args(arguments)
    if unknown := set(found.names) - set(VARIANTS):
        parser.error(f"Found {', '.join(sorted(unknown))}: expected some of {', '.join(VARIANTS)}.")
    folder = found.directory / found.street
    hold_out(found.source, folder / "images", found.street)
    for name in found.names or VARIANTS:
        run = train(VARIANTS[name], folder, folder / f"{name}-{found.epochs}-{found.seed}", found)
        write_json(run.directory / "street.json", measure(run, name, folder, found))
    trainings = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*/street.json"))]
    write_json(folder / "street.json", trainings)
    print(table(trainings))
    return 0


def hold_out(source, target, street):
    """Copies CamVid's training images into a folder of the same layout, in which one street is the validation split."""
    for kind in ("", "annot"):
        files = sorted((source / f"train{kind}").iterdir())
        if not any(file.name.startswith(street) for file in files):
            streets = sorted({file.name.partition("_")[0] for file in files})
            raise ValueError(f"Found no file of {street!r} in {source / 'train'}: expected one of {streets}.")
        for file in files:
            copy = target / f"{'val' if file.name.startswith(street) else 'train'}{kind}" / file.name
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, copy)


def train(variant, folder, directory, found):
    """Trains a variant without the street."""
    recipe = dataclasses.replace(variant.recipe, epochs=found.epochs)
    options = {"seed": found.seed, "validate_every": 0, "samples": 0}
    where = {"source": str(folder / "images"), "data_dir": str(folder / "prepared")}
    if variant.change is None:
        return training.train(recipe, "camvid", directory, **where, **options)
    builders = prepare_splits("camvid", SPLITS, **where)
    batches, validation, _ = load_splits(recipe, builders, SPLITS)
    names = list(builders[0].info.metadata["class_names"])
    changed = lambda seed: variant.change(batches(seed), seed)  # noqa: E731
    recipe = dataclasses.replace(recipe, **{field: getattr(LIGHT, field) for field in DATA_FIELDS})  # of no effect now
    return training.train(recipe, (changed, validation), directory, class_names=names, **options)


def measure(run, name, folder, found):
    """What a net reaches on the street and on the validation images, at each scale, for JSON."""
    model = fcn_keras.load_model(run.directory / "last.keras")
    results = {}
    for split, source, prepared in (
        ("street", folder / "images", folder / "prepared"),
        ("validation", found.source, folder / "camvid"),
    ):
        builder = datasets.prepare("camvid", source=str(source), data_dir=str(prepared))
        for scale in SCALES:
            evaluation = fcn_keras.evaluate(model, datasets.load(builder, "validation", batch=1), scales=(scale,))
            results[f"{split}, scale {scale:g}"] = evaluation.metrics | {"per_class_iou": evaluation.per_class_iou}
    return {
        "variant": name,
        "what": VARIANTS[name].what,
        "street": found.street,
        "epochs": found.epochs,
        "seed": found.seed,
        "date": str(datetime.date.today()),
        "results": results,
        "history": run.results()["history"],
    }


def table(trainings):
    """Trainings as a Markdown table: mean IoU in percent."""
    lines = ["| | epochs | seed | street | street, scale 1.5 | val | val, scale 1.5 | minutes |", "|---" * 8 + "|"]
    for content in sorted(trainings, key=lambda content: list(VARIANTS).index(content["variant"])):
        ious = " | ".join(f"{100 * result['mean_iou']:.1f}" for result in content["results"].values())
        minutes = sum(entry["seconds"] for entry in content["history"]) / 60
        what = VARIANTS[content["variant"]].what
        lines.append(f"| {what} | {content['epochs']} | {content['seed']} | {ious} | {minutes:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
