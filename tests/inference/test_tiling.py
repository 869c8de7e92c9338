"""Tiled logits are compared with those of the whole image, on nets in which every weight matters."""

import dataclasses

import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras import geometry, paper
from fcn_keras.inference import predictor
from fcn_keras.inference.segment import predict_logits, segment
from fcn_keras.inference.tiling import Tiling
from fcn_keras.layers.cropping import CropLike
from fcn_keras.models import backbones
from fcn_keras.models.any_size import allow_any_size
from fcn_keras.models.feature_layers import find_feature_layers

EXACT = 1e-5  # of the range of the logits: float32 rounding


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), "uint8")


def randomized(model, seed=0):
    """Gives the model random weights and biases that keep the signal large, so that padding changes the logits."""
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            randomized(layer, seed)
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D) and layer.trainable:
            kernel, *biases = layer.get_weights()
            inputs = kernel[..., 0].size if isinstance(layer, keras.layers.Conv2D) else kernel[..., 0, 0].size
            kernel = generator.normal(scale=(2 / inputs) ** 0.5, size=kernel.shape)
            layer.set_weights([kernel, *(generator.normal(scale=0.1, size=bias.shape) for bias in biases)])
    return model


def thin_vgg16(net):
    """One of the package's nets on a VGG16 with two to eight channels, fully connected layers included."""
    x = image = keras.Input((224, 224, 3))
    for stage, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
        for _ in range(convolutions):
            x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D(2, name=f"pool{stage}")(x)
    x = keras.layers.Flatten()(x)
    for name in ("fc1", "fc2"):
        x = keras.layers.Dense(8, activation="relu", name=name)(x)
    classifier = keras.Model(image, keras.layers.Dense(5)(x))
    pools = ("pool3", "pool4", "pool5")
    return net(5, backbones.Backbone(lambda weights: classifier, pools, "caffe", ("fc1", "fc2"), None))


def assert_seamless(model, size, tile, tiles):
    """Checks the logits, and the numbers of rows and columns of tiles."""
    image = photo(*size)
    tiling = Tiling.for_model(model, tile)
    assert tuple(len(tiling.cut(side, axis)) for axis, side in enumerate(size)) == tiles
    whole, tiled = predict_logits(model, image), predict_logits(model, image, tile, progress=False)
    assert whole.dtype == tiled.dtype == np.float32
    scale = np.ptp(whole, axis=(0, 1)).min()  # over positions: no class is constant
    assert scale > 0
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=EXACT * scale)


@pytest.mark.parametrize(
    ("size", "tile", "tiles"),
    [
        ((401, 533), 64, (1, 3)),
        ((385, 420), (96, 64), (1, 2)),
        ((500, 417), 33, (5, 3)),  # as 32
        ((352, 385), 32, (1, 2)),  # a window, 32 + 2 * 160; two of them and a remainder of one pixel
        ((61, 700), 128, (1, 3)),
        ((40, 50), 64, (1, 1)),
        ((1, 450), 64, (1, 2)),
    ],
)
def test_sizes_and_tiles(size, tile, tiles):
    assert_seamless(randomized(fcn_keras.FCN8s(5, "mini_vgg", weights=None)), size, tile, tiles)


@pytest.mark.parametrize("net", [fcn_keras.FCN32s, fcn_keras.FCN16s, fcn_keras.FCN8s])
def test_nets_on_mini_vgg(net):
    assert_seamless(randomized(net(5, "mini_vgg", weights=None)), (33, 478), 64, (1, 2))


@pytest.mark.parametrize("net", [fcn_keras.FCN32s, fcn_keras.FCN16s, fcn_keras.FCN8s])
def test_nets_on_vgg16(net):
    assert_seamless(randomized(thin_vgg16(net)), (701, 45), 96, (2, 1))


