"""Writes and prints what a run reports: settings, machine, epochs, metrics and pictures."""

import csv
import datetime
import functools
import importlib.metadata
import importlib.util
import io
import itertools
import json
import os
import pathlib
import platform
import subprocess
import sys
import textwrap
import warnings

import keras
import numpy as np

from .._files import atomic_write, replace_nonfinite, write_json, write_text
from ..datasets.channels import make_preview
from ..datasets.images import to_uint8
from ..inference.segment import segment
from ..metrics import METRICS
from ..models.channels import get_ranges

FORMAT = 2  # of config.json; the first edition wrote none
PACKAGES = ("fcn-keras", "keras", "tensorflow", "jax", "torch", "numpy", "tensorflow-datasets")


def write_config(directory, config):
    """Writes ``config.json``, the settings that a run is started with; see `require_same`."""
    write_json(pathlib.Path(directory) / "config.json", {"format": FORMAT, **config})


def read_config(directory):
    """Reads ``config.json``."""
    return json.loads((pathlib.Path(directory) / "config.json").read_text(encoding="utf-8"))


def require_same(directory, config, prolong=False):
    """Raises an error if the run in a folder was started with other settings.

    Args:
        directory: Folder of a run.
        config: Dict of the settings of this run.
        prolong: Whether the run in the folder is finished, so that it may be prolonged by more epochs.

    Raises:
        ValueError: If the folder holds other settings. The message gives each of them, with both values.

    Example:

    >>> write_config("run", {"epochs": 2})
    >>> require_same("run", {"epochs": 3})
    Traceback (most recent call last):
    ...
    ValueError: run holds a run with other settings: epochs is 2 there, 3 here. Fix: take another ...
    """
    config = json.loads(json.dumps(replace_nonfinite({"format": FORMAT, **config})))  # this makes tuples lists
    there = read_config(directory)
    if there.get("format") != FORMAT:
        raise ValueError(
            f"{directory} holds a run with other settings: another edition of fcn_keras started it, and "
            "its settings have other names. Fix: take another directory. The run's nets still load with load_model."
        )
    differing = [key for key in {**there, **config} if there.get(key) != config.get(key) and key != "prolonged"]
    if prolong and differing == ["epochs"] and there["epochs"] < config["epochs"]:
        return
    if differing:
        short = functools.partial(textwrap.shorten, width=60, placeholder=" …")
        told = "; ".join(
            f"{key} is {short(repr(there.get(key)))} there, {short(repr(config.get(key)))} here" for key in differing
        )
        raise ValueError(
            f"{directory} holds a run with other settings: {told}. Fix: take another directory, or the settings "
            "that the run was started with. Only a finished run can get other epochs, and only more."
        )


def describe_environment():
    """Describes how a run was started: date, command, versions, backend, devices, machine and commit of the package.

    Returns:
        Dict for JSON.

    Example:

    >>> describe_environment()["backend"]
    'tensorflow'
    """
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "folder": os.getcwd(),
        "python": platform.python_version(),
        **{name: version for name in PACKAGES if (version := _find_version(name))},
        "backend": keras.backend.backend(),
        "devices": keras.distribution.list_devices(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "git": _find_commit(),
    }


def write_environment(directory):
    """Adds `describe_environment` to ``environment.json``, which has an entry for each start of the run.

    Warns:
        UserWarning: If the backend or the version of a package has changed since the last start.
    """
    path = pathlib.Path(directory) / "environment.json"
    entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    entries.append(describe_environment())
    write_json(path, entries)
    before, now = entries[-2:] if len(entries) > 1 else entries * 2
    if changed := [name for name in (*PACKAGES, "backend") if before.get(name) != now.get(name)]:
        told = ", ".join(f"{name} {now.get(name)} (before: {before.get(name)})" for name in changed)
        warnings.warn(f"{directory} is continued with {told}: the last digits of the results may change.", stacklevel=4)


def write_history(directory, history):
    """Writes ``history.csv``, with a row for each epoch. A cell is empty if its value was not measured."""
    columns = list(dict.fromkeys(itertools.chain(["epoch"], *history)))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(pathlib.Path(directory) / "history.csv", text.getvalue())


