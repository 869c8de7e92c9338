"""The checkpoint from which a run continues: all variables of the training, and a record of its epochs.

`keras.callbacks.BackupAndRestore` overwrites two files, one with the weights and one with the number of the epoch. If a
run were killed between the two, it would continue with the weights of one epoch and the number of another. These files
also lack the states of random generators, and the metrics of an epoch that was interrupted.
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
    text = np.array(json.dumps(replace_nonfinite(record), allow_nan=False))
    atomic_write(path, lambda temporary: np.savez(temporary, record=text, **arrays))


def read_record(path):
    """Reads the record in a checkpoint."""
    with np.load(path, allow_pickle=False) as file:
        return json.loads(str(file["record"]))


def restore(path, state):
    """Sets the variables of `state` to their values in a checkpoint."""
    with np.load(path, allow_pickle=False) as file:
        for kind, variables in state.items():
            assign(variables, [file[f"{kind}/{i}"] for i in range(len(variables))])


def copy_values(variables):
    """Copies the values of variables to NumPy arrays, which later steps do not change."""
    return [keras.ops.convert_to_numpy(variable).copy() for variable in variables]


def assign(variables, values):
    """Gives each variable its value."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
