"""The command ``export``: a model for a runtime without Python."""

import json
import pathlib
from typing import Annotated, Literal

import typer

from ._options import Json, Model, silence_tensorflow

Format = Literal["saved_model", "onnx", "openvino", "litert"]


def export(
    model: Model,
    path: Annotated[pathlib.Path, typer.Argument(help="….onnx, ….xml, ….tflite, or a folder for a SavedModel.")],
    format: Annotated[Format | None, typer.Option(help="By default what the name of PATH says.")] = None,
    size: Annotated[tuple[int, int] | None, typer.Option(help="Height and width; by default any.")] = None,
    labels: Annotated[bool, typer.Option("--labels", help="Return masks instead of logits.")] = False,
    calibration: Annotated[
        pathlib.Path | None, typer.Option(help="Folder of images, of any size: weights and activations become int8.")
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="How many images of --calibration to use at most.")] = 100,
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
    with silence_tensorflow():
        from ..export import export_model
        from ..inference.files import find_images
        from ..models import load_model

    found = None
    if calibration is not None:
        found = [image for image, _ in find_images([calibration])[:images]]
    written = export_model(load_model(model), path, format, size=size, labels=labels, calibration=found)
    files = [file for file in written.rglob("*") if file.is_file()] if written.is_dir() else [written]
    files += [written.with_suffix(".bin")] if written.suffix == ".xml" else []  # the weights of an OpenVINO model
    size_in_bytes = sum(file.stat().st_size for file in files)
    record = {"path": str(written), "bytes": size_in_bytes, "labels": labels, "int8": found is not None}
    print(json.dumps(record, indent=1) if as_json else f"{written}: {size_in_bytes / 1e6:.1f} MB.")
