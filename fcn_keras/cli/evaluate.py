"""The command ``evaluate``: measures a model, or masks that were made elsewhere, on a data set."""

import functools
import json
import pathlib
import re
import sys
from typing import Annotated

import typer

from .._files import replace_nonfinite, user_path
from ._options import (
    Binary,
    DataDir,
    Flip,
    Json,
    Model,
    Scales,
    Source,
    option,
    read_run,
    redirect_progress,
    silence_tensorflow,
)

MINE = "the validation images only, because the model was trained on this folder"
ALL = "all images, because the folder has no lists; if the model was trained on them, pass --split validation"


def evaluate(
    model: Model,
    data: Annotated[
        str | None, typer.Argument(help="A data set, or a folder of images/ and masks/. With --predictions, only this.")
    ] = None,
    split: option(
        str | None, "The split to evaluate on. By default validation; of a folder without lists, all images."
    ) = None,
    source: Source = None,
    data_dir: DataDir = None,
    binary: Binary = False,
    predictions: option(pathlib.Path | None, "Measure the masks in this folder, NAME.png, instead of a model.") = None,
    scales: Scales = None,
    flip: Flip = False,
    tile: option(int | None, "Side of the tiles that save memory on large images, in pixels.", min=1) = None,
    as_json: Json = False,
):
    """Evaluate a model: pixel accuracy, mean accuracy, mean IoU, frequency weighted IoU, and the IoU of each class.

    The classes of the data must have the names that they have in the model; their order may differ.

    Python: fcn_keras.evaluate, fcn_keras.inference.evaluate_masks

    Examples:

        fcn-keras evaluate runs/mine/best.keras my_data

        fcn-keras evaluate runs/camvid-0/last.keras camvid --scale 1 --scale 1.5 --scale 2 --flip

        fcn-keras evaluate my_data --predictions masks_of_another_program
    """
    if (data is None) != (predictions is not None):
        expected = "the data only" if predictions else "a model and the data"
        raise ValueError(f"Found {model} and {data}: expected {expected}. Fix: fcn-keras evaluate --help.")
    with silence_tensorflow():
        from ..inference import evaluate_masks

    if predictions:
        result = evaluate_masks(model, predictions, split, binary)
        about = {"predictions": str(predictions), "data": model, "split": split or "all"}
    else:
        where = {"source": source, "data_dir": data_dir, "binary": binary}
        options = {"scales": tuple(scales or (1.0,)), "flip": flip, "tile": tile}
        options["verbose"] = int(sys.stdout.isatty() and not as_json)
        with redirect_progress(as_json):
            result, about = _measure(model, data, split, where, options)
        about |= {"scales": scales or [1.0], "flip": flip}
    if as_json:
        print(json.dumps(about | replace_nonfinite(result.summary()), indent=1))
    else:
        images = f", {about['images']} images" if "images" in about else ""
        what = f"{predictions or model} on {about['split']} of {about['data']}{images}"
        print(f"{what}, in percent.\n\n{result.table()}")


def _measure(model, data, split, where, options):
    """Returns the `Evaluation` of a model, and a dict that says what was measured. Tells the user what it decided."""
    from .. import datasets
    from ..datasets.check.layouts import LISTS
    from ..inference import evaluate
    from ..models import load_model

    name, where["source"] = datasets.resolve_data_set(data, where["source"])
    net, run, whole, tell = load_model(model), read_run(model), False, functools.partial(print, file=sys.stderr)
    own = getattr(net, "class_names", None) or run.get("class_names")
    lists = [user_path(where["source"] or ".") / f"{each}.txt" for each in ("val", *LISTS)]
    if name == "folder" and split is None and not any(path.exists() for path in lists):
        trained = isinstance(run.get("data"), str) and user_path(run["data"]).resolve()
        whole = trained != user_path(where["source"]).resolve()
        tell(f"Measured: {ALL if whole else MINE}.")
    split = split or "validation"
    builder = datasets.prepare(name, 1.0 if whole else datasets.find_config(name, split), **where)
    names = list(builder.info.metadata["class_names"])
    if own and own != names and all(re.fullmatch(r"class \d+", each) for each in names):
        if len(names) > len(own):
            raise ValueError(f"{data} holds ids up to {len(names) - 1}: expected 0–{len(own) - 1}, as in the model.")
        tell(f"{data} has no classes.txt: its ids are taken as those of the model, {', '.join(own)}.")
        names = own
    elif own and own != names and sorted(own) == sorted(names):
        tell("The model has the same classes in another order: they were matched by name.")
    net.class_names = own
    result = evaluate(net, datasets.load(builder, split, batch=1), names, **options)
    images = builder.info.splits[split].num_examples
    return result, {"model": str(model), "data": data, "split": "all" if whole else split, "images": images}
