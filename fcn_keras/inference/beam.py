"""Segments millions of images on many processes or machines, with an Apache Beam pipeline.

Each process loads the model once, and segments one image at a time. Masks are written atomically. If a worker dies,
only the images that it was working on are lost. The same call again segments them. Files that cannot be read do not
stop the run; the file ``bad.jsonl`` lists them.

By default, Beam's DirectRunner runs the pipeline on this machine. `options` can choose another runner, whose workers
need this package and access to the same files. We do not use Beam's own `RunInference`, because its handlers load
TensorFlow models without `fcn_keras.load_model`, and need batches of images of one size.

Needs ``pip install "fcn-keras[beam]"``.
"""

import glob
import json
import os
import pathlib

from .._files import user_path
from ..datasets.images import SUFFIXES
from ..models.loading import load_model
from .files import drop_outputs, find_images, require_distinct_masks, write_mask
from .segment import segment


def segment_with_beam(model, images, output, root=None, palette=None, again=False, options=(), **arguments):
    """Segments many image files on an Apache Beam runner. Images whose masks exist are skipped.

    Args:
        model: Path of a .keras file, which each process loads with `fcn_keras.load_model`.
        images: A folder, which is searched with its subfolders; a pattern such as ``"photos/**/*.jpg"``; or a ``.txt``
            file with one path per line, relative to `root`.
        output: Folder of the masks. The path of a mask below `output` is the path of its image below `root`, but ends
            in ``.png``. If an image cannot be read, ``bad.jsonl`` has a line ``{"path": …, "error": …}`` for it.
        root: Folder that contains all images. By default it is the folder itself, the part of the pattern before the
            first ``*``, or the folder of the list. Images outside it, behind ``..`` or links, are not read.
        palette: Colours ``(C, 3)`` of the classes; by default VOC's.
        again: Whether to segment an image again if its mask exists.
        options: Flags of Beam, such as ``["--direct_num_workers=4", "--direct_running_mode=multi_processing"]``.
        **arguments: ``tile``, ``scales``, ``flip``: see `fcn_keras.segment`.

    Returns:
        Dict of counts: ``done``, ``skipped``, ``bad``.

    Raises:
        ValueError: If there are no images, if two images would share a mask, or if a mask would replace an image.
        OSError: If masks cannot be written (disk full). The masks that exist remain, and the same call continues.
        ImportError: If Apache Beam is not installed.

    Example:

    >>> segment_with_beam("fcn8s.keras", "photos", "masks")  # doctest: +SKIP
    {'done': 1000000, 'skipped': 0, 'bad': 12}

    Reference: Chambers et al., *FlumeJava* (PLDI 2010), for the model of Beam's pipelines.
    """
    beam = _import_beam()
    output = user_path(output).resolve()
    names, root = _list_names(str(user_path(images)), root, output)
    found = [(root / name, pathlib.PurePath(name).with_suffix("")) for name in names if _is_below(name)]
    require_distinct_masks(found, output)
    output.mkdir(parents=True, exist_ok=True)
    work = _make_step(beam, str(user_path(model).resolve()), str(root), str(output), palette, again, arguments)
    pipeline = beam.Pipeline(options=beam.options.pipeline_options.PipelineOptions(list(options)))
    found = pipeline | beam.Create(names) | beam.Reshuffle() | beam.ParDo(work).with_outputs("bad", main="good")
    found.bad | beam.io.WriteToText(str(output / "bad"), file_name_suffix=".jsonl", shard_name_template="")
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query(beam.metrics.MetricsFilter().with_namespace(__name__))["counters"]
    return {"done": 0, "skipped": 0, "bad": 0} | {each.key.metric.name: each.result for each in counters}


def _import_beam():
    try:
        import apache_beam as beam
    except ImportError as error:
        raise ImportError('fcn_keras.inference.beam needs Apache Beam. Fix: pip install "fcn-keras[beam]".') from error
    return beam


def _list_names(images, root, output):
    """Returns the paths relative to the root, as strings, and the root."""
    source, names, files = pathlib.Path(images), [], []
    if source.is_dir():
        root = user_path(root or source)
        files = [path for path, _ in find_images([source], output)]
    elif source.is_file() and source.suffix == ".txt":
        root = user_path(root or source.parent)
        names = [line.strip() for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
    else:
        root = user_path(root or images.partition("*")[0].rpartition("/")[0] or ".")
        files = filter(pathlib.Path.is_file, map(pathlib.Path, glob.glob(images, recursive=True)))
        files = drop_outputs(list(files), output, root)
    names += [os.path.relpath(path, root) for path in files]
    if not names:
        raise ValueError(
            f"Found no image in {images!r}: expected a folder of {', '.join(SUFFIXES)}, a pattern such as "
            "'photos/**/*.jpg', or a .txt file with one path per line."
        )
    return sorted(set(names)), root.resolve()


def _is_below(name):
    return ".." not in pathlib.PurePath(name).parts and not pathlib.PurePath(name).is_absolute()


def _require_below(root, name):
    """Returns the path of an image, and raises a ValueError if it is not below the root."""
    path = (pathlib.Path(root) / name).resolve()
    if not path.is_relative_to(root) or not _is_below(name):
        raise ValueError(f"{name!r} is outside {root}. Fix: list paths inside this folder, or pass another root.")
    return path


def _make_step(beam, model, root, output, palette, again, arguments):
    """Returns the step of the pipeline from a name to a mask. If it fails, it yields a line of bad.jsonl."""
    shared = beam.utils.shared.Shared()

    class Segment(beam.DoFn):
        def setup(self):
            self.model = shared.acquire(lambda: load_model(model, compile=False))

        def process(self, name):
            status = "skipped"
            try:
                path = _require_below(root, name)
                mask = _require_below(output, str(pathlib.PurePath(name).with_suffix(".png")))
                if again or not mask.exists():
                    ids = segment(self.model, path, progress=False, **arguments)
                    write_mask(mask, ids, palette, getattr(self.model, "class_ids", None), made_by=self.model.name)
                    status = "done"
            except ValueError as error:
                status = "bad"
                yield beam.pvalue.TaggedOutput("bad", json.dumps({"path": name, "error": str(error)}))
            beam.metrics.Metrics.counter(__name__, status).inc()

    return Segment()
