"""The evaluation on seg11valid: images, counts, continuing, and the command."""

import functools
import json

import keras
import numpy as np
import PIL.Image
import pytest

from fcn_keras import paper
from fcn_keras.cli import main
from fcn_keras.datasets.classes import voc_palette
from fcn_keras.metrics import METRICS
from fcn_keras.paper import seg11valid
from fcn_keras.paper.seg11valid import NETS, PUBLISHED, Seg11validResult, evaluate_seg11valid, find_seg11valid_images

VAL = [f"2011_{i:06d}" for i in range(1111)]
SBD_TRAIN = [f"2008_{i:06d}" for i in range(8498 - 375)] + VAL[1::3] + VAL[0:13:3]  # 370 and 5 of VAL
SEG11VALID = [name for name in VAL if name not in SBD_TRAIN]


def write_voc(root, names, val=VAL, size=(2, 3)):
    """Writes noise as JPEG and ids as palette PNGs with some void, in several sizes, in VOC's layout."""
    for below in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / below).mkdir(parents=True)
    generator = np.random.default_rng(1)
    for i, name in enumerate(names):
        height, width = size[0] + i % 3, size[1] + i % 2
        pixels = generator.integers(0, 256, (height, width, 3), "uint8")
        PIL.Image.fromarray(pixels).save(root / "JPEGImages" / f"{name}.jpg")
        ids = generator.choice([*range(21), 255], (height, width)).astype("uint8")
        mask = PIL.Image.fromarray(ids)
        mask.putpalette(voc_palette().tobytes())
        mask.save(root / "SegmentationClass" / f"{name}.png")
    (root / "ImageSets/Segmentation/val.txt").write_text("\n".join(val) + "\n")
    return root


def write_list(path, names):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(names) + "\n")
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Stand-ins for VOCdevkit with VOC2011 and for SBD, whose lists are as long as the real ones."""
    folder = tmp_path_factory.mktemp("whole")
    write_voc(folder / "VOCdevkit" / "VOC2011", SEG11VALID)
    write_list(folder / "benchmark_RELEASE" / "dataset" / "train.txt", SBD_TRAIN)
    return folder


@pytest.fixture
def few(tmp_path):
    """Seven images in VOC2012's layout, and a list of them."""
    write_voc(tmp_path / "VOCdevkit" / "VOC2012", VAL[:9], size=(9, 8))
    return tmp_path / "VOCdevkit", write_list(tmp_path / "few.txt", VAL[:7])


def color_scorer(seed=0):
    """A net whose logits are linear in the colour, with integer weights, so that float32 is exact."""
    generator = np.random.default_rng(seed)
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(21, 1)(image))
    model.set_weights([generator.integers(-9, 10, (1, 1, 3, 21)), generator.integers(-900, 900, 21)])
    return model


def oracle(model, root, names):
    """The confusion matrix and the four metrics, computed from the files with NumPy by their definitions."""
    kernel, bias = model.get_weights()
    confusion = np.zeros((21, 21), "int64")
    for name in names:
        colors = np.asarray(PIL.Image.open(root / "JPEGImages" / f"{name}.jpg")).astype("float64")
        truth = np.asarray(PIL.Image.open(root / "SegmentationClass" / f"{name}.png"))
        found = (colors @ kernel[0, 0] + bias).argmax(-1)
        np.add.at(confusion, (truth[truth < 21], found[truth < 21]), 1)
    rows, columns, hits = confusion.sum(1), confusion.sum(0), np.diag(confusion)
    iu = hits / (rows + columns - hits)
    metrics = [hits.sum() / rows.sum(), (hits / rows).mean(), iu.mean(), (rows * iu).sum() / rows.sum()]
    return confusion, dict(zip(METRICS, metrics, strict=True)), iu


def test_the_736_images(whole):
    assert len(SEG11VALID) == 736 and len(SBD_TRAIN) == 8498
    found = find_seg11valid_images(whole / "VOCdevkit", whole / "benchmark_RELEASE")
    assert [name for name, *_ in found] == SEG11VALID  # in the order of val.txt
    for name, image, mask in (found[0], found[-1]):
        assert image == whole / "VOCdevkit/VOC2011/JPEGImages" / f"{name}.jpg"
        assert mask == whole / "VOCdevkit/VOC2011/SegmentationClass" / f"{name}.png"


@pytest.mark.parametrize("voc", [".", "VOCdevkit", "VOCdevkit/VOC2011"])
@pytest.mark.parametrize(
    "sbd", [".", "benchmark_RELEASE", "benchmark_RELEASE/dataset", "benchmark_RELEASE/dataset/train.txt"]
)
def test_wherever_the_folders_begin(whole, voc, sbd):
    assert len(find_seg11valid_images(whole / voc, whole / sbd)) == 736


