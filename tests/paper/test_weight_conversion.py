"""Reading released weight files, tested on files that the tests write byte by byte."""

import struct
import sys

import numpy as np
import peer
import pytest

from fcn_keras import MiniVGG, paper
from fcn_keras.paper.caffemodel import read_caffemodel

WIDTH = 1 / 16


def net(name, **kwargs):
    return getattr(paper, name)(**{"num_classes": peer.CLASSES, "width": WIDTH, **kwargs})


# A writer of the wire format, from its definition: a key (number << 3 | kind), then a varint, four bytes, or a length
# and bytes.


def varint(n):
    parts = []
    while n > 127:
        parts.append(n & 127 | 128)
        n >>= 7
    return bytes([*parts, n])


def field(number, content):
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(array, legacy=False):
    data = field(5, np.ascontiguousarray(array, "<f4").tobytes())
    if legacy:
        shape = (1,) * (4 - array.ndim) + array.shape
        return b"".join(field(number, n) for number, n in enumerate(shape, start=1)) + data
    return data + field(7, field(1, b"".join(varint(n) for n in array.shape)))


def caffemodel(state, legacy=False):
    """A file with all layers, including layers without weights, and with fields that the reader does not know."""
    names = list(dict.fromkeys(key.rpartition(".")[0] for key in state))
    message = field(1, b"net") + field(2 if legacy else 100, field(4 if legacy else 1, b"relu") + field(5, 18))
    for name in names:
        blobs = [state[key] for key in (f"{name}.weight", f"{name}.bias") if key in state]
        body = b"".join(field(6 if legacy else 7, blob(array, legacy)) for array in blobs)
        body += field(2, b"bottom") + (field(5, 4) if legacy else field(9, b"crop"))
        message += field(2 if legacy else 100, field(4 if legacy else 1, name.encode()) + body)
    return message


@pytest.fixture
def written(tmp_path):
    def write(content, name="net.caffemodel"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else caffemodel(content))
        return path

    return write


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", peer.NETS)
def test_a_caffemodel_gives_what_the_state_dict_gives(written, name, legacy):
    one, other, state = net(name), net(name), peer.state_dict(name)
    loaded = paper.load_caffemodel(one, written(caffemodel(state, legacy)))
    assert set(loaded) == {key.rpartition(".")[0] for key in state}
    paper.load_state_dict(other, state)
    for ours, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    kernel = one.get_layer("fc6").get_weights()[0]
    np.testing.assert_array_equal(kernel[2, 4, 1, 3], state["fc6.weight"][3, 1, 2, 4])


def test_reading_alone(written):
    state = peer.state_dict("CaffeFCN32s")
    found = read_caffemodel(written(state))
    np.testing.assert_array_equal(found["conv1_1"][0], state["conv1_1.weight"])
    assert [array.shape for array in found["upscore"]] == [(5, 5, 64, 64)] and "relu" not in found


def test_scales_of_the_net_at_once(written):
    state = peer.state_dict("CaffeFCN8sAtOnce") | {
        "scale_pool4.weight": np.full(32, 0.01),
        "scale_pool3.weight": np.full(16, 1e-4),
    }
    assert "scale_pool3" in paper.load_caffemodel(net("CaffeFCN8sAtOnce"), written(state))
    state["scale_pool3.weight"] = np.full(16, 1e-3)
    with pytest.raises(ValueError, match="layer 'scale_pool3': found another scale, expected 0.0001"):
        paper.load_caffemodel(net("CaffeFCN8sAtOnce"), written(state))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_classifiers_inner_products_become_convolutions(written, legacy):
    """The VGG16 of ImageNet, from which FCN-32s starts. Its fc6 and fc7 are matrices, flattened as C, H, W; it has an fc8."""
    state = {k: v for k, v in peer.state_dict("CaffeFCN32s").items() if not k.startswith(("score", "upscore"))}
    flat = {k: v.reshape(len(v), -1) if k in ("fc6.weight", "fc7.weight") else v for k, v in state.items()}
    flat["fc8.weight"] = np.ones((10, 256), "float32")
    model = net("CaffeFCN32s")
    loaded = paper.load_caffemodel(model, written(caffemodel(flat, legacy)), strict=False)
    assert "fc6" in loaded and "fc8" not in loaded
    np.testing.assert_array_equal(model.get_layer("fc6").get_weights()[0], state["fc6.weight"].transpose(2, 3, 1, 0))
    assert not np.any(model.get_layer("score_fr").get_weights()[0])


def test_learned_transposed_convolutions(written):
    state = peer.state_dict("CaffeFCN8s", bilinear=False)
    model = net("CaffeFCN8s", upsampling="learned")
    paper.load_caffemodel(model, written(state))
    kernel = model.get_layer("upscore8").get_weights()[0]
    np.testing.assert_array_equal(kernel[3, 7, 1, 2], state["upscore8.weight"][2, 1, 3, 7])
    with pytest.raises(ValueError, match=r"layer 'upscore2': found a transposed.*not the frozen bilinear.*\"learned\""):
        paper.load_caffemodel(net("CaffeFCN8s"), written(state))


