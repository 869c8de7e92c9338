"""Trains the nets that come with the package, and writes their files and cards into fcn_keras/models/weights.

    python -m benchmarks.shipped NAME [--source FOLDER] [--seed 0]

Run it from the project's root. NAME is a key of `NETS`. When it was stopped, the same command continues. The file of a
net holds its weights in float16; its card says what that costs.
"""

import argparse
import dataclasses
import datetime
import functools
import io
import pathlib
import sys
import tempfile
import textwrap
import zipfile
from collections.abc import Callable

import h5py
import keras

import fcn_keras
from fcn_keras import datasets, instances, training
from fcn_keras._files import atomic_write, write_text
from fcn_keras.instances.average_precision import InstanceEvaluation
from fcn_keras.models import shipped
from fcn_keras.models.super_resolution import SuperResolver, interpolate, make_pairs, psnr_ssim

VOC_PART = dataclasses.replace(
    training.RECIPES["light"], epochs=12, size=(336, 336), scales=(0.75, 1.5), backbone_rate=0.1, ema_overwrite=True
)
VOC_DATA = """
330 training images of PASCAL VOC2012, measured on 171 images of seg11valid, the part of VOC2011's validation images
that SBD does not train on. The numbers cannot be compared with published ones, which use ten times as many images to
train, and all 736 images of seg11valid to measure. The photographs belong to users of Flickr and are not part of this
package. The net starts from the MobileNetV2 of Keras, which was trained on ImageNet (Apache License 2.0). Its weights
were restored from 8 bits.
"""
VOC_LIMITS = """
Do not use this net where a mistake can harm somebody. It has learned from 330 photographs. It knows twenty kinds of
objects and calls everything else background. Nobody has measured how well it finds people of different age, sex or skin
colour. The terms of VOC and of Flickr apply to the photographs that it has learned from.
"""
SHAPES_DATA = """
The data set `shapes`, which this package draws: 1,000 scenes to train on, 200 to measure on, 10 classes. There are no
terms. The net starts from MiniVGG, which was trained on single drawn objects.
"""
RESOLVER = {"features": 32, "depth": 3}
RESOLVER_EPOCHS, RESOLVER_STEPS, RESOLVER_CROP = 20, 1000, {2: 96, 4: 96}
RESOLVER_DATA = """
330 training photographs of PASCAL VOC2012, reduced by bicubic interpolation and enlarged again. They belong to users of
Flickr and are not part of this package. The net starts from bilinear interpolation.
"""
RESOLVER_LIMITS = """
The net sharpens edges. It cannot know what a photograph does not show: do not read faces, number plates or evidence
from its results. It has learned from photographs that were reduced by bicubic interpolation. It does worse on
photographs that are blurred, noisy or strongly compressed.
"""
SHAPES_LIMITS = "\nThe net knows drawn shapes only. It is for the chapters and for tests, not for photographs.\n"


@dataclasses.dataclass(frozen=True)
class Net:
    """How a shipped net is made, and what its card says.

    Args:
        does: One line.
        train: Function from the folder of the run, the seed and the source of the data to the model's file.
        measure: Function from a model and the source of the data to a number and the text under the title "Metrics".
        terms, limits: Texts on the data and their terms, and on what the net must not be used for.
        number: What the number is, for the sentence on float16.
    """

    does: str
    train: Callable
    measure: Callable
    terms: str
    limits: str
    number: str = "mean IoU, in percent,"


def train_voc(directory, seed, source):
    """Trains FCN-8s on a part of VOC; returns the file of the net of the last epoch."""
    run = training.train(VOC_PART, "voc", directory, source=source, seed=seed, validate_every=10)
    return run.directory / "last.keras"


def train_stage(name):
    """A function that trains the stages of shapes, and returns the file of one of them."""

    def train(directory, seed, source):
        staged = training.prepare_stages("shapes", directory.with_name(f"shapes-stages-{seed}"), seed=seed)
        staged.run()
        return staged.directory / name / "last.keras"

    return train


def measure_masks(data):
    """A function that measures a net on the validation split of a data set."""

    def measure(model, source):
        builder = datasets.prepare(data, source=source)
        found = fcn_keras.evaluate(model, datasets.load(builder, "validation", batch=1))
        images = builder.info.splits["validation"].num_examples
        what = f"The {images} images of the split `validation`, one pass at scale 1, in percent."
        return 100 * found.metrics["mean_iou"], f"{what}\n\n{found.table().strip()}"

    return measure


def train_mask_rcnn(directory, seed, source):
    """Trains Mask R-CNN on shapes; returns the file of the net of the last epoch."""
    run = instances.train("shapes", directory, seed=seed)
    return run.directory / "last.keras"


def measure_instances(model, source):
    """The average precision on shapes, at the size of image that the net is trained on."""
    recipe = instances.MaskRCNNRecipe()
    validation = instances.load("shapes", "validation", size=recipe.size, objects=recipe.objects, batch=recipe.batch)
    found = instances.evaluate(model, validation)
    what = (
        f"COCO's average precision, in percent, on the 200 scenes of the split `validation`, as {recipe.size} pixels."
    )
    return 100 * found["masks"]["AP"], f"{what}\n\n{InstanceEvaluation(found, model.class_names).table().strip()}"


