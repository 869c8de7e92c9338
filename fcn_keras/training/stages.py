"""The ladder of Table 2: FCN-32s-fixed, FCN-32s, FCN-16s, FCN-8s, each trained in stages, resumable after every epoch.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4.2–4.3 and Table 2.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence

import keras

from .._files import atomic_write, user_path, write_json
from ..losses import PixelCrossentropy
from ..metrics import METRICS
from ..models import fcn, fusion
from . import fingerprints
from .optimizers import Polynomial
from .run import Run

#: Table 2 of the paper, on 736 images of VOC2011 val, in percent, in the order of METRICS.
PAPER_TABLE_2 = {
    "FCN-32s-fixed": (83.0, 59.7, 45.4, 72.0),
    "FCN-32s": (89.1, 73.3, 59.4, 81.4),
    "FCN-16s": (90.0, 75.7, 62.4, 83.0),
    "FCN-8s": (90.3, 75.9, 62.7, 83.2),
}
#: The net whose weights a finer one starts from.
STARTS_FROM = {"FCN-16s": "FCN-32s", "FCN-8s": "FCN-16s"}


@dataclasses.dataclass(frozen=True)
class Stage:
    """One line of the table: which net, trained for how long, how fast.

    Args:
        name: ``"FCN-32s-fixed"`` (only the score layer is trained), ``"FCN-32s"``, ``"FCN-16s"`` (from the ladder's
            FCN-32s), ``"FCN-8s"`` (from its FCN-16s) or ``"FCN-8s-at-once"`` (from the classifier, with scaled skips).
        epochs: Passes over the training data.
        learning_rate: At the start.

    Example:

    >>> Stage("FCN-16s", epochs=6, learning_rate=3e-4)
    Stage(name='FCN-16s', epochs=6, learning_rate=0.0003)
    """

    name: str
    epochs: int
    learning_rate: float

    def __post_init__(self):
        if self.name not in (*PAPER_TABLE_2, "FCN-8s-at-once"):
            raise ValueError(f"Found rung {self.name!r}: expected one of {', '.join(PAPER_TABLE_2)}, FCN-8s-at-once.")


def adam(learning_rate, model, steps):
    """Adam, whose rate falls to zero over the run: a ladder's default."""
    return keras.optimizers.Adam(Polynomial(learning_rate, steps))


