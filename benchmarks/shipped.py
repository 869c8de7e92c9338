"""Trains the nets that come with the package, and writes their files and cards into fcn_keras/models/weights.

    python -m benchmarks.shipped NAME [--source FOLDER] [--seed 0]

Run it from the project's root. NAME is a key of `NETS`. When it was stopped, the same command continues. The file of a
net holds its weights in float16; its card says what that costs.
"""

import argparse
import dataclasses
import datetime
import io
import pathlib
import sys
import tempfile
import textwrap
import zipfile
from collections.abc import Callable

import h5py

import fcn_keras
from fcn_keras import datasets, training
from fcn_keras._files import atomic_write, write_text
from fcn_keras.models import shipped

VOC_PART = dataclasses.replace(
    training.RECIPES["light"], epochs=12, size=(336, 336), scales=(0.75, 1.5), backbone_rate=0.1
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
The data set `shapes`, which this package draws: 2,000 scenes to train on, 200 to measure on, 10 classes. There are no
terms. The net starts from MiniVGG, which was trained on single drawn objects.
"""
SHAPES_LIMITS = "\nThe net knows drawn shapes only. It is for the chapters and for tests, not for photographs.\n"


@dataclasses.dataclass(frozen=True)
class Net:
    """How a shipped net is made, and what its card says.

    Args:
        does: One line.
        data: Name of the data set.
        train: Function from the folder of the run, the seed and the source of the data to the model's file.
        terms, limits: Texts on the data and their terms, and on what the net must not be used for.
    """

    does: str
    data: str
    train: Callable
    terms: str
    limits: str


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


NETS = {
    "fcn8s_mobilenet_v2_voc": Net(
        "FCN-8s on MobileNetV2 for photographs: the 21 classes of PASCAL VOC.", "voc", train_voc, VOC_DATA, VOC_LIMITS
    )
}
for stage in ("FCN-32s", "FCN-16s", "FCN-8s"):
    NETS[f"{stage.lower().replace('-', '')}_mini_vgg_shapes"] = Net(
        f"{stage} on MiniVGG: the 10 classes of the drawn scenes.",
        "shapes",
        train_stage(stage),
        SHAPES_DATA,
        SHAPES_LIMITS,
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
    """The bytes of an HDF5 file, with float16 where it held float32."""
    with tempfile.TemporaryFile() as file:
        with h5py.File(io.BytesIO(content)) as before, h5py.File(file, "w") as after:

            def copy(name, item):
                if isinstance(item, h5py.Dataset):
                    kept = after.create_dataset(name, data=item, dtype="float16" if item.dtype == "float32" else None)
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
    builder = datasets.prepare(net.data, source=found.source)
    batches = datasets.load(builder, "validation", batch=1)
    half, full = (fcn_keras.evaluate(fcn_keras.load_model(file), batches) for file in (path, trained))
    lost = 100 * (full.metrics["mean_iou"] - half.metrics["mean_iou"])
    command = (
        f"python -m benchmarks.shipped {found.name} {'--source FOLDER ' if found.source else ''}--seed {found.seed}"
    )
    made = f"""
        The command `{command}` made it on two CPU cores, {datetime.date.today()}. Its weights take
        {path.stat().st_size / 1e6:.1f} MB in float16, which changes the mean IoU by {-lost:+.2f} points.
        """
    images = builder.info.splits["validation"].num_examples
    measured = f"""
        The {images} images of the split `validation`, one pass at scale 1, in percent.
        """
    parts = {"Data and terms": net.terms, "Training": made, "Metrics": measured, "Limits": net.limits}
    parts = {title: "\n".join(textwrap.wrap(textwrap.dedent(text).strip(), 120)) for title, text in parts.items()}
    parts["Metrics"] += f"\n\n{half.table().strip()}"
    return f"# {found.name}\n\n{net.does}\n" + "".join(f"\n## {title}\n\n{text}\n" for title, text in parts.items())


if __name__ == "__main__":
    sys.exit(main())
