"""The ladder of Table 2: FCN-32s-fixed, FCN-32s, FCN-16s, FCN-8s, each trained in stages, resumable after every epoch.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4.2–4.3 and Table 2.
"""

import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Callable, Sequence

import keras

from . import models
from .losses import PixelCrossentropy
from .metrics import METRICS, SegmentationMetrics

# Table 2 of the paper, on 736 images of VOC2011 val, in percent, in the order of METRICS.
PAPER_TABLE_2 = {
    "FCN-32s-fixed": (83.0, 59.7, 45.4, 72.0),
    "FCN-32s": (89.1, 73.3, 59.4, 81.4),
    "FCN-16s": (90.0, 75.7, 62.4, 83.0),
    "FCN-8s": (90.3, 75.9, 62.7, 83.2),
}
STARTS_FROM = {"FCN-16s": "FCN-32s", "FCN-8s": "FCN-16s"}
AT_ONCE_SCALES = (0.01, 0.0001)  # the authors' factors for pool4 and pool3


@dataclasses.dataclass(frozen=True)
class Rung:
    """One line of the table: which net, trained for how long, how fast.

    Args:
        name: ``"FCN-32s-fixed"`` (only the score layer is trained), ``"FCN-32s"``, ``"FCN-16s"`` (from the ladder's
            FCN-32s), ``"FCN-8s"`` (from its FCN-16s) or ``"FCN-8s-at-once"`` (from the classifier, with scaled skips).
        epochs: Passes over the training data.
        learning_rate: At the start; it falls to zero as a polynomial of power 0.9.

    Example:

    >>> Rung("FCN-16s", epochs=6, learning_rate=3e-4)
    Rung(name='FCN-16s', epochs=6, learning_rate=0.0003)
    """

    name: str
    epochs: int
    learning_rate: float

    def __post_init__(self):
        if self.name not in (*PAPER_TABLE_2, "FCN-8s-at-once"):
            raise ValueError(f"Found rung {self.name!r}: expected one of {', '.join(PAPER_TABLE_2)}, FCN-8s-at-once.")


@dataclasses.dataclass
class Ladder:
    """Trains the rungs one after the other and fills the table.

    A run lies in `directory`: per rung the model and its progress after the last whole epoch, and ``table.json``,
    ``table.md`` with the metrics. Killed at any moment and run again, it goes on behind the last whole epoch; files
    are written beside and renamed. Order, augmentation and dropout depend on the seed and the epoch alone, so on a
    CPU a run repeats bit for bit, interrupted or not.

    Args:
        directory: Folder of the run.
        rungs: The `Rung` s, in order.
        train: Function from an integer, different for each epoch, to a `tf.data.Dataset` of batches (images, masks).
        validation: Dataset of batches that the metrics are measured on.
        class_names: Names of the classes, background included.
        backbone, weights, head, upsampling: As in `fcn_keras.FCN32s`.
        optimizer: Function from a learning rate (a schedule) to an optimizer; by default Adam.
        loss: Loss; by default the mean `PixelCrossentropy`.
        seed: Seed of the run.
        validate_every: Epochs between two measurements on the way; 0 measures at the end of a rung only.
        verbose: 1 shows a bar for each epoch, 2 a line, 0 nothing.

    Example:

    >>> ladder = Ladder("runs/demo", [Rung("FCN-32s", 2, 1e-3)], train, validation, names, "mini_vgg")  # doctest: +SKIP
    >>> print(ladder.run())  # doctest: +SKIP

    Reference: Long et al. (CVPR 2015), §4.2–4.3, Table 2.
    """

    directory: str | os.PathLike
    rungs: Sequence[Rung]
    train: Callable
    validation: object
    class_names: Sequence[str]
    backbone: object = "vgg16"
    weights: str | None = "pretrained"
    head: str = "auto"
    upsampling: str = "frozen"
    optimizer: Callable = keras.optimizers.Adam
    loss: keras.losses.Loss = dataclasses.field(default_factory=PixelCrossentropy)
    seed: int = 0
    validate_every: int = 0
    verbose: int = 2

    def __post_init__(self):
        self.directory = pathlib.Path(self.directory)
        names = [rung.name for rung in self.rungs]
        for name in names:
            start = STARTS_FROM.get(name)
            if start is not None and start not in names[: names.index(name)]:
                raise ValueError(
                    f"Found rung {name} without {start} before it: expected {start} first, as {name} starts from it."
                )

    def run(self):
        """Trains what is not trained yet; returns the table as Markdown."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for number, rung in enumerate(self.rungs):
            self._climb(rung, seed=100_003 * self.seed + 1_009 * number)
            self._write_table()
        return self.table()

    def model(self, name):
        """The trained model of a rung.

        Raises:
            ValueError: If that rung has not been trained to its end.
        """
        progress = self._progress(name)
        if "metrics" not in progress:
            raise ValueError(f"Rung {name} in {self.directory} is not trained to its end. Mend: call run().")
        return keras.models.load_model(self.directory / name / progress["file"])

    def results(self):
        """The finished rungs: name → metrics, IU per class, history and seconds."""
        return {r.name: p for r in self.rungs if "metrics" in (p := self._progress(r.name))}

    def table(self):
        """The finished rungs in the form of Table 2, in percent, as Markdown."""
        return markdown_table({name: result["metrics"] for name, result in self.results().items()})

    def _climb(self, rung, seed):
        progress = self._progress(rung.name)
        if self.verbose:
            for entry in progress["history"]:  # what was trained before is told again
                print(_line(rung, entry))
        if "metrics" in progress:
            return
        keras.utils.set_random_seed(seed)
        if progress["epoch"]:
            model = keras.models.load_model(self.directory / rung.name / progress["file"])
        else:
            model = self._compiled(self._start(rung), rung, steps=len(self.train(seed)) * rung.epochs)
        while progress["epoch"] < rung.epochs:
            epoch = progress["epoch"]
            progress = self._one_epoch(model, rung, progress, seed + epoch)
        if "metrics" not in progress:
            self._finish(model, rung, progress)

    def _start(self, rung):
        """The net of a rung before its first epoch."""
        if rung.name in STARTS_FROM:
            return models.refine(self.model(STARTS_FROM[rung.name]), self.upsampling)
        options = (len(self.class_names), self.backbone, self.weights, self.head, self.upsampling)
        if rung.name == "FCN-8s-at-once":
            return models.FCN8s(*options, skip_scales=AT_ONCE_SCALES)
        model = models.FCN32s(*options)
        if rung.name == "FCN-32s-fixed":
            model.get_layer("backbone").trainable = False
        return model

    def _compiled(self, model, rung, steps):
        rate = keras.optimizers.schedules.PolynomialDecay(rung.learning_rate, steps, end_learning_rate=0.0, power=0.9)
        metrics = [SegmentationMetrics(len(self.class_names), self.class_names)]
        model.compile(self.optimizer(rate), loss=self.loss, metrics=metrics, jit_compile=False)
        return model

    def _one_epoch(self, model, rung, progress, seed):
        """Trains an epoch, then replaces the rung's files: the model first, the progress that names it last."""
        epoch, started = progress["epoch"] + 1, time.perf_counter()
        _reseed_dropout(model, seed)
        bar = 1 if self.verbose == 1 else 0
        if bar:
            print(f"{rung.name} epoch {epoch}/{rung.epochs}")
        logs = model.fit(self.train(seed), verbose=bar, shuffle=False).history
        entry = {name: values[-1] for name, values in logs.items()}
        if self.validate_every and epoch % self.validate_every == 0:
            entry |= {f"val_{name}": value for name, value in self._evaluate(model).items()}
        entry |= {"epoch": epoch, "seconds": time.perf_counter() - started}
        if self.verbose:
            print(_line(rung, entry), flush=True)
        file = f"epoch-{epoch:04d}.keras"
        _write_beside(self.directory / rung.name / file, model.save)
        progress = {"epoch": epoch, "file": file, "history": [*progress["history"], entry]}
        self._record(rung.name, progress)
        return progress

    def _finish(self, model, rung, progress):
        metrics = self._evaluate(model)
        per_class = model.metrics[-1].metrics[0].per_class() if metrics else {}
        seconds = sum(entry["seconds"] for entry in progress["history"])
        progress |= {"metrics": metrics, "per_class_iu": per_class, "training_seconds": seconds}
        self._record(rung.name, progress)

    def _write_table(self):
        _write_beside(self.directory / "table.md", lambda path: pathlib.Path(path).write_text(self.table()))
        table = {name: result["metrics"] for name, result in self.results().items()}
        _write_beside(self.directory / "table.json", lambda path: _dump(path, table))

    def _evaluate(self, model):
        logs = model.evaluate(self.validation, verbose=0, return_dict=True)
        return {name: float(logs[name]) for name in METRICS}

    def _progress(self, name):
        path = self.directory / name / "progress.json"
        if not path.exists():
            return {"epoch": 0, "history": []}
        return json.loads(path.read_text())

    def _record(self, name, progress):
        folder = self.directory / name
        _write_beside(folder / "progress.json", lambda path: _dump(path, progress))
        for file in folder.glob("epoch-*.keras"):
            if file.name != progress["file"]:
                file.unlink()