@dataclasses.dataclass
class StagedTraining:
    """Trains the rungs one after the other and fills the table.

    Each rung is a `fcn_keras.training.Run` in a folder of its own, under `directory`; ``table.json`` and ``table.md``
    beside them hold the metrics. Killed at any moment and run again, the ladder goes on behind the last whole epoch;
    on a CPU it repeats bit for bit, interrupted or not.

    Args:
        directory: Folder of the run.
        rungs: A `Stage` for each step, in order.
        train: Function from an integer, different for each epoch, to a `tf.data.Dataset` of batches (images, masks).
        validation: Dataset of batches that the metrics are measured on.
        class_names: Names of the classes, background included.
        backbone, weights, head, upsampling: As in `fcn_keras.FCN32s`.
        optimizer: Function from a rung's learning rate, its net and the number of its steps to an optimizer; by default
            Adam, whose rate falls to zero as a polynomial of power 0.9.
        loss: Loss; by default the mean `PixelCrossentropy`.
        seed: Seed of the run.
        validate_every: Epochs between two measurements on the way; 0 measures at the end of a rung only.
        verbose: 1 shows a bar for each epoch, 2 a line, 0 nothing.
        samples, palette: As in `fcn_keras.training.Run`; by default no pictures are drawn.
        settings: What else it takes to repeat the ladder, such as the name of its data.

    Example:

    >>> ladder = StagedTraining("runs/demo", [Stage("FCN-32s", 2, 1e-3)], train, validation, names, "mini_vgg")  # doctest: +SKIP
    >>> print(ladder.run())  # doctest: +SKIP

    Reference: Long et al. (CVPR 2015), §4.2–4.3, Table 2.
    """

    directory: str | os.PathLike
    rungs: Sequence[Stage]
    train: Callable
    validation: object
    class_names: Sequence[str]
    backbone: object = "vgg16"
    weights: str | None = "pretrained"
    head: str = "auto"
    upsampling: str = "frozen"
    optimizer: Callable = adam
    loss: keras.losses.Loss = dataclasses.field(default_factory=PixelCrossentropy)
    seed: int = 0
    validate_every: int = 0
    verbose: int = 2
    samples: int = 0
    palette: object = None
    settings: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        self.directory = user_path(self.directory)
        names = [rung.name for rung in self.rungs]
        for name in names:
            start = STARTS_FROM.get(name)
            if start is not None and start not in names[: names.index(name)]:
                raise ValueError(
                    f"Found rung {name} without {start} before it: expected {start} first, as {name} starts from it."
                )

    def run(self):
        """Trains what is not trained yet; returns the table as Markdown.

        Raises:
            ValueError: If the folder of a rung holds a run with other settings; they are named.
        """
        for number, rung in enumerate(self.rungs):
            self._run(rung, seed=100_003 * self.seed + 1_009 * number).run()
            self._write_table()
        return self.table()

    def model(self, name):
        """The trained model of a rung.

        Raises:
            ValueError: If there is no such rung, or it has not been trained to its end.
        """
        run = self._run(self._rung(name))
        if not run.finished:
            raise ValueError(f"Stage {name} in {self.directory} is not trained to its end. Fix: call run().")
        return run.model()

    def results(self):
        """The finished rungs: name → metrics, IU per class, history and seconds."""
        runs = {rung.name: self._run(rung) for rung in self.rungs}
        return {name: run.results() for name, run in runs.items() if run.finished}

    def table(self):
        """The finished rungs in the form of Table 2, in percent, as Markdown."""
        return markdown_table({name: result["metrics"] for name, result in self.results().items()})

    def record(self, name):
        """How far a rung is: see `fcn_keras.training.Run.record`."""
        return self._run(self._rung(name)).record()

    def _rung(self, name):
        rungs = {rung.name: rung for rung in self.rungs}
        if name not in rungs:
            raise ValueError(f"Found rung {name!r}: this ladder has {', '.join(rungs)}.")
        return rungs[name]

    def _run(self, rung, seed=0):
        return Run(
            self.directory / rung.name,
            lambda: self._start(rung),
            lambda model, steps: self.optimizer(rung.learning_rate, model, steps),
            self.train,
            self.validation,
            self.class_names,
            rung.epochs,
            settings=self._settings(rung),
            loss=self.loss,
            seed=seed,
            name=rung.name,
            validate_every=self.validate_every,
            samples=self.samples,
            palette=self.palette,
            verbose=self.verbose,
        )

    def _settings(self, rung):
        """What it takes to repeat a rung, beyond what a `Run` knows by itself."""
        return {
            **self.settings,
            **self._backbone,
            "net": rung.name,
            "head": self.head,
            "upsampling": self.upsampling,
            "learning_rate": rung.learning_rate,
        }

    @functools.cached_property
    def _backbone(self):
        return fingerprints.described(self.backbone, self.weights)

    def _start(self, rung):
        """The net of a rung before its first epoch."""
        if rung.name in STARTS_FROM:
            return fcn.upgrade(self.model(STARTS_FROM[rung.name]), self.upsampling)
        options = (len(self.class_names), self.backbone, self.weights, self.head, self.upsampling)
        if rung.name == "FCN-8s-at-once":
            return fcn.FCN8s(*options, skip_scales=fusion.AT_ONCE_SCALES)
        model = fcn.FCN32s(*options)
        if rung.name == "FCN-32s-fixed":
            for layer in model.layers:
                layer.trainable = layer.name == "score_fr"
        return model

    def _write_table(self):
        table = self.table()
        atomic_write(self.directory / "table.md", lambda temporary: temporary.write_text(table, encoding="utf-8"))
        write_json(self.directory / "table.json", {name: result["metrics"] for name, result in self.results().items()})


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