def train_resolver(factor):
    """A function that trains a super-resolver on the photographs of a part of VOC, and returns its file."""

    def train(directory, seed, source):
        path = directory / "last.keras"
        if path.exists():
            return path
        keras.utils.set_random_seed(100_003 * seed + factor)
        net = SuperResolver(factor, **RESOLVER)
        rate = keras.optimizers.schedules.CosineDecay(1e-3, RESOLVER_EPOCHS * RESOLVER_STEPS)
        net.compile(keras.optimizers.Adam(rate), "mae", jit_compile=False)
        pairs = make_pairs(photographs("train", source), factor, crop=RESOLVER_CROP[factor], seed=seed)
        backup = keras.callbacks.BackupAndRestore(directory / "backup")
        net.fit(
            pairs, epochs=RESOLVER_EPOCHS, steps_per_epoch=RESOLVER_STEPS, callbacks=[backup], verbose=2, shuffle=False
        )
        atomic_write(path, keras.Model(net.input, net.output, name=net.name).save)
        return path

    return train


def measure_resolver(factor):
    """A function that measures a super-resolver on photographs, beside bicubic interpolation."""

    def measure(model, source):
        images = photographs("validation", source)
        ways = {"this net": model, "bicubic": functools.partial(interpolate, factor=factor)}
        found = {name: psnr_ssim(images, factor, way) for name, way in ways.items()}
        what = f"{len(images)} photographs of the split `validation`, reduced to 1/{factor} and enlarged again, in RGB."
        rows = [f"| {name} | {row['psnr']:.2f} | {row['ssim']:.3f} |" for name, row in found.items()]
        return found["this net"]["psnr"], "\n".join([what, "", "| | PSNR, dB | SSIM |", "|---|---|---|", *rows])

    return measure


def photographs(split, source):
    """The photographs of a split of a part of VOC, as a list."""
    examples = datasets.prepare("voc", source=source).as_dataset(split=split)
    return [example["image"] for example in examples.as_numpy_iterator()]


NETS = {
    "fcn8s_mobilenet_v2_voc": Net(
        "FCN-8s on MobileNetV2 for photographs: the 21 classes of PASCAL VOC.",
        train_voc,
        measure_masks("voc"),
        VOC_DATA,
        VOC_LIMITS,
    ),
    "mask_rcnn_mini_vgg_shapes": Net(
        "Mask R-CNN on MiniVGG: the objects of the drawn scenes, one by one.",
        train_mask_rcnn,
        measure_instances,
        SHAPES_DATA,
        SHAPES_LIMITS,
        "mask AP, in percent,",
    ),
}
for stage in ("FCN-32s", "FCN-16s", "FCN-8s"):
    NETS[f"{stage.lower().replace('-', '')}_mini_vgg_shapes"] = Net(
        f"{stage} on MiniVGG: the 10 classes of the drawn scenes.",
        train_stage(stage),
        measure_masks("shapes"),
        SHAPES_DATA,
        SHAPES_LIMITS,
    )
for factor in (2, 4):
    NETS[f"super_resolver_x{factor}"] = Net(
        f"A super-resolver: makes a photograph {factor} times as high and wide.",
        train_resolver(factor),
        measure_resolver(factor),
        RESOLVER_DATA,
        RESOLVER_LIMITS,
        "PSNR, in dB,",
    )


def main(arguments=None):
    """Trains a net, writes its file and its card, and prints the card; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=NETS)
    parser.add_argument("--source", help="the folder that holds VOCdevkit, for voc")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs"), help="default: %(default)s")
    found = parser.parse_args(arguments)
    trained = NETS[found.name].train(found.runs / f"{found.name}-{found.seed}", found.seed, found.source)
    path = shipped.FOLDER / f"{found.name}.keras"
    atomic_write(path, lambda temporary: halve(trained, temporary))
    text = card(found, trained, path)
    write_text(path.with_suffix(".md"), text)
    print(text)
    return 0


def halve(source, path):
    """Copies a `.keras` file, with its weights rounded to float16 and compressed. Layers load them as float32.

    Args:
        source, path: The file to read, and the file to write.
    """
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(path, "w") as smaller:
        for name in archive.namelist():
            content = archive.read(name)
            content = halved(content) if name.endswith(".h5") else content
            smaller.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 9)


def halved(content):
    """The bytes of an HDF5 file, with float16 where it held float32.

    NumPy rounds. HDF5's own conversion halves numbers that round up to a power of two, such as 0.24999.
    """
    with tempfile.TemporaryFile() as file:
        with h5py.File(io.BytesIO(content)) as before, h5py.File(file, "w") as after:

            def copy(name, item):
                if isinstance(item, h5py.Dataset):
                    values = item[()]
                    kept = after.create_dataset(
                        name, data=values.astype("float16") if values.dtype == "float32" else values
                    )
                else:
                    kept = after.require_group(name)
                kept.attrs.update(item.attrs)

            after.attrs.update(before.attrs)
            before.visititems(copy)
        file.seek(0)
        return file.read()


def card(found, trained, path):
    """The text of a net's card.

    Args:
        found: The arguments of the command.
        trained, path: The file of the run, in float32, and the file that is shipped.
    """
    net = NETS[found.name]
    (half, metrics), (full, _) = (net.measure(fcn_keras.load_model(file), found.source) for file in (path, trained))
    command = (
        f"python -m benchmarks.shipped {found.name} {'--source FOLDER ' if found.source else ''}--seed {found.seed}"
    )
    made = f"""
        The command `{command}` made it on two CPU cores, {datetime.date.today()}. Its weights take
        {path.stat().st_size / 1e6:.1f} MB in float16, which changes the {net.number} by {half - full:+.2f}.
        """
    parts = {"Data and terms": wrap(net.terms), "Training": wrap(made), "Metrics": metrics, "Limits": wrap(net.limits)}
    return f"# {found.name}\n\n{net.does}\n" + "".join(f"\n## {title}\n\n{text}\n" for title, text in parts.items())


def wrap(text):
    """One paragraph in lines of at most 120 characters."""
    return "\n".join(textwrap.wrap(textwrap.dedent(text).strip(), 120))


if __name__ == "__main__":
    sys.exit(main())
