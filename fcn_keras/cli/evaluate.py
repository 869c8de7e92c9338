"""The command ``evaluate``: measures a model on a data set."""

import json
import sys

from ._options import (
    Binary,
    Data,
    DataDir,
    Flip,
    Json,
    Model,
    Scales,
    Source,
    option,
    redirect_progress,
    silence_tensorflow,
)


def evaluate(
    model: Model,
    data: Data,
    split: option(str, "The split to evaluate on.") = "validation",
    source: Source = None,
    data_dir: DataDir = None,
    binary: Binary = False,
    scales: Scales = None,
    flip: Flip = False,
    as_json: Json = False,
):
    """Evaluate a model: pixel accuracy, mean accuracy, mean IoU, frequency weighted IoU, and the IoU of each class.

    Python: fcn_keras.evaluate

    Examples:

        fcn-keras evaluate runs/mine/best.keras my_data

        fcn-keras evaluate runs/camvid-0/last.keras camvid --scale 1 --scale 1.5 --scale 2 --flip
    """
    with silence_tensorflow():
        from .. import datasets
        from .._files import replace_nonfinite
        from ..inference import evaluate
        from ..models import load_model

    name, source = datasets.resolve_data_set(data, source)
    with redirect_progress(as_json):
        where = {"source": source, "data_dir": data_dir, "binary": binary}
        builder = datasets.prepare(name, datasets.find_config(name, split), **where)
        result = evaluate(
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
        print(json.dumps(about | {"flip": flip} | replace_nonfinite(result.summary()), indent=1))
    else:
        print(f"{model} on {split} of {data}, {images} images, in percent.\n\n{result.table()}")
