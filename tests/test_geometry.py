"""Geometry, compared with the authors' numbers and with impulses sent through random networks."""

import math

import keras
import numpy as np
import pytest

from fcn_keras.geometry import Geometry, trace, trace_outputs
from fcn_keras.layers.cropping import CropLike
from fcn_keras.layers.padding import PadToStride
from fcn_keras.layers.upsampling import BilinearConv2DTranspose, BilinearUpsampling2D

VGG16_CONVOLUTIONS = (2, 2, 3, 3, 3)  # before each of the five poolings


def vgg16(padding):
    """The geometries of pool3, pool4, pool5 and fc7 of the authors' VGG16, step by step. `padding` is that of conv1_1."""
    geometry, pools = Geometry(), []
    for convolutions in VGG16_CONVOLUTIONS:
        for _ in range(convolutions):
            geometry = geometry.convolve(3, padding=padding)
            padding = 1
        geometry = geometry.convolve(2, stride=2)
        pools.append(geometry)
    fc6 = geometry.convolve(7)
    return *pools[2:], fc6.convolve(1)


def test_receptive_fields_and_strides_of_vgg16():
    found = [(g.receptive_field, g.stride) for g in vgg16(padding=1)]
    assert found == [(44, 8), (100, 16), (212, 32), (404, 32)]


def test_keras_vgg16_is_the_network_by_hand():
    traced = trace(keras.applications.VGG16(weights=None, include_top=False))
    assert [traced[f"block{i}_pool"] for i in (3, 4, 5)] == list(vgg16(padding=1)[:3])


def test_the_authors_crops():
    pool3, pool4, _, fc7 = vgg16(padding=100)
    assert (pool3.offset, pool4.offset, fc7.offset) == (-95.5, -91.5, 12.5)
    assert fc7.upsample(32, kernel=64) == Geometry(1, fc7.receptive_field + 32, -19)  # score: crop 19
    upscore2 = fc7.upsample(2, kernel=4)
    assert upscore2.offset == -11.5
    assert pool4.shift(5).offset == upscore2.offset  # score_pool4c: crop 5
    assert upscore2.upsample(16, kernel=32).offset == -27  # score of 16s: crop 27
    upscore_pool4 = upscore2.upsample(2, kernel=4)
    assert upscore_pool4.offset == -23.5
    assert pool3.shift(9).offset == upscore_pool4.offset  # score_pool3c: crop 9
    assert upscore_pool4.upsample(8, kernel=16).offset == -31  # score of 8s: crop 31


def test_centre_of_a_unit():
    assert Geometry(stride=32, receptive_field=404, offset=12.5).centre(3) == 108.5


SIDE = 112


def symmetric(generator, size):
    values = generator.uniform(0.5, 1, size)
    return values + values[::-1]


