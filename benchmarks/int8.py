"""What int8 costs and gains: size, mean IoU and time of the exports of a trained net, beside Keras.

    python -m benchmarks.int8 runs/camvid-0/last.keras camvid --source PATH [--images 32]

Run it from the project's root. The exports are calibrated on training images and measured on the validation split; all
images have one size. All runtimes run in this process and take turns with every image, so that other work on the
machine affects all of them alike.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile
import time

import tensorflow as tf

import fcn_keras
from fcn_keras import datasets
from fcn_keras.metrics import SegmentationMetrics

from .speed.runtime_side import RUNTIMES, SUFFIXES


def main(arguments=None):
    """Exports, measures, prints a table; returns the exit status."""
    found = parsed(arguments)
    model = fcn_keras.load_model(found.model, compile=False)
    where = {"source": found.source, "data_dir": found.data_dir}
    calibration = [image.numpy() for image, _ in datasets.load(found.data, f"train[:{found.images}]", **where)]
    size = calibration[0].shape[:2]
    with tempfile.TemporaryDirectory() as folder:
        runs, sizes = runtimes(model, pathlib.Path(folder), size, calibration)
        metrics = {name: SegmentationMetrics(model.output_shape[-1]) for name in runs}
        times = {name: [] for name in runs}
        for image, mask in datasets.load(found.data, "validation", **where):
            for name, run in runs.items():
                started = time.perf_counter()
                logits = run(image.numpy()[None])
                times[name].append(time.perf_counter() - started)
                metrics[name].update_state(mask[None], logits)
    print("| runtime | MB | mean IoU | median, ms |\n|---|---|---|---|")
    for name, metric in metrics.items():
        mean_iou = 100 * float(metric.result()["mean_iou"])
        print(f"| {name} | {sizes[name] / 1e6:.1f} | {mean_iou:.1f} | {1000 * statistics.median(times[name]):.0f} |")
    return 0


def parsed(arguments):
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a .keras file")
    parser.add_argument("data", help="a data set, as in fcn_keras.datasets.load")
    parser.add_argument("--source", help="folder of the data")
    parser.add_argument("--data-dir", help="folder of the prepared data")
    parser.add_argument(
        "--images", type=int, default=32, help="training images to calibrate with; default: %(default)s"
    )
    return parser.parse_args(arguments)


def runtimes(model, folder, size, calibration):
    """Functions from a batch of one image to logits, and the bytes of each file, by name."""
    runs = {"Keras": tf.function(lambda x: model(x, training=False), autograph=False)}
    sizes = {"Keras": 4 * model.count_params()}
    for runtime in ("onnx", "litert"):
        for images in (None, calibration):
            name = f"{runtime}{', int8' if images else ''}"
            path = folder / f"{name.replace(', ', '-')}{SUFFIXES[runtime]}"
            fcn_keras.export_model(model, path, size=size, calibration=images)
            runs[name], sizes[name] = RUNTIMES[runtime](path, []), path.stat().st_size
    return runs, sizes


if __name__ == "__main__":
    sys.exit(main())
