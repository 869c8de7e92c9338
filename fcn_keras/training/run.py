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

from .._files import lock_folder, user_path
from ..inference.evaluate import evaluate
from ..losses import PixelCrossentropy
from ..metrics import METRICS, SegmentationMetrics
from ..models.loading import load_model
from ..models.segmentation_model import with_classes
from . import checkpoints, distribution, fingerprints, logs
from .callbacks import RunCallback, WholeRun, reseed_dropout
from .data import ensure_length, fix_batch_size
from .ema import uses_ema
from .folder import RunFolder, copy_folder
from .global_losses import make_global


@dataclasses.dataclass
class Run(RunFolder):
    """Trains one net in a folder. If it was stopped, the same call continues it.

    The folder holds ``config.json`` (the settings), ``environment.json`` (machine and versions of each start),
    ``history.csv``, ``last.keras`` and ``best.keras`` (for inference: no optimizer, averaged weights if there are any),
    and ``tensorboard/`` if tensorboard is installed. During training it also holds ``checkpoint.npz``. At the end,
    ``metrics.json``, ``metrics.md``, ``curves.png`` and ``samples.png`` are added, and the checkpoint is deleted. The
    process that trains holds a lock on the folder.

    A run can only be continued with what it was started with. The run compares `settings`, the fields that change the
    result, the shapes of the data, the labels of the first validation batch and, if a checkpoint exists, the optimizer
    and the net with all its settings. Another backend or version changes only the last digits, so it causes a warning.

    More `epochs` prolong a finished run. It goes on from ``last.keras`` with a new optimizer, at the step of the longer
    schedule that comes next. So it is not the run that would have had so many epochs from the start. ``config.json``
    lists the epochs at which it was finished before as ``prolonged``.

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
        patience: Number of epochs without a better `monitor` after which the run stops early. None trains all epochs.
        callbacks: Keras callbacks, which see all epochs as one ``fit``. Their state is not in the checkpoint: in a
            continued run they start anew. If one sets ``model.stop_training``, the run is finished. They must not
            change weights.
        devices: ``"all"`` or names of devices; see `fcn_keras.training.distribution.find_engine`. With several
            machines, all processes make the same call and see the same folder, in which one of them writes. None
            trains on one device.
        samples: Number of validation images in ``samples.png``. 0 draws no pictures.
        palette: Colours of the classes in the samples, ``(C, 3)``.
        class_ids: The value of each class in the mask files. The models keep it, and `segment` writes it.
        jit_compile: Whether to compile the steps with XLA.
        verbose: 1 shows a bar for each epoch, 2 prints a line, 0 nothing.

    Raises:
        ValueError: If there is no such metric to monitor, or if `patience` or `devices` cannot be used with the other
            arguments.

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
    patience: int | None = None
    callbacks: Sequence = ()
    devices: object = None
    samples: int = 3
    palette: object = None
    class_ids: object = None
    jit_compile: bool = False
    verbose: int = 2

    MONITORS: ClassVar = METRICS
    _twin = None  # see `_on_one_device`

    def __post_init__(self):
        self.directory = user_path(self.directory)
        if self.monitor not in self.MONITORS:
            raise ValueError(f"Found monitor={self.monitor!r}: expected one of {', '.join(self.MONITORS)}.")
        if self.patience is not None and not (self.patience > 0 and self.validate_every):
            found = f"patience={self.patience} and validate_every={self.validate_every}"
            raise ValueError(f"Found {found}: expected at least 1 for both.")
        if any(getattr(each, "restore_best_weights", False) for each in self.callbacks):
            raise ValueError("Found a callback with restore_best_weights=True. Fix: False; best.keras holds them.")
        self._engine = distribution.find_engine(self.devices)
        if self.devices is not None:
            self.loss = make_global(self.loss)
            if self.checkpoint_steps:
                raise ValueError(f"Found checkpoint_steps={self.checkpoint_steps} with devices: expected 0.")

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
        if self.devices is not None and not distribution.is_chief():
            self._copy = copy_folder(self.directory)  # all processes train, and the chief writes the folder
            self.directory = user_path(self._copy.name)
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
    def steps(self):
        """Steps in an epoch."""
        return len(self._first_epoch)

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
        return ensure_length(self._batches(self.seed), "training")

    def _batches(self, seed):
        data = self.train(seed)
        return data if self.devices is None else fix_batch_size(data)

    def _config(self):
        self.validation = ensure_length(self.validation, "validation")
        optional = {"patience": self.patience, "callbacks": [type(each).__name__ for each in self.callbacks]}
        with distribution.scope(*self._engine) as replicas:
            optional["devices"] = replicas if self.devices is not None else None
        own = ("epochs", "seed", "validate_every", "monitor", "jit_compile")
        loss = keras.saving.serialize_keras_object(self.loss)
        return {
            **self.settings,
            **{name: getattr(self, name) for name in own},
            **{name: value for name, value in optional.items() if value},
            "loss": {"class": loss["class_name"], **loss["config"]},
            "class_names": list(self.class_names),
            "palette": None if self.palette is None else np.asarray(self.palette).tolist(),
            "steps_per_epoch": self.steps,
            "batches": str(self._first_epoch.element_spec),
            "validation_batches": str(self.validation.element_spec),
            "validation_labels": fingerprints.hash_labels(self.validation),
        }

    def _train(self, config):
        if not self._was_finished:
            logs.write_config(self.directory, config)
        logs.write_environment(self.directory)
        keras.utils.set_random_seed(self.seed)
        with distribution.scope(*self._engine):
            model, state, made_of = self._start()
        if self._was_finished:
            self._prolong(model, state, made_of, config)
        record = self._restore(state, made_of)
        if record["epoch"]:
            self._publish(model, record)  # because a run that was killed after its checkpoint has not done this
        whole = WholeRun(self.callbacks, model, self.epochs)
        while record["epoch"] < self.epochs and not record.get("stopped"):
            self._one_epoch(model, state, record, whole)
        whole.end()
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

    def _one_epoch(self, model, state, record, whole):
        epoch, started = record["epoch"], time.perf_counter()
        seed = self.seed + epoch
        data = self._batches(seed).apply(tf.data.experimental.assert_cardinality(self.steps))
        if record["step"]:
            data = data.skip(record["step"])
        else:
            reseed_dropout(model, seed)
        if self.verbose == 1:
            print(f"{self.name} epoch {epoch + 1}/{self.epochs}")
        callback = RunCallback(self, state, record, started)
        # Each epoch has its own data, so its own `fit`. At its end, Keras puts averaged weights into the net.
        bar, callbacks = int(self.verbose == 1), [callback, *logs.make_tensorboard(self.directory), whole]
        distribution.fit(model, data, epoch + 1, epoch, callbacks, bar)
        callback.restore()
        entry = callback.entry
        if self.verbose:
            print(logs.format_epoch(self.name, self.epochs, entry), flush=True)
        score = entry.get(f"val_{self.monitor}")
        record.update(epoch=entry["epoch"], step=0, seconds=0.0, history=[*record["history"], entry])
        if score is not None and (record["best"] is None or score > record["best"]["score"]):
            record["best"] = {"epoch": entry["epoch"], "score": score}
        record["stopped"] = model.stop_training or self._stops_early(record)
        checkpoints.save(self.checkpoint, state, record)
        self._publish(model, record)

    def _on_one_device(self, model):
        """The same net, on one device, for measuring and saving. Without `devices` it is the model itself."""
        if self.devices is None:
            return model
        if self._twin is None:
            self._twin = self.build()
            self._compile(self._twin, "sgd")
        self._twin.set_weights(model.get_weights())
        return self._twin

    def _finish(self, model, record):
        if uses_ema(model):
            model.optimizer.finalize_variable_values(model.trainable_variables)
        model = self._on_one_device(model)
        record["epochs"] = self.epochs
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

    def _draw(self, model, history):
        logs.draw_results(self, model, history)
