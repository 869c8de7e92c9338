"""What a run does inside an epoch: it checks the loss, saves checkpoints, and measures."""

import math
import time

import keras

from ..layers._keras import get_all_layers
from . import checkpoints
from .checkpoints import assign, copy_values
from .ema import use_ema_weights, uses_ema


class RunCallback(keras.callbacks.Callback):
    """Checks the loss, saves checkpoints and measures during one epoch of a `fcn_keras.training.Run`.

    Keras' own callbacks do not fit. `keras.callbacks.TerminateOnNaN` stops without an error, so the broken net would be
    saved as if it were finished. `keras.callbacks.ModelCheckpoint` does not write atomically and does not handle
    averaged weights. `keras.callbacks.CSVLogger` appends, so an epoch that is trained twice would have two rows.

    Args:
        run: The run.
        state, record: The content of the run's checkpoint; see `fcn_keras.training.checkpoints.save`.
        started: `time.perf_counter` at the start of the epoch.
    """

    def __init__(self, run, state, record, started):
        super().__init__()
        self.run, self.state, self.record, self.started = run, state, record, started
        self.first, self.before = record["step"], record["seconds"]
        # Keras resets the metrics at the start of an epoch, but this epoch may continue an interrupted one.
        self.running = [value if self.first else 0 * value for value in copy_values(state["running"])]
        self.entry, self.raw = None, None

    def on_epoch_begin(self, epoch, logs=None):
        assign(self.state["running"], self.running)

    def on_train_batch_end(self, batch, logs=None):
        step = self.first + batch + 1
        if not math.isfinite(logs["loss"]):
            raise FloatingPointError(self._explain(logs["loss"], step))
        every = self.run.checkpoint_steps
        if every and step % every == 0:
            if keras.backend.backend() == "jax":  # the epoch runs on copies of the variables
                self.model.jax_state_sync()
            self.record.update(step=step, seconds=self._seconds())
            checkpoints.save(self.run.checkpoint, self.state, self.record)

    def on_epoch_end(self, epoch, logs=None):
        entry = {name: float(value) for name, value in logs.items()}
        if self.run.validate_every and (epoch + 1) % self.run.validate_every == 0:
            with use_ema_weights(self.model):
                found = self.run.measure(self.run._on_one_device(self.model))
            entry |= {f"val_{name}": float(value) for name, value in found.items()}
            logs.update(entry)  # for TensorBoard, whose callback comes next
        self.entry = entry | {"epoch": epoch + 1, "seconds": self._seconds()}
        if uses_ema(self.model):
            self.raw = copy_values(self.model.trainable_variables)

    def restore(self):
        """Undoes what Keras does at the end of `fit`: it puts the averaged weights into the model."""
        if self.raw is not None:
            assign(self.model.trainable_variables, self.raw)

    def _seconds(self):
        return self.before + time.perf_counter() - self.started

    def _explain(self, loss, step):
        run, place = self.run, f"epoch {self.record['epoch'] + 1}, step {step}"
        kept = f"{run.checkpoint} holds the last good state" if run.checkpoint.exists() else "nothing was saved yet"
        return (
            f"{run.name}: the loss is {loss} at {place}; {kept}. Likely causes: the learning rate is too high, a mask "
            "has labels outside the classes (fcn-keras check finds them), or float16 overflows. Fix: use a lower "
            "learning rate, a longer warm-up, mixed_bfloat16 or float32. Other settings need another directory."
        )


class WholeRun(keras.callbacks.Callback):
    """Passes the epochs of a run on to other callbacks as those of one ``fit``.

    A run calls ``fit`` for each epoch, and callbacks such as `keras.callbacks.EarlyStopping` begin anew in each.

    Args:
        callbacks: Keras callbacks.
        model: The compiled model.
        epochs: Number of epochs of the run.
    """

    def __init__(self, callbacks, model, epochs):
        super().__init__()
        self.callbacks = keras.callbacks.CallbackList(list(callbacks), model=model, epochs=epochs)
        for hook in ("on_epoch_begin", "on_epoch_end", "on_train_batch_begin", "on_train_batch_end"):
            setattr(self, hook, getattr(self.callbacks, hook))
        self.callbacks.on_train_begin()

    def end(self):
        """Tells the callbacks that the run is over."""
        self.callbacks.on_train_end()


def reseed_dropout(model, seed):
    """Sets the seed of every dropout layer, so that an epoch does not depend on the epochs before it."""
    for number, layer in enumerate(get_all_layers(model)):
        if isinstance(layer, keras.layers.Dropout) and layer.rate > 0:
            layer.seed_generator.state.assign([seed % 2**31, number])
