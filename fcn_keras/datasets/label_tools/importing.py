"""Turns what a label tool exports into the folder that `fcn_keras.datasets.folder` reads.

The rules are the same for all tools. Where shapes overlap, the one that stands later in the file is on top; in COCO's
files of stuff and things, things are on top. Pixels without a label are background, or void if the label is ``void`` or
``__ignore__``. `fcn_keras.datasets.segmentations` draws the polygons.
"""

import collections
import contextlib
import itertools
import os
import pathlib
import shutil
import uuid

import PIL.Image

from ..._files import PARTIAL, explain_missing, user_path, write_json, write_text
from ..check.layouts import split_by_hash
from ..classes import read_classes, voc_palette
from ..progress import track
from .drawing import IGNORED, draw, encode
from .masks import NAME_FILES, read_masks, read_names
from .recognize import NAMES, recognize
from .samples import Images, find_split
from .shapes import read_shapes

SHOWN = 20  # how many problems an error names


def import_labels(source, target, progress=None):
    """Turns what a label tool exports into a folder of images and masks.

    Args:
        source: The unpacked export of CVAT ("Segmentation mask 1.1"), LabelMe, COCO, Label Studio (JSON), Roboflow
            ("Semantic Segmentation Masks") or PASCAL VOC, with its images; or a folder in which the names of masks have
            suffixes, such as ``001_mask.png`` or ``001.jpg.png``. If it holds a ``classes.txt`` or a ``labels.txt``,
            this gives the order of the classes; without it, LabelMe's and Label Studio's are sorted by name.
        target: The folder to make. It gets ``images``, ``masks``, ``classes.txt``, the lists of names if the export has
            splits and, if it has objects, ``instances_train.json`` and so on in COCO's format.
        progress: Whether to show a progress bar; by default it is shown on a terminal.

    Returns:
        A dict: ``tool``, ``images`` and ``objects`` (their numbers), ``classes`` (the names), ``splits`` (number of
        images in each list) and ``left_out`` (what was not imported, with its number).

    Raises:
        ValueError: If the export is not recognized, if `target` is not empty, or if files are missing, damaged or
            contradict each other. The message names them, and `target` is not made.
        ImportError: If there are polygons or objects, and pycocotools is not installed.

    Example:

    >>> result = import_labels("export_of_cvat", "my_data")  # doctest: +SKIP
    >>> result["images"], result["classes"]  # doctest: +SKIP
    (120, ['background', 'road'])
    """
    source, target = (pathlib.Path(os.path.abspath(user_path(path))) for path in (source, target))
    if not source.is_dir():
        found = f"{source} is a file. Fix: unpack it." if source.exists() else explain_missing(source)
        raise ValueError(f"{found} Expected the folder of an export.")
    if target.is_relative_to(source):
        raise ValueError(f"{target} lies inside of {source}. Fix: take a folder next to it.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} exists already. Fix: remove it, or take another folder.")
    made = target.with_name(f"{PARTIAL}{uuid.uuid4().hex[:12]}-{target.name}")
    try:
        result = _Import(source, made).run(progress)
        if target.exists():
            target.rmdir()  # an empty folder
        made.rename(target)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return result


