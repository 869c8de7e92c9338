"""The bilinear kernel and its initializer, compared with formulas and with the filler of Caffe."""

import keras
import numpy as np
import pytest

from fcn_keras.layers.bilinear import Bilinear, bilinear_kernel


def test_kernels_by_hand():
    np.testing.assert_array_equal(bilinear_kernel(1), [[1]])
    np.testing.assert_array_equal(bilinear_kernel(2), np.full((2, 2), 0.25))
    np.testing.assert_array_equal(bilinear_kernel(3), np.outer([0.5, 1, 0.5], [0.5, 1, 0.5]))
    np.testing.assert_array_equal(bilinear_kernel(4), np.outer([0.25, 0.75, 0.75, 0.25], [0.25, 0.75, 0.75, 0.25]))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 16, 31, 64])
def test_kernel_is_caffes_filler(size):
    """(1 − |x − c| / f)(1 − |y − c| / f), f = ⌊(k + 1) / 2⌋, c = f − 1 for odd k and f − 0.5 for even k."""
    f = (size + 1) // 2
    c = f - 1 if size % 2 else f - 0.5
    expected = [[(1 - abs(x - c) / f) * (1 - abs(y - c) / f) for x in range(size)] for y in range(size)]
    kernel = bilinear_kernel(size)
    assert kernel.dtype == np.float32
    np.testing.assert_allclose(kernel, expected, rtol=1e-6)


def test_initializer_keeps_channels_apart():
    kernel = keras.ops.convert_to_numpy(Bilinear()((4, 4, 5, 5)))
    for i in range(5):
        for j in range(5):
            np.testing.assert_array_equal(kernel[:, :, i, j], bilinear_kernel(4) if i == j else 0)
    assert keras.ops.dtype(Bilinear()((4, 4, 5, 5), dtype="float16")) == "float16"


def test_depthwise_kernels_hold_the_kernel_for_each_channel():
    kernel = keras.ops.convert_to_numpy(Bilinear()((5, 5, 3)))
    np.testing.assert_array_equal(kernel, np.repeat(bilinear_kernel(5)[:, :, None], 3, axis=2))
