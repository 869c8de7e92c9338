"""The file that a run continues from: all variables of the training, and the record of its epochs.

`keras.callbacks.BackupAndRestore` writes the weights and the number of the epoch into two files, in place. A run that
is killed between the two would continue with the weights of one epoch and the number of another. Its files also hold
neither the states of random numbers nor the metrics of an epoch that was interrupted.
"""

import json

import keras
import numpy as np

from .._files import atomic_write, replace_nonfinite


def save(path, state, record):
    """Writes a checkpoint in one atomic write.

    Args:
        path: File to write, ``.npz``.
        state: Dict from kinds of variables to lists of them.
        record: Dict for JSON.
    """
    arrays = {
        f"{kind}/{i}": keras.ops.convert_to_numpy(variable)
        for kind, variables in state.items()
        for i, variable in enumerate(variables)
    }
    text = json.dumps(replace_nonfinite(record), allow_nan=False)

    def write(temporary):
        with open(temporary, "wb") as file:
            np.savez(file, record=np.array(text), **arrays)

    atomic_write(path, write)


def read_record(path):
    """The record in a checkpoint."""
    with np.load(path, allow_pickle=False) as file:
        return json.loads(str(file["record"]))


def restore(path, state):
    """Gives the variables of `state` their values in a checkpoint."""
    with np.load(path, allow_pickle=False) as file:
        for kind, variables in state.items():
            assign(variables, [file[f"{kind}/{i}"] for i in range(len(variables))])


def copy_values(variables):
    """The values of variables as NumPy arrays that later steps do not change."""
    return [keras.ops.convert_to_numpy(variable).copy() for variable in variables]


def assign(variables, values):
    """Gives each variable its value."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
