"""Masks of millions of images, on many processes or machines: an Apache Beam pipeline.

Each process loads the model once; each image is read, labelled and written on its own. A mask is written beside and
renamed, so what stands under its final name is whole: a worker that dies loses the images in its hands, no more, and
the same call again does what is missing. Files that cannot be read do not stop the run: they go to ``bad.jsonl``.

On this machine Beam's DirectRunner does the work; `options` takes the flags of any other runner, whose workers need
this package and see the same files. Beam's own `RunInference` is not used: its TensorFlow handlers load models in their
own way, past `fcn_keras.models.loading`, and its batches want images of one size, where `fcn_keras.segment` takes any.

Needs ``pip install "fcn-keras[beam]"``.
"""

import glob
import json
import os
import pathlib

from .._files import user_path
from ..datasets.images import SUFFIXES
from ..models.loading import load_model
from .files import find_images, outside, require_places_of_their_own, write_mask
from .segment import segment

COUNTS = ("done", "skipped", "bad")


def segment_files(model, images, output, root=None, palette=None, again=False, options=(), **arguments):
    """Labels many image files; finished ones are skipped, so that the same call goes on where one was stopped.

    Args:
        model: Path of a .keras file, loaded by `fcn_keras.models.loading.load_model` in each process.
        images: A folder, searched with its subfolders; a pattern such as ``"photos/**/*.jpg"``; or a ``.txt`` file
            with one path a line, relative to `root`.
        output: Folder of the masks: palette PNGs at the images' places below `root`, and ``bad.jsonl``, one line
            ``{"path": …, "error": …}`` for each image that has none.
        root: Folder that all images lie in; by default the folder itself, what stands before the first ``*`` of the
            pattern, or the folder of the list. Images that lead outside it, through ``..`` or links, are not read.
        palette: Colours ``(C, 3)`` of the classes; by default VOC's.
        again: Whether to do finished images again.
        options: Flags of Beam, such as ``["--direct_num_workers=4", "--direct_running_mode=multi_processing"]``.
        **arguments: Those of `fcn_keras.segment`: `tile`, `scales`, `flip`.

    Returns:
        Dict of counts: ``done``, ``skipped``, ``bad``.

    Raises:
        ValueError: If there are no images, two would share a mask, or a mask would take the place of an image.
        OSError: If masks cannot be written (disk full); what is written stays, and the same call goes on.
        ImportError: If Apache Beam is not installed.

    Example:

    >>> segment_files("fcn8s.keras", "photos", "masks")  # doctest: +SKIP
    {'done': 1000000, 'skipped': 0, 'bad': 12}

    Reference: the model of Beam's pipelines, Chambers et al., *FlumeJava* (PLDI 2010).
    """
    beam = _beam()
    output = user_path(output).resolve()
    names, root = _names(str(user_path(images)), root, output)
    places = [(root / name, pathlib.PurePath(name).with_suffix("")) for name in names if _stays(name)]
    require_places_of_their_own(places, output)
    output.mkdir(parents=True, exist_ok=True)
    work = _work(beam, str(user_path(model).resolve()), str(root), str(output), palette, again, arguments)
    pipeline = beam.Pipeline(options=beam.options.pipeline_options.PipelineOptions(list(options)))
    found = pipeline | beam.Create(names) | beam.Reshuffle() | beam.ParDo(work).with_outputs("bad", main="good")
    found.bad | beam.io.WriteToText(str(output / "bad"), file_name_suffix=".jsonl", shard_name_template="")
    result = pipeline.run()
    result.wait_until_finish()
    counts = dict.fromkeys(COUNTS, 0)
    for counter in result.metrics().query()["counters"]:
        if counter.key.metric.namespace == __name__:
            counts[counter.key.metric.name] = counter.result
    return counts


def _beam():
    try:
        import apache_beam as beam
    except ImportError as error:
        raise ImportError('fcn_keras.inference.beam needs Apache Beam. Fix: pip install "fcn-keras[beam]".') from error
    return beam


def _names(images, root, output):
    """Paths relative to the root, as text, and the root."""
    source = pathlib.Path(images)
    if source.is_dir():
        root = user_path(root or source)
        names = [os.path.relpath(path, root) for path, _ in find_images([source], output)]
    elif source.is_file() and source.suffix == ".txt":
        root = user_path(root or source.parent)
        names = [line.strip() for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
    else:
        root = user_path(root or images.partition("*")[0].rpartition("/")[0] or ".")
        files = [path for path in map(pathlib.Path, glob.glob(images, recursive=True)) if path.is_file()]
        names = [os.path.relpath(path, root) for path in outside(files, output, root)]
    if not names:
        raise ValueError(
            f"Found no image in {images!r}: expected a folder of {', '.join(SUFFIXES)}, a pattern such as "
            "'photos/**/*.jpg', or a .txt file with one path a line."
        )
    return sorted(set(names)), root.resolve()


def _stays(name):
    return ".." not in pathlib.PurePath(name).parts and not pathlib.PurePath(name).is_absolute()


def _place(root, name):
    """The image's path and its place below the root, if it lies there."""
    path = (pathlib.Path(root) / name).resolve()
    if not path.is_relative_to(root) or not _stays(name):
        raise ValueError(f"{name!r} leads outside {root}. Fix: list paths below it, or pass another root.")
    return path


def _work(beam, model, root, output, palette, again, arguments):
    """The step that each process repeats: a name in; a line of bad.jsonl out, if it comes to that."""
    shared = beam.utils.shared.Shared()

    class Segment(beam.DoFn):
        def setup(self):
            self.model = shared.acquire(lambda: load_model(model, compile=False))

        def process(self, name):
            try:
                path = _place(root, name)
                mask = (pathlib.Path(output) / name).with_suffix(".png")
                _place(output, mask.relative_to(output))
                if mask.exists() and not again:
                    self._count("skipped")
                    return
                write_mask(mask, segment(self.model, path, progress=False, **arguments), palette)
                self._count("done")
            except ValueError as error:
                self._count("bad")
                yield beam.pvalue.TaggedOutput("bad", json.dumps({"path": name, "error": str(error)}))

        def _count(self, name):
            beam.metrics.Metrics.counter(__name__, name).inc()

    return Segment()