def test_metrics_of_all_736_equal_numpys(whole):
    """Counts must be equal, metrics equal to 1e-6."""
    model = color_scorer()
    found = evaluate_seg11valid(model, whole / "VOCdevkit", whole / "benchmark_RELEASE")
    confusion, metrics, iu = oracle(model, whole / "VOCdevkit" / "VOC2011", SEG11VALID)
    np.testing.assert_array_equal(found.confusion, confusion)
    assert found.metrics() == pytest.approx(metrics, abs=1e-6)
    assert list(found.per_class().values()) == pytest.approx(iu.tolist(), abs=1e-6)
    assert list(found.per_class())[::15] == ["background", "person"]
    assert found.images == 736 and found.comparable and found.net is None
    assert "published" not in found.table()  # of no net in particular


@pytest.mark.parametrize(
    ("val", "train", "message"),
    [
        (VAL[:-9], SBD_TRAIN, r"Found 730 images, expected 736: .*val\.txt has 1102 names \(expected 1111\)"),
        (VAL, SBD_TRAIN[:-3], r"Found 739 images, expected 736: .*train\.txt 8495 \(expected 8498\)\. Fix: .*seg11valid\.txt"),
        ([], SBD_TRAIN, "Found 0 images, expected 736"),
    ],
)  # fmt: skip
def test_short_lists(tmp_path, val, train, message):
    write_voc(tmp_path / "VOC2011", [], val)
    with pytest.raises(ValueError, match=message):
        find_seg11valid_images(tmp_path, write_list(tmp_path / "train.txt", train))


def test_lists_and_folders_that_are_not_there(tmp_path, whole):
    voc = whole / "VOCdevkit"
    with pytest.raises(ValueError, match="Found no VOC2011 in .*Fix: pass the folder that holds VOCdevkit/VOC2011"):
        find_seg11valid_images(tmp_path, whole)
    with pytest.raises(ValueError, match="neither SBD nor a list.*benchmark_RELEASE"):
        find_seg11valid_images(voc)
    with pytest.raises(ValueError, match=r"Found no dataset/train\.txt in .*Fix: pass sbd="):
        find_seg11valid_images(voc, tmp_path)
    with pytest.raises(ValueError, match=r"No list at .*none\.txt"):
        find_seg11valid_images(voc, list_file=tmp_path / "none.txt")
    (tmp_path / "VOC2011" / "JPEGImages").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"VOC2011: .* lacks SegmentationClass, ImageSets/Segmentation/val\.txt"):
        find_seg11valid_images(tmp_path, whole)


def test_images_that_are_not_there_are_named(few, tmp_path):
    voc, _ = few
    names = write_list(tmp_path / "names.txt", [VAL[0], "2007_000033"])
    with pytest.raises(ValueError, match=r"2 of 4 files are missing: .*2007_000033"):
        find_seg11valid_images(voc, list_file=names, subset=True)


def test_voc2012_needs_an_explicit_list(few):
    voc, names = few
    for folder in (voc, voc / "VOC2012"):
        with pytest.raises(ValueError, match=r"VOC2012, expected VOC2011: VOC2012's val\.txt is another list.*--list"):
            find_seg11valid_images(folder, voc)
        assert len(find_seg11valid_images(folder, list_file=names, subset=True)) == 7
    with pytest.raises(ValueError, match=r"Found 7 images, expected 736: .*few\.txt.*--subset.*cannot be compared"):
        find_seg11valid_images(voc, list_file=names)


def test_voc2011_is_taken_where_both_are(few):
    voc, names = few
    write_voc(voc / "VOC2011", VAL[:7])
    assert {image.parts[-3] for _, image, _ in find_seg11valid_images(voc, list_file=names, subset=True)} == {"VOC2011"}


def test_a_name_written_twice_counts_once(few, tmp_path):
    voc, _ = few
    names = write_list(tmp_path / "twice.txt", [*VAL[:3], VAL[0]])
    assert [name for name, *_ in find_seg11valid_images(voc, list_file=names, subset=True)] == VAL[:3]


def test_a_list_of_ones_own_is_not_compared(few):
    voc, names = few
    model = color_scorer()
    found = evaluate_seg11valid(model, voc, list_file=names, subset=True, verbose=False)
    np.testing.assert_array_equal(found.confusion, oracle(model, voc / "VOC2012", VAL[:7])[0])
    assert not found.comparable
    table = Seg11validResult("fcn8s", 7, found.confusion, comparable=False).table()
    assert "| a list of its own, 7 images |" in table and "91.22" not in table
    assert "736 images of seg11valid and cannot be compared" in table


class Stop:
    """A `segment` that raises KeyboardInterrupt at a given call."""

    def __init__(self, at=None):
        self.calls, self.at, self.segment = 0, at, seg11valid.segment

    def __call__(self, *args):
        if self.calls == self.at:
            raise KeyboardInterrupt
        self.calls += 1
        return self.segment(*args)


