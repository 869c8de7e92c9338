"""Pooling over units that do not lie side by side, which Keras does not have: what dilation is to a convolution.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §3.2: poolings are rarefied like any filter.
"""

import functools
import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="fcn_keras")
class DilatedPooling2D(keras.layers.Layer):
    """Pooling with stride 1 over units that lie `dilation_rate` apart: the pooling of a dilated network.

    Takes ``(batch, h, w, channels)``, gives ``(batch, h', w', channels)`` with
    ``h' = h + before + after - dilation_rate * (pool_size - 1)``.

    Args:
        pool_size: Units pooled along each axis.
        dilation_rate: Distance of the units pooled.
        mode: ``"max"`` or ``"average"``.
        before: Units of padding at the top and left; padding is never the maximum and does not count in the average.
        after: Units of padding at the bottom and right.

    Raises:
        ValueError: If the mode is neither of the two.

    Example:

    >>> row = keras.ops.reshape(keras.ops.arange(6, dtype="float32"), (1, 1, 6, 1))
    >>> pooled = DilatedPooling2D(2, dilation_rate=3)(keras.ops.repeat(row, 4, axis=1))
    >>> pooled[0, 0, :, 0].numpy()
    array([3., 4., 5.], dtype=float32)

    Reference: Long et al. (CVPR 2015), §3.2.
    """

    def __init__(self, pool_size, dilation_rate=1, mode="max", before=0, after=0, **kwargs):
        super().__init__(**kwargs)
        if mode not in ("max", "average"):
            raise ValueError(f'Found mode={mode!r}: expected "max" or "average".')
        self.pool_size, self.dilation_rate, self.mode = pool_size, dilation_rate, mode
        self.before, self.after = before, after
        self.reach = dilation_rate * (pool_size - 1)

    def call(self, x):
        if self.mode == "max":
            return self._pooled(x, ops.maximum, outside=-math.inf)
        counts = self._pooled(ops.ones_like(x[:1, :, :, :1]), ops.add, outside=0)
        return self._pooled(x, ops.add, outside=0) / counts

    def _pooled(self, x, merge, outside):
        """Rows, then columns: both poolings are separable."""
        margin = (self.before, self.after)
        x = ops.pad(x, [(0, 0), margin, margin, (0, 0)], constant_values=outside)
        starts = range(0, self.reach + 1, self.dilation_rate)
        x = functools.reduce(merge, [x[:, start : start - self.reach or None] for start in starts])
        return functools.reduce(merge, [x[:, :, start : start - self.reach or None] for start in starts])

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        shrinks = self.reach - self.before - self.after
        return (batch, *(None if side is None else side - shrinks for side in sides), channels)

    def geometry(self, incoming):
        """Geometry of the output, for `fcn_keras.geometry.trace`."""
        return incoming[0].convolved(self.pool_size, 1, self.before, self.dilation_rate)

    def get_config(self):
        own = {"pool_size": self.pool_size, "dilation_rate": self.dilation_rate, "mode": self.mode}
        return {**super().get_config(), **own, "before": self.before, "after": self.after}
