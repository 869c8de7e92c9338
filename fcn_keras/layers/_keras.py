"""The private parts of Keras that this package needs, such as how the layers of a model are connected.

Keras may change a name that begins with an underscore at any time. The package uses such names in this file only.
``tests/layers/test_keras.py`` tests each of them separately. If an update of Keras changes one, the tests tell you
which.

A *call* is one use of a layer, with its ``operation``, ``input_tensors`` and ``output_tensors``. Keras calls it a node.
If a model uses a layer twice, the layer has two calls in that model.
"""

import keras


def get_functional(model):
    """The Functional model inside a built Sequential model. A Functional model is returned as it is.

    Example:

    >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.ReLU(name="relu")])
    >>> [operation.name for operation in get_functional(model).operations][1:]
    ['relu']
    """
    return model._functional if isinstance(model, keras.Sequential) else model


def get_calls(model):
    """The calls of layers and operators inside a model, from the image to the output.

    Args:
        model: A built Functional or Sequential model.

    Returns:
        A list of calls.

    Example:

    >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.ReLU(name="relu")])
    >>> [call.operation.name for call in get_calls(model)][1:]
    ['relu']
    """
    by_depth = get_functional(model)._nodes_by_depth
    return [call for depth in sorted(by_depth, reverse=True) for call in by_depth[depth]]


def get_outputs(layer, model):
    """The outputs of a layer inside a model.

    The layer's attribute ``output`` may be a different tensor: a shared layer also has calls in other models, and the
    ``output`` of a nested model belongs to the nested model.

    Args:
        layer: A layer of `model`, or a model nested in it.
        model: A built Functional or Sequential model.

    Returns:
        A list of Keras tensors.

    Example:

    >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.ReLU()])
    >>> [tensor.shape for tensor in get_outputs(model.layers[0], model)]
    [(None, 8, 8, 3)]
    """
    return [tensor for call in get_calls(model) if call.operation is layer for tensor in call.output_tensors]


def get_layer_calls(layer):
    """All calls of a layer, in all models that use it.

    Example:

    >>> relu, image = keras.layers.ReLU(), keras.Input((8, 8, 3))
    >>> len(get_layer_calls(relu)), relu(relu(image)).shape, len(get_layer_calls(relu))
    (0, (None, 8, 8, 3), 2)
    """
    return list(layer._inbound_nodes)


def get_producer(tensor):
    """The call that computes a Keras tensor, and the index of the tensor among the outputs of the call.

    Example:

    >>> image = keras.Input((8, 8, 3))
    >>> call, index = get_producer(keras.layers.ReLU(name="relu")(image))
    >>> call.operation.name, call.input_tensors[0] is image, index
    ('relu', True, 0)
    """
    layer, number, index = tensor._keras_history
    return get_layer_calls(layer)[number], index


def get_all_layers(model):
    """A model, its layers, and the layers of every model nested in it.

    Example:

    >>> inner = keras.Sequential([keras.Input((8,)), keras.layers.ReLU(name="relu")], name="inner")
    >>> outer = keras.Sequential([keras.Input((8,)), inner], name="outer")
    >>> {"outer", "inner", "relu"} < {layer.name for layer in get_all_layers(outer)}
    True
    """
    return list(model._flatten_layers())


def get_variable_index(optimizer, variable):
    """The index of a variable among the variables of an optimizer. This also works in a graph of TensorFlow.

    Example:

    >>> variables = [keras.Variable(1.0), keras.Variable(2.0)]
    >>> optimizer = keras.optimizers.SGD()
    >>> optimizer.build(variables)
    >>> get_variable_index(optimizer, variables[1])
    1
    """
    return optimizer._get_variable_index(variable)


def get_averaged_weights(optimizer):
    """The variables in which an optimizer averages weights, in the order of the trainable weights.

    Example:

    >>> optimizer = keras.optimizers.SGD(use_ema=True)
    >>> optimizer.build([keras.Variable(1.0)])
    >>> len(get_averaged_weights(optimizer))
    1
    """
    return optimizer._model_variables_moving_average
