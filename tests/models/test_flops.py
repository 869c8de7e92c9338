"""Multiply-accumulates, compared with formulas and with the numbers of the authors' net."""

import keras

import fcn_keras
from fcn_keras import paper
from fcn_keras.models.flops import count_macs


def test_each_kind_of_layer_by_hand():
    image = keras.Input((None, None, 4))
    x = keras.layers.Conv2D(6, 3, strides=2, padding="valid", groups=2, name="grouped")(image)
    x = keras.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = keras.layers.SeparableConv2D(5, (1, 3), padding="same", name="separable")(x)
    x = keras.layers.Dense(7, name="dense")(keras.layers.ReLU()(x))
    x = keras.layers.Conv2DTranspose(2, 4, strides=2, name="transposed")(x)
    x = fcn_keras.layers.upsampling.BilinearUpsampling2D(2, name="bilinear")(x)
    units = 4 * 9  # of an image of 9 × 19
    assert count_macs(keras.Model(image, x), 9, 19) == {
        "grouped": units * 9 * 2 * 6,
        "depthwise": units * 9 * 6 * 2,
        "separable": units * (3 * 12 + 12 * 5),
        "dense": units * 5 * 7,
        "transposed": units * 16 * 7 * 2,
        "bilinear": 2 * (10 * 42 * 2 + 22 * 42 * 2),
    }


def test_shared_layers_nested_models_and_operators():
    image = keras.Input((8, 8, 3))
    conv = keras.layers.Conv2D(3, 1, name="shared")
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3, name="conv")], name="inner")
    assert count_macs(keras.Model(image, inner(conv(conv(image)) + image)), 8, 8) == {
        "shared": 2 * 64 * 9,
        "inner/conv": 36 * 27 * 2,
    }


def unpadded_vgg16():
    """The authors' layers without the padding of 100 pixels; fc6 pads by 3 instead."""
    layers = [keras.Input((None, None, 3))]
    for channels in paper.nets.VGG16:
        layers += [keras.layers.Conv2D(number, 3, padding="same") for number in channels]
        layers += [keras.layers.MaxPooling2D(2, padding="same")]
    return keras.Sequential(
        layers + [keras.layers.Conv2D(n, k, padding="same") for n, k in ((4096, 7), (4096, 1), (21, 1))]
    )


def test_what_the_padding_of_100_pixels_costs():
    """It costs 1.68 times as much as the unpadded net at 500 × 500. The net of this package pads to 512 × 512."""
    padded = sum(count for name, count in count_macs(paper.CaffeFCN32s(), 500, 500).items() if name != "upscore")
    unpadded = sum(count_macs(unpadded_vgg16(), 500, 500).values())
    ours = count_macs(fcn_keras.FCN32s(21, "vgg16", weights=None), 500, 500)
    ours = sum(count for name, count in ours.items() if name != "upscore")
    assert [round(count / 1e9, 1) for count in (padded, unpadded, ours)] == [180.9, 107.8, 110.8]
    assert round(padded / unpadded, 2) == 1.68