def test_nets_that_pad_in_front():
    """Units on pixels, odd kernels; MobileNetV2 as Keras builds it for 224 pixels pads by 14 at the top and left."""
    trunk = keras.applications.MobileNetV2(weights=None, include_top=False, alpha=0.35, input_shape=(224, 224, 3))
    model = fcn_keras.FCN8s(5, backbones.Backbone(lambda weights: trunk, find_feature_layers(trunk), "tf"))
    assert model.get_layer("pad").before == 14
    assert_seamless(randomized(model), (47, 801), 96, (1, 3))


def thin_resnet():
    """The strides and paddings of ResNet50, with one block in each stage and eight channels."""
    x = image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 7, strides=2, activation="relu")(keras.layers.ZeroPadding2D(3)(x))
    x = keras.layers.MaxPooling2D(3, strides=2)(keras.layers.ZeroPadding2D(1)(x))
    for _ in range(3):
        y = keras.layers.Conv2D(8, 1, strides=2, activation="relu")(x)
        y = keras.layers.Conv2D(8, 3, padding="same")(y)
        x = keras.layers.ReLU()(keras.layers.Add()([keras.layers.Conv2D(8, 1, strides=2)(x), y]))
    return keras.Model(image, x)


def test_nets_that_pad_only_after_the_image():
    model = fcn_keras.FCN8s(5, thin_resnet())
    assert model.get_layer("pad").before == 0
    assert_seamless(randomized(model), (31, 401), 96, (1, 2))


@pytest.mark.parametrize("net", [paper.CaffeFCN32s, paper.CaffeFCN16s, paper.CaffeFCN8s, paper.CaffeFCNAlexNet])
def test_the_authors_nets(net):
    """They pad by 100 pixels, and each pooling rounds sizes up."""
    assert_seamless(randomized(net(5, width=1 / 32)), (45, 801), 128, (1, 3))


def test_both_axes():
    model = randomized(fcn_keras.FCN8s(3, "mini_vgg", weights=None, upsampling="learned"))
    assert_seamless(model, (500, 533), (96, 128), (2, 2))


def test_less_halo_leaves_seams():
    """With a smaller halo, the tests above would fail."""
    model, image = randomized(fcn_keras.FCN8s(5, "mini_vgg", weights=None)), photo(33, 478)
    whole = predict_logits(model, image)
    tiling = predictor.get_predictor(model).get_tiling(model, 64)
    predictor.get_predictor(model).tilings["64"] = dataclasses.replace(tiling, halo=(64, 64))
    assert np.abs(predict_logits(model, image, 64, progress=False) - whole).max() > 0.01 * np.ptp(whole)


def test_halo_of_the_authors_fcn32s():
    """Unit i of fc7 is centred on 32 i + 12.5 and sees 404 pixels; its kernel of 64 paints up to 31.5 pixels away."""
    assert (404 - 1) / 2 + (64 - 1) / 2 == 233
    assert Tiling.for_model(paper.CaffeFCN32s(21, width=1 / 32), 512) == Tiling((512, 512), (32, 32), (256, 256))


def random_net(seed):
    """A random net with downsampling, upsampling, skips, every kind of padding and kernel, and a crop at its end."""
    generator = np.random.default_rng(seed)
    draw = lambda *values: values[generator.integers(len(values))]  # noqa: E731

    def changed(x, strides):
        kernel = (draw(2, 3, 5), draw(1, 3, 4))
        return draw(
            lambda: keras.layers.Conv2D(4, kernel, strides, padding="same", activation="relu")(x),
            lambda: keras.layers.Conv2D(4, kernel, 1, padding="same", dilation_rate=draw(1, 2))(
                keras.layers.MaxPooling2D(draw(2, 3), strides, padding="same")(x)
            ),
            lambda: keras.layers.DepthwiseConv2D(draw(3, 5), strides, padding="same")(x),
            lambda: keras.layers.AveragePooling2D(3, strides)(keras.layers.ZeroPadding2D(draw(1, 3))(x)),
        )()

    def upsampled(x, factor):
        return draw(
            lambda: keras.layers.Conv2DTranspose(4, draw(2, 3, 4, 7), factor, padding="same")(x),
            lambda: keras.layers.Conv2DTranspose(4, draw(4, 5), factor, padding="valid")(x),
            lambda: keras.layers.UpSampling2D(factor, interpolation=draw("nearest", "bilinear"))(x),
        )()

    x = image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    if draw(True, False):  # 1 pixel less at the front, as NASNet does
        x = keras.layers.Cropping2D(((1, 0), (1, 0)))(keras.layers.ZeroPadding2D(((0, 1), (0, 1)))(x))
    skip, factors = x, [draw(2, 3), 2]
    for factor in factors:
        x = changed(x, factor)
    x = keras.layers.Conv2D(4, 3, padding="same")(x)
    for factor in reversed(factors):
        x = upsampled(x, factor)
    x = CropLike(0)([keras.layers.ZeroPadding2D(((0, 6), (0, 6)))(x), image])
    x = keras.layers.Concatenate()([x, CropLike(0)([skip, image])])
    return randomized(keras.Model(image, keras.layers.Conv2D(3, 3, padding="same")(x)), seed)