def set_symmetric_kernels(model, generator):
    """Makes kernels positive and symmetric, so that the weights of a unit are symmetric around its centre."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            height, width = layer.kernel_size
            kernel = np.outer(symmetric(generator, height), symmetric(generator, width))
            layer.set_weights([kernel[:, :, None, None] / kernel.sum(), *layer.get_weights()[1:]])


def random_layer(generator, fine, even):
    """A layer that changes the geometry of the two axes differently.

    Upsampling unless the map is as fine as the image; strided same padding, which depends on the size, on even maps only.
    """
    pair = lambda *values: tuple(int(n) for n in generator.choice(values, 2))  # noqa: E731
    side = lambda *values: int(generator.choice(values))  # noqa: E731
    padding = str(generator.choice(["same", "valid"])) if even else "valid"
    layers = [
        lambda: keras.layers.Conv2D(1, pair(1, 2, 3, 4, 5), strides=pair(1, 2), padding=padding),
        lambda: keras.layers.Conv2D(1, pair(2, 3, 5), dilation_rate=pair(1, 2, 3), padding=padding),
        lambda: keras.layers.DepthwiseConv2D(pair(2, 3, 4), strides=side(1, 2), padding=padding),
        lambda: keras.layers.AveragePooling2D(pair(1, 2, 3), strides=pair(1, 2), padding="valid"),
        lambda: keras.layers.ZeroPadding2D((pair(0, 1, 3), pair(0, 2, 5))),
        lambda: keras.layers.Cropping2D((pair(0, 1, 2), pair(0, 1, 3))),
        lambda: keras.layers.UpSampling2D(2, interpolation="bilinear"),
        lambda: BilinearConv2DTranspose(1, 2, side(3, 4), padding),
        lambda: BilinearUpsampling2D(2, side(3, 4), padding),
    ]
    return layers[generator.integers(6 if fine else len(layers))]()


def responses(model, axis):
    """``(pixel, unit)``: the values of the units of the middle row if one line of the image across `axis` is lit."""
    lines = np.zeros((SIDE, SIDE, SIDE, 1), "float32")
    lines[np.arange(SIDE), np.arange(SIDE)] = 1
    maps = model.predict(lines if axis == 0 else lines.transpose(0, 2, 1, 3), batch_size=32, verbose=0)[..., 0]
    middle = maps.shape[2 - axis] // 2
    return maps[:, :, middle] if axis == 0 else maps[:, middle]


def random_network(seed):
    generator = np.random.default_rng(seed)
    x = image = keras.Input((SIDE, SIDE, 1))
    upsamples = False
    for _ in range(5):
        known = keras.Model(image, x)
        fine = min(trace_outputs(known, axis)[0].stride for axis in (0, 1)) < 2
        layer = random_layer(generator, fine, even=not any(side % 2 for side in x.shape[1:3]))
        upsamples |= isinstance(layer, BilinearConv2DTranspose | BilinearUpsampling2D | keras.layers.UpSampling2D)
        x = layer(x)
    model = keras.Model(image, x)
    set_symmetric_kernels(model, generator)
    return model, upsamples


@pytest.mark.parametrize("seed", range(12))
def test_impulses_through_random_networks(seed):
    """The weights of a unit have the predicted centre. Without upsampling, they fill exactly the predicted window."""
    model, upsamples = random_network(seed)
    for axis in (0, 1):
        (geometry,) = trace_outputs(model, axis)
        weights = responses(model, axis).astype("float64")
        pixels, widest, seen = np.arange(SIDE), 0, 0
        for unit in range(weights.shape[1]):
            reach = (geometry.receptive_field - 1) / 2 + 2 * geometry.stride + 1
            if geometry.centre(unit) - reach < 12 or geometry.centre(unit) + reach > SIDE - 13:
                continue  # padding somewhere below takes part
            seen += 1
            column = weights[:, unit]
            assert pixels @ column / column.sum() == pytest.approx(geometry.centre(unit), abs=1e-3)
            window = pixels[column > 1e-9]
            widest = max(widest, np.ptp(window) + 1)
            if not upsamples:
                centre = (window[0] + window[-1]) / 2
                assert (centre, np.ptp(window) + 1) == (geometry.centre(unit), geometry.receptive_field)
        assert seen
        assert widest <= geometry.receptive_field  # after an upsampling some units see less than others


def test_max_pooling_looks_where_average_pooling_looks():
    image = keras.Input((SIDE, SIDE, 1))
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same")(image)
    model = keras.Model(image, keras.layers.MaxPooling2D((2, 3), strides=2)(x))
    for axis in (0, 1):
        (geometry,) = trace_outputs(model, axis)
        window = np.flatnonzero(responses(model, axis)[:, 9])
        assert (np.mean(window), len(window)) == (geometry.centre(9), geometry.receptive_field)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("kernel", "factor"), [(2, 2), (3, 2), (4, 2), (3, 3), (8, 4), (7, 4), (1, 2)])
def test_transposed_convolutions_of_keras(kernel, factor, padding):
    """In the output, the kernel of a unit is centred on the position that the geometry gives."""
    image = keras.Input((9, 9, 1))
    layer = keras.layers.Conv2DTranspose(1, kernel, strides=factor, padding=padding, use_bias=False)
    model = keras.Model(image, layer(image))
    layer.set_weights([np.ones((kernel, kernel, 1, 1))])
    (geometry,) = trace_outputs(model)
    impulse = np.zeros((1, 9, 9, 1), "float32")
    impulse[0, 4, 4] = 1
    lit = np.flatnonzero(model.predict(impulse, verbose=0)[0, :, :, 0].any(1))
    assert geometry.stride == 1 / factor
    assert np.mean([geometry.centre(i) for i in lit]) == pytest.approx(4)


def test_branches_merge_into_the_window_around_both():
    image = keras.Input((SIDE, SIDE, 1))
    wide = keras.layers.Conv2D(1, 9, padding="same", kernel_initializer="ones")(image)
    early = keras.layers.Cropping2D(((0, 3), (0, 3)))(image)  # looks at the same pixels
    late = keras.layers.Cropping2D(((3, 0), (3, 0)))(image)  # three pixels further
    for branches in [(image, wide), (early, late)]:
        model = keras.Model(image, keras.layers.Add()(branches))
        (geometry,) = trace_outputs(model)
        window = np.flatnonzero(responses(model, 0)[:, 50])
        assert (np.ptp(window) + 1, (window[0] + window[-1]) / 2) == (geometry.receptive_field, geometry.centre(50))


def test_squeeze_and_excitation_sees_the_whole_image_and_keeps_its_place():
    image = keras.Input((32, 32, 4))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="conv")(image)
    squeezed = keras.layers.GlobalAveragePooling2D()(x)
    squeezed = keras.layers.Reshape((1, 1, 4))(squeezed)
    excited = keras.layers.Conv2D(4, 1, activation="sigmoid")(squeezed)
    model = keras.Model(image, keras.layers.Multiply(name="scaled")([x, excited]))
    found = trace(model)
    assert found["scaled"].is_global and math.isinf(found["scaled"].receptive_field)
    assert (found["scaled"].stride, found["scaled"].offset) == (found["conv"].stride, found["conv"].offset) == (2, 1)


def test_nested_models_sequential_models_and_heads():
    block = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3, strides=2), keras.layers.ReLU()])
    x = image = keras.Input((64, 64, 3))
    x = block(keras.layers.ZeroPadding2D(1)(image))
    x = keras.layers.Dense(2, name="scores")(keras.layers.Flatten(name="flat")(x))
    found = trace(keras.Model(image, x))
    assert found[block.name] == Geometry(2, 3, 0)
    assert not {"flat", "scores"} & set(found)
    assert trace(block)[block.layers[-1].name] == Geometry(2, 3, 1)


def test_a_list_of_layers_is_a_chain():
    block = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3, strides=2)], name="block")
    layers = [
        keras.layers.ZeroPadding2D(100, name="pad"),
        keras.layers.Conv2D(8, 3, name="conv1_1"),
        block,
        keras.layers.Conv2DTranspose(8, 4, strides=2, name="up"),
        keras.layers.Flatten(name="flat"),
    ]
    found = trace(layers)
    assert found == {
        "pad": Geometry(1, 1, -100),
        "conv1_1": Geometry(1, 3, -99),
        "block": Geometry(2, 5, -98),
        "up": Geometry(1, 7, -99.5),
    }


def test_operators_between_layers():
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(3, 3, name="conv")(image)
    x = keras.layers.ReLU(name="after")(2 * x + keras.ops.multiply(x, x) / 3)
    assert trace(keras.Model(image, x))["after"] == Geometry(1, 3, 1)


def test_a_layer_used_twice():
    x = image = keras.Input((64, 64, 3))
    conv = keras.layers.Conv2D(3, 3, name="shared")
    model = keras.Model(image, conv(conv(x)))
    assert trace_outputs(model) == [Geometry(1, 5, 2)]
    assert trace_outputs(keras.Model(image, conv(image))) == [Geometry(1, 3, 1)]


def test_layers_of_the_package():
    image = keras.Input((None, None, 1))
    padded = PadToStride(32, before=3)(image)
    coarse = keras.layers.AveragePooling2D(4)(padded)
    fine = BilinearUpsampling2D(4, 8)(coarse)
    cropped = CropLike(offset=5)([fine, image])
    assert trace_outputs(keras.Model(image, [padded, coarse, fine, cropped])) == [
        Geometry(1, 1, -3),
        Geometry(4, 4, -1.5),
        Geometry(1, 8, -5),
        Geometry(1, 8, 0),
    ]


def test_maps_of_different_strides_do_not_merge():
    image = keras.Input((None, None, 3))
    x = keras.layers.AveragePooling2D(2)(image)
    x = keras.layers.Add(name="clash")([keras.layers.Conv2D(3, 1, strides=2)(image), x])
    same = keras.layers.Conv2D(3, 3, strides=2, padding="same", name="conv")(x)
    assert trace(keras.Model(image, same))["clash"].stride == 2

    fixed = keras.Input((8, 8, 3))
    pooled = keras.layers.AveragePooling2D(8)(fixed)  # 1×1: broadcasts, and has another stride
    model = keras.Model(fixed, keras.layers.Multiply(name="clash")([fixed, pooled]))
    with pytest.raises(ValueError, match=r"'clash' merges maps with the strides \[1, 8\]"):
        trace(model)


@pytest.mark.parametrize(
    "layer", [keras.layers.Permute((2, 1, 3), name="odd"), keras.layers.Lambda(lambda x: x, name="odd")]
)
def test_layers_that_move_pixels_unknown(layer):
    image = keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match=r"'odd' \((Permute|Lambda)\).*geometry\(incoming\)"):
        trace(keras.Model(image, layer(image)))
