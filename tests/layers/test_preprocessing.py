"""Preprocessing, compared with `keras.applications` and with the numbers of the FCN authors."""

import keras
import numpy as np
import pytest

from fcn_keras import geometry
from fcn_keras.layers.preprocessing import Preprocessing

IMAGE = np.random.default_rng(0).uniform(0, 255, (2, 5, 7, 3)).astype("float32")


@pytest.mark.parametrize(
    ("mode", "reference"),
    [
        ("caffe", keras.applications.vgg16.preprocess_input),
        ("caffe", keras.applications.resnet.preprocess_input),
        ("tf", keras.applications.mobilenet_v2.preprocess_input),
        ("torch", keras.applications.densenet.preprocess_input),
        ("none", keras.applications.efficientnet_v2.preprocess_input),
    ],
)
def test_preprocessing_is_that_of_keras_applications(mode, reference):
    image = keras.Input((None, None, 3))
    model = keras.Model(image, Preprocessing(mode)(image))
    np.testing.assert_allclose(model(IMAGE), reference(IMAGE.copy()), rtol=1e-5, atol=1e-5)
    assert geometry.trace_outputs(model) == [geometry.Geometry()]
    assert Preprocessing.from_config(Preprocessing(mode).get_config()).mode == mode


def test_unknown_preprocessing():
    with pytest.raises(ValueError, match="'imagenet': expected"):
        Preprocessing("imagenet")


def test_the_mean_color_of_the_fcn_authors():
    """``fcn.berkeleyvision.org``: BGR minus (104.00699, 116.66877, 122.67892)."""
    expected = IMAGE[..., ::-1].astype("float64") - [104.00699, 116.66877, 122.67892]
    np.testing.assert_allclose(Preprocessing("berkeley")(IMAGE), expected, rtol=1e-5, atol=1e-4)