@pytest.mark.parametrize("seed", range(12))
def test_random_nets(seed):
    """None of them pads its image to the stride, so ``same`` padding depends on the size of the image."""
    model = random_net(seed)
    tiling = Tiling.for_model(model, 16)
    size = tuple(4 * halo + 70 + seed for halo in tiling.halo)
    assert_seamless(model, size, 16, tuple(len(tiling.cut(side, axis)) for axis, side in enumerate(size)))
    assert all(len(tiling.cut(side, axis)) > 1 for axis, side in enumerate(size))


def test_windows_of_random_tilings():
    generator = np.random.default_rng(0)
    for _ in range(2000):
        stride = int(generator.choice([1, 2, 6, 8, 32]))
        halo, tile, side = stride * generator.integers(6), generator.integers(stride, 300), generator.integers(1, 1200)
        tiling = Tiling((int(tile),) * 2, (stride,) * 2, (int(halo),) * 2)
        tiles = tiling.cut(int(side))
        windows = tiling.find_windows(tiles, int(side))
        assert [start for start, _ in tiles] == [0, *(stop for _, stop in tiles[:-1])] and tiles[-1][1] == side
        assert len(set(windows)) == len(windows) and len({stop - start for start, stop in windows}) == 1
        assert windows[0][1] - windows[0][0] <= tile + 2 * halo + stride
        for (start, stop), (first, last) in zip(tiles, windows, strict=True):
            assert first % stride == 0 == (side - last) % stride
            assert first == 0 or start - first >= halo
            assert last == side or last - stop >= halo


def test_the_model_sees_windows_of_one_shape_only(monkeypatch):
    seen, run = [], predictor.Predictor.__call__
    monkeypatch.setattr(
        predictor.Predictor, "__call__", lambda self, end, x: seen.append(x.shape[1:3]) or run(self, end, x)
    )
    model = randomized(fcn_keras.FCN8s(5, "mini_vgg", weights=None))
    mask = segment(model, photo(701, 1303), tile=(64, 200), progress=False)
    assert mask.shape == (701, 1303)
    assert len(seen) == 6 * 5
    assert set(seen) == {(64 + 2 * 160 + 701 % 32, 192 + 2 * 160 + 1303 % 32)}


def test_tiles_are_read_from_the_disk(tmp_path):
    model, image = randomized(fcn_keras.FCN8s(5, "mini_vgg", weights=None)), photo(33, 478)
    image.tofile(tmp_path / "image")
    mapped = np.memmap(tmp_path / "image", "uint8", "r", shape=image.shape)
    np.testing.assert_array_equal(segment(model, mapped, 64, progress=False), segment(model, image))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="counts TensorFlow traces")