def write_metrics(directory, evaluation, record):
    """Writes ``metrics.json``: the evaluation of ``last.keras``, and the record of the epochs."""
    content = {"model": "last.keras", **evaluation.summary(), "record": record}
    write_json(pathlib.Path(directory) / "metrics.json", content)


def read_metrics(directory):
    """Reads ``metrics.json``."""
    return json.loads((pathlib.Path(directory) / "metrics.json").read_text(encoding="utf-8"))


def require_metrics(directory, content):
    """Raises an error if the metrics in a ``metrics.json`` have other names.

    Raises:
        ValueError: If a metric is missing.
    """
    if missing := [name for name in METRICS if name not in content]:
        raise ValueError(
            f"{pathlib.Path(directory) / 'metrics.json'} lacks {', '.join(missing)}: an older version of this package "
            "wrote it. Fix: measure last.keras again, with fcn_keras.evaluate or `fcn-keras evaluate`."
        )


def write_table(directory, evaluation, record, monitor):
    """Writes ``metrics.md``: the metrics of ``last.keras`` as a table, and the epoch of ``best.keras``."""
    best = record["best"]
    told = f"; best.keras: epoch {best['epoch']}, {monitor} {100 * best['score']:.1f}" if best else ""
    text = f"last.keras on the validation images, in percent{told}.\n\n{evaluation.table()}"
    write_text(pathlib.Path(directory) / "metrics.md", text)


def draw_results(run, model, history):
    """Draws ``curves.png`` and ``samples.png``."""
    from .. import visualization

    lines = {key: [entry.get(key, np.nan) for entry in history] for key in dict.fromkeys(itertools.chain(*history))}
    for key in ("epoch", "seconds"):
        del lines[key]
    images, truth, predictions = [], [], []
    for image, mask in itertools.islice(run.validation.unbatch(), run.samples):
        ranges = get_ranges(model)
        image = to_uint8(np.asarray(image)) if ranges is None else np.asarray(image)
        images.append(make_preview(image, ranges))
        truth.append(np.asarray(mask))
        predictions.append(segment(model, image, progress=False))
    columns = {"truth": truth, "prediction": predictions}
    figures = {
        "curves.png": visualization.plot_learning_curves(lines),
        "samples.png": visualization.compare(images, columns, run.class_names, run.palette),
    }
    figures["curves.png"].supxlabel("dashed: training, solid: validation", fontsize=9)
    save_figures(run.directory, figures)


def save_figures(directory, figures):
    """Saves Matplotlib figures.

    Args:
        directory: Folder for the files.
        figures: Dict from file names to figures.
    """
    for name, figure in figures.items():
        atomic_write(directory / name, lambda temporary, figure=figure: figure.savefig(temporary, dpi=90))


def make_tensorboard(directory):
    """Makes a list of Keras' TensorBoard callback. The list is empty if tensorboard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return []
    return [keras.callbacks.TensorBoard(pathlib.Path(directory) / "tensorboard", write_graph=False)]


def print_history(run):
    """Prints the epochs that were trained before, if the run prints anything."""
    history = run.record()["history"]
    if run.verbose and history:
        rest = "nothing is left to train" if run.finished else "the run continues"
        print(f"{run.name:<14} {len(history)} of {run.epochs} epochs were trained before; {rest}.")
        for entry in history:
            print(format_epoch(run.name, run.epochs, entry))


def format_epoch(name, epochs, entry):
    """Formats an epoch in one line."""
    words = {"loss": "loss", "mean_iou": "mean IoU", "val_mean_iou": "validation mean IoU", "val_mask_ap": "mask AP"}
    measured = ", ".join(f"{word} {entry[key]:.3f}" for key, word in words.items() if key in entry)
    return f"{name:<14} epoch {entry['epoch']:>3}/{epochs}: {measured} ({entry['seconds']:.0f} s)"


def _find_version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _find_commit():
    """The commit of the package, with a + if its files differ from that commit. None outside a repository."""
    git = ["git", "-C", str(pathlib.Path(__file__).parents[1])]
    try:
        commit, changed = (
            subprocess.run([*git, *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "."])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")
