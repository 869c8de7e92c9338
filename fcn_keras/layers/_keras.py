"""What Keras has no public name for: how the layers of a model are connected, and a few lists.

Keras promises nothing about names that begin with an underscore. The package uses them here and nowhere else, and
``tests/layers/test_keras.py`` checks each of them alone: after an update of Keras, it names the one that has changed.

A *call* is what Keras names a node: one application of a layer, with its ``operation``, its ``input_tensors`` and its
``output_tensors``. A layer that a model uses twice has two calls in it.
"""

import keras


def functional_of(model):
    """The Functional model that a built Sequential model holds; a Functional model itself.

    Example:

    >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.ReLU(name="relu")])
    >>> [operation.name for operation in functional_of(model).operations][1:]
    ['relu']
    """
    return model._functional if isinstance(model, keras.Sequential) else model


def calls(model):
    """The calls of layers and operators inside a model, from the image to the output.

    Args:
        model: A built Functional or Sequential model.

    Returns:
        A list of calls.

    Example:

    >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.ReLU(name="relu")])
    >>> [call.operation.name for call in calls(model)][1:]
    ['relu']
    """
    by_depth = functional_of(model)._nodes_by_depth
    return [call for depth in sorted(by_depth, reverse=True) for call in by_depth[depth]]


def outputs_inside(layer, model):
    """The outputs of the calls of a layer inside a model.

    A shared layer has other outputs elsewhere, and the ``output`` of a nested model lies inside that model.

    Args:
        layer: A layer of `model`, or a model nested in it.
        model: A built Functional or Sequential model.

    Returns:
        A list of Keras tensors.

    Example:

    >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.ReLU()])
    >>> [tensor.shape for tensor in outputs_inside(model.layers[0], model)]
    [(None, 8, 8, 3)]
    """
    return [tensor for call in calls(model) if call.operation is layer for tensor in call.output_tensors]


def calls_of(layer):
    """All calls of a layer, inside every model that uses it.

    Example:

    >>> relu, image = keras.layers.ReLU(), keras.Input((8, 8, 3))
    >>> len(calls_of(relu)), relu(relu(image)).shape, len(calls_of(relu))
    (0, (None, 8, 8, 3), 2)
    """
    return list(layer._inbound_nodes)


def call_behind(tensor):
    """The call that computes a Keras tensor, and the place of the tensor among its outputs.

    Example:

    >>> image = keras.Input((8, 8, 3))
    >>> call, place = call_behind(keras.layers.ReLU(name="relu")(image))
    >>> call.operation.name, call.input_tensors[0] is image, place
    ('relu', True, 0)
    """
    layer, number, place = tensor._keras_history
    return calls_of(layer)[number], place


def all_layers(model):
    """A model, its layers, and the layers of every model nested in it.

    Example:

    >>> inner = keras.Sequential([keras.Input((8,)), keras.layers.ReLU(name="relu")], name="inner")
    >>> [layer.name for layer in all_layers(keras.Sequential([keras.Input((8,)), inner], name="outer"))]
    ['outer', 'inner', 'relu']
    """
    return list(model._flatten_layers())


def variable_index(optimizer, variable):
    """The place of a variable among those that an optimizer was built with; on TensorFlow also of its copy in a graph.

    Example:

    >>> variables = [keras.Variable(1.0), keras.Variable(2.0)]
    >>> optimizer = keras.optimizers.SGD()
    >>> optimizer.build(variables)
    >>> variable_index(optimizer, variables[1])
    1
    """
    return optimizer._get_variable_index(variable)