def markdown_table(results, paper=True):
    """Metrics of several nets in the form of the paper's Table 2.

    Args:
        results: Dict name → dict of the four metrics in ``[0, 1]``.
        paper: Whether to print the paper's numbers beside, for the rungs that it has.

    Returns:
        Markdown, percent with one decimal; the paper's numbers, measured on other data, in brackets.

    Example:

    >>> print(markdown_table({"FCN-8s": dict(zip(METRICS, (0.9, 0.8, 0.7, 0.6)))}, paper=False))
    | net | pixel acc. | mean acc. | mean IU | f.w. IU |
    |---|---|---|---|---|
    | FCN-8s | 90.0 | 80.0 | 70.0 | 60.0 |
    <BLANKLINE>

    Reference: Long et al. (CVPR 2015), Table 2.
    """
    lines = ["| net | pixel acc. | mean acc. | mean IU | f.w. IU |", "|---|---|---|---|---|"]
    for name, metrics in results.items():
        theirs = PAPER_TABLE_2.get(name) if paper else None
        cells = [f"{100 * metrics[metric]:.1f}" for metric in METRICS]
        if theirs:
            cells = [f"{cell} ({number})" for cell, number in zip(cells, theirs, strict=True)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _reseed_dropout(model, seed):
    """Restarts every dropout layer from the seed: saved models do not hold the state of their random numbers."""
    for number, layer in enumerate(model._flatten_layers()):
        if isinstance(layer, keras.layers.Dropout) and layer.rate > 0:
            layer.seed_generator.state.assign([seed % 2**31, number])


def _line(rung, entry):
    measured = f", validation mean IU {entry['val_mean_iu']:.3f}" if "val_mean_iu" in entry else ""
    return (
        f"{rung.name:<14} epoch {entry['epoch']:>3}/{rung.epochs}: loss {entry['loss']:.3f}, "
        f"mean IU {entry['mean_iu']:.3f}{measured} ({entry['seconds']:.0f} s)"
    )


def _write_beside(path, write):
    """Writes under another name, then renames: a file with the final name is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"partial-{path.name}")
    write(beside)
    os.replace(beside, path)


def _dump(path, content):
    pathlib.Path(path).write_text(json.dumps(content, indent=2) + "\n")
