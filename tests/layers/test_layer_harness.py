"""Every layer of the package passes Keras' test for layers, and every class that files store can be loaded.

Classes are found by walking the package: a new one without a case here fails.
"""

import importlib
import inspect
import pkgutil

import keras
import numpy as np
import pytest
from keras.src import testing

import fcn_keras

KINDS = (
    keras.layers.Layer,
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.initializers.Initializer,
    keras.optimizers.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
)


def walked():
    """Every class of the package that Keras stores in files, by its registered name; models have their own tests."""
    found = {}
    for module in pkgutil.walk_packages(fcn_keras.__path__, "fcn_keras."):
        if module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            own = isinstance(value, type) and value.__module__.startswith("fcn_keras")
            if own and issubclass(value, KINDS) and not issubclass(value, keras.Model) and not name.startswith("_"):
                found[keras.saving.get_registered_name(value).removeprefix("fcn_keras>")] = value
    return found


CLASSES = walked()
SMALL, IMAGE = (2, 3, 4, 5), (2, 5, 7, 3)
UP = {"strides": (3, 3), "kernel_size": (5, 5), "padding": "same"}
KERNEL = {"kernel_initializer": "he_normal", "kernel_regularizer": "l2", "kernel_constraint": "non_neg"}

#: name: arguments, shape of the input, shape of the output, number of trainable weights
LAYERS = {
    "BilinearConv2DTranspose": (UP | KERNEL | {"filters": 4}, SMALL, (2, 9, 12, 4), 1),
    "BilinearDepthwiseConv2DTranspose": (UP | KERNEL, SMALL, (2, 9, 12, 5), 1),
    "BilinearUpsampling2D": (UP, SMALL, (2, 9, 12, 5), 0),
    "CropLike": ({"offset": 1, "factor": 2}, ((2, 9, 9, 4), (2, 3, 4, 3)), (2, 6, 8, 4), 0),
    "DilatedPooling2D": (
        {"pool_size": (2, 2), "dilation_rate": (2, 2), "mode": "average", "padding": (1, 2)},
        SMALL,
        (2, 4, 5, 5),
        0,
    ),
    "LocalResponseNormalization": ({"size": 3, "alpha": 0.1, "beta": 0.5}, SMALL, SMALL, 0),
    "PadEdges": ({"margin": 2}, IMAGE, (2, 9, 11, 3), 0),
    "PadToStride": (
        {"stride": 4, "before": 1, "after": 2, "color": (1.5, 2, 3), "spare": 3},
        IMAGE,
        (2, 6, 9, 3),
        0,
    ),
    "Preprocessing": ({"mode": "tf"}, IMAGE, IMAGE, 0),
}

LOSS = {"ignore_class": 7, "reduction": "sum", "class_weights": [1.0, 2.0], "label_smoothing": 0.1}
#: name: arguments, none of them the default
OTHERS = {
    "AdamW": {"learning_rate": 0.5, "rates": (0.5, 1.0), "decay": 0.1, "beta_1": 0.8, "name": "own"},
    "Bilinear": {},
    "CaffeSGD": {"learning_rate": 0.5, "momentum": 0.8, "l2": 0.1, "bias_multiplier": 3.0, "name": "own"},
    "GlobalPixelCrossentropy": LOSS,
    "GlobalPixelFocalCrossentropy": LOSS | {"gamma": 1.0, "alpha": 0.5},
    "PixelCrossentropy": LOSS,
    "PixelDice": LOSS,
    "PixelFocalCrossentropy": LOSS | {"gamma": 1.0, "alpha": 0.5},
    "Polynomial": {"initial_learning_rate": 0.5, "decay_steps": 7, "power": 2.0, "warmup": 3, "name": "own"},
    "SGD": {"learning_rate": 0.5, "rates": (0.5, 1.0), "decay": 0.1, "momentum": 0.8, "name": "own"},
    "SegmentationMetrics": {"num_classes": 2, "class_names": ["sky", "road"], "ignore_class": 7, "name": "own"},
}


def test_every_class_has_a_case():
    layers = {name for name, value in CLASSES.items() if issubclass(value, keras.layers.Layer)}
    assert layers == set(LAYERS)
    assert set(CLASSES) - layers == set(OTHERS)


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed", "ignore:The model does not have any trainable weights")
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name):
    """Tests the eager and symbolic output shape, the configuration, a training step and mixed precision."""
    arguments, shape, output, weights = LAYERS[name]
    testing.TestCase("run_layer_test").run_layer_test(
        CLASSES[name],
        arguments,
        input_shape=shape,
        expected_output_shape=output,
        expected_num_trainable_weights=weights,
        expected_num_non_trainable_weights=0,
    )


@pytest.mark.parametrize("name", [*LAYERS, *OTHERS])
def test_round_trip(name):
    """Every argument differs from its default, so the test fails if one is missing in the configuration."""
    arguments = OTHERS[name] if name in OTHERS else LAYERS[name][0] | {"name": "own", "dtype": "mixed_bfloat16"}
    for parameter in list(inspect.signature(CLASSES[name].__init__).parameters.values())[1:]:
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.name not in ("name", "dtype"):
            assert arguments[parameter.name] != parameter.default
    made = CLASSES[name](**arguments)
    config = made.get_config()
    assert set(arguments) <= set(config)
    for argument in set(arguments) - {"dtype", *KERNEL}:
        np.testing.assert_equal(np.array(config[argument]), np.array(arguments[argument]), argument)
    assert all(config[argument] is not None for argument in arguments)
    assert type(made).from_config(config).get_config() == config
    stored = keras.saving.serialize_keras_object(made)
    assert stored["registered_name"] == f"fcn_keras>{name}"
    copy = keras.saving.deserialize_keras_object(stored)
    assert type(copy) is CLASSES[name] and copy.get_config() == config


OLD_UP = UP | {"padding": "valid"}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (
            "DilatedPooling2D",
            {"pool_size": 3, "dilation_rate": 2, "mode": "max", "before": 1, "after": 2, "name": "own"},
            {"pool_size": (3, 3), "dilation_rate": (2, 2), "padding": (1, 2)},
        ),
        ("PixelCrossentropy", {"void": 7, "reduction": "sum", "name": "own"}, {"ignore_class": 7}),
        ("GlobalPixelCrossentropy", {"void": 7, "reduction": "sum", "name": "own"}, {"ignore_class": 7}),
        (
            "BilinearConv2DTranspose",
            {"channels": 4, "factor": 3, "kernel_size": 5, "name": "own"},
            OLD_UP | {"filters": 4},
        ),
        ("BilinearDepthwiseConv2DTranspose", {"factor": 3, "kernel_size": 5, "name": "own"}, OLD_UP),
        ("BilinearUpsampling2D", {"factor": 3, "kernel_size": 5, "name": "own"}, OLD_UP),
        ("SegmentationMetrics", {"num_classes": 2, "class_names": ["a", "b"], "void": 7}, {"ignore_class": 7}),
    ],
)
def test_configurations_of_the_first_edition(name, old, new):
    stored = {"module": "fcn_keras.gone", "class_name": name, "config": old, "registered_name": f"fcn_keras>{name}"}
    loaded = keras.saving.deserialize_keras_object(stored)
    config = loaded.get_config()
    assert type(loaded) is CLASSES[name]
    for argument, value in {**old, **new}.items():
        if argument in config:
            np.testing.assert_equal(np.array(config[argument]), np.array(value), argument)