def test_stopped_it_goes_on_behind_the_last_image(few, tmp_path, monkeypatch, capsys):
    voc, names = few
    model, record = color_scorer(), tmp_path / "runs" / "record.json"
    evaluate = functools.partial(evaluate_seg11valid, model, voc, list_file=names, subset=True, record=record)
    with monkeypatch.context() as patch:
        patch.setattr(seg11valid, "segment", Stop(at=3))
        with pytest.raises(KeyboardInterrupt):
            evaluate()
    kept = json.loads(record.read_text())
    assert kept["done"] == 3
    np.testing.assert_array_equal(kept["confusion"], oracle(model, voc / "VOC2012", VAL[:3])[0])

    (record.parent / "partial-record.json").write_text("half a rec")  # killed while it was written
    counter = Stop()
    monkeypatch.setattr(seg11valid, "segment", counter)
    expected = oracle(model, voc / "VOC2012", VAL[:7])[0]
    np.testing.assert_array_equal(evaluate().confusion, expected)
    assert counter.calls == 4
    assert "Continuing after image 3 of 7." in capsys.readouterr().out
    np.testing.assert_array_equal(evaluate().confusion, expected)  # finished: told again
    assert counter.calls == 4


@pytest.mark.parametrize("other", ["weights", "list"])
def test_a_record_of_another_run_is_refused(few, tmp_path, other):
    voc, names = few
    record = tmp_path / "record.json"
    options = {"subset": True, "record": record, "verbose": False}
    evaluate_seg11valid(color_scorer(), voc, list_file=names, **options)
    if other == "list":
        names = write_list(tmp_path / "other.txt", VAL[1:8])
    with pytest.raises(
        ValueError, match=r"record\.json belongs to a run with another net.*Fix: delete it, or .*record="
    ):
        evaluate_seg11valid(color_scorer(seed=int(other == "weights")), voc, list_file=names, **options)


def test_progress_is_told_on_a_terminal(few, monkeypatch, capsys):
    voc, names = few
    monkeypatch.setenv("FORCE_COLOR", "1")
    evaluate_seg11valid(color_scorer(), voc, list_file=names, subset=True)
    assert "7/7" in capsys.readouterr().err
    evaluate_seg11valid(color_scorer(), voc, list_file=names, subset=True, verbose=False)
    assert capsys.readouterr().err == ""


def test_masks_of_another_size_and_masks_with_other_ids(few):
    voc, names = few
    evaluate = functools.partial(evaluate_seg11valid, color_scorer(), voc, list_file=names, subset=True, verbose=False)
    mask = voc / "VOC2012" / "SegmentationClass" / f"{VAL[2]}.png"
    PIL.Image.fromarray(np.zeros((3, 3), "uint8")).save(mask)
    with pytest.raises(ValueError, match=rf"{VAL[2]}\.jpg is .*, its mask 3×3"):
        evaluate()
    PIL.Image.fromarray(np.full((3, 3), 21, "uint8")).save(mask)
    with pytest.raises(ValueError, match=rf"{VAL[2]}\.png holds the ids \[21\]: expected 0–20, or 255"):
        evaluate()


def test_nets_and_weights_that_do_not_fit(few, tmp_path):
    voc, names = few
    evaluate = functools.partial(evaluate_seg11valid, voc=voc, list_file=names, subset=True)
    with pytest.raises(ValueError, match="Found net 'fcn4s', expected one of fcn32s, .*, or a Keras model"):
        evaluate("fcn4s")
    with pytest.raises(ValueError, match=r"Found net 'fcn8s' without weights.*--weights"):
        evaluate("fcn8s")
    with pytest.raises(ValueError, match="a model and weights='x.npz'"):
        evaluate(color_scorer(), weights="x.npz")
    image = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match=r"outputs of shape \(None, None, None, 5\), expected logits .*21"):
        evaluate(keras.Model(image, keras.layers.Conv2D(5, 1)(image)))


def test_the_published_numbers():
    """README of wkentaro/fcn, two decimals; FCN-AlexNet from the authors' README."""
    assert PUBLISHED == {
        "fcn32s": (90.48, 76.48, 63.63, 83.46),
        "fcn16s": (91.00, 78.07, 65.01, 84.26),
        "fcn8s": (91.22, 77.61, 65.51, 84.54),
        "fcn8s-atonce": (91.13, 78.50, 65.40, 84.43),
        "fcn-alexnet": (None, None, 48.0, None),
    }
    assert set(NETS) == set(PUBLISHED) and all(callable(getattr(paper, name)) for name in NETS.values())