class _Import:
    """One import into a new folder.

    `names` are those of the classes, or None if masks are only copied. `objects`, `splits` and `places` hold, for the
    name of each image, its file, size and annotations; its split; and where its labels stand.
    """

    def __init__(self, source, made):
        self.source, self.made, self.images = source, made, Images(source)
        self.tool = recognize(source)
        if self.tool is None:
            raise ValueError(_explain_unknown(source))
        read = read_shapes if self.tool in ("LabelMe", "COCO", "Label Studio") else read_masks
        self.samples, found, self.left_out = read(source, self.tool)
        drawn, whole = (any(getattr(sample, kind) for sample in self.samples) for kind in ("shapes", "mask"))
        if drawn == whole:
            expected = "one file for each image, or one for each class" if drawn else "at least one"
            raise ValueError(
                f"{source} is an export of {self.tool} with {'both kinds of' if drawn else 'no'} labels that "
                f"cover an area: expected {expected}. Fix: label an image, or export again."
            )
        self.classes = None if drawn else found
        self.names = self._order_names(found) if drawn else found and _put_background_first(found.names)
        self.objects, self.splits, self.places = {}, {}, {}

    def _order_names(self, names):
        """The names of the classes for shapes, from the files if they give an order, and sorted otherwise."""
        labels = {shape.label for sample in self.samples for shape in sample.shapes}
        given = read_names(self.source) if self.tool != "COCO" else None
        names = given.names if given else names or sorted(labels)
        names = [name for name in names if name.lower() not in IGNORED]
        unknown = sorted(label for label in labels - set(names) if label.lower() not in IGNORED)
        if unknown:
            raise ValueError(
                f"{self.source} has the labels {unknown[:10]}, which its list of classes does not name. Fix: "
                f"add them to the list, or remove it ({' or '.join(NAME_FILES[:2])})."
            )
        return _put_background_first(names, "background")

    def run(self, progress):
        """Imports everything and returns the result."""
        paths, problems = [], []
        for sample in self.samples:
            with self._collect(problems, sample):
                paths.append(self.images.find(sample.references, sample.folder))
        self._require_none(problems)
        base = pathlib.Path(os.path.commonpath([path.parent for path in paths]))
        for sample, path in track(list(zip(self.samples, paths, strict=True)), "importing", show=progress):
            with self._collect(problems, sample):
                self._add(sample, path, path.relative_to(base))
        self._require_none(problems)
        if self.names is None or (self.tool == NAMES and self.classes is not None):
            self._copy_names()
        else:
            self._write_names()
        splits = self._write_splits()
        count = sum(len(annotations) for _, _, annotations in self.objects.values())
        result = {"tool": self.tool, "images": len(self.splits), "objects": count, "classes": self.names}
        return result | {"splits": splits, "left_out": dict(+self.left_out)}

    @contextlib.contextmanager
    def _collect(self, problems, sample):
        """Collects errors, so that one message names all of them."""
        try:
            yield
        except ValueError as error:
            problems.append(f"{sample.place}: {error}")

    def _require_none(self, problems):
        if problems:
            more = [f"… and {len(problems) - SHOWN} more"] * (len(problems) > SHOWN)
            raise ValueError("\n".join([f"{self.source}: nothing was imported.", *problems[:SHOWN], *more]))

    def _add(self, sample, path, relative):
        """Copies an image and writes its mask."""
        name = relative.with_suffix("").as_posix()
        if name in self.splits:
            other, place = self.places[name]
            raise ValueError(
                f"the image {path} has the name of {other}, which is labelled in {place}: expected one image and one "
                "label for each name. Fix: rename or remove one of them."
            )
        self.places[name] = path, sample.place
        self.splits[name] = sample.split or find_split(*reversed(path.relative_to(self.source).parts[:-1]))
        image, mask = self.made / "images" / relative, self.made / "masks" / f"{name}.png"
        for file in (image, mask):
            file.parent.mkdir(parents=True, exist_ok=True)
        if sample.mask and self.tool == NAMES:  # `check` and `train` read it like any mask of the user
            shutil.copyfile(sample.mask, mask.with_name(mask.stem + sample.mask.suffix))
        else:
            ids, objects = draw(sample, path, self.names, self.classes)
            picture = PIL.Image.fromarray(ids)
            picture.putpalette(voc_palette().tobytes())
            picture.save(mask)
            annotations = [one for one in itertools.starmap(encode, objects) if one["area"]]
            self.left_out["objects that cover no pixel"] += len(objects) - len(annotations)
            self.objects[name] = relative, ids.shape, annotations
        shutil.copyfile(path, image)

    def _write_names(self):
        """Writes classes.txt. Users may also write this file, so some names cannot stand in it."""
        path = self.made / "classes.txt"
        write_text(path, "".join(f"{name}\n" for name in self.names))
        try:
            found = read_classes(path).names
        except ValueError:
            found = ()
        wrong = [name for name, read in itertools.zip_longest(self.names, found) if name != read]
        if wrong:
            raise ValueError(
                f"The class name {wrong[0]!r} cannot be written into a classes.txt. Fix: rename the class in the label "
                "tool to words without numbers and punctuation, and export again."
            )

    def _copy_names(self):
        for name in NAME_FILES:
            if (self.source / name).is_file():
                shutil.copyfile(self.source / name, self.made / "classes.txt")
                return

    def _write_splits(self):
        """Writes the lists of names if the export has splits, and a file of objects for each split."""
        splits = collections.defaultdict(list)
        for name, split in sorted(self.splits.items()):
            splits[split].append(name)
        splits.pop(None, None)
        listed = "train" in splits and len(splits) > 1
        if not listed or "validation" not in splits:  # the folder needs both
            splits |= split_by_hash(splits["train"] if listed else sorted(self.splits))
        splits = {split: names for split, names in splits.items() if names}
        for split, names in splits.items():
            if listed:
                write_text(self.made / f"{split}.txt", "".join(f"{name}\n" for name in names))
            if any(annotations for _, _, annotations in self.objects.values()):
                write_json(self.made / f"instances_{split}.json", self._describe_objects(names))
        return {split: len(names) for split, names in splits.items()} if listed else {}

    def _describe_objects(self, names):
        """The objects of some images in COCO's format. The id of a category is the id of its class in the masks."""
        images, annotations = [], []
        for number, name in enumerate(names, start=1):
            relative, (height, width), own = self.objects[name]
            images.append({"id": number, "file_name": relative.as_posix(), "height": height, "width": width})
            annotations += [
                one | {"image_id": number, "id": len(annotations) + i} for i, one in enumerate(own, start=1)
            ]
        categories = [{"id": id_, "name": name} for id_, name in enumerate(self.names) if id_]
        return {"images": images, "annotations": annotations, "categories": categories}


def _put_background_first(names, default=None):
    background = next((name for name in names if name.strip("_").lower() == "background"), default)
    return [*([background] if background else []), *(name for name in dict.fromkeys(names) if name != background)]


def _explain_unknown(source):
    inside = ", ".join(sorted(path.name for path in source.iterdir())[:10]) or "nothing"
    return (
        f"{source} is not the export of a label tool that is known: found {inside}; expected CVAT's Segmentation mask "
        "1.1, COCO, LabelMe's JSON, Label Studio's JSON (not JSON-MIN), Roboflow's Semantic Segmentation Masks, PASCAL VOC, or masks "
        "that are named after the images. Fix: export the labels in one of these formats, unpack the file, and add the "
        "images."
    )
