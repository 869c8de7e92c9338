"""Resizing part by part, compared with TensorFlow's resizing of the whole image."""

import numpy as np
import pytest
import tensorflow as tf

from fcn_keras.inference.resize import find_source_span, resize_span

SIDES = [(10, 10), (10, 13), (13, 10), (40, 9), (9, 40), (1, 7), (7, 1), (100, 75), (60, 75)]


@pytest.mark.parametrize(("old", "new"), SIDES)
@pytest.mark.parametrize("axis", [1, 2])
def test_every_span_is_that_of_the_whole(old, new, axis):
    """The tolerance is 5e-5, because TensorFlow computes the places of pixels in float32."""
    generator = np.random.default_rng(0)
    shape = (1, old, 3, 2) if axis == 1 else (1, 3, old, 2)
    x = generator.normal(size=shape).astype("float32")
    whole = tf.image.resize(x, (new, 3) if axis == 1 else (3, new), antialias=True).numpy()
    whole, lines = np.moveaxis(whole, axis, 0), np.moveaxis(x, axis, 0)
    for _ in range(10):
        start = int(generator.integers(new))
        span = (start, int(generator.integers(start, new)) + 1)
        first, last = find_source_span(span, old, new)
        assert 0 <= first < last <= old
        part = np.moveaxis(lines[first:last], 0, axis)
        found = np.moveaxis(np.asarray(resize_span(part, axis, span, old, new, start=first)), axis, 0)
        np.testing.assert_allclose(found, whole[slice(*span)], rtol=0, atol=5e-5)


def test_no_more_is_read_than_needed():
    """At half the size, a pixel is computed from four pixels; at double the size, from two."""
    assert find_source_span((5, 6), old=100, new=50) == (9, 13)
    assert find_source_span((5, 6), old=50, new=100) == (2, 4)
    assert find_source_span((5, 9), old=50, new=50) == (5, 9)
