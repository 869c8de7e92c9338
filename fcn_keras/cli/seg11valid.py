"""The command ``seg11valid``: the authors' nets, weights and images."""

import json
from typing import Annotated, Literal

import typer

from ._options import Json, silence_tensorflow

Net = Literal["fcn32s", "fcn16s", "fcn8s", "fcn8s-atonce", "fcn-alexnet"]


def seg11valid(
    net: Annotated[Net, typer.Option(help="The authors' net.")],
    weights: Annotated[str, typer.Option(help="Its .caffemodel, .npz, .pth or .weights.h5.")],
    voc: Annotated[str, typer.Option(help="Folder VOCdevkit, which holds VOC2011; with --list, VOC2012.")],
    sbd: Annotated[str | None, typer.Option(help="Folder benchmark_RELEASE, which holds dataset/train.txt.")] = None,
    list_file: Annotated[
        str | None, typer.Option("--list", help="The authors' seg11valid.txt, instead of --sbd.")
    ] = None,
    subset: Annotated[
        bool, typer.Option("--subset", help="Accept a --list of any length; its numbers compare with nothing.")
    ] = False,
    record: Annotated[str | None, typer.Option(help="File of the counts; by default runs/seg11valid-NET.json.")] = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="Also print the IoU of each class.")] = False,
    as_json: Json = False,
):
    """Evaluate the authors' released weights on their 736 images, and print the published numbers beside the result.

    You may stop it at any time. The same command continues after the last image.

    Python: fcn_keras.paper.evaluate_seg11valid

    Examples:

        fcn-keras seg11valid --net fcn8s --weights fcn8s-heavy-pascal.caffemodel --voc VOCdevkit --sbd benchmark_RELEASE
    """
    if (sbd is None) == (list_file is None):
        raise ValueError(f"Found --sbd {sbd} and --list {list_file}: expected one of the two.")
    with silence_tensorflow():
        from ..paper import evaluate_seg11valid

    found = evaluate_seg11valid(
        net,
        voc,
        sbd,
        weights=weights,
        list_file=list_file,
        subset=subset,
        record=record or f"runs/seg11valid-{net}.json",
        verbose=not as_json,
    )
    print(json.dumps(found.metrics(), indent=1) if as_json else found.table(per_class=per_class))
