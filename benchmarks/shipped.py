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
import zipfile
from collections.abc import Callable

import h5py

import fcn_keras
from fcn_keras import datasets, training
from fcn_keras._files import atomic_write, write_text
from fcn_keras.models import shipped

VOC_PART = dataclasses.replace(
    training.RECIPES["light"], epochs=40, size=(336, 336), scales=(0.75, 1.5), backbone_rate=0.1
)
VOC_DATA = """\
330 training images of PASCAL VOC2012, measured on 171 images of seg11valid (VOC2011 val without SBD's training images), 21 classes. The numbers cannot be
compared with published ones, which use ten times as many images to train and all 736 to measure. The photographs belong to users of Flickr and are not part
of this package. The net starts from Keras' MobileNetV2, trained on ImageNet (Apache License 2.0), restored from 8-bit weights."""
VOC_LIMITS = """\
Do not use it where a mistake can harm somebody. It was trained on few photographs, it knows twenty kinds of objects and calls everything else background, and
nobody has checked it for fairness to people. VOC's terms and those of Flickr apply to the photographs that it learned from; ask a lawyer before you sell it."""
SHAPES_DATA = """\
The data set `shapes`, which this package draws: 2,000 scenes to train on, 200 to measure on, 10 classes. There are no terms. The net starts from MiniVGG, which was
trained on single drawn objects."""
SHAPES_LIMITS = "It knows drawn shapes only. It is for the chapters and for tests, not for photographs."


@dataclasses.dataclass(frozen=True)
class Net:
    """How a shipped net is made, and what its card says.

    Args:
        does: One line.
        train: Function from the folder of the run, the seed and the folder of the data to the model's file.
        data: Text on the data and their terms.
        limits: Text on what the net must not be used for.
        test: The data set and the split that it is measured on.
    """

    does: str
    train: Callable
    data: str
    limits: str
    test: tuple[str, str]


def train_voc(directory, seed, source):
    """Trains FCN-8s on a part of VOC; returns the file of the net of the last epoch."""
    return training.train(VOC_PART, "voc", directory, source=source, seed=seed).directory / "last.keras"


def train_stage(name):
    """A function that trains the stages of shapes, and returns the file of one of them."""

    def train(directory, seed, source):
        staged = training.prepare_stages("shapes", directory.with_name(f"shapes-stages-{seed}"), seed=seed)
        staged.run()
        return staged.directory / name / "last.keras"

    return train


NETS = {
    "fcn8s_mobilenet_v2_voc": Net(
        "FCN-8s on MobileNetV2: the 21 classes of PASCAL VOC, for photographs.",
        train_voc, VOC_DATA, VOC_LIMITS, ("voc", "validation"),
    ),
} | {
    f"{name.lower().replace('-', '')}_mini_vgg_shapes": Net(
        f"{name} on MiniVGG: the 10 classes of the drawn scenes.",
        train_stage(name), SHAPES_DATA, SHAPES_LIMITS, ("shapes", "validation"),
    )
    for name in ("FCN-32s", "FCN-16s", "FCN-8s")
}  # fmt: skip


def main(arguments=None):
    """Trains a net, writes its file and its card, prints the card; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=NETS)
    parser.add_argument("--source", help="the folder of the data, for voc")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs"), help="default: %(default)s")
    found = parser.parse_args(arguments)
    net = NETS[found.name]
    trained = net.train(found.runs / f"{found.name}-{found.seed}", found.seed, found.source)
    path = shipped.FOLDER / f"{found.name}.keras"
    atomic_write(path, lambda temporary: halve(trained, temporary))
    text = card(found, net, trained, path)
    write_text(path.with_suffix(".md"), text)
    print(text)
    return 0


def halve(source, path):
    """Copies a `.keras` file, with its weights rounded to float16 and compressed. Layers load them as float32.

    Args:
        source, path: The file to read, and the file to write.
    """
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as smaller:
        for member in archive.namelist():
            content = archive.read(member)
            smaller.writestr(zipfile.ZipInfo(member), halved(content) if member.endswith(".h5") else content,
                             zipfile.ZIP_DEFLATED, 9)  # fmt: skip


def halved(content):
    """The bytes of an HDF5 file, with float16 where it held float32."""
    with tempfile.TemporaryFile() as file:
        with h5py.File(io.BytesIO(content)) as before, h5py.File(file, "w") as after:

            def copy(name, item):
                if isinstance(item, h5py.Dataset):
                    values = item[()]
                    kept = after.create_dataset(name, data=values.astype("float16") if values.dtype == "float32" else values)
                else:
                    kept = after.require_group(name)
                kept.attrs.update(item.attrs)

            after.attrs.update(before.attrs)
            before.visititems(copy)
        file.seek(0)
        return file.read()


def card(found, net, trained, path):
    """The text of a net's card."""
    data, split = net.test
    batches = datasets.load(data, split, batch=1, source=found.source)
    names = datasets.class_names(data, source=found.source)
    half, full = (fcn_keras.evaluate(fcn_keras.load_model(file), batches, names) for file in (path, trained))
    lost = 100 * (full.metrics["mean_iou"] - half.metrics["mean_iou"])
    source = " --source FOLDER" if found.source else ""
    return f"""\
# {found.name}

{net.does}

## Data and terms

{net.data}

## Training

`python -m benchmarks.shipped {found.name}{source} --seed {found.seed}`, {datetime.date.today()}. The file holds the weights in float16
({path.stat().st_size / 1e6:.1f} MB), which costs {lost:.2f} of mean IoU.

## Metrics

On the split {split} of {data}, one pass at scale 1, in percent.

{half.table()}
## Limits

{net.limits}
"""


if __name__ == "__main__":
    sys.exit(main())
