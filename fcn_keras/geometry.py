"""Which pixels a unit of a feature map depends on: stride, receptive field and offset.

Along one axis of the image, the centre of unit ``i`` of a feature map lies at the pixel coordinate ``offset + stride *
i``, where the centre of the first pixel is 0. The unit depends on the ``receptive_field`` pixels around this centre.
If you know these three numbers for two maps, you know by how many pixels one map is shifted against the other. Every
crop in the paper follows from this shift.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §3, equation 1: strides multiply, kernels compose.
"""

import dataclasses
import math

import keras

from .layers._keras import get_outputs, get_producer

# Layers that treat every position alike: a unit stays where it is and depends on no neighbour.
POINTWISE = (keras.layers.Activation, keras.layers.BatchNormalization, keras.layers.Dense, keras.layers.Dropout,
             keras.layers.Identity, keras.layers.InputLayer, keras.layers.LayerNormalization, keras.layers.LeakyReLU,
             keras.layers.Normalization, keras.layers.PReLU, keras.layers.ReLU, keras.layers.Rescaling,
             keras.layers.Softmax, keras.layers.SpatialDropout2D)  # fmt: skip
POINTWISE_BY_NAME = {"LayerScale", "StochasticDepth"}  # layers of ConvNeXt that Keras does not export
ELEMENTWISE = {"Add", "Divide", "HardSigmoid", "Maximum", "Minimum", "Multiply", "Relu", "Relu6", "Sigmoid", "Silu",
               "Subtract", "Tanh", "TrueDivide"}  # from keras.ops, as in `x + y`; they are not layers  # fmt: skip
