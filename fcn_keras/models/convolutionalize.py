"""From an image classifier to a fully convolutional network (완전 합성곱 신경망) with the same weights.

A `Dense` layer on a flattened ``h × w × c`` map is a convolution whose kernel covers the whole map, so its weights,
reshaped to ``(h, w, c, units)``, slide over larger maps. A classifier that averages its last map needs even less:
where only a linear layer follows, the average of the scores is the score of the average.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §3.1, Figure 2; *Hands-On Machine Learning*, chapter 14, "Fully
Convolutional Networks".
"""

import keras

from ..layers._keras import producer
from .cloning import any_size

CHANNELWISE = (keras.layers.Activation, keras.layers.BatchNormalization, keras.layers.Dropout, keras.layers.Identity,
               keras.layers.LayerNormalization, keras.layers.ReLU, keras.layers.Softmax)  # fmt: skip
POOLS = {
    keras.layers.GlobalAveragePooling2D: keras.layers.AveragePooling2D,
    keras.layers.GlobalMaxPooling2D: keras.layers.MaxPooling2D,
}
HEAD = (*CHANNELWISE, keras.layers.Dense, keras.layers.Conv2D, keras.layers.Flatten, keras.layers.Reshape)


def convolutionalize(classifier, *, logits=True, padding="valid", name=None):
    """Turns a Keras image classifier into the fully convolutional network with the same weights.

    - ``Flatten → Dense …``: the first `Dense` becomes a convolution as large as the flattened map, the others 1×1
      convolutions. On the classifier's own image size the map has one unit, and it holds the classifier's output.
    - ``GlobalAveragePooling2D →`` one linear `Dense`: the pooling is left out, so that the map keeps its places; the
      mean over the map is the classifier's output.
    - A global pooling followed by anything that is not linear (ConvNeXt's normalization, hidden layers) becomes a
      window of the size of the classifier's own last map, slid with stride 1; again one unit on the own size.

    The weights are copied; the classifier is left as it is. Preprocessing stays where it was: feed what the
    classifier was fed.

    Args:
        classifier: A built Functional or Sequential model with one image input ``(H, W, C)``, channels last, ending
            in Flatten or a global pooling and `Dense` layers, with `Dropout`, activations and normalization allowed
            between and after them: every classifier of `keras.applications` with its top, for instance.
        logits: Whether to drop the final softmax or sigmoid and give scores, which may be interpolated and averaged.
            With False the final activation is applied at each unit.
        padding: ``"valid"``, the classifier slid over the image, or ``"same"``, one unit per unit of the last feature
            map.
        name: Name of the new model; by default the classifier's with ``_fcn`` behind it.

    Returns:
        A Functional model from ``(batch, H, W, C)``, any size, to ``(batch, h, w, classes)``.

    Raises:
        ValueError: If the classifier cannot be converted; the message names the layer and the reason.

    Example:

    >>> classifier = keras.applications.VGG16(weights=None)
    >>> heatmaps = convolutionalize(classifier)
    >>> heatmaps.compute_output_shape((1, 224, 224, 3)), heatmaps.compute_output_shape((1, 500, 500, 3))
    ((1, 1, 1, 1000), (1, 9, 9, 1000))

    Reference: Long et al. (CVPR 2015), §3.1, Figure 2.
    """
    _require_classifier(classifier)
    if padding not in ("valid", "same"):
        raise ValueError(f'Found padding={padding!r}: expected "valid" or "same".')
    head = _split_head(classifier)
    trunk = any_size(classifier, head[0].input)
    scores = _convolutional_head(trunk.output, head, logits, padding)
    return keras.Model(trunk.inputs[0], scores, name=name or f"{classifier.name}_fcn")


def _require_classifier(model):
    found = f"model {getattr(model, 'name', model)!r}"
    if not isinstance(model, keras.Model) or not (isinstance(model, keras.Sequential) or hasattr(model, "operations")):
        raise ValueError(f"Cannot convert {found}: expected a Functional or Sequential Keras model.")
    if not model.built or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(f"Cannot convert {found}: expected a built model with one input and one output.")
    if len(model.inputs[0].shape) != 4 or len(model.outputs[0].shape) != 2:
        raise ValueError(
            f"Cannot convert {found}: found {model.inputs[0].shape} → {model.outputs[0].shape}, expected an image "
            "(batch, H, W, C) → one vector of scores (batch, classes). Fix: give it its top (include_top=True)."
        )


def _split_head(classifier):
    """The layers from Flatten or global pooling to the output, in order."""
    head, tensor = [], classifier.outputs[0]
    while True:
        call, _ = producer(tensor)
        layer, sources = call.operation, call.input_tensors
        if len(sources) != 1 or not isinstance(layer, (*HEAD, *POOLS)):
            flattens = [
                i for i, x in enumerate(head) if isinstance(x, keras.layers.Flatten) and len(x.input.shape) == 4
            ]
            if flattens:  # on a map of one unit, behind which the search has gone on
                return head[flattens[0] :]
            raise ValueError(
                f"Cannot convert {classifier.name!r} past layer {layer.name!r} ({type(layer).__name__}): expected a "
                "plain chain at its end: Flatten or global pooling → Dense, with Dropout, activations, normalization."
            )
        head.insert(0, layer)
        (tensor,) = sources
        if isinstance(layer, tuple(POOLS)) or (isinstance(layer, keras.layers.Flatten) and not _is_vector(tensor)):
            if layer.data_format != "channels_last":
                raise ValueError(f"Cannot convert layer {layer.name!r}: found channels_first, expected channels_last.")
            return head


