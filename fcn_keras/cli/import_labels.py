"""The command ``import``: turns what a label tool exports into a folder to train on."""

import json
import pathlib
from typing import Annotated

import typer

from ._options import Json, silence_tensorflow


def import_labels(
    source: Annotated[pathlib.Path, typer.Argument(help="The unpacked export of a label tool, with its images.")],
    target: Annotated[pathlib.Path, typer.Argument(help="The folder to make.")],
    as_json: Json = False,
):
    """Turn the export of a label tool into a folder of images and masks.

    CVAT (Segmentation mask 1.1), LabelMe, COCO, Label Studio (JSON), Roboflow (Semantic Segmentation Masks) and PASCAL
    VOC are recognized, and folders in which the masks have names such as 001_mask.png. Nothing in SOURCE is changed.

    Python: fcn_keras.datasets.label_tools.importing.import_labels

    Examples:

        fcn-keras import export_of_cvat my_data

        fcn-keras import coco my_data --json
    """
    with silence_tensorflow():
        from ..datasets.label_tools.importing import import_labels

    result = import_labels(source, target)
    if as_json:
        print(json.dumps({"target": str(target), **result}, indent=1))
        return
    splits = "".join(f"; {split} {count}" for split, count in result["splits"].items())
    print(f"{target}: {result['images']} images, {result['objects']} objects ({result['tool']}){splits}")
    print(f"Classes: {', '.join(result['classes'] or ['the ids of the masks, without names'])}")
    for what, count in result["left_out"].items():
        print(f"Left out: {count} {what}")
    print(f"Next: fcn-keras check {target}")
