"""Turns an image classifier into a fully convolutional network (완전 합성곱 신경망) with the same weights.

A `Dense` layer on a flattened ``h × w × c`` map is a convolution whose kernel covers the whole map. If its weights are
reshaped to ``(h, w, c, units)``, they can therefore slide over larger maps. A classifier that averages its last map is
even easier to convert. If only a linear layer follows, the average of the scores equals the score of the average.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §3.1, Figure 2; *Hands-On Machine Learning*, chapter 14, "Fully
Convolutional Networks".
"""

import keras

from ..layers._keras import get_producer
from .any_size import allow_any_size
from .cloning import copy_layer

CHANNELWISE = (keras.layers.Activation, keras.layers.BatchNormalization, keras.layers.Dropout, keras.layers.Identity,
               keras.layers.LayerNormalization, keras.layers.ReLU, keras.layers.Softmax)  # fmt: skip
POOLS = {
    keras.layers.GlobalAveragePooling2D: keras.layers.AveragePooling2D,
    keras.layers.GlobalMaxPooling2D: keras.layers.MaxPooling2D,
}
HEAD = (*CHANNELWISE, keras.layers.Dense, keras.layers.Conv2D, keras.layers.Flatten, keras.layers.Reshape)


def convolutionalize(classifier, *, logits=True, padding="valid", name=None):
    """Turns a Keras image classifier into the fully convolutional network with the same weights.

    - ``Flatten → Dense …``: the first `Dense` becomes a convolution as large as the flattened map. The others become
      1×1 convolutions. If the image has the size that the classifier takes, the new map has one unit, which holds the
      classifier's output.
    - ``GlobalAveragePooling2D →`` one linear `Dense`: the pooling is removed, and the `Dense` layer scores each unit.
      The mean over the map is the classifier's output.
    - A global pooling followed by anything that is not linear (ConvNeXt's normalization, hidden layers): the pooling
      gets stride 1 and a window as large as the classifier's last map. If the image has the size that the classifier
      takes, the new map again has one unit.

    The weights are copied, and the classifier is not changed. The new model expects the same preprocessing as the
    classifier.

    Args:
        classifier: A built Functional or Sequential model with one image input ``(H, W, C)``, channels last. It must
            end in Flatten or a global pooling, followed by `Dense` layers. `Dropout`, activations and normalization may
            come between and after them. Every classifier of `keras.applications` with its top has this form.
        logits: Whether to drop the final softmax or sigmoid, so that the model returns scores, which can be
            interpolated and averaged. If False, the final activation is applied to each unit.
        padding: ``"valid"`` slides the classifier over the image. ``"same"`` gives one unit for each unit of the last
            feature map.
        name: Name of the new model; by default the classifier's name with ``_fcn`` appended.

    Returns:
        A Functional model from images ``(batch, H, W, C)`` of any size to ``(batch, h, w, classes)``.

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
    trunk = allow_any_size(classifier, head[0].input)
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
        call, _ = get_producer(tensor)
        layer, sources = call.operation, call.input_tensors
        if len(sources) != 1 or not isinstance(layer, (*HEAD, *POOLS)):
            for i, passed in enumerate(head):
                if isinstance(passed, keras.layers.Flatten) and len(passed.input.shape) == 4:
                    return head[i:]  # the flattened map has one unit, so the search has gone on past it
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
    """Whether a tensor holds one unit, as after a global pooling with ``keepdims``."""
    return len(tensor.shape) == 2 or tuple(tensor.shape[1:-1]) == (1, 1)


def _convolutional_head(x, head, logits, padding):
    """Applies the converted layers of `head` to the feature map `x`."""
    scoring = _find_scoring(head)
    kernel = head[0].input.shape[1:3]  # the next weights must cover this map; after them, it becomes (1, 1)
    if type(head[0]) in POOLS:
        if not _is_linear(head):
            _require_size(kernel, head[0])
            x = POOLS[type(head[0])](kernel, strides=1, padding=padding, name=head[0].name)(x)
        kernel = (1, 1)
    for layer in head[1:] if type(head[0]) in POOLS else head:
        if isinstance(layer, keras.layers.Dense | keras.layers.Conv2D):
            if isinstance(layer, keras.layers.Dense):
                _require_size(kernel, layer)
            x = _make_convolution(layer, kernel, padding, linear=logits and layer is scoring)(x)
            kernel = (1, 1)
        elif isinstance(layer, CHANNELWISE):
            if kernel != (1, 1):
                _require_pointwise(layer)
            if not (logits and _is_final_activation(layer, head)):
                x = _copy_for_maps(layer)(x)
    return x


def _find_scoring(head):
    """The layer that computes the scores of the classes."""
    scoring = [layer for layer in head if isinstance(layer, keras.layers.Dense | keras.layers.Conv2D)]
    if not scoring:
        raise ValueError(f"Cannot convert the head {[layer.name for layer in head]}: expected a Dense layer in it.")
    return scoring[-1]


def _is_final_activation(layer, head):
    is_activation = isinstance(layer, keras.layers.Activation | keras.layers.Softmax)
    return is_activation and head.index(layer) > head.index(_find_scoring(head))


def _is_linear(head):
    """Whether the average of the scores equals the score of the average, because the head only has one linear layer."""
    passing = keras.layers.Dropout | keras.layers.Identity | keras.layers.Reshape | keras.layers.Flatten
    others = [layer for layer in head[1:] if layer is not _find_scoring(head) and not _is_final_activation(layer, head)]
    return isinstance(head[0], keras.layers.GlobalAveragePooling2D) and all(isinstance(x, passing) for x in others)


def _require_pointwise(layer):
    """Raises an error unless a layer between Flatten and the first weights works on each number separately."""
    over_all = keras.layers.BatchNormalization | keras.layers.LayerNormalization | keras.layers.Softmax
    if isinstance(layer, over_all) or getattr(layer, "activation", None) is keras.activations.softmax:
        raise ValueError(
            f"Cannot convert layer {layer.name!r} ({type(layer).__name__}): it mixes the "
            "positions of the flattened map. Fix: put it before Flatten, or after the first Dense."
        )


def _require_size(kernel, layer):
    if None in kernel:
        raise ValueError(
            f"Cannot convert layer {layer.name!r}: the size of its map is {kernel}, but two numbers are needed. "
            "Fix: build the classifier with its own input_shape, such as (224, 224, 3)."
        )


def _make_convolution(layer, kernel, padding, linear):
    """The convolution that has the weights and the bias of a Dense layer, or of a 1×1 convolution."""
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
        kernel_initializer="zeros",  # for VGG16's fc6, random numbers would take a second and a gigabyte
        dtype=layer.dtype_policy,
        trainable=layer.trainable,
        name=layer.name,
    )
    convolution.build((None, None, None, values[0].shape[2]))
    convolution.set_weights(values)
    convolution.kernel_initializer = layer.kernel_initializer  # so that a new copy starts from random weights
    return convolution


def _copy_for_maps(layer):
    """A copy of a layer for maps. It does to each unit what the original does to a vector."""
    copy = copy_layer(layer)
    channels = layer.output.shape[-1]
    copy.build((None, None, None, channels))
    copy.set_weights(layer.get_weights())
    return copy
