"""A folder of your own: its layout, splits and colours, what is refused, and what happens if files change."""

import os
import shutil

import numpy as np
import PIL.Image
import pytest
import stand_ins
import tensorflow_datasets as tfds

from fcn_keras import datasets
from fcn_keras.datasets import folder
from fcn_keras.datasets.check.layouts import split_by_hash
from fcn_keras.datasets.classes import Classes, voc_palette

NAMES = [f"{i:02d}" for i in range(12)]
LISTS = {"train": NAMES[:8], "validation": NAMES[8:]}


def write(root, names=NAMES, write_mask=None, low=0, high=4, suffix=".jpg"):
    """Writes images and masks. The masks are ``ids_of(name, "own", 0, 4)``."""
    for name in names:
        stand_ins.write_photo(root / "images" / f"{name}{suffix}", name)
        path = root / "masks" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        ids = stand_ins.ids_of(name, "own", low, high)
        (write_mask or (lambda path, ids: PIL.Image.fromarray(ids).save(path)))(path, ids)
    return root


def write_lists(root, lists=LISTS):
    for split, names in lists.items():
        stand_ins.write_list(root / f"{split}.txt", names)
    return root


def load(root, split="train", **options):
    return list(
        datasets.load("folder", split, source=root, data_dir=root.parent / "data", **options).as_numpy_iterator()
    )


def colored(path, ids):
    PIL.Image.fromarray(voc_palette()[ids]).save(path)


CLASSES = (
    "".join(f"{n} {r} {g} {b}\n" for n, (r, g, b) in zip("abcd", voc_palette(4), strict=True)) + "void 224 224 192"
)


@pytest.mark.parametrize(("void", "expected"), [("void\na\nb\nc", [255, 0, 1, 2]), ("a\nb\nvoid\nc", [0, 1, 255, 2])])
def test_an_id_that_classes_txt_makes_void(void, expected, tmp_path):
    root = write_lists(write(tmp_path / "mine"))
    (root / "classes.txt").write_text(void)
    class_of = np.array([*expected, *[255] * 252], "uint8")
    masks = {mask.tobytes() for _, mask in load(root)}
    assert masks == {class_of[stand_ins.ids_of(name, "own", 0, 4)].tobytes() for name in LISTS["train"]}
    assert datasets.get_class_names("folder", source=root, data_dir=tmp_path / "data") == ["a", "b", "c"]
    PIL.Image.fromarray(np.full((40, 60), 4, "uint8")).save(root / "masks" / "00.png")
    with pytest.raises(ValueError, match=r"(?s)00\.png: ids 4, .* of its pixels: expected 0–3, or 255 for void"):
        load(root)


def test_a_folder_goes_by_its_path(tmp_path):
    root = write_lists(write(tmp_path / "mine"))
    by_path = list(datasets.load(str(root), data_dir=tmp_path / "data").as_numpy_iterator())
    for (image, mask), (same_image, same_mask) in zip(by_path, load(root), strict=True):
        np.testing.assert_array_equal(image, same_image)
        np.testing.assert_array_equal(mask, same_mask)
    with pytest.raises(ValueError, match="expected one of the two"):
        datasets.load(str(root), source=root)


@pytest.mark.parametrize("kind", ["grey", "palette", "colours", "a palette in another order"])
def test_every_kind_of_mask_gives_the_ids(kind, tmp_path):
    def shuffled(path, ids):
        """A palette with the right colours but wrong ids, as many programs write it."""
        PIL.Image.fromarray(voc_palette()[ids]).quantize(16).save(path)

    how = {"grey": None, "palette": stand_ins.write_palette_png, "colours": colored}
    root = write_lists(write(tmp_path / "mine", write_mask=how.get(kind, shuffled)))
    if kind not in ("grey", "palette"):
        (root / "classes.txt").write_text(CLASSES)
    for split, names in LISTS.items():
        pairs = load(root, split)
        assert len(pairs) == len(names)
        masks = {mask.tobytes() for _, mask in pairs}
        assert masks == {stand_ins.ids_of(name, "own", 0, 4).tobytes() for name in names}
    expected = ["class 0", "class 1", "class 2", "class 3"] if kind in ("grey", "palette") else list("abcd")
    assert datasets.get_class_names("folder", source=root, data_dir=tmp_path / "data") == expected


