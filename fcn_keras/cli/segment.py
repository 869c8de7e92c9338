"""The command ``segment``: images, folders and videos."""

import json
import pathlib
from typing import Annotated

import typer

from .._files import atomic_write, user_path
from ._options import Flip, Json, Model, Scales, option, read_run, silence_tensorflow


def segment(
    model: Model,
    sources: Annotated[list[pathlib.Path], typer.Argument(help="Images, folders of images, videos.")],
    out: option(pathlib.Path, "Folder for masks, overlays and videos.") = pathlib.Path("masks"),
    tile: option(int | None, "Side of the tiles that save memory on large images, in pixels.", min=1) = None,
    scales: Scales = None,
    flip: Flip = False,
    overlays: option(bool, "Also write an overlay, NAME.overlay.jpg, next to each mask.", "--overlays") = False,
    ids: option(bool, "Also write the class ids as a plain grey PNG, NAME.ids.png.", "--ids") = False,
    probabilities: option(bool, "Also write the probabilities as a NumPy file, NAME.npy.", "--probabilities") = False,
    areas: option(bool, "Also write areas.json: the pixels of each class in each image.", "--areas") = False,
    threshold: option(
        tuple[str, float] | None, "Choose this class from this probability on, such as: crack 0.3"
    ) = None,
    frames: option(bool, "Also write the mask of each frame of a video.", "--frames") = False,
    again: option(bool, "Overwrite files that exist already.", "--again") = False,
    as_json: Json = False,
):
    """Label every pixel of images and videos. Write masks as palette PNGs, and videos with overlays.

    Files that exist already are skipped, so the same command continues after it was stopped. Files that cannot be read
    are listed at the end, and the exit status is then 1.

    Python: fcn_keras.inference.files.segment_files, fcn_keras.inference.video.segment_videos

    Examples:

        fcn-keras segment runs/mine/best.keras photo.jpg --overlays

        fcn-keras segment runs/mine/best.keras aerial/ --out masks --tile 1024

        fcn-keras segment runs/mine/best.keras walls/ --threshold crack 0.3 --ids --areas

        fcn-keras segment runs/mine/best.keras drive.mp4 --scale 1 --scale 1.5 --flip
    """
    with silence_tensorflow():
        from ..datasets import progress
        from ..datasets.images import VIDEOS
        from ..inference import files, video
        from ..models import load_model

    net = load_model(model)
    options = {
        "tile": tile,
        "scales": tuple(scales or (1.0,)),
        "flip": flip,
        "palette": getattr(net, "palette", None) or read_run(model).get("palette"),
        "again": again,
        "threshold": threshold,
    }
    also = {"overlays": overlays, "ids": ids, "probabilities": probabilities, "areas": areas, "made_by": model}
    videos = [path for path in sources if path.suffix.lower() in VIDEOS]
    images = [path for path in sources if path not in videos]
    records = {}
    with progress.make_progress_bar() as bar:
        if images:
            task = bar.add_task("images", total=len(files.find_images(images, out)))
            for record in files.segment_files(net, images, out, **also, **options):
                records[record["image"]] = record
                bar.advance(task)
        tasks = {str(user_path(path)): bar.add_task(path.name, total=None) for path in videos}
        for record, done, total in video.segment_videos(net, videos, out, frames=frames, **options):
            records[record["image"]] = record
            bar.update(tasks[record["image"]], completed=done, total=total or None)
    if areas:
        found = {record["image"]: record["areas"] for record in records.values() if "areas" in record}
        text = json.dumps({"model": model, "pixels": found}, indent=1, ensure_ascii=False)
        atomic_write(user_path(out) / "areas.json", lambda file: file.write_text(text, encoding="utf-8"))
    bad = [record for record in records.values() if record["status"] == "bad"]
    if as_json:
        print(json.dumps(list(records.values()), indent=1))
    else:
        print(_summarize([record["status"] for record in records.values()], out))
        for record in bad:
            print(f"  {record['error']}")
    return int(bool(bad))


def _summarize(statuses, out):
    there = f"{statuses.count('skipped')} existed already"
    there += " (--again overwrites them)" if "skipped" in statuses else ""
    return f"{statuses.count('done')} done, {there}, {statuses.count('bad')} could not be read; see {out}."
