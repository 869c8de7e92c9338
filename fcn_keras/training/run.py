"""One net trained for some epochs in a folder of its own, so that it can be killed at any moment and goes on.

After every epoch (or every so many steps) all that the run is lies in one file, ``checkpoint.npz``: every variable of
the net, of the optimizer and of the running metrics, and the record of the epochs. It is replaced in one rename, so
it is whole, always; everything else in the folder follows from it and is written again when the run goes on. Order,
augmentation and dropout depend on the seed and the epoch alone, so on a CPU an interrupted run is the unbroken one bit
for bit.
"""

import contextlib
import dataclasses
import functools
import json
import os
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from .._files import atomic_write, finite, locked, user_path
from ..inference.evaluate import evaluate
from ..layers._keras import all_layers
from ..losses import PixelCrossentropy
from ..metrics import METRICS, SegmentationMetrics
from ..models.loading import load_model
from . import fingerprints, logs
from .averages import assign, averaged, keeps_averages
from .callbacks import Watch


@dataclasses.dataclass
class Run:
    """Trains one net in a folder; called again, it goes on where it was stopped.

    The folder holds ``config.json`` (the settings), ``environment.json`` (where and with what it ran),
    ``history.csv``, ``last.keras`` and ``best.keras`` (for inference: averaged weights where there are some, no
    optimizer), at the end ``metrics.json``, ``metrics.md``, ``curves.png``, ``samples.png``, and ``tensorboard/`` where
    tensorboard is installed. While it is under way there is ``checkpoint.npz``; while a process trains, the folder is
    its alone (`fcn_keras._files.locked`).

    A run goes on with what it was begun with, or not at all. Compared are `settings`, the fields below that change
    the result, the shapes of the data and the labels of the first validation batch, and, where it goes on from a
    checkpoint, the net with all its layers' settings and the optimizer. Versions, backend and machine are not: they
    change the last digits, and they stand in ``environment.json`` for each start.

    Args:
        directory: Folder of the run.
        build: Function without arguments that gives the net before its first epoch.
        optimizer: Function from the net and the number of steps in the whole run to an optimizer.
        train: Function from an integer, different for each epoch, to a `tf.data.Dataset` of batches (images, masks):
            the same batches for the same integer. If the dataset does not know its length, its batches are counted
            once at each start.
        validation: Dataset of batches that the metrics are measured on.
        class_names: Names of the classes, background included.
        epochs: Passes over the training data.
        settings: What else it takes to repeat the run, as JSON: recipe, data, splits.
        loss: Loss; by default the mean `fcn_keras.losses.PixelCrossentropy`.
        seed: Seed of the run.
        name: What the run is called where it speaks.
        validate_every: Epochs between two measurements; 0 measures at the end only, and there is no ``best.keras``.
        monitor: The metric that ``best.keras`` is best in.
        checkpoint_steps: Steps between two checkpoints inside an epoch, for long ones; 0 keeps to whole epochs.
        samples: Validation images in ``samples.png``; 0 draws no pictures at all.
        palette: Colours of the classes, ``(C, 3)``, for the samples.
        jit_compile: Whether to compile the steps with XLA.
        verbose: 1 shows a bar for each epoch, 2 a line, 0 nothing.

    Raises:
        ValueError: From `run`, if the folder holds a run with other settings; they are named. Also if there is no end
            of the data.

    Example:

    >>> run = Run("runs/mine", build, optimizer, train, validation, ["road", "sky"], epochs=30)  # doctest: +SKIP
    >>> model = run.run()  # doctest: +SKIP
    """

    directory: str | os.PathLike
    build: Callable
    optimizer: Callable
    train: Callable
    validation: object
    class_names: Sequence[str]
    epochs: int
    settings: dict = dataclasses.field(default_factory=dict)
    loss: keras.losses.Loss = dataclasses.field(default_factory=PixelCrossentropy)
    seed: int = 0
    name: str = "net"
    validate_every: int = 1
    monitor: str = "mean_iou"
    checkpoint_steps: int = 0
    samples: int = 3
    palette: object = None
    jit_compile: bool = False
    verbose: int = 2

    MONITORS: ClassVar = METRICS

    def __post_init__(self):
        self.directory = user_path(self.directory)
        if self.monitor not in self.MONITORS:
            raise ValueError(f"Found monitor={self.monitor!r}: expected one of {', '.join(self.MONITORS)}.")

    def run(self):
        """Trains what is not trained yet.

        Returns:
            The trained `keras.Model`, compiled, with the weights of ``last.keras``.

        Raises:
            ValueError: If the folder holds a run with other settings.
            FloatingPointError: If the loss is no longer a number; the message names the step and likely causes.
            OSError: If a file cannot be written. Earlier ones are whole, and the run goes on from there.
            BlockingIOError: If another process trains in the folder.
        """
        config = self._config()
        self._require_same(config)  # before the lock: a folder that is refused stays as it is
        with contextlib.nullcontext() if self.finished else locked(self.directory):  # a finished one may be read-only
            self._require_same(config)
            self._tell_of_before()
            if self.finished:
                self.checkpoint.unlink(missing_ok=True)
                return self.model()
            return self._train(config)

    def _require_same(self, config):
        if self.finished or self.checkpoint.exists():
            logs.require_same(self.directory, config)

    def _train(self, config):
        logs.write_config(self.directory, config)
        logs.write_environment(self.directory)
        keras.utils.set_random_seed(self.seed)
        model, state, made_of = self._start()
        record = self._restore(state, made_of)
        if record["epoch"]:
            self._publish(model, record)  # killed between checkpoint and publication, it would be an epoch behind
        while record["epoch"] < self.epochs:
            self._one_epoch(model, state, record)
        return self._finish(model, record)

    def _tell_of_before(self):
        history = self.record()["history"]
        if self.finished and len(history) != self.epochs:
            raise ValueError(
                f"{self.directory} holds a finished run of {len(history)} epochs, and its config.json says "
                f"{self.epochs}. Fix: take another directory; a run cannot be prolonged."
            )
        if self.verbose and history:
            left = "nothing is left to train" if self.finished else "going on"
            print(f"{self.name:<14} {len(history)} of {self.epochs} epochs were trained before; {left}.")
            for entry in history:
                print(logs.line(self.name, self.epochs, entry))

    @property
    def finished(self):
        """Whether the run has come to its end."""
        return (self.directory / "metrics.json").exists()

    def record(self):
        """The epochs so far: ``epoch`` counts whole ones, ``step`` those of the next; ``history``, ``best``."""
        summary = self.directory / "metrics.json"
        if summary.exists():
            return json.loads(summary.read_text(encoding="utf-8"))["record"]
        if not self.checkpoint.exists():
            return {"epoch": 0, "step": 0, "seconds": 0.0, "history": [], "best": None}
        with np.load(self.checkpoint, allow_pickle=False) as file:
            return json.loads(str(file["record"]))

    @functools.cached_property
    def _first(self):
        """The batches of the first epoch."""
        return _with_length(self.train(self.seed), "training")

    @property
    def steps(self):
        """Steps in an epoch."""
        return len(self._first)

    @property
    def checkpoint(self):
        """Path of the file that the run goes on from."""
        return self.directory / "checkpoint.npz"

    def results(self):
        """Of a finished run ``metrics``, ``per_class_iou`` (NaN: absent), ``history``, ``training_seconds``."""
        content = json.loads((self.directory / "metrics.json").read_text(encoding="utf-8"))
        history = content["record"]["history"]
        told = {"history": history, "training_seconds": sum(entry["seconds"] for entry in history)}
        return self._measured(content) | told

    def _measured(self, content):
        """Of ``metrics.json`` what `measure` and `_evaluate` have found, as `results` gives it."""
        if missing := [name for name in METRICS if name not in content]:
            raise ValueError(
                f"{self.directory / 'metrics.json'} lacks {', '.join(missing)}: an older version of this package wrote "
                "it. Fix: measure last.keras again, with fcn_keras.evaluate or `fcn-keras evaluate`."
            )
        return {
            "metrics": {name: content[name] for name in METRICS},
            "per_class_iou": {c: float("nan") if v is None else v for c, v in content["per_class_iou"].items()},
        }

    def model(self):
        """The trained model of a finished run, compiled for `keras.Model.evaluate`."""
        model = load_model(self.directory / "last.keras")
        self._compile(model, "sgd")
        return model

    def measure(self, model):
        """What is measured behind an epoch, by name."""
        found = model.evaluate(self.validation, verbose=0, return_dict=True)
        return {name: found[name] for name in ("loss", *METRICS)}

    def _config(self):
        self.validation = _with_length(self.validation, "validation")
        own = ("epochs", "seed", "validate_every", "monitor", "jit_compile")
        loss = keras.saving.serialize_keras_object(self.loss)
        palette = None if self.palette is None else np.asarray(self.palette).tolist()
        return {
            **self.settings,
            **{name: getattr(self, name) for name in own},
            "loss": {"class": loss["class_name"], **loss["config"]},
            "class_names": list(self.class_names),
            "palette": palette,
            "steps_per_epoch": self.steps,
            "batches": str(self._first.element_spec),
            "validation_batches": str(self.validation.element_spec),
            "validation_labels": fingerprints.of_labels(self.validation),
        }

    def _compile(self, model, optimizer):
        """Compiles the net; returns the variables of its metrics, besides that of the loss."""
        metric = SegmentationMetrics(len(self.class_names), self.class_names)
        model.compile(optimizer, loss=self.loss, metrics=[metric], jit_compile=self.jit_compile)
        return metric.variables

    def _start(self):
        """The net, compiled, and every variable that its next step depends on; and what the net is, for the record."""
        model = self.build()
        net = fingerprints.of_model(model)
        own = list(model.variables)  # weights, statistics, states of random numbers
        measured = self._compile(model, self.optimizer(model, self.steps * self.epochs))
        optimizer = model.optimizer
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        running = [*model.metrics[0].variables, *measured]  # of this epoch: the loss and the confusion
        made_of = {"net": net, "optimizer": fingerprints.of_optimizer(optimizer)}
        return model, {"own": own, "optimizer": optimizer.variables, "running": running}, made_of

    def _one_epoch(self, model, state, record):
        seed, started = self.seed + record["epoch"], time.perf_counter()
        data = self.train(seed).apply(tf.data.experimental.assert_cardinality(self.steps))
        if record["step"]:
            data = data.skip(record["step"])
        else:
            reseed_dropout(model, seed)
        if self.verbose == 1:
            print(f"{self.name} epoch {record['epoch'] + 1}/{self.epochs}")
        watch = Watch(self, state, record, started)
        # One fit for each epoch, as each has data of its own. At its end Keras puts averaged weights into the model.
        model.fit(
            data,
            initial_epoch=record["epoch"],
            epochs=record["epoch"] + 1,
            verbose=int(self.verbose == 1),
            shuffle=False,
            callbacks=[watch, *logs.tensorboard(self.directory)],
        )
        watch.restore()
        entry = watch.entry
        if self.verbose:
            print(logs.line(self.name, self.epochs, entry), flush=True)
        score = entry.get(f"val_{self.monitor}")
        record.update(epoch=entry["epoch"], step=0, seconds=0.0, history=[*record["history"], entry])
        if score is not None and (record["best"] is None or score > record["best"]["score"]):
            record["best"] = {"epoch": entry["epoch"], "score": score}
        self.save(state, record)
        self._publish(model, record)

    def save(self, state, record):
        """Writes the checkpoint: `keras.callbacks.BackupAndRestore` writes weights and epoch into two files in place.

        Killed between the two, it would go on with the weights of one epoch and the number of another; and it holds
        neither the states of random numbers nor the metrics of a broken epoch.
        """
        arrays = {
            f"{kind}/{i}": keras.ops.convert_to_numpy(variable)
            for kind, variables in state.items()
            for i, variable in enumerate(variables)
        }
        text = json.dumps(finite(record), allow_nan=False)

        def write(beside):
            with open(beside, "wb") as file:
                np.savez(file, record=np.array(text), **arrays)

        atomic_write(self.checkpoint, write)

    def _restore(self, state, made_of):
        record = self.record()
        if not self.checkpoint.exists():
            return record | made_of
        if changed := [name for name in made_of if record.get(name) != made_of[name]]:
            raise ValueError(
                f"{self.checkpoint} is of another {' and of another '.join(changed)}: found other layers or settings. "
                "Fix: take another directory, or what the run was begun with."
            )
        with np.load(self.checkpoint, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name != "record"}  # each access reads from the disk
        for kind, variables in state.items():
            assign(variables, [arrays[f"{kind}/{i}"] for i in range(len(variables))])
        return record

    def _publish(self, model, record):
        """What follows from a checkpoint of a whole epoch: the table of epochs and the nets for inference."""
        logs.write_history(self.directory, record["history"])
        if not record["step"]:  # inside an epoch the weights are no longer those of its row
            best = (record["best"] or {}).get("epoch") == record["epoch"]
            with averaged(model):
                bare = self._bare(model)
                for name in ["last.keras", "best.keras"] if best else ["last.keras"]:
                    atomic_write(self.directory / name, bare.save)

    def _bare(self, model):
        """The net without optimizer and loss, with the same weights."""
        return keras.Model(model.input, model.output, name=model.name)

    def _evaluate(self, model):
        """What the finished net is worth: an object with a `table` and, for JSON, a `summary`."""
        return evaluate(model, self.validation, self.class_names)

    def _draw(self, model, history):
        logs.draw(self, model, history)

    def _finish(self, model, record):
        if keeps_averages(model):
            model.optimizer.finalize_variable_values(model.trainable_variables)
        evaluation = self._evaluate(model)
        if self.samples:
            self._draw(model, record["history"])
        logs.write_table(self.directory, evaluation, record, self.monitor)
        logs.write_metrics(self.directory, evaluation, record)  # the last word: it says that the run is finished
        self.checkpoint.unlink(missing_ok=True)
        return model


def _with_length(dataset, name):
    """The dataset, which is counted if it does not know its length: `keras.Model.fit` and the schedules ask for it."""
    length = int(dataset.cardinality())
    if length == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"Found {name} data without an end: expected a dataset of finite length. Fix: .take(n).")
    if length == tf.data.UNKNOWN_CARDINALITY:
        print(f"Counting the {name} batches, as their dataset does not know its length.", flush=True)
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(sum(1 for _ in dataset)))
    return dataset


def reseed_dropout(model, seed):
    """Restarts every dropout layer from the seed, so that an epoch's draws depend on nothing before it."""
    for number, layer in enumerate(all_layers(model)):
        if isinstance(layer, keras.layers.Dropout) and layer.rate > 0:
            layer.seed_generator.state.assign([seed % 2**31, number])
