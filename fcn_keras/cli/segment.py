"""The command ``segment``: files, folders and films."""

import json
import pathlib
from typing import Annotated

import rich.progress
import typer
from rich.console import Console

from ..inference import files as mask_files
from ..inference import video
from ..models.loading import load_model
from ._options import Flip, Json, Model, Scales
from .colours import colours_of


def segment(
    model: Model,
    sources: Annotated[list[pathlib.Path], typer.Argument(help="Images, folders of images, films.")],
    out: Annotated[pathlib.Path, typer.Option(help="Folder for masks, overlays and films.")] = pathlib.Path("masks"),
    tile: Annotated[int | None, typer.Option(min=1, help="Side of a tile: bounded memory for large images.")] = None,
    scales: Scales = None,
    flip: Flip = False,
    overlays: Annotated[bool, typer.Option("--overlays", help="Write image.overlay.jpg beside each mask.")] = False,
    frames: Annotated[bool, typer.Option("--frames", help="Write the mask of each frame of a film, too.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Do again what is there already.")] = False,
    as_json: Json = False,
):
    """Label every pixel of images and films: masks as palette PNGs, films as films of overlays.

    Finished files are skipped, so a run that was stopped goes on. Files that cannot be read are listed at the end, and
    the exit status is then 1.

    Python: fcn_keras.inference.files.segment_files, fcn_keras.inference.video.segment_films

    Examples:

        fcn-keras segment runs/mine/best.keras photo.jpg --overlays

        fcn-keras segment runs/mine/best.keras aerial/ --out masks --tile 1024

        fcn-keras segment runs/mine/best.keras drive.mp4 --scale 1 --scale 1.5 --flip
    """
    net, palette = load_model(model), colours_of(model)
    options = {"tile": tile, "scales": tuple(scales or (1.0,)), "flip": flip, "palette": palette}
    films = [path for path in sources if path.suffix.lower() in video.SUFFIXES]
    images = [path for path in sources if path not in films]
    with _progress() as progress:
        records = _images(net, images, out, progress, overlays=overlays, again=again, **options) if images else []
        records += _films(net, films, out, progress, frames=frames, again=again, **options)
    bad = [record for record in records if record["status"] == "bad"]
    if as_json:
        print(json.dumps(records, indent=1))
    else:
        counts = {
            status: sum(record["status"] == status for record in records) for status in ("done", "skipped", "bad")
        }
        there = f"{counts['skipped']} there already" + (" (--again: anew)" if counts["skipped"] else "")
        print(f"{counts['done']} done, {there}, {counts['bad']} could not be read; see {out}.")
        for record in bad:
            print(f"  {record['error']}")
    return int(bool(bad))


def _images(net, sources, out, progress, **options):
    files = mask_files.find_images(sources, out)
    task = progress.add_task("images", total=len(files))
    records = []
    for record in mask_files.segment_files(net, sources, out, **options):
        records.append(record)
        progress.advance(task)
    return records


def _films(net, films, out, progress, **options):
    tasks = {str(film): progress.add_task(film.name, total=None) for film in films}
    records = {}
    for record, done, total in video.segment_films(net, films, out, **options):
        records[record["image"]] = record
        progress.update(tasks[record["image"]], completed=done, total=total or None)
    return list(records.values())


def _progress():
    """A bar on the terminal's error stream, so that what is printed can be piped."""
    return rich.progress.Progress(
        *rich.progress.Progress.get_default_columns(),
        rich.progress.MofNCompleteColumn(),
        console=Console(stderr=True),
        disable=not Console(stderr=True).is_terminal,
    )
