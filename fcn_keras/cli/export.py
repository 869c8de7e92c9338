"""The command ``export``: writes a model for a runtime without Python."""

import json
import pathlib
from typing import Annotated, Literal

import typer

from ._options import Json, Model, option, silence_tensorflow

Format = Literal["saved_model", "onnx", "openvino", "litert"]


def export(
    model: Model,
    path: Annotated[pathlib.Path, typer.Argument(help="….onnx, ….xml, ….tflite, or a folder for a SavedModel.")],
    format: option(Format | None, "By default it follows from the suffix of PATH.") = None,
    size: option(tuple[int, int] | None, "Height and width of the input. By default any size.") = None,
    labels: option(bool, "Return masks instead of logits.", "--labels") = False,
    calibration: option(pathlib.Path | None, "Folder of images of any size. They calibrate an int8 model.") = None,
    images: option(int, "Use at most this many images of --calibration.", min=1) = 100,
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
