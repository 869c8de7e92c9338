"""Small stand-ins of VOC, SBD, CamVid and Oxford Pets: noise in the layouts that they are handed out in."""

import numpy as np
import PIL.Image
import scipy.io
import scipy.sparse

from fcn_keras.datasets.classes import voc_palette

VOID = 255


def size_of(name):
    """Height and width of the images of a name."""
    return 8 + sum(name.encode()) % 4, 10


def ids_of(name, kind, low, high, void=VOID):
    """Ids in ``[low, high)``, the same whenever asked for; the first row is `void`, unless that is None."""
    seed = list(f"{kind}/{name}".encode())
    ids = np.random.default_rng(seed).integers(low, high, size_of(name)).astype("uint8")
    if void is not None:
        ids[0] = void
    return ids


def write_photo(path, name):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(list(name.encode())).integers(0, 256, (*size_of(name), 3), "uint8")
    PIL.Image.fromarray(pixels).save(path)


def write_palette_png(path, ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = PIL.Image.fromarray(ids)
    image.putpalette(voc_palette().tobytes())
    image.save(path)


def write_list(path, names):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


def write_voc(root, train, val, instances=True):
    """A folder such as ``VOC2012``; class masks are ``ids_of(name, "voc", 0, 21)``, instances ``"voc objects", 0, 5``."""
    for name in [*train, *val]:
        write_photo(root / "JPEGImages" / f"{name}.jpg", name)
        write_palette_png(root / "SegmentationClass" / f"{name}.png", ids_of(name, "voc", 0, 21))
        if instances:
            write_palette_png(root / "SegmentationObject" / f"{name}.png", ids_of(name, "voc objects", 0, 5))
    write_list(root / "ImageSets" / "Segmentation" / "train.txt", train)
    write_list(root / "ImageSets" / "Segmentation" / "val.txt", val)


def write_sbd(root, train, val, instances=True):
    """SBD's ``dataset``; class masks are ``ids_of(name, "sbd", 0, 21, None)``, instances ``"sbd objects", 0, 5, None``."""
    for name in [*train, *val]:
        write_photo(root / "img" / f"{name}.jpg", name)
        write_mat(root / "cls" / f"{name}.mat", "GTcls", ids_of(name, "sbd", 0, 21, void=None), 20)
        if instances:
            write_mat(root / "inst" / f"{name}.mat", "GTinst", ids_of(name, "sbd objects", 0, 5, void=None), 4)
    write_list(root / "train.txt", train)
    write_list(root / "val.txt", val)


def write_mat(path, variable, ids, boundaries):
    """A MATLAB file as SBD's: a 1×1 struct; its boundaries are a cell array of sparse matrices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.empty((boundaries, 1), object)
    cells[:, 0] = [scipy.sparse.csc_matrix(ids.shape, dtype=bool) for _ in range(boundaries)]
    present = {"GTcls": "CategoriesPresent", "GTinst": "Categories"}[variable]
    struct = {"Boundaries": cells, "Segmentation": ids, present: np.arange(1, 4, dtype="uint8")[:, None]}
    scipy.io.savemat(path, {variable: struct}, do_compression=True)


def write_camvid(root, train, val):
    """Folders of SegNet's CamVid; masks are ``ids_of(name, "camvid", 0, 11, void=11)``."""
    for folder, names in {"train": train, "val": val}.items():
        for name in names:
            write_photo(root / folder / f"{name}.png", name)
            mask = root / f"{folder}annot" / f"{name}.png"
            mask.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(ids_of(name, "camvid", 0, 11, void=11)).save(mask)


def write_pets(root, trainval, test):
    """What the archives of Oxford Pets unpack to; trimaps are ``ids_of(name, "pets", 1, 4, None)``."""
    for name in [*trainval, *test]:
        write_photo(root / "images" / f"{name}.jpg", name)
        trimap = root / "annotations" / "trimaps" / f"{name}.png"
        trimap.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(ids_of(name, "pets", 1, 4, void=None)).save(trimap)
    for file, names in {"trainval": trainval, "test": test}.items():
        write_list(root / "annotations" / f"{file}.txt", [f"{name} 1 2 1" for name in names])
