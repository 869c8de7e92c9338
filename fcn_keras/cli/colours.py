"""What the commands know of a model beyond its weights: the names and colours of its classes."""

import json

import numpy as np

from .._files import user_path


def colours_of(model):
    """The colours that a training run keeps beside its model, in ``config.json``; None where there are none.

    Args:
        model: Path of a .keras file.

    Returns:
        uint8 array ``(C, 3)``, or None.
    """
    colours = _config(model).get("palette")
    return None if colours is None else np.asarray(colours, "uint8")


def _config(model):
    path = user_path(model).with_name("config.json")
    return json.loads(path.read_text()) if path.is_file() else {}