def test_images_are_stored_as_people_see_them(tmp_path):
    root = write_lists(write(tmp_path / "mine", suffix=".png"))
    with PIL.Image.open(root / "images" / "00.png") as image:
        upright = np.asarray(image.convert("RGB"))
    turned = PIL.Image.fromarray(np.rot90(upright))  # a camera held sideways: the file says so
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    turned.save(root / "images" / "00.png", exif=exif)
    with PIL.Image.open(root / "images" / "01.png") as image:
        grey = np.asarray(image.convert("L"))
    PIL.Image.fromarray(grey).save(root / "images" / "01.png")
    builder = datasets.prepare("folder", source=root, data_dir=tmp_path / "data")
    images = {
        example["file_name"]: example["image"] for example in builder.as_dataset(split="train").as_numpy_iterator()
    }
    np.testing.assert_array_equal(images[b"00.png"], upright)
    np.testing.assert_array_equal(images[b"01.png"], np.repeat(grey[..., None], 3, -1))
    jpeg = write_lists(write(tmp_path / "jpeg"))
    builder = datasets.prepare("folder", source=jpeg, data_dir=tmp_path / "data")
    raw = builder.as_dataset(split="train", decoders={"image": tfds.decode.SkipDecoding()})
    stored = {example["file_name"]: example["image"] for example in raw.as_numpy_iterator()}
    assert stored[b"00.jpg"] == (jpeg / "images" / "00.jpg").read_bytes()


def test_folders_inside_and_names_in_lists(tmp_path):
    root = write(tmp_path / "mine", ["day/1", "day/2", "night/1"])
    write_lists(root, {"train": ["day/1", "./day/2"], "validation": ["night/1"], "test": []})
    with pytest.raises(ValueError, match=r"(?s)Lists that are wrong.*test\.txt: is empty"):
        load(root)
    write_lists(root, {"test": ["day/2"], "train": ["day/1"]})
    assert [len(load(root, split)) for split in ("train", "validation", "test")] == [1, 1, 1]


def test_a_list_that_begins_with_a_mark(tmp_path):
    root = write_lists(write(tmp_path / "mine"))
    (root / "train.txt").write_text("\n".join(NAMES[:8]), encoding="utf-8-sig")
    assert len(load(root)) == 8


def test_a_share_that_a_hash_chooses_keeps_images_in_their_split():
    many = [f"img{i}" for i in range(1000)]
    few = split_by_hash(many[:400])
    all_ = split_by_hash(many)
    assert set(few["train"]) <= set(all_["train"]) and set(few["validation"]) <= set(all_["validation"])
    assert 150 < len(all_["validation"]) < 250
    assert 50 < len(split_by_hash(many, 0.1)["validation"]) < 150
    with pytest.raises(ValueError, match="share of 1.5: expected"):
        folder.make_builder(".", 1.5)


def test_a_changed_folder_is_prepared_anew_and_an_unchanged_one_is_not(tmp_path, capsys):
    root = write_lists(write(tmp_path / "mine"))
    load(root)
    load(root, "validation")
    assert capsys.readouterr().out.count("Preparing folder") == 1
    path = root / "masks" / "00.png"
    PIL.Image.fromarray(np.full(stand_ins.size_of("00"), 2, "uint8")).save(path)
    assert [(mask == 2).all() for _, mask in load(root)].count(True) == 1
    assert capsys.readouterr().out.count("Preparing folder") == 1
    copy = tmp_path / "elsewhere" / "mine"
    shutil.copytree(root, copy)
    load(copy)  # of the same name: no clash


# --- errors: one error for all files, before anything is written ---


def damaged(root):
    (root / "images" / "00.jpg").write_bytes((root / "images" / "00.jpg").read_bytes()[:200])
    (root / "masks" / "01.png").write_bytes(b"")
    PIL.Image.fromarray(np.zeros((3, 4), "uint8")).save(root / "masks" / "02.png")
    colored(root / "masks" / "03.png", stand_ins.ids_of("03", "own", 0, 4))
    PIL.Image.fromarray(np.full(stand_ins.size_of("04"), 300, "uint16")).save(root / "masks" / "04.png")