def without(state, layer):
    return {key: value for key, value in state.items() if key.rpartition(".")[0] != layer}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: without(s, "conv3_2"), r"missing \['conv3_2'\], unknown \[\]"),
        (lambda s: s | {"fc8.weight": np.ones((2, 3))}, r"missing \[\], unknown \['fc8'\]"),
        (lambda s: s | {"fc7.weight": np.ones((256, 255, 1, 1))}, r"'fc7': found .*\(256, 255, 1, 1\).*expected \[\(256, 256, 1, 1\)"),
        (lambda s: s | {"fc7.bias": np.ones(255)}, r"'fc7': found arrays of shapes .*\(255,\)"),
        (lambda s: {k: v for k, v in s.items() if k != "conv5_1.bias"}, r"'conv5_1': found arrays of shapes \[\(32, 32, 3, 3\)\], expected"),
        (lambda s: s | {"upscore.bias": np.ones(5)}, "'upscore': found a transposed"),
        (lambda s: s | {"upscore.weight": s["upscore.weight"][:, :, ::2, ::2]}, "'upscore': found a transposed"),
        (lambda s: s | {"upscore.weight": s["upscore.weight"] * 1.01}, "'upscore': found a transposed"),
        (lambda s: s | {"upscore.weight": s["upscore.weight"][:4, :4]}, "'upscore': found a transposed.*for 5 classes"),
        (lambda s: s | {"upscore.weight": s["upscore.weight"] * np.nan}, "'upscore': found weights that are not finite"),
        (lambda s: s | {"score_fr.bias": np.full(5, np.inf)}, "'score_fr': found weights that are not finite"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_nothing_is_loaded(written, change, message):
    state = change(peer.state_dict("CaffeFCN32s"))
    for load, source in ((paper.load_caffemodel, written(state)), (paper.load_state_dict, state)):
        model = net("CaffeFCN32s")
        before = model.get_weights()
        with pytest.raises(ValueError, match=message):
            load(model, source)
        for ours, theirs in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def damaged():
    whole = caffemodel(peer.state_dict("CaffeFCN32s"))
    doubles = field(100, field(1, b"conv1_1") + field(7, field(8, np.ones(4).tobytes()) + field(7, field(1, b"\x04"))))
    unpacked = b"".join(varint(5 << 3 | 5) + struct.pack("<f", 1.0) for _ in range(4)) + field(7, field(1, b"\x04"))
    return {
        "cut": (whole[: len(whole) // 2], "incomplete"),
        "text": (b"name: 'VGG_ILSVRC_16_layers'\ninput: 'data'\n", "caffemodel"),
        "names": (field(100, field(1, b"\xff\xfe")), "cannot be read as a caffemodel"),
        "empty": (b"", "Found no layer with weights"),
        "no weights": (field(1, b"net") + field(100, field(1, b"relu")), "Found no layer with weights"),
        "doubles": (doubles, r"layer 'conv1_1': found 0 bytes of weights for the shape \(4,\), expected 16.*single precision"),
        "unpacked": (field(100, field(1, b"conv1_1") + field(7, unpacked)), "layer 'conv1_1': found 0 bytes"),
        "short": (field(100, field(1, b"fc7") + field(7, field(5, bytes(12)) + field(7, field(1, b"\x04")))), "found 12 bytes of weights for the shape"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", damaged())
def test_damaged_files(written, kind):
    content, message = damaged()[kind]
    with pytest.raises(ValueError, match=message):
        paper.load_caffemodel(net("CaffeFCN32s"), written(content))


def test_numbers_that_are_no_whole_floats(written):
    odd = field(100, field(1, b"fc7") + field(7, field(5, bytes(13)) + field(7, field(1, b"\x03"))))
    with pytest.raises(ValueError, match=r"layer 'fc7': found 13 bytes of weights for the shape \(3,\), expected 12"):
        paper.load_caffemodel(net("CaffeFCN32s"), written(odd))


def test_missing_files(tmp_path):
    with pytest.raises(ValueError, match="No caffemodel at"):
        paper.load_caffemodel(net("CaffeFCN32s"), tmp_path / "no.caffemodel")
    with pytest.raises(ValueError, match="No weights at"):
        paper.load_state_dict(net("CaffeFCN32s"), tmp_path / "no.npz")


def test_npz_files_and_other_endings(tmp_path):
    state = peer.state_dict("CaffeFCN16s")
    np.savez(tmp_path / "net.npz", **state)
    one, other = net("CaffeFCN16s"), net("CaffeFCN16s")
    paper.load_state_dict(one, tmp_path / "net.npz")
    paper.load_state_dict(other, state)
    np.testing.assert_array_equal(one(peer.picture(9, 9)), other(peer.picture(9, 9)))
    np.savez(tmp_path / "pickled.npz", **{"fc7.weight": np.array([{}], dtype=object)})
    (tmp_path / "cut.npz").write_bytes((tmp_path / "net.npz").read_bytes()[:-5000])
    for name in ("pickled.npz", "cut.npz"):
        with pytest.raises(ValueError, match=f"{name} cannot be read.*pickled objects, which are never read"):
            paper.load_state_dict(one, tmp_path / name)
    (tmp_path / "net.h5").write_bytes(b"")
    with pytest.raises(ValueError, match=r"expected a mapping, or a file that ends in \.npz or \.pth"):
        paper.load_state_dict(one, tmp_path / "net.h5")
    with pytest.raises(ValueError, match="the name 'fc7.gamma', expected names such as"):
        paper.load_state_dict(one, {"fc7.gamma": np.ones(3)})


def test_pth_files(tmp_path):
    torch = pytest.importorskip("torch", reason="reads files as PyTorch writes them, and it is not installed")
    state = peer.state_dict("CaffeFCN8s")
    torch.save({name: torch.from_numpy(value) for name, value in state.items()}, tmp_path / "net.pth")
    one, other = net("CaffeFCN8s"), net("CaffeFCN8s")
    paper.load_state_dict(one, tmp_path / "net.pth")
    paper.load_state_dict(other, state)
    np.testing.assert_array_equal(one(peer.picture(9, 9)), other(peer.picture(9, 9)))
    (tmp_path / "text.pth").write_text("weights")
    with pytest.raises(ValueError, match=r"text\.pth cannot be read \(UnpicklingError\)"):
        paper.load_state_dict(one, tmp_path / "text.pth")
    torch.save([torch.ones(3)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth: found a list, expected a mapping"):
        paper.load_state_dict(one, tmp_path / "list.pth")


def test_pth_files_without_pytorch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "net.pth").write_bytes(b"")
    with pytest.raises(ImportError, match="needs PyTorch. Fix: pip install torch"):
        paper.load_state_dict(net("CaffeFCN8s"), tmp_path / "net.pth")


def test_files_of_another_net(written):
    """A file without any layer of the net is also refused without `strict`."""
    path = written({"res2a.weight": np.ones((2, 3, 1, 1), "float32")})
    with pytest.raises(
        ValueError, match=r"no layer of voc_fcn32s: found \['res2a'\], expected names such as \['conv1_1'"
    ):
        paper.load_caffemodel(net("CaffeFCN32s"), path, strict=False)
    with pytest.raises(ValueError, match="'fc6' is a Dense layer, expected a convolution"):
        paper.load_state_dict(MiniVGG(weights=None), {"fc6.weight": np.ones((160, 1152))}, strict=False)
    with pytest.raises(ValueError, match="'fc6' is a Dense layer, expected a convolution"):
        paper.state_dict(MiniVGG(weights=None))


@pytest.mark.parametrize("upsampling", ["frozen", "learned"])
@pytest.mark.parametrize("name", peer.NETS)
def test_weights_go_out_as_they_came_in(name, upsampling):
    model, state = net(name, upsampling=upsampling), peer.state_dict(name, bilinear=upsampling == "frozen")
    paper.load_state_dict(model, state)
    out = paper.state_dict(model)
    assert out.keys() == state.keys()
    for key, array in out.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, state[key], rtol=0, atol=1e-7 if key.startswith("upscore") else 0)


def test_staged_nets_start_from_each_other():
    """32s → 16s → 8s: the new score layer is zero, so a finer net starts with the logits of the coarser net."""
    coarser = net("CaffeFCN32s", upsampling="learned_inner")
    paper.load_state_dict(coarser, peer.state_dict("CaffeFCN32s"))
    image = peer.picture(75, 98)
    for name, new in (("CaffeFCN16s", "score_pool4"), ("CaffeFCN8s", "score_pool3")):
        finer = net(name, upsampling="learned_inner")
        if name == "CaffeFCN8s":  # what the coarser net has learned there is handed on
            coarser.get_layer("upscore2").set_weights([1.5 * coarser.get_layer("upscore2").get_weights()[0]])
        loaded = paper.load_state_dict(finer, paper.state_dict(coarser), strict=False)
        assert new not in loaded and ("upscore2" in loaded) == (name == "CaffeFCN8s")
        assert not any(np.any(w) for w in finer.get_layer(new).get_weights())
        before, after = np.array(coarser(image)), np.array(finer(image))
        # twice ×2 cuts the peak off a tent between pixels: scores move by 11 % (16s) and 3 % (8s) of their spread here,
        # where neighbouring units have nothing in common; equal and linear neighbours do not move at all
        assert np.sqrt(np.mean((after - before) ** 2)) < (0.15 if name == "CaffeFCN16s" else 0.05) * np.std(before)
        coarser = finer
