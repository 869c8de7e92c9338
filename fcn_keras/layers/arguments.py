"""Helpers for the arguments of layers: sizes for both axes, and the argument names of the first edition."""

import numbers
from typing import ClassVar


class Renamed:
    """Mixin for layers, losses and metrics that also loads configurations with old argument names.

    A subclass lists its renamed arguments in ``RENAMED``, a dict from the old name to the new one.

    Example:

    >>> import fcn_keras
    >>> fcn_keras.PixelCrossentropy.from_config({"void": 7}).ignore_class
    7
    """

    RENAMED: ClassVar = {}

    @classmethod
    def from_config(cls, config):
        return super().from_config({cls.RENAMED.get(key, key): value for key, value in config.items()})


def to_pair(value, name):
    """Turns a size into a pair. Like Keras, it takes one integer or two, but here the two must be equal.

    Args:
        value: An integer of 1 or more, or a list or tuple of two equal integers.
        name: Name of the argument, for the error.

    Returns:
        A tuple of two integers.

    Raises:
        ValueError: If `value` is something else.

    Example:

    >>> to_pair(3, "strides"), to_pair([3, 3], "strides")
    ((3, 3), (3, 3))
    """
    rows, columns = value if isinstance(value, list | tuple) and len(value) == 2 else (value, value)
    if not isinstance(rows, numbers.Integral) or rows < 1 or rows != columns:
        raise ValueError(f"Found {name}={value}: expected an integer of 1 or more, or two that are equal.")
    return int(rows), int(columns)
