"""A run: one net is trained for some epochs in its own folder. You can kill it at any moment and continue it.

After every epoch, or every so many steps, the whole state of the run is saved in one file, ``checkpoint.npz``: every
variable of the net, of the optimizer and of the running metrics, and the record of the epochs. The file is replaced
atomically, so it is always complete. All other files in the folder can be made from it. Order, augmentation and dropout
depend only on the seed and the epoch. On a CPU an interrupted run therefore ends with the same bits as an uninterrupted
one.
"""

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from .._files import atomic_write, lock_folder, user_path
from ..inference.evaluate import evaluate
from ..losses import PixelCrossentropy
from ..metrics import METRICS, SegmentationMetrics
from ..models.loading import load_model
from ..models.segmentation_model import with_classes
from . import checkpoints, fingerprints, logs
from .callbacks import RunCallback, reseed_dropout
from .data import ensure_length
from .ema import use_ema_weights, uses_ema


@dataclasses.dataclass
class Run:
    """Trains one net in a folder. If it was stopped, the same call continues it.

    The folder holds ``config.json`` (the settings), ``environment.json`` (machine and versions of each start),
    ``history.csv``, ``last.keras`` and ``best.keras`` (for inference: no optimizer, averaged weights if there are any),
    and ``tensorboard/`` if tensorboard is installed. During training it also holds ``checkpoint.npz``. At the end,
    ``metrics.json``, ``metrics.md``, ``curves.png`` and ``samples.png`` are added, and the checkpoint is deleted. The
    process that trains holds a lock on the folder.

    A run can only be continued with what it was started with. The run compares `settings`, the fields that change the
    result, the shapes of the data, the labels of the first validation batch and, if a checkpoint exists, the optimizer
    and the net with all its settings. Another backend or version changes only the last digits, so it causes a warning.

    Args:
        directory: Folder of the run.
        build: Function without arguments that makes the net as it is before the first epoch.
        optimizer: Function from the net and the number of steps in the whole run to an optimizer.
        train: Function from an integer, different for each epoch, to a `tf.data.Dataset` of batches (images, masks):
            the same integer gives the same batches. If their number is unknown, they are counted at each start.
        validation: Dataset of the batches to measure on.
        class_names: Names of the classes, background included.
        epochs: Passes over the training data.
        settings: Dict for JSON of what else is needed to repeat the run, such as the recipe and the data.
        loss: The loss. By default the mean `fcn_keras.losses.PixelCrossentropy`.
        seed: Seed of the run.
        name: Name of the run in what it prints.
        validate_every: Epochs between two measurements. 0 measures at the end only and writes no ``best.keras``.
        monitor: The metric by which ``best.keras`` is chosen.
        checkpoint_steps: Steps between two checkpoints inside an epoch, for long epochs. 0 writes none.
        samples: Number of validation images in ``samples.png``. 0 draws no pictures.
        palette: Colours of the classes in the samples, ``(C, 3)``.
        class_ids: The value of each class in the mask files. The models keep it, and `segment` writes it.
        jit_compile: Whether to compile the steps with XLA.
        verbose: 1 shows a bar for each epoch, 2 prints a line, 0 nothing.

    Raises:
        ValueError: If there is no such metric to monitor.

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
    class_ids: object = None
    jit_compile: bool = False
    verbose: int = 2

    MONITORS: ClassVar = METRICS

    def __post_init__(self):
        self.directory = user_path(self.directory)
        if self.monitor not in self.MONITORS:
            raise ValueError(f"Found monitor={self.monitor!r}: expected one of {', '.join(self.MONITORS)}.")

    def run(self):
        """Trains the epochs that are not trained yet.

        Returns:
            The trained `keras.Model`, compiled, with the weights of ``last.keras``.

        Raises:
            ValueError: If the folder holds a run with other settings, or if the data are infinite.
            FloatingPointError: If the loss is not finite. The message names the step and likely causes.
            OSError: If a file cannot be written. Earlier files are complete, and the run can be continued.
            BlockingIOError: If another process trains in the folder.
        """
        config = self._config()
        self._require_same(config)  # before the lock, which writes into the folder
        # The folder of a finished run may be read-only.
        with contextlib.nullcontext() if self.finished else lock_folder(self.directory):
            self._require_same(config)
            logs.print_history(self)
            if not self.finished:
                return self._train(config)
            self.checkpoint.unlink(missing_ok=True)
            return self.model()

    @property
    def finished(self):
        """Whether the last epoch is trained and measured."""
        return (self.directory / "metrics.json").exists()

    def record(self):
        """What is trained so far: ``epoch`` whole epochs, ``step`` steps of the next, ``history`` and ``best``."""
        if self.finished:
            return logs.read_metrics(self.directory)["record"]
        if self.checkpoint.exists():
            return checkpoints.read_record(self.checkpoint)
        return {"epoch": 0, "step": 0, "seconds": 0.0, "history": [], "best": None}

    @property
    def steps(self):
        """Steps in an epoch."""
        return len(self._first_epoch)

    @property
    def checkpoint(self):
        """Path of the file that the run continues from."""
        return self.directory / "checkpoint.npz"

    def results(self):
        """``metrics``, ``per_class_iou`` (NaN: class absent), ``history``, ``training_seconds`` of a finished run."""
        content = logs.read_metrics(self.directory)
        history = content["record"]["history"]
        seconds = sum(entry["seconds"] for entry in history)
        return {**self._measured(content), "history": history, "training_seconds": seconds}

    def model(self):
        """The trained model of a finished run, compiled for `keras.Model.evaluate`."""
        model = load_model(self.directory / "last.keras")
        self._compile(model, "sgd")
        return model

    def measure(self, model):
        """Measures the net after an epoch. Returns a dict from names to values."""
        found = model.evaluate(self.validation, verbose=0, return_dict=True)
        return {name: found[name] for name in ("loss", *METRICS)}

    @functools.cached_property
    def _first_epoch(self):
        return ensure_length(self.train(self.seed), "training")

    def _config(self):
        self.validation = ensure_length(self.validation, "validation")
        own = ("epochs", "seed", "validate_every", "monitor", "jit_compile")
        loss = keras.saving.serialize_keras_object(self.loss)
        return {
            **self.settings,
            **{name: getattr(self, name) for name in own},
            "loss": {"class": loss["class_name"], **loss["config"]},
            "class_names": list(self.class_names),
            "palette": None if self.palette is None else np.asarray(self.palette).tolist(),
            "steps_per_epoch": self.steps,
            "batches": str(self._first_epoch.element_spec),
            "validation_batches": str(self.validation.element_spec),
            "validation_labels": fingerprints.hash_labels(self.validation),
        }

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
            self._publish(model, record)  # because a run that was killed after its checkpoint has not done this
        while record["epoch"] < self.epochs:
            self._one_epoch(model, state, record)
        return self._finish(model, record)

    def _start(self):
        """The compiled net, every variable that its next step depends on, and the fingerprints of both."""
        model = self.build()
        made_of = {"net": fingerprints.hash_model(model)}
        own = list(model.variables)  # weights, statistics, states of random numbers
        measured = self._compile(model, self.optimizer(model, self.steps * self.epochs))
        made_of["optimizer"] = fingerprints.hash_optimizer(model.optimizer)
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        running = [*model.metrics[0].variables, *measured]  # of this epoch: the loss and the confusion
        return model, {"own": own, "optimizer": model.optimizer.variables, "running": running}, made_of

    def _compile(self, model, optimizer):
        """Compiles the net and returns the variables of its metrics, except those of the loss."""
        metric = SegmentationMetrics(len(self.class_names), self.class_names)
        model.compile(optimizer, loss=self.loss, metrics=[metric], jit_compile=self.jit_compile)
        return metric.variables

    def _restore(self, state, made_of):
        record = self.record()
        if not self.checkpoint.exists():
            return record | made_of
        if changed := [name for name in made_of if record.get(name) != made_of[name]]:
            raise ValueError(
                f"{self.checkpoint} belongs to another {' and to another '.join(changed)}: found other layers or other "
                "settings. Fix: take another directory, or the net and the optimizer that the run was started with."
            )
        checkpoints.restore(self.checkpoint, state)
        return record

    def _one_epoch(self, model, state, record):
        epoch, started = record["epoch"], time.perf_counter()
        seed = self.seed + epoch
        data = self.train(seed).apply(tf.data.experimental.assert_cardinality(self.steps))
        if record["step"]:
            data = data.skip(record["step"])
        else:
            reseed_dropout(model, seed)
        if self.verbose == 1:
            print(f"{self.name} epoch {epoch + 1}/{self.epochs}")
        callback = RunCallback(self, state, record, started)
        # Each epoch has its own data, so its own `fit`. At its end, Keras puts averaged weights into the net.
        bar, callbacks = int(self.verbose == 1), [callback, *logs.make_tensorboard(self.directory)]
        model.fit(data, epochs=epoch + 1, initial_epoch=epoch, verbose=bar, callbacks=callbacks, shuffle=False)
        callback.restore()
        entry = callback.entry
        if self.verbose:
            print(logs.format_epoch(self.name, self.epochs, entry), flush=True)
        score = entry.get(f"val_{self.monitor}")
        record.update(epoch=entry["epoch"], step=0, seconds=0.0, history=[*record["history"], entry])
        if score is not None and (record["best"] is None or score > record["best"]["score"]):
            record["best"] = {"epoch": entry["epoch"], "score": score}
        checkpoints.save(self.checkpoint, state, record)
        self._publish(model, record)

    def _publish(self, model, record):
        """Writes the table of epochs and, after a whole epoch, the nets."""
        logs.write_history(self.directory, record["history"])
        if not record["step"]:  # else the weights are not those of the last row
            best = (record["best"] or {}).get("epoch") == record["epoch"]
            with use_ema_weights(model):
                bare = self._bare(model)
                for name in ["last.keras", "best.keras"] if best else ["last.keras"]:
                    atomic_write(self.directory / name, bare.save)

    def _finish(self, model, record):
        if uses_ema(model):
            model.optimizer.finalize_variable_values(model.trainable_variables)
        evaluation = self._evaluate(model)
        if self.samples:
            self._draw(model, record["history"])
        logs.write_table(self.directory, evaluation, record, self.monitor)
        logs.write_metrics(self.directory, evaluation, record)  # last, because this file says that the run is finished
        self.checkpoint.unlink(missing_ok=True)
        return model

    def _bare(self, model):
        """The net without optimizer and loss, with the same weights, and with the names and colours of its classes."""
        return with_classes(model, self.class_names, self.palette, self.class_ids)

    def _evaluate(self, model):
        """The measurement of the finished net: an object with a `table` and, for JSON, a `summary`."""
        return evaluate(model, self.validation, self.class_names)

    def _measured(self, content):
        """The measurements in the content of ``metrics.json``."""
        logs.require_metrics(self.directory, content)
        return {
            "metrics": {name: content[name] for name in METRICS},
            "per_class_iou": {c: float("nan") if v is None else v for c, v in content["per_class_iou"].items()},
        }

    def _draw(self, model, history):
        logs.draw_results(self, model, history)
