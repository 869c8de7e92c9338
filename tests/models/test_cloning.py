"""Every function that copies weights from one net to another, with every kind of upsampling."""

import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras.export.folding import fold_batch_norm, fold_bilinear
from fcn_keras.layers._keras import get_all_layers
from fcn_keras.layers.depthwise import BilinearDepthwiseConv2DTranspose
from fcn_keras.layers.upsampling import BilinearConv2DTranspose, BilinearUpsampling2D
from fcn_keras.models import BACKBONES, Backbone, FCN8s, FCN16s, FCN32s, dilate, fusion, upgrade
from fcn_keras.models.any_size import allow_any_size
from fcn_keras.models.cloning import copy_weights
from fcn_keras.models.fine_fcn import make_fine_fcn

UPSAMPLINGS = ("frozen", "learned_inner", "learned", "learned_depthwise")
NETS = {"32s": FCN32s, "16s": FCN16s, "8s": FCN8s}
INNER, LAST = ("upscore2", "upscore_pool4"), ("upscore", "upscore16", "upscore8")
CLASSES = 3
layers = keras.layers


def photo(height=45, width=70, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (1, height, width, 3)).astype("float32")


def small_trunk(kernel):
    """Five strided convolutions. If the kernel is even, the units lie between pixels; if it is odd, on pixels."""
    x = image = keras.Input((None, None, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    for level in range(1, 6):
        x = layers.Conv2D(6, kernel, strides=2, padding="same", name=f"level{level}")(x)
        x = layers.BatchNormalization(name=f"norm{level}")(x)
    return keras.Model(image, x)


def backbone(kernel):
    keras.utils.set_random_seed(kernel)
    trunk = small_trunk(kernel)
    return Backbone(lambda weights: trunk, tuple(f"norm{level}" for level in (3, 4, 5)), pretrained=None)


def trained(model, but=()):
    """Changes every weight as training would, also the statistics of batch normalization, except those in `but`."""
    generator = np.random.default_rng(1)
    for layer in get_all_layers(model):
        if layer.weights and not isinstance(layer, keras.Model) and layer.name not in but:
            values = [w + generator.uniform(0.0, 0.2, w.shape) for w in layer.get_weights()]
            layer.set_weights(values)
    return model


def run(model, image):
    return np.asarray(model(keras.ops.convert_to_tensor(image)))


def at(model, name):
    return keras.Model(model.inputs[0], model.get_layer(name).output)


def assert_same(found, expected, rtol=2e-5):
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * np.abs(expected).max())


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
@pytest.mark.parametrize("kernel", [2, 3])
def test_the_finer_net_predicts_what_the_coarser_does(kernel, upsampling):
    """The inner kernels have been trained, the last one is still bilinear. If units lie on pixels, nothing changes.

    With units between pixels ×2 then ×16 is not ×32; up to the last upsampling, even so nothing changes.
    """
    net = trained(FCN32s(CLASSES, backbone(kernel), upsampling=upsampling), but=LAST)
    for fused in ("fuse_pool4", "fuse_pool3"):
        finer_net = upgrade(net, upsampling)
        assert fusion.find_upsampling(finer_net) == upsampling
        if kernel == 3:
            assert_same(run(finer_net, photo()), run(net, photo()))
        before = "score_fr" if fused == "fuse_pool4" else "fuse_pool4"
        np.testing.assert_array_equal(run(at(finer_net, before), photo()), run(at(net, before), photo()))
        net = trained(finer_net, but=(*LAST, "backbone"))


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
@pytest.mark.parametrize(("kernel", "factor"), [(2, 2), (3, 1)])
def test_the_nets_finer_than_8s_predict_what_it_does(kernel, upsampling, factor):
    net = trained(FCN8s(CLASSES, backbone(kernel), upsampling=upsampling), but=LAST)
    finest = make_fine_fcn(net, factor, features=4)
    for name in ("fuse_pool4", "fuse_pool3"):
        np.testing.assert_array_equal(run(at(finest, name), photo()), run(at(net, name), photo()))
    if kernel == 3:
        assert_same(run(finest, photo()), run(net, photo()))
    assert_same(
        run(make_fine_fcn(finest, factor, features=4), photo()), run(finest, photo())
    )  # its own steps are carried, too
    with pytest.raises(ValueError, match=r"features4.*with \(3, 3, .*, 5\).*\. Fix: "):
        make_fine_fcn(finest, factor, features=5)


@pytest.mark.parametrize("upsampling", ["learned", "learned_depthwise"])
def test_a_last_kernel_that_was_learned_is_named(upsampling):
    """Two layers cannot do the same as one trained layer, so this is the only kernel that is not copied."""
    nets = {"upscore": FCN32s, "upscore16": FCN16s, "upscore8": FCN8s}
    for last, make in nets.items():
        net = trained(make(CLASSES, backbone(2), upsampling=upsampling))
        with pytest.warns(UserWarning, match=rf"learned the kernel of '{last}'.*start bilinear.*first predictions"):
            make_fine_fcn(net) if last == "upscore8" else upgrade(net)


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
@pytest.mark.parametrize(("kernel", "net"), [(2, "8s"), (3, "16s")])
def test_copies_predict_the_same(kernel, net, upsampling):
    """A model that is copied, folded, saved or loaded gives the same numbers up to float32 rounding."""
    model = trained(NETS[net](CLASSES, backbone(kernel), upsampling=upsampling))
    expected = run(model, photo())
    np.testing.assert_array_equal(run(allow_any_size(model), photo()), expected)
    np.testing.assert_array_equal(run(fold_bilinear(model), photo()), expected)
    assert_same(run(fold_batch_norm(fold_bilinear(model)), photo()), expected)
    fresh = NETS[net](CLASSES, backbone(kernel), upsampling=upsampling)
    folded = fold_bilinear(fresh)
    assert not any(isinstance(x, BilinearConv2DTranspose | BilinearDepthwiseConv2DTranspose) for x in folded.layers)


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
def test_a_net_that_upsamples_is_not_dilated(upsampling):
    net = FCN16s(CLASSES, backbone(2), upsampling=upsampling)
    with pytest.raises(ValueError, match="Cannot .* layer 'upscore2'"):
        dilate(at(net, "upscore2"), 2)


@pytest.mark.parametrize("kernel", [2, 3])
def test_from_one_kind_of_upsampling_to_another(kernel):
    """A kernel that the other layer can represent is copied and predicts the same. Any other raises an error."""
    own = backbone(kernel)
    nets = {kind: trained(FCN16s(CLASSES, own, upsampling=kind), but=("upscore16",)) for kind in UPSAMPLINGS}
    expected = {kind: run(at(upgrade(net), "fuse_pool4"), photo()) for kind, net in nets.items()}
    for before, after in [("frozen", "learned"), ("frozen", "learned_depthwise"), ("learned_depthwise", "learned")]:
        found = upgrade(nets[before], after)
        assert fusion.find_upsampling(found) == after
        assert_same(run(at(found, "fuse_pool4"), photo()), expected[before], rtol=1e-6)
    for before, after in [
        ("learned", "frozen"),
        ("learned_depthwise", "frozen"),
        ("learned_inner", "learned_depthwise"),
    ]:
        with pytest.raises(ValueError, match=r"layer 'upscore2' .*is a Bilinear.* there\. Fix: "):
            upgrade(nets[before], after)
    for before, after in [("learned", "frozen"), ("learned_depthwise", "frozen"), ("learned", "learned_depthwise")]:
        net = trained(FCN16s(CLASSES, own, upsampling=before), but=(*INNER, *LAST))  # nothing learned yet
        assert_same(run(at(upgrade(net, after), "fuse_pool4"), photo()), run(at(net, "fuse_pool4"), photo()), rtol=1e-6)


def test_a_kernel_that_keeps_channels_apart_fits_a_depthwise_layer():
    dense = keras.Sequential([keras.Input((None, None, 2)), BilinearConv2DTranspose(2, 2, name="up")])
    deep = keras.Sequential([keras.Input((None, None, 2)), BilinearDepthwiseConv2DTranspose(2, name="up")])
    fixed = keras.Sequential([keras.Input((None, None, 2)), BilinearUpsampling2D(2, 3, name="up")])
    kernel = np.random.default_rng(0).normal(size=(4, 4, 2, 2)) * np.eye(2)
    dense.layers[0].set_weights([kernel])
    copy_weights(dense, deep)
    x = photo()[..., :2]
    assert_same(run(deep, x), run(dense, x))
    dense.layers[0].set_weights([kernel + np.float32(1e-3)])
    with pytest.raises(ValueError, match="'up'"):
        copy_weights(dense, deep)
    with pytest.raises(ValueError, match="'up'"):
        copy_weights(keras.Sequential([keras.Input((None, None, 2)), BilinearConv2DTranspose(2, 2, name="up")]), fixed)


def test_nothing_is_dropped_without_a_word():
    def net(*units, **names):
        chain = [layers.Dense(n, name=name) for name, n in names.items()]
        return keras.Sequential([keras.Input((4,)), *chain], name="net")

    source, smaller, wider = net(first=3, second=2), net(first=3), net(first=3, second=5)
    before = wider.get_weights()
    with pytest.raises(ValueError, match=r"'second' \(3, 2\), \(2,\) does not exist there\. Fix: "):
        copy_weights(source, smaller)
    with pytest.raises(ValueError, match=r"'second' \(3, 2\), \(2,\) is a Dense with \(3, 5\), \(5,\) there"):
        copy_weights(source, wider)
    for ours, theirs in zip(wider.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)  # all or nothing
    copy_weights(source, smaller, skip=["second"])
    np.testing.assert_array_equal(smaller.get_weights()[0], source.get_weights()[0])
    more = net(first=3, second=2, third=7)
    copy_weights(source, more)
    np.testing.assert_array_equal(more.get_layer("second").kernel, source.get_layer("second").kernel)


def test_an_fcn_32s_fixed_is_trained_whole_after_the_upgrade():
    """All layers are trainable, as in the paper; batch normalization keeps its flags."""
    net = FCN32s(CLASSES, backbone(3), upsampling="learned")
    expected = {w.path for w in upgrade(net).trainable_weights}
    for layer in net.layers:
        layer.trainable = layer.name == "score_fr"
    assert len(net.trainable_weights) == 2
    finer_net = upgrade(net)
    assert {w.path for w in finer_net.trainable_weights} == expected
    assert len(expected) == 5 * 2 + 2 * 2 + 2  # convolutions, score layers, upscore2 and upscore16
    assert len(net.trainable_weights) == 2
    net.get_layer("backbone").get_layer("norm4").trainable = True
    norms = {layer.name: layer.trainable for layer in upgrade(net).get_layer("backbone").layers if "norm" in layer.name}
    assert norms == {f"norm{level}": level == 4 for level in range(1, 6)}
    fixed = upgrade(upgrade(net))
    for layer in fixed.layers:
        layer.trainable = False
    assert len(make_fine_fcn(fixed, features=4).get_layer("backbone").trainable_weights) == 5 * 2


def test_copies_keep_what_was_frozen():
    model = small_trunk(3)
    model.get_layer("level2").trainable = False
    for copy in (allow_any_size(model), fold_bilinear(model), fold_batch_norm(model), dilate(model, 2)):
        assert [x.name for x in copy.layers if x.name.startswith("level") and not x.trainable] == ["level2"]


def test_a_convolutionalized_classifier_keeps_flags_and_regularizers():
    fc = layers.Dense(5, "relu", kernel_regularizer=keras.regularizers.L2(0.1), name="fc")
    chain = [layers.Conv2D(4, 3, name="conv"), layers.Flatten(), fc, layers.Dense(2, name="last")]
    classifier = keras.Sequential([keras.Input((6, 6, 3)), *chain])
    classifier.get_layer("conv").trainable = False
    classifier.get_layer("last").trainable = False
    converted = fcn_keras.convolutionalize(classifier)
    assert [x.name for x in converted.layers if x.weights and not x.trainable] == ["conv", "last"]
    loss = 0.1 * np.sum(np.square(classifier.get_layer("fc").kernel))
    np.testing.assert_allclose(float(sum(converted.losses)), loss, rtol=1e-5)


@pytest.mark.parametrize("head", ["auto", None])
def test_the_weights_of_a_file_arrive_in_the_trunk(head, tmp_path):
    """Loads files of the whole classifier, of the trunk only, and of a classifier for other classes."""
    make = fcn_keras.MiniVGG
    sources = {"whole": make(weights=None), "five": make(5, weights=None)}
    if head is None:
        sources["trunk"] = make(weights=None, include_top=False)
    for name, source in sources.items():
        if name == "five" and head == "auto":
            continue  # the whole classifier of nine classes does not take it
        source.save_weights(tmp_path / f"{name}.weights.h5")
        found = BACKBONES["mini_vgg"].feature_extractor(tmp_path / f"{name}.weights.h5", head)
        for layer in found.layers:
            if layer.weights:
                ours, theirs = layer.get_weights(), source.get_layer(layer.name).get_weights()
                np.testing.assert_array_equal(ours[0].reshape(theirs[0].shape), theirs[0])
                np.testing.assert_array_equal(ours[1], theirs[1])
