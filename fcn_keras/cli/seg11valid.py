"""The command ``seg11valid``: evaluates the authors' nets with their weights on their images."""

import json
from typing import Literal

from ._options import Json, option, silence_tensorflow

Net = Literal["fcn32s", "fcn16s", "fcn8s", "fcn8s-atonce", "fcn-alexnet"]


def seg11valid(
    net: option(Net, "The authors' net."),
    weights: option(str, "File of its weights: .caffemodel, .npz, .pth or .weights.h5."),
    voc: option(str, "Folder VOCdevkit, which holds VOC2011. With --list, VOC2012 also works."),
    sbd: option(str | None, "Folder benchmark_RELEASE, which holds dataset/train.txt.") = None,
    list_file: option(str | None, "The authors' seg11valid.txt. Use it instead of --sbd.", "--list") = None,
    subset: option(
        bool, "Accept a --list of any length. Its results cannot be compared with the published ones.", "--subset"
    ) = False,
    record: option(str | None, "File that keeps the counts. By default runs/seg11valid-NET.json.") = None,
    per_class: option(bool, "Also print the IoU of each class.", "--per-class") = False,
    as_json: Json = False,
):
    """Evaluate the authors' released weights on their 736 images, and compare with the published results.

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
