"""The command ``export``: a model for a runtime without Python."""

import json
import pathlib
from typing import Annotated

import typer

from ..export import formats
from ..inference.files import find_images
from ..models.loading import load_model
from ._options import Json, Model, choice

Format = choice("Format", formats.WRITERS)


def export(
    model: Model,
    path: Annotated[pathlib.Path, typer.Argument(help="….onnx, ….xml, ….tflite, or a folder for a SavedModel.")],
    format: Annotated[Format | None, typer.Option(help="By default what the name of PATH says.")] = None,
    size: Annotated[tuple[int, int] | None, typer.Option(help="Height and width; by default any.")] = None,
    labels: Annotated[bool, typer.Option("--labels", help="Return masks instead of logits.")] = False,
    calibration: Annotated[
        pathlib.Path | None, typer.Option(help="Folder of images, of any size: weights and activations become int8.")
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="How many of these images at most.")] = 100,
    as_json: Json = False,
):
    """Write a model for a runtime without Python, such as ONNX Runtime, OpenVINO or LiteRT.

    Python: fcn_keras.export_model

    Examples:

        fcn-keras export runs/mine/best.keras net.onnx --labels

        fcn-keras export runs/mine/best.keras net.tflite --size 360 480

        fcn-keras export runs/mine/best.keras small.onnx --calibration photos/

        fcn-keras export runs/mine/best.keras small.tflite --size 360 480 --calibration photos/
    """
    found = None
    if calibration is not None:
        found = [image for image, _ in find_images([calibration])[:images]]
    written = formats.export_model(
        load_model(model), path, format and format.value, size=size, labels=labels, calibration=found
    )
    files = [written] if written.is_file() else [file for file in written.rglob("*") if file.is_file()]
    bytes_written = sum(file.stat().st_size for file in [*files, *_beside(written)])
    record = {"path": str(written), "bytes": bytes_written, "labels": labels, "int8": found is not None}
    print(json.dumps(record, indent=1) if as_json else f"{written}: {bytes_written / 1e6:.1f} MB.")


def _beside(path):
    """The weights of an OpenVINO model."""
    return [path.with_suffix(".bin")] if path.suffix == ".xml" else []
