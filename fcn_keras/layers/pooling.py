"""Dilated pooling, which Keras lacks: the pooled units are not neighbours, but have gaps between them.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §3.2: "decreasing subsampling" dilates pooling layers as it dilates
convolutions.
"""

import functools
import math

import keras
from keras import ops

from .arguments import to_pair


@keras.saving.register_keras_serializable(package="fcn_keras")
class DilatedPooling2D(keras.layers.Layer):
    """Pooling with stride 1 over units that lie `dilation_rate` apart.

    The layer takes ``(batch, h, w, channels)`` and returns ``(batch, H, W, channels)``. With ``"same"`` padding,
    ``H = h``. With ``"valid"`` padding, ``H = h - dilation_rate * (pool_size - 1)``. Neither the maximum nor the
    average includes the padding.

    Args:
        pool_size: Number of units that are pooled along each axis, an integer.
        dilation_rate: Distance between these units, an integer.
        mode: ``"max"`` or ``"average"``.
        padding: ``"valid"``, ``"same"``, or two integers: how many rows and columns to add before the first one and
            after the last one.
        **kwargs: Arguments of `keras.layers.Layer`, such as ``name`` and ``dtype``.

    Raises:
        ValueError: If an argument has a different value.

    Example:

    >>> row = keras.ops.reshape(keras.ops.arange(6, dtype="float32"), (1, 1, 6, 1))
    >>> pooled = DilatedPooling2D(2, dilation_rate=3)(keras.ops.repeat(row, 4, axis=1))
    >>> pooled[0, 0, :, 0].numpy()
    array([3., 4., 5.], dtype=float32)

    Reference: Long et al. (CVPR 2015), §3.2.
    """

    def __init__(self, pool_size, dilation_rate=1, mode="max", padding="valid", **kwargs):
        super().__init__(**kwargs)
        if mode not in ("max", "average"):
            raise ValueError(f'Found mode={mode!r}: expected "max" or "average".')
        self.pool_size, self.dilation_rate = to_pair(pool_size, "pool_size"), to_pair(dilation_rate, "dilation_rate")
        self.mode, self.padding = mode, padding if isinstance(padding, str) else tuple(padding)
        self.reach = self.dilation_rate[0] * (self.pool_size[0] - 1)
        named = {"valid": (0, 0), "same": (self.reach // 2, self.reach - self.reach // 2)}
        self.margin = named.get(padding) if isinstance(padding, str) else self.padding
        if self.margin is None or len(self.margin) != 2 or min(self.margin) < 0:
            raise ValueError(f'Found padding={padding!r}: expected "valid", "same" or two integers of 0 or more.')

    def call(self, x):
        if self.mode == "max":
            return self._pool(x, ops.maximum, outside=-math.inf)
        counts = self._pool(ops.ones_like(x[:1, :, :, :1]), ops.add, outside=0)
        return self._pool(x, ops.add, outside=0) / counts

    def _pool(self, x, merge, outside):
        """Pools along the columns, then along the rows. For a maximum or a sum, this is the same as pooling squares."""
        x = ops.pad(x, [(0, 0), self.margin, self.margin, (0, 0)], constant_values=outside)
        starts = range(0, self.reach + 1, self.dilation_rate[0])
        x = functools.reduce(merge, [x[:, start : start - self.reach or None] for start in starts])
        return functools.reduce(merge, [x[:, :, start : start - self.reach or None] for start in starts])

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        growth = sum(self.margin) - self.reach
        return (batch, *(None if side is None else side + growth for side in sides), channels)

    def compute_geometry(self, incoming):
        """Geometry of the output, for `fcn_keras.geometry.trace`."""
        return incoming[0].convolve(self.pool_size[0], 1, self.margin[0], self.dilation_rate[0])

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if "before" in config:  # the padding in files of the first edition
            config["padding"] = config.pop("before"), config.pop("after")
        return super().from_config(config)

    def get_config(self):
        own = {"pool_size": self.pool_size, "dilation_rate": self.dilation_rate}
        return {**super().get_config(), **own, "mode": self.mode, "padding": self.padding}