GLOBAL = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)
INTERPOLATION_WIDTHS = {"nearest": 1, "bilinear": 2, "bicubic": 4, "lanczos3": 6, "lanczos5": 10}  # in units
MERGES = (keras.layers.Add, keras.layers.Average, keras.layers.Concatenate, keras.layers.Maximum,
          keras.layers.Minimum, keras.layers.Multiply, keras.layers.Subtract)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Stride, receptive field and offset of a feature map along one axis, in pixels of the image.

    Args:
        stride: Distance between the centres of neighbouring units. It is below 1 if the map is finer than the image.
        receptive_field: Side of the window of pixels that a unit depends on. It is infinite after a global pooling.
        offset: Coordinate of the centre of unit 0. The centre of pixel ``p`` of the image has the coordinate ``p``.

    Example:

    >>> conv1_1 = Geometry().convolve(kernel=3, padding=100)
    >>> conv1_1.convolve(kernel=2, stride=2)
    Geometry(stride=2, receptive_field=4, offset=-98.5)

    Reference: Long et al. (CVPR 2015), §3, equation 1.
    """

    stride: float = 1
    receptive_field: float = 1
    offset: float = 0.0

    @property
    def is_global(self):
        """Whether a unit depends on the whole image."""
        return math.isinf(self.receptive_field)

    def centre(self, i):
        """Coordinate, in the image, of the centre of unit ``i``."""
        return self.offset + self.stride * i

    def convolve(self, kernel, stride=1, padding=0, dilation=1):
        """Geometry after a convolution or pooling that adds ``padding`` units before the first one."""
        reach = dilation * (kernel - 1)
        return Geometry(
            self.stride * stride,
            self.receptive_field + reach * self.stride,
            self.offset + (reach / 2 - padding) * self.stride,
        )

    def upsample(self, factor, kernel, crop=0):
        """Geometry after a transposed convolution with stride ``factor``, without its first ``crop`` units.

        The kernel of unit ``i`` is centred on position ``factor * i + (kernel - 1) / 2`` of the output. After
        upsampling, the units do not all depend on the same number of pixels. The receptive field is the largest of
        these numbers. A convolution after the upsampling may depend on a few more pixels than its receptive field.
        """
        fine = self.stride / factor
        return Geometry(
            int(fine) if fine == int(fine) else fine,
            self.receptive_field + (math.ceil(kernel / factor) - 1) * self.stride,
            self.offset + (crop - (kernel - 1) / 2) * fine,
        )

    def shift(self, units):
        """Geometry without the first ``units`` units; a negative number adds units."""
        return dataclasses.replace(self, offset=self.offset + units * self.stride)


def trace(model, axis=0):
    """Follows an image axis through a Keras Functional or Sequential model, or through a list of layers.

    The padding of a layer with ``padding="same"`` depends on the size of the image. This function assumes that the
    sides of the image are multiples of the total stride.

    Args:
        model: A built Functional or Sequential model with one image input ``(H, W, C)``; or a list of layers, where
            each layer takes the output of the one before. The layers need not be built.
        axis: 0 for the rows of the image, 1 for its columns.

    Returns:
        A dict from the name of each layer to the `Geometry` of its output, in the order of the model's layers. Layers
        after the last feature map (Flatten, Dense) are left out.

    Raises:
        ValueError: If this function does not know a layer, or if a layer merges maps with different strides.

    Example:

    >>> vgg16 = keras.applications.VGG16(weights=None, include_top=False)
    >>> trace(vgg16)["block5_pool"]
    Geometry(stride=32, receptive_field=212, offset=15.5)
    >>> trace([keras.layers.Conv2D(8, 3, name="conv"), keras.layers.MaxPooling2D(2, name="pool")])["pool"]
    Geometry(stride=2, receptive_field=4, offset=1.5)

    Reference: Long et al. (CVPR 2015), §3; receptive fields and strides of VGG16's pools: 44/8, 100/16, 212/32.
    """
    if isinstance(model, list | tuple):
        return _trace_chain(model, axis)
    known = {id(model.inputs[0]): Geometry()}
    geometries = {}
    for layer in model.layers:
        for output in get_outputs(layer, model):
            geometry = _trace_tensor(output, known, axis)
            if geometry is not None:
                geometries[layer.name] = geometry
    return geometries


def _trace_chain(layers, axis):
    geometries, geometry = {}, Geometry()
    for layer in layers:
        nested = isinstance(layer, keras.Model)
        geometry = trace_outputs(layer, axis, geometry)[0] if nested else _trace_layer(layer, [geometry], axis)
        if geometry is not None:
            geometries[layer.name] = geometry
    return geometries


def trace_outputs(model, axis=0, incoming=None):
    """The `Geometry` of each output of a model.

    Args:
        model: A built Functional or Sequential model with one image input.
        axis: 0 for the rows of the image, 1 for its columns.
        incoming: `Geometry` of the input; by default it is the image.

    Returns:
        A list with one `Geometry` for each output.

    Raises:
        ValueError: As `trace`.

    Example:

    >>> image = keras.Input((None, None, 3))
    >>> small = keras.layers.Conv2D(8, 3, strides=2, padding="same")(image)
    >>> [geometry.stride for geometry in trace_outputs(keras.Model(image, [image, small]))]
    [1, 2]
    """
    known = {id(model.inputs[0]): incoming or Geometry()}
    return [_trace_tensor(output, known, axis) for output in model.outputs]


def _trace_tensor(tensor, known, axis):
    """The geometry of a tensor, computed from those of its input tensors. All of them are stored in `known`."""
    if id(tensor) not in known:
        call, place = get_producer(tensor)
        layer = call.operation
        incoming = [_trace_tensor(source, known, axis) for source in call.input_tensors]
        if isinstance(layer, keras.Model) and None not in incoming:
            known[id(tensor)] = trace_outputs(layer, axis, *incoming)[place]
        else:
            known[id(tensor)] = _trace_layer(layer, incoming, axis)
    return known[id(tensor)]


def _trace_layer(layer, incoming, axis):
    if hasattr(layer, "compute_geometry"):  # layers of this package know their geometry
        return layer.compute_geometry(incoming)
    if None in incoming or isinstance(layer, keras.layers.Flatten):
        return None
    elementwise = not isinstance(layer, keras.layers.Layer) and type(layer).__name__ in ELEMENTWISE
    if isinstance(layer, MERGES) or elementwise:
        return _merge(layer, incoming)
    (geometry,) = incoming
    if isinstance(layer, GLOBAL):  # squeeze-and-excitation multiplies the result with the map
        return dataclasses.replace(geometry, receptive_field=math.inf)
    if geometry.is_global and isinstance(layer, keras.layers.Reshape):
        return geometry
    if isinstance(layer, POINTWISE) or type(layer).__name__ in POINTWISE_BY_NAME:
        return geometry
    if isinstance(layer, keras.layers.ZeroPadding2D):
        return geometry.shift(-layer.padding[axis][0])
    if isinstance(layer, keras.layers.Cropping2D):
        return geometry.shift(layer.cropping[axis][0])
    if isinstance(layer, keras.layers.UpSampling2D):  # half-pixel centres
        factor = layer.size[axis]
        kernel = INTERPOLATION_WIDTHS[layer.interpolation] * factor
        return geometry.upsample(factor, kernel, crop=(kernel - factor) / 2)
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return _trace_transposed(layer, geometry, axis)
    if hasattr(layer, "strides") and (hasattr(layer, "kernel_size") or hasattr(layer, "pool_size")):
        return _trace_convolution(layer, geometry, axis)
    raise ValueError(
        f"Cannot follow the image through layer {layer.name!r} ({type(layer).__name__}): expected convolutions, "
        "pooling, padding, cropping, upsampling, merges and pointwise layers. Fix: give the layer a method "
        "`compute_geometry(incoming)` that returns the Geometry of its output."
    )


def _trace_convolution(layer, geometry, axis):
    kernel = (getattr(layer, "kernel_size", None) or layer.pool_size)[axis]
    stride = layer.strides[axis]
    dilation = getattr(layer, "dilation_rate", (1, 1))[axis]
    before = 0
    if layer.padding == "same":
        before = max(dilation * (kernel - 1) + 1 - stride, 0) // 2
    return geometry.convolve(kernel, stride, before, dilation)


def _trace_transposed(layer, geometry, axis):
    kernel, factor = layer.kernel_size[axis], layer.strides[axis]
    crop = max(kernel - factor, 0) // 2 if layer.padding == "same" else 0
    return geometry.upsample(factor, kernel, crop)


def _merge(layer, incoming):
    """The geometry of merged maps. A merged unit depends on the pixels that the units of all branches depend on."""
    if len({g.stride for g in incoming}) != 1:
        raise ValueError(
            f"Layer {layer.name!r} merges maps with the strides {sorted(g.stride for g in incoming)}: expected one "
            "stride. Fix: upsample or pool before the merge."
        )
    if any(g.is_global for g in incoming):
        local = next((g for g in incoming if not g.is_global), incoming[0])
        return dataclasses.replace(local, receptive_field=math.inf)
    start = min(g.offset - (g.receptive_field - 1) / 2 for g in incoming)
    end = max(g.offset + (g.receptive_field - 1) / 2 for g in incoming)
    return Geometry(incoming[0].stride, math.ceil(end - start) + 1, (start + end) / 2)
