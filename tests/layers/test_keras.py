"""Tests each private name of Keras that the package uses, so that a failure says which one has changed.

After an update of Keras, `fcn_keras/layers/_keras.py` is the one file to adapt.
"""

import ast
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import fcn_keras
from fcn_keras.layers import _keras


@pytest.fixture
def net():
    """A model that calls one layer twice, with a merge and an operator."""
    image = keras.Input((8, 8, 3), name="image")
    conv, relu = keras.layers.Conv2D(4, 3, padding="same", name="conv"), keras.layers.ReLU(name="relu")
    first = relu(conv(image))
    return keras.Model(image, keras.layers.Add(name="add")([relu(first), first]) * 2.0, name="net")


def test_private_names_are_used_in_one_file():
    """Finds every ``x._name`` that the package does not define itself; ``_asdict`` belongs to named tuples."""
    folder, own, read = pathlib.Path(fcn_keras.__file__).parent, {"_asdict"}, set()
    for path in folder.rglob("*.py"):
        file = path.relative_to(folder).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Attribute):
                (own.add(node.attr) if isinstance(node.ctx, ast.Store) else read.add((file, node.attr)))
            elif isinstance(node, ast.Import | ast.ImportFrom):
                assert "keras.src" not in ast.unparse(node), f"{file} imports what is not Keras' public face"
    found = {(file, name) for file, name in read if name.startswith("_") and name[1] != "_" and name not in own}
    names = (
        "_flatten_layers",
        "_functional",
        "_get_variable_index",
        "_inbound_nodes",
        "_keras_history",
        "_model_variables_moving_average",
        "_nodes_by_depth",
    )
    assert found == {("layers/_keras.py", name) for name in names}


def test_functional():
    """`Sequential._functional` is a Functional model of the same layers, once the model is built."""
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.ReLU(name="relu")])
    functional = model._functional
    assert isinstance(functional, keras.Model) and not isinstance(functional, keras.Sequential)
    assert functional.layers[-1] is model.layers[-1] and functional.outputs[0] is model.outputs[0]
    assert keras.Sequential([keras.layers.ReLU()])._functional is None
    assert _keras.get_functional(functional) is functional is _keras.get_functional(model)


def test_nodes_by_depth(net):
    """`Functional._nodes_by_depth` maps the distance from the output to the calls there."""
    by_depth = net._nodes_by_depth
    names = {depth: [call.operation.name for call in calls] for depth, calls in by_depth.items()}
    operator = names.pop(0)
    assert len(operator) == 1 and names == {1: ["add"], 2: ["relu"], 3: ["relu"], 4: ["conv"], 5: ["image"]}
    assert [call.operation.name for call in _keras.get_calls(net)] == [
        "image",
        "conv",
        "relu",
        "relu",
        "add",
        *operator,
    ]


def test_calls_inside_one_model_only(net):
    """Calls of a shared layer in other models do not count. The attribute `output` could not tell them apart."""
    relu = net.get_layer("relu")
    inside = _keras.get_outputs(relu, net)
    elsewhere = relu(keras.Input((5, 5, 2)))
    assert len(inside) == 2 and elsewhere is not inside[0]
    assert [id(tensor) for tensor in _keras.get_outputs(relu, net)] == [id(tensor) for tensor in inside]


def test_inbound_nodes(net):
    """`Operation._inbound_nodes` lists all calls of a layer, each with its tensors."""
    relu, conv = net.get_layer("relu"), net.get_layer("conv")
    first, second = relu._inbound_nodes
    assert first.operation is second.operation is relu
    assert first.input_tensors[0] is conv.output and second.input_tensors[0] is first.output_tensors[0]
    relu(keras.Input((5, 5, 2)))
    assert len(_keras.get_layer_calls(relu)) == 3 and _keras.get_layer_calls(keras.layers.ReLU()) == []


def test_keras_history():
    """`KerasTensor._keras_history` is (operation, number of the call, number of the output)."""
    pair = keras.layers.Lambda(lambda x: (x, 2 * x), name="pair")
    image = keras.Input((4,))
    pair(keras.Input((4,)))
    _, doubled = pair(image)
    layer, number, place = doubled._keras_history
    assert (layer, number, place) == (pair, 1, 1)
    call, place = _keras.get_producer(doubled)
    assert call.input_tensors[0] is image and call.output_tensors[place] is doubled


def test_flatten_layers(net):
    """`Layer._flatten_layers` opens nested models; the numbers of dropout layers in a run follow its order."""
    outer = keras.Sequential([keras.Input((8, 8, 3)), net, keras.layers.Dropout(0.5, name="dropout")], name="outer")
    names = [layer.name for layer in outer._flatten_layers()]
    assert names == [layer.name for layer in _keras.get_all_layers(outer)]
    assert names[0] == "outer" and {"net", "image", "conv", "relu", "add", "dropout"} < set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("compiled", [False, True])
def test_get_variable_index(compiled):
    """`Optimizer._get_variable_index` works inside `update_step`, where the package calls it, eagerly and in a graph."""
    seen = []

    class Asking(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            seen.append((self._get_variable_index(variable), tuple(variable.shape)))
            super().update_step(gradient, variable, learning_rate)

    variables = [keras.Variable(np.zeros(size)) for size in (2, 3, 4)]
    optimizer = Asking()
    optimizer.build(variables)
    assert [_keras.get_variable_index(optimizer, variable) for variable in variables] == [0, 1, 2]
    step = tf.function(optimizer.apply) if compiled else optimizer.apply
    step([tf.ones(variable.shape) for variable in variables])
    assert seen == [(0, (2,)), (1, (3,)), (2, (4,))]


def test_model_variables_moving_average():
    """`Optimizer._model_variables_moving_average` holds the averages, which start at the weights."""
    variables = [keras.Variable(np.ones(size)) for size in (2, 3)]
    optimizer = keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.75)
    optimizer.build(variables)
    for _ in range(2):
        optimizer.apply([tf.ones(variable.shape) for variable in variables])
    found = _keras.get_averaged_weights(optimizer)
    assert [average.shape for average in found] == [(2,), (3,)]
    for average in found:  # the first step sets the average to 1 - 0.5, the second moves it a quarter to 0
        np.testing.assert_allclose(average, 0.75 * 0.5, rtol=1e-6)
