"""What a run does inside an epoch: looks at the loss, writes checkpoints, measures."""

import math
import time

import keras

from .averages import assign, averaged, copies, keeps_averages


class Watch(keras.callbacks.Callback):
    """Keras' callback of a `fcn_keras.training.Run`, for one epoch.

    `keras.callbacks.TerminateOnNaN` stops without an error, so the broken net would be saved as if it were whole.
    `keras.callbacks.ModelCheckpoint` writes in place and knows nothing of averaged weights;
    `keras.callbacks.CSVLogger` appends, so an epoch that is trained again would stand twice.

    Args:
        run: The run.
        state, record: What its checkpoint holds.
        started: `time.perf_counter` at the start of the epoch.
    """

    def __init__(self, run, state, record, started):
        super().__init__()
        self.run, self.state, self.record, self.started = run, state, record, started
        self.first, self.before = record["step"], record["seconds"]
        # Keras sets the metrics that it has built to zero at the start of an epoch; this one may have begun before.
        self.running = [value if self.first else 0 * value for value in copies(state["running"])]
        self.entry, self.raw = None, None

    def on_epoch_begin(self, epoch, logs=None):
        assign(self.state["running"], self.running)

    def on_train_batch_end(self, batch, logs=None):
        step = self.first + batch + 1
        if not math.isfinite(logs["loss"]):
            raise FloatingPointError(self._explain(logs["loss"], step))
        every = self.run.checkpoint_steps
        if every and step % every == 0:
            if keras.backend.backend() == "jax":  # whose epoch runs on copies of the variables
                self.model.jax_state_sync()
            self.record.update(step=step, seconds=self._seconds())
            self.run.save(self.state, self.record)

    def on_epoch_end(self, epoch, logs=None):
        entry = {name: float(value) for name, value in logs.items()}
        if self.run.validate_every and (epoch + 1) % self.run.validate_every == 0:
            with averaged(self.model):
                found = self.run.measure(self.model)
            entry |= {f"val_{name}": float(value) for name, value in found.items()}
            logs.update(entry)  # for TensorBoard, whose turn is next
        self.entry = entry | {"epoch": epoch + 1, "seconds": self._seconds()}
        if keeps_averages(self.model):
            self.raw = copies(self.model.trainable_variables)

    def restore(self):
        """Undoes what Keras does at the end of a fit: it puts the averaged weights into the model."""
        if self.raw is not None:
            assign(self.model.trainable_variables, self.raw)

    def _seconds(self):
        return self.before + time.perf_counter() - self.started

    def _explain(self, loss, step):
        run, place = self.run, f"epoch {self.record['epoch'] + 1}, step {step}"
        kept = f"{run.checkpoint} holds the last good state" if run.checkpoint.exists() else "nothing was saved yet"
        return (
            f"{run.name}: the loss is {loss} at {place}; {kept}. Likely causes: a learning rate that is too high; "
            "labels outside the classes (fcn_keras check); float16 that overflows. Fix: a lower rate, a longer "
            "warm-up, mixed_bfloat16 or float32; other settings need another directory."
        )
