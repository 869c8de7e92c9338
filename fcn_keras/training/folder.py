"""What the folder of a run holds: how far the run is, its nets, and its results."""

import pathlib
import shutil
import tempfile

from .._files import atomic_write
from ..metrics import METRICS
from ..models.loading import load_model
from . import checkpoints, logs
from .ema import start_optimizer_at, use_ema_weights


class RunFolder:
    """The part of `fcn_keras.training.Run` that reads and writes the files of its folder.

    Example:

    >>> fcn_keras.training.Run("runs/mine", None, None, None, None, ["road", "sky"], epochs=30).finished
    False
    """

    @property
    def finished(self):
        """Whether all epochs are trained, or the run was stopped early, and the net is measured."""
        if not self._was_finished:
            return False
        record = logs.read_metrics(self.directory)["record"]
        return self.epochs <= record.get("epochs", record["epoch"])  # else it is to be prolonged

    def record(self):
        """What is trained so far: ``epoch`` whole epochs, ``step`` steps of the next, ``history`` and ``best``."""
        if self._was_finished:
            return logs.read_metrics(self.directory)["record"]
        if self.checkpoint.exists():
            return checkpoints.read_record(self.checkpoint)
        return {"epoch": 0, "step": 0, "seconds": 0.0, "history": [], "best": None}

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

    @property
    def _was_finished(self):
        """Whether a run finished here, even if it is to be prolonged now."""
        return (self.directory / "metrics.json").exists()

    def _require_same(self, config):
        if self._was_finished or self.checkpoint.exists():
            logs.require_same(self.directory, config, prolong=self._was_finished)

    def _publish(self, model, record):
        """Writes the table of epochs and, after a whole epoch, the nets."""
        logs.write_history(self.directory, record["history"])
        if not record["step"]:  # else the weights are not those of the last row
            best = (record["best"] or {}).get("epoch") == record["epoch"]
            with use_ema_weights(model):
                bare = self._bare(self._on_one_device(model))
                for name in ["last.keras", "best.keras"] if best else ["last.keras"]:
                    atomic_write(self.directory / name, bare.save)

    def _measured(self, content):
        """The measurements in the content of ``metrics.json``."""
        logs.require_metrics(self.directory, content)
        return {
            "metrics": {name: content[name] for name in METRICS},
            "per_class_iou": {c: float("nan") if v is None else v for c, v in content["per_class_iou"].items()},
        }

    def _prolong(self, model, state, made_of, config):
        """Makes a finished run one that is interrupted after its last epoch. If it is killed, it can be repeated."""
        record = self.record()
        model.set_weights(load_model(self.directory / "last.keras").get_weights())
        start_optimizer_at(model, record["epoch"] * self.steps)
        before = logs.read_config(self.directory)
        record |= {"prolonged": record["epoch"], "stopped": False, **made_of}
        checkpoints.save(self.checkpoint, state, record)
        prolonged = dict.fromkeys([*before.get("prolonged", []), record["epoch"]])
        logs.write_config(self.directory, config | {"prolonged": list(prolonged)})
        (self.directory / "metrics.json").unlink()

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

    def _stops_early(self, record):
        """Whether the monitored metric has not risen for `patience` epochs."""
        last = max(record["best"]["epoch"] if record["best"] else 0, record.get("prolonged", 0))
        stops = self.patience is not None and record["epoch"] - last >= self.patience
        if stops and self.verbose and record["epoch"] < self.epochs:
            print(f"{self.name:<14} stops early: {self.monitor} has not risen for {self.patience} epochs.")
        return stops


def copy_folder(directory):
    """Copies what a process needs to continue a run to a new temporary folder.

    Every process of several machines trains and writes, but only the chief writes into the folder of the run.

    Args:
        directory: Folder of the run, which all processes see. It need not exist.

    Returns:
        A `tempfile.TemporaryDirectory`.

    Example:

    >>> with copy_folder("runs/mine") as path:
    ...     len(list(pathlib.Path(path).iterdir()))
    0
    """
    copy = tempfile.TemporaryDirectory()
    for name in ("config.json", "environment.json", "metrics.json", "checkpoint.npz", "last.keras", "best.keras"):
        if (path := pathlib.Path(directory) / name).exists():
            shutil.copy(path, copy.name)
    return copy