def _is_vector(tensor):
    """Whether a tensor holds one unit: what a global pooling with ``keepdims`` leaves."""
    return len(tensor.shape) == 2 or tuple(tensor.shape[1:-1]) == (1, 1)


def _convolutional_head(x, head, logits, padding):
    """Applies the converted layers of `head` to the feature map `x`."""
    scoring = _last_scores(head)
    kernel = head[0].input.shape[1:3]  # what the next weights must cover: the own map, until a layer has covered it
    if type(head[0]) in POOLS:
        if not _is_linear(head):
            _require_size(kernel, head[0])
            x = POOLS[type(head[0])](kernel, strides=1, padding=padding, name=head[0].name)(x)
        kernel = (1, 1)
    for layer in head[1:] if type(head[0]) in POOLS else head:
        if isinstance(layer, keras.layers.Dense | keras.layers.Conv2D):
            if isinstance(layer, keras.layers.Dense):
                _require_size(kernel, layer)
            x = _convolution(layer, kernel, padding, linear=logits and layer is scoring)(x)
            kernel = (1, 1)
        elif isinstance(layer, CHANNELWISE):
            if kernel != (1, 1):
                _require_pointwise(layer)
            if not (logits and _is_final_activation(layer, head)):
                x = _copied(layer)(x)
    return x


def _last_scores(head):
    """The layer with weights that gives the classes."""
    scoring = [layer for layer in head if isinstance(layer, keras.layers.Dense | keras.layers.Conv2D)]
    if not scoring:
        raise ValueError(f"Cannot convert the head {[layer.name for layer in head]}: expected a Dense layer in it.")
    return scoring[-1]


def _is_final_activation(layer, head):
    is_activation = isinstance(layer, keras.layers.Activation | keras.layers.Softmax)
    return is_activation and head.index(layer) > head.index(_last_scores(head))


def _is_linear(head):
    """Whether averaging the scores is scoring the average: one layer with weights, nothing bent around it."""
    passing = keras.layers.Dropout | keras.layers.Identity | keras.layers.Reshape | keras.layers.Flatten
    others = [layer for layer in head[1:] if layer is not _last_scores(head) and not _is_final_activation(layer, head)]
    return isinstance(head[0], keras.layers.GlobalAveragePooling2D) and all(isinstance(x, passing) for x in others)


def _require_pointwise(layer):
    """Between Flatten and the first weights, only what treats every number alike has a twin on a larger map."""
    over_all = keras.layers.BatchNormalization | keras.layers.LayerNormalization | keras.layers.Softmax
    if isinstance(layer, over_all) or getattr(layer, "activation", None) is keras.activations.softmax:
        raise ValueError(
            f"Cannot convert layer {layer.name!r} ({type(layer).__name__}): it works on flattened places. "
            "Fix: put it before Flatten, or behind the first Dense."
        )


def _require_size(kernel, layer):
    if None in kernel:
        raise ValueError(
            f"Cannot convert layer {layer.name!r}: the map it was trained on has size {kernel}, expected numbers. "
            "Fix: build the classifier with its own input_shape, such as (224, 224, 3)."
        )


def _convolution(layer, kernel, padding, linear):
    """The convolution with the weights of a Dense layer (or of a 1×1 convolution), bias kept."""
    if isinstance(layer, keras.layers.Conv2D):
        if layer.kernel_size != (1, 1):
            raise ValueError(
                f"Cannot convert layer {layer.name!r}: found kernel {layer.kernel_size} on one unit, expected 1×1."
            )
        units, values = layer.filters, layer.get_weights()
    else:
        units, values = layer.units, layer.get_weights()
        values[0] = values[0].reshape(*kernel, -1, units)  # Flatten runs over rows, columns, channels
    convolution = keras.layers.Conv2D(
        units,
        kernel,
        padding=padding,
        use_bias=layer.use_bias,
        activation="linear" if linear else layer.activation,
        kernel_regularizer=layer.kernel_regularizer,
        bias_regularizer=layer.bias_regularizer,
        kernel_initializer="zeros",  # random numbers for VGG16's fc6 would take a second and a gigabyte
        dtype=layer.dtype_policy,
        trainable=layer.trainable,
        name=layer.name,
    )
    convolution.build((None, None, None, values[0].shape[2]))
    convolution.set_weights(values)
    convolution.kernel_initializer = layer.kernel_initializer  # for those who make the layer anew
    return convolution


def _copied(layer):
    """A copy of a layer that works on channels: what it did to a vector, it does to each unit."""
    copy = type(layer).from_config(layer.get_config())
    channels = layer.output.shape[-1]
    copy.build((None, None, None, channels))
    copy.set_weights(layer.get_weights())
    return copy
