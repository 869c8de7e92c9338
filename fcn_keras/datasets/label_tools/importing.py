"""Turns what a label tool exports into the folder that `fcn_keras.datasets.folder` reads.

The rules are the same for all tools. Where shapes overlap, the one that stands later in the file is on top; in COCO's
files of stuff and things, things are on top. Pixels without a label are background, or void if the label is ``void`` or
``__ignore__``. `fcn_keras.datasets.segmentations` draws the polygons.
"""

import collections
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
from .drawing import IGNORED, draw
from .masks import find_names, read_masks
from .recognize import IMAGE_FOLDER, NAMES, recognize
from .samples import Images, find_split
from .shapes import read_shapes

SHOWN = 20  # how many problems an error names
EXPECTED = (
    "expected CVAT's Segmentation mask 1.1, COCO, LabelMe's JSON, Label Studio's JSON (not JSON-MIN), Roboflow's "
    "Semantic Segmentation Masks, PASCAL VOC, or masks that are named after the images. Fix: export the labels in one "
    "of these formats, unpack the file, and add the images."
)


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
        A dict: ``tool``, ``images`` and ``objects`` (their numbers), ``classes`` (the names, or None if masks without
        names were copied), ``splits`` (number of images in each list) and ``left_out`` (what was not imported, with its
        number).

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
        raise ValueError(f"{source} is a file. Fix: unpack it." if source.exists() else explain_missing(source))
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

    `names` are those of the classes, or None if masks are only copied. `classes` are those in the files of masks.
    `objects` and `splits` hold, for the name of each image, its file, size and annotations; and its split.
    """

    def __init__(self, source, made):
        self.source, self.made, self.images, self.tool = source, made, Images(source), recognize(source)
        self.left_out, self.objects, self.splits, names = collections.Counter(), {}, {}, None
        if self.tool is None:
            inside = ", ".join(sorted(path.name for path in source.iterdir())[:10]) or "nothing"
            raise ValueError(f"{source} is not the export of a label tool that is known: found {inside}; {EXPECTED}")
        if self.tool in ("LabelMe", "COCO", "Label Studio"):
            self.samples, names, self.left_out = read_shapes(source, self.tool)
            self.classes = None
        else:
            self.samples, self.classes = read_masks(source, self.tool)
        labels = {shape.label for sample in self.samples for shape in sample.shapes}
        whole = any(sample.mask for sample in self.samples)
        if whole == bool(labels):
            found = "masks of all classes and masks of one class" if whole else "no label that covers an area"
            raise ValueError(f"{source} holds {found}. Fix: label an image, or take one kind of masks.")
        self.names = self._order(labels, names) if labels else self.classes and _put_first(self.classes.names)

    def _order(self, labels, names):
        """The names of the classes of shapes: background, and the others in the order of a file, or sorted."""
        path = find_names(self.source)
        names = names or (list(read_classes(path).names) if path else sorted(labels))
        unknown = [label for label in sorted(labels.difference(names)) if label.lower() not in IGNORED]
        if unknown:
            raise ValueError(f"{path} does not name the labels {unknown[:10]}. Fix: add them, or remove the file.")
        return _put_first([name for name in names if name.lower() not in IGNORED], "background")

    def run(self, progress):
        """Imports everything and returns the result."""
        problems = []
        for sample in track(self.samples, "importing", show=progress):
            try:
                self._add(sample)
            except ValueError as error:
                problems.append(f"{sample.place}: {error}")
        if problems:
            more = [f"… and {len(problems) - SHOWN} more"] * (len(problems) > SHOWN)
            raise ValueError("\n".join([f"{self.source}: nothing was imported.", *problems[:SHOWN], *more]))
        self._write_names()
        splits = self._write_splits()
        count = sum(len(annotations) for _, _, annotations in self.objects.values())
        result = {"tool": self.tool, "images": len(self.splits), "objects": count, "classes": self.names}
        return result | {"splits": splits, "left_out": dict(+self.left_out)}

    def _add(self, sample):
        """Copies an image and writes its mask."""
        path = self.images.find(sample)
        own = path.relative_to(self.source)
        relative = pathlib.Path(*(part for part in own.parts[:-1] if not IMAGE_FOLDER.fullmatch(part)), own.name)
        name = relative.with_suffix("").as_posix()
        if name in self.splits:
            raise ValueError(f"two images are called {name}, or {path} has two labels. Fix: rename or remove one.")
        self.splits[name] = sample.split or find_split(*reversed(own.parts[:-1]))
        image, mask = self.made / "images" / relative, self.made / "masks" / f"{name}.png"
        for file in (image, mask):
            file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, image)
        if sample.mask and self.tool == NAMES:  # `check` and `train` read it like any mask of the user
            shutil.copyfile(sample.mask, mask.with_name(mask.stem + sample.mask.suffix))
            return
        ids, objects = draw(sample, path, self.names, self.classes)
        picture = PIL.Image.fromarray(ids)
        picture.putpalette(voc_palette().tobytes())
        picture.save(mask)
        self.objects[name] = relative, ids.shape, [one for one in objects if one["area"]]
        self.left_out["objects that cover no pixel"] += len(objects) - len(self.objects[name][2])

    def _write_names(self):
        """Writes classes.txt. Users may also write this file, so some names cannot stand in it."""
        path, given = self.made / "classes.txt", find_names(self.source)
        if self.tool == NAMES and not self.objects:
            return given and shutil.copyfile(given, path)
        write_text(path, "".join(f"{name}\n" for name in self.names))
        for name, found in itertools.zip_longest(self.names, read_classes(path).names):
            if name != found:
                fix = "Fix: in the label tool, rename it to words without punctuation, and export again."
                raise ValueError(f"The class name {name!r} cannot be written into classes.txt. {fix}")

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


def _put_first(names, default=None):
    background = next((name for name in names if name.strip("_").lower() == "background"), default)
    return list(dict.fromkeys([*filter(None, [background]), *names]))