def test_the_table_beside_the_published_numbers():
    confusion = np.zeros((21, 21), "int64")
    confusion[0, :2], confusion[1, 1] = (6, 2), 2  # accuracies 0.8, 0.875; IU 0.75 and 0.5
    table = Seg11validResult("fcn16s", 736, confusion).table(per_class=True)
    assert table.splitlines()[:6] == [
        "| seg11valid, 736 images | pixel acc. | mean acc. | mean IU | f.w. IU |",
        "|---|---|---|---|---|",
        "| fcn16s, this run | 80.00 | 87.50 | 62.50 | 70.00 |",
        "| fcn16s, published | 91.00 | 78.07 | 65.01 | 84.26 |",
        "| difference | -11.00 | +9.43 | -2.51 | -14.26 |",
        "",
    ]
    assert "| background | 75.00 |" in table and "| aeroplane | 50.00 |" in table and "| person | nan |" in table


@pytest.fixture
def narrow(monkeypatch):
    """Makes the authors' FCN-8s with a 32nd of its channels, and returns such a net with random scores."""
    monkeypatch.setattr(seg11valid.nets, "CaffeFCN8s", functools.partial(paper.CaffeFCN8s, width=1 / 32))
    keras.utils.set_random_seed(0)
    model = seg11valid.nets.CaffeFCN8s()
    for name in ("score_fr", "score_pool4", "score_pool3"):
        layer = model.get_layer(name)
        layer.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in layer.get_weights()])
    return model


def save(model, path):
    if path.suffix == ".h5":
        model.save_weights(path)
        return path
    layers = [layer for layer in model.layers if layer.weights]
    arrays = {f"{la.name}.weight": la.get_weights()[0].transpose(3, 2, 0, 1) for la in layers}
    np.savez(path, **arrays, **{f"{layer.name}.bias": layer.get_weights()[1] for layer in layers})
    return path


@pytest.mark.parametrize("file", ["narrow.npz", "narrow.weights.h5"])
def test_the_command(few, narrow, tmp_path, monkeypatch, capsys, file):
    """The command prints the table of a net with weights from a file. Its counts are those of that net."""
    voc, names = few
    monkeypatch.chdir(tmp_path)
    weights = save(narrow, tmp_path / file)
    words = [
        "seg11valid",
        "--net",
        "fcn8s",
        "--weights",
        str(weights),
        "--voc",
        str(voc),
        "--list",
        str(names),
        "--subset",
    ]
    with monkeypatch.context() as patch:
        patch.setattr(seg11valid, "segment", Stop(at=2))
        assert main(words) == 130
        assert "Run the same command again to continue" in capsys.readouterr().err
    assert main([*words, "--per-class"]) == 0
    out = capsys.readouterr().out
    expected = evaluate_seg11valid(narrow, voc, list_file=names, subset=True, verbose=False)
    assert len(np.unique(np.nonzero(expected.confusion)[1])) > 1  # more than one class is predicted
    row = " | ".join(f"{100 * value:.2f}" for value in expected.metrics().values())
    assert f"| fcn8s, this run | {row} |" in out and "| tvmonitor | " in out
    assert "Continuing after image 2 of 7." in out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == pytest.approx(expected.metrics())
    kept = json.loads((tmp_path / "runs" / "seg11valid-fcn8s.json").read_text())
    np.testing.assert_array_equal(kept["confusion"], expected.confusion)


@pytest.mark.parametrize("file", ["none.caffemodel", "none.npz", "none.weights.h5"])
def test_the_command_without_its_weights(few, narrow, capsys, file):
    voc, names = few
    assert (
        main(["seg11valid", "--net", "fcn8s", "--weights", file, "--voc", str(voc), "--list", str(names), "--subset"])
        == 2
    )
    assert capsys.readouterr().err.startswith(
        f"fcn_keras: No {'caffemodel' if 'caffe' in file else 'weights'} at {file}"
    )


def test_the_command_needs_a_list(capsys):
    assert main(["seg11valid", "--net", "fcn8s", "--weights", "w.npz", "--voc", "VOCdevkit"]) == 2
    assert "Found --sbd None and --list None: expected one of the two." in capsys.readouterr().err


@pytest.mark.real_data
def test_real_photographs_and_palette_masks(shared_data, narrow, tmp_path):
    voc = shared_data / "VOCdevkit"
    names = (voc / "VOC2012/ImageSets/Segmentation/val.txt").read_text().split()[:3]
    found = evaluate_seg11valid(
        narrow, voc, list_file=write_list(tmp_path / "three.txt", names), subset=True, verbose=False
    )
    masks = [np.asarray(PIL.Image.open(voc / "VOC2012/SegmentationClass" / f"{name}.png")) for name in names]
    np.testing.assert_array_equal(found.confusion.sum(1), sum(np.bincount(m[m < 21], minlength=21) for m in masks))
    with pytest.raises(ValueError, match="VOC2012, expected VOC2011"):
        evaluate_seg11valid(narrow, voc, voc)