def test_one_trace_serves_every_tile_and_image():
    traces = []

    class CountTraces(keras.layers.Layer):
        def call(self, x):
            traces.append(x.shape)
            return x

        def compute_geometry(self, incoming):
            return incoming[0]

    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(3, 3, padding="same")(CountTraces()(image)))
    segment(model, photo(8, 8))
    after_one = len(traces)
    for tile in (None, 20, 30):
        segment(model, photo(50 + (tile or 0), 70), tile, progress=False)
    assert len(traces) == after_one


@pytest.mark.parametrize(
    ("tile", "message"),
    [
        (0, "tile=0: expected at least one pixel"),
        (-64, "tile=-64: expected at least one pixel"),
        (31, r"tile=\(31, 31\): expected at least the total stride of model 'fcn32s', \(32, 32\)"),
        ((64, 16), r"tile=\(64, 16\): expected at least the total stride"),
        (True, "tile=True: expected a number of pixels"),
        (64.0, "tile=64.0: expected a number of pixels"),
        ((64, 64, 3), r"tile=\(64, 64, 3\): expected a number of pixels, such as 1024, or \(height, width\)"),
        ("64", "tile='64': expected a number of pixels"),
    ],
)
def test_bad_tiles(tile, message):
    with pytest.raises(ValueError, match=message):
        segment(fcn_keras.FCN32s(3, "mini_vgg", weights=None), photo(8, 8), tile)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="own")
        self.score = keras.layers.Conv2D(3, 1)

    def call(self, x):
        return self.score(x)


def squeezed(x):
    excited = keras.layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    return keras.layers.Multiply()([x, excited])


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (
            squeezed,
            r"Cannot tile model 'net': layer 'squeeze' \(GlobalAveragePooling2D\) needs the whole image.*Fix",
        ),
        (lambda x: keras.layers.LayerNormalization(axis=(1, 2, 3), name="norm")(x), r"layer 'norm' .* whole image"),
        (lambda x: keras.layers.Lambda(lambda x: x, name="odd")(x), r"Cannot tile.*through layer 'odd' \(Lambda\)"),
        (lambda x: Subclassed()(x), r"Cannot tile model 'net'.*Found model 'own' of type Subclassed.*tile=None"),
    ],
)
def test_models_that_cannot_be_tiled(outputs, message):
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, outputs(image), name="net")
    assert segment(model, photo(8, 8)).shape == (8, 8)
    with pytest.raises(ValueError, match=message):
        segment(model, photo(8, 8), tile=8)


def test_subclassed_models_are_not_tiled():
    with pytest.raises(ValueError, match="Cannot tile model 'own'.*expected a Functional or Sequential"):
        segment(Subclassed(), photo(8, 8), tile=8)


def test_squeeze_and_excitation_inside_a_backbone_is_found():
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 8, strides=8)(image)
    for _ in range(2):
        x = keras.layers.Conv2D(4, 2, strides=2)(x)
    model = fcn_keras.FCN32s(3, keras.Model(image, squeezed(x), name="backbone"))
    assert geometry.trace_outputs(model)[0].is_global
    with pytest.raises(ValueError, match=r"'squeeze' \(GlobalAveragePooling2D\).*mobilenet_v2"):
        segment(model, photo(8, 8), tile=512)


def test_fixed_input_sizes():
    """Windows of 32 x 32, which are 24 pixels and a halo of 4, fit the model. Others do not."""
    image = keras.Input((32, 32, 3))
    model = randomized(keras.Model(image, keras.layers.Conv2D(3, 9, padding="same")(image), name="net"))
    free = allow_any_size(model)
    np.testing.assert_array_equal(segment(model, photo(80, 104), 24, progress=False), segment(free, photo(80, 104)))
    with pytest.raises(ValueError, match=r"net takes images of 32 x 32 only, this one, cut or resized.*23 x 24.*None"):
        segment(model, photo(80, 104), 16)
    with pytest.raises(ValueError, match="net takes images of 32 x 32 only, this one is 80 x 104"):
        segment(model, photo(80, 104))


def test_sequential_models():
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 7, padding="same")])
    assert_seamless(randomized(model), (40, 51), 10, (4, 5))
