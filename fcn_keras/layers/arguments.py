"""Arguments of layers: sizes as Keras takes them, and the names they had in files of the first edition."""

import numbers
from typing import ClassVar


class Renamed:
    """Mixin of layers, losses and metrics: loads configurations with the old names of arguments.

    A class that derives from it lists them in ``RENAMED``, from the old name to the new one.

    Example:

    >>> import fcn_keras
    >>> fcn_keras.PixelCrossentropy.from_config({"void": 7}).ignore_class
    7
    """

    RENAMED: ClassVar = {}

    @classmethod
    def from_config(cls, config):
        return super().from_config({cls.RENAMED.get(key, key): value for key, value in config.items()})


def pair(value, name):
    """A size along both axes, as Keras takes it: an integer or two. Here the two must be equal.

    Args:
        value: An integer of 1 or more, or a list or tuple of two that are equal.
        name: Name of the argument, for the error.

    Returns:
        A tuple of two integers.

    Raises:
        ValueError: If `value` is something else.

    Example:

    >>> pair(3, "strides"), pair([3, 3], "strides")
    ((3, 3), (3, 3))
    """
    rows, columns = value if isinstance(value, list | tuple) and len(value) == 2 else (value, value)
    if not isinstance(rows, numbers.Integral) or rows < 1 or rows != columns:
        raise ValueError(f"Found {name}={value}: expected an integer of 1 or more, or two that are equal.")
    return int(rows), int(columns)