def test_every_bad_file_is_named_before_anything_is_written(tmp_path):
    root = write_lists(write(tmp_path / "mine"))
    damaged(root)
    with pytest.raises(ValueError, match="5 problems") as told:
        load(root)
    for name in (
        "00.jpg",
        "01.png",
        "02.jpg: image 10×10, mask 3×4",
        "03.png: the mask is written in colours",
        "04.png: the mask holds ids up to 300",
    ):
        assert name in str(told.value)
    assert not list((tmp_path / "data").rglob("*.tfrecord*"))


def out_of_classes(root):
    (root / "classes.txt").write_text("a\nb\n")


def alone(root):
    (root / "masks" / "05.png").unlink()
    (root / "images" / "06.jpg").unlink()


def leads_out(root):
    secret = root.parent / "secret.jpg"
    os.replace(root / "images" / "07.jpg", secret)
    (root / "images" / "07.jpg").symlink_to(secret)


def links_to_nothing(root):
    for name, target in (("07", "nowhere.jpg"), ("08", "08.jpg")):  # the second goes in a circle
        (root / "images" / f"{name}.jpg").unlink()
        (root / "images" / f"{name}.jpg").symlink_to(target)


def list_leads_out(root):
    write_lists(root, {"train": ["00", "../../etc/passwd"]})


def binary(root):
    for path in (root / "masks").iterdir():
        PIL.Image.fromarray(255 * (stand_ins.ids_of(path.stem, "own", 0, 4) > 1).astype("uint8")).save(path)


def transparent(root):
    (root / "classes.txt").write_text(CLASSES)
    rgba = np.dstack([voc_palette()[stand_ins.ids_of("00", "own", 0, 4)], np.full(stand_ins.size_of("00"), 7, "uint8")])
    PIL.Image.fromarray(rgba).save(root / "masks" / "00.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (out_of_classes, r"12 problems.*ids 2, 3, .* of its pixels: expected 0–1"),
        (alone, r"no mask of the same name: 1.*05\.jpg.*no image of the same name: 1.*06\.png"),
        (leads_out, r"Links that lead out.*07\.jpg: leads to .*secret"),
        (links_to_nothing, r"2 problems.*07\.jpg: is a link to nothing.*08\.jpg: is a link to nothing"),
        (lambda root: (root / "train.txt").write_bytes(b"caf\xe9"), r"train\.txt: cannot be read as UTF-8.*a name in each line"),
        (list_leads_out, r"names '\.\./\.\./etc/passwd', which has no image"),
        (lambda root: write_lists(root, {"train": ["00"], "validation": ["00"]}), "validation.txt: names '00', which train.txt names also"),
        (lambda root: write_lists(root, {"train": ["00", "00"]}), "names '00' 2 times"),
        (lambda root: (root / "validation.txt").unlink(), "validation.txt: is missing"),
        (binary, "no ids other than 0, and 255.*write 1"),
        (transparent, "transparent in places"),
        (lambda root: shutil.rmtree(root / "masks"), "lacks masks"),
        (lambda root: PIL.Image.new("RGB", (10, 8)).save(root / "images" / "00.png"), "Files that have the same name.*00.png: has the name of .*00.jpg"),
    ],
)  # fmt: skip
def test_refusals(spoil, message, tmp_path):
    root = write_lists(write(tmp_path / "mine"))
    spoil(root)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        load(root)


def test_without_a_folder(tmp_path):
    with pytest.raises(ValueError, match="folder is read from a folder, found none. Fix: pass source="):
        datasets.load("folder", data_dir=tmp_path)


# --- TFDS' own test case ---


class OfKnownClasses(folder.Folder):
    __module__ = folder.__name__  # where TFDS looks for tags
    BUILDER_CONFIGS = [folder.FolderConfig(name="mine_0", classes=Classes(tuple("abcd")), share=0.2)]  # noqa: RUF012


class TestFolder(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = OfKnownClasses
    SPLITS = {"train": 8, "validation": 4}  # noqa: RUF012
    SKIP_CHECKSUMS = True
    MOCK_OUT_FORBIDDEN_OS_FUNCTIONS = False
    EXAMPLE_DIR = os.environ["FCN_KERAS_DATA"] + "/own_stand_in"

    @classmethod
    def setUpClass(cls):
        write_lists(write(tfds.core.Path(cls.EXAMPLE_DIR)))
        super().setUpClass()
