"""A table of all kinds of findings, each with a severity, a message, and advice on how to fix the problem."""

from .report import Finding

# Kind → severity, message and, if there is one, the fix. A comma separates a kind from its variant. `make_finding`
# replaces the words in braces.
# fmt: off
KINDS = {
    # The folder and its lists.
    "folder": ("error", "{found}", "make the folder, or rename yours."),
    "folder, closed": ("error", "There is no permission to read these folders.", "chmod u+rx."),
    "ignored": ("warning", "Folders, and files that do not end in {suffixes}, are not read."),
    "links": ("error", "Links that lead out of the folder, or to folders, are not followed.", "copy the files."),
    "names": ("error", "Files that have the same name and differ only in the ending.", "rename one."),
    "capitals": ("warning", "Names that differ only in capitals: many disks cannot hold both.", "rename one."),
    "pairs": ("error", "Files that have no {kind} of the same name: {count}.", "rename, add or remove them."),
    "pairs, none": ("error", "No image has a mask."),
    "pairs, list": ("error", "{file} names files that do not exist."),
    "classes.txt": ("error", "The classes.txt cannot be used."),
    "lists": ("error", "Lists that are wrong.", "write one name in each line: a file of images/, without its ending."),
    "lists, file": ("error", "{found}"),
    "split": ("note",
        "There is no train.txt and no validation.txt: a hash of the names chooses about {share:.0%} for validation."),
    "unlisted": ("note", "Images that no list names are not used."),
    "ranges.txt": ("error", "The ranges.txt cannot be used."),
    # One image and its mask.
    "image": ("error", "Images that cannot be read.", "restore them, or remove them together with their masks."),
    "mask": ("error", "Masks that cannot be read as ids.", "save ids as grey or palette PNGs."),
    "colours": ("error", "Masks in colours that cannot be turned into ids.",
        "name every class and its colour in classes.txt, one in each line: `road 128 64 128`."),
    "ids": ("error", "Masks with ids that belong to no class.",
        "map the ids; void is 255. For masks of two values, pass --binary (binary=True)."),
    "size": ("error", "Image and mask differ in size.", "resize the mask to the nearest id, or export it again."),
    "interpolated": ("error", "Masks that were resized by interpolation: their outlines hold ids that nobody drew.",
        'resize the originals with method="nearest".'),
    "jpeg mask": ("error", "Masks saved as JPEG, which changes ids near every outline.", "export them as PNG."),
    "thin": ("warning",
        "The class {name!r} lies only between two others, one pixel wide. Was it drawn so?",
        'if interpolation made it, resize the original masks with method="nearest".'),
    "mask exif": ("error", "Masks with an EXIF orientation, which is ignored.", "turn the pixels; remove the tag."),
    "exif unclear": ("warning", "Images that EXIF turns: their size does not show if the mask was drawn before it.",
        "look at one; save the images upright."),
    "exif": ("note", "Images that EXIF turns: this package turns them, other tools may not."),
    "grey": ("note", "Grey images: the grey is used for all three channels."),
    "channels": ("error", "Images with other channels than the others: expected {expected}.",
        "save all images with the same number of channels, in the same type."),
    "channels, found": ("note", "Images of type {dtype} with {ranges}.",
        "if these are not the values that the net should see as 0 and 255, state others in ranges.txt."),
    "constant": ("error", "Channel {number} is {value:g} in all training images: expected at least two values.",
        "remove the channel, from which nothing can be learned."),
    "alpha": ("warning", "Images with transparency: they are read on a white background.", "save them as RGB."),
    "colour space": ("warning", "Images that are not RGB: converted, without a colour profile.", "save them as RGB."),
    # The whole data set.
    "leakage": ("error", "The same pictures are in two splits: numbers measured on them show memory, not recognition.",
        "remove them from one split."),
    "duplicates": ("warning", "The same picture is in a split twice.", "remove one."),
    "likeness": ("warning", "Pictures of two splits look the same: encoded again, resized, or taken a moment apart.",
        "look at them, and remove them from one split."),
    "palettes": ("warning", "Palettes that differ from file to file: an id may mean another class in each file.",
        "if the colours are the classes, save the masks as RGB and name the colours in classes.txt."),
    "unnamed": ("note", "There is no classes.txt: the ids 0 to {last} are the classes, and only 255 is void.",
        "write one, one name in each line, in the order of the ids; the name `void` makes its id void."),
    "classes": ("error", "The masks hold no ids other than 0, and 255, which is void: that is one class.",
        "if 255 is the object, pass --binary (binary=True), or write 1 for the object."),
    "classes, one": ("error", "The classes.txt names one class, {name!r}: a net learns to tell two or more apart.",
        "name the background in the first line, for the id 0, and {name!r} in the second."),
    "object": ("error", "{name!r} has no pixel, but {share:.1%} of the pixels hold 255, which is void.",
        "if 255 is the object, pass --binary (binary=True), or write 1 for the object."),
    "absent, void": ("error", "Classes without a pixel, while {share:.1%} of the pixels hold 255, which is void.",
        "if 255 is one of these classes, write its id instead; if not, remove their names, or pass --force."),
    "levels": ("error", "Masks with {count} ids, up to {last}: most classes never occur. Are these grey levels?",
        "map them to 0, 1, 2 …, or name the classes in classes.txt; for two values pass --binary (binary=True)."),
    "levels, many": ("warning", "Masks with {count} ids, but no classes.txt. Are these grey levels, or made by JPEG?",
        "if they are classes, name them in classes.txt."),
    "absent": ("note", "Classes without a pixel in {split}: its metrics ignore them.", "{fix}"),
    "absent, train": ("warning", "Classes without a pixel in {split}: they cannot be learned.", "{fix}"),
    "rare": ("note", "Rare classes in train.",
        "add such images, use class weights (train --class-weights 1) or larger crops (--size)."),
    "scored": ("warning", "Names that do not sound like classes; they are trained and scored like any other class.",
        "if they are not classes, name them `void` in classes.txt."),
    "sides": ("warning", "Names with left or right: training mirrors images, and a mirrored left is labelled right.",
        "{fix}"),
    "void": ("warning", "Masks that are nearly all void: almost nothing is learned from them."),
    "void, all": ("error", "All pixels in {split} are void: nothing can be {use}.", "label them."),
    "void, split": ("warning", "{share:.0%} of the pixels in {split} are void: little is left to learn from."),
    "sizes": ("note", "{count} sizes of images, most often {common}: batches need crops, or one image each."),
    "few": ("warning", "Few images to validate on, {count}: the metrics say little.",
        "name more in validation.txt, and the rest in train.txt."),
}
# fmt: on


def make_finding(kind, files=(), /, **words):
    """A `Finding` of a kind.

    Args:
        kind: A key of `KINDS`.
        files: Pairs ``(name, detail)``, or names. Paths are converted to strings.
        **words: Values for the words in braces in the message and the fix.

    Returns:
        A `fcn_keras.datasets.check.report.Finding`. Its kind is the key without the variant.

    Example:

    >>> print(make_finding("few", count=1).message)
    Few images to validate on, 1: the metrics say little.
    """
    severity, message, fix = (*KINDS[kind], "")[:3]
    files = tuple((str(file[0]), file[1]) if isinstance(file, tuple) else (str(file), "") for file in files)
    return Finding(kind.partition(",")[0], severity, message.format(**words), fix.format(**words), files)
