"""Files of the first edition, in which arguments had other names."""

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
