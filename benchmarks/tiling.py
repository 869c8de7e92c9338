"""Time and memory of `fcn_keras.segment`, for the whole image and in tiles.

    python benchmarks/tiling.py [--tile 512 1024 2048] [--small 3700 5000] [--large 6000 8000] [--rounds 3]

FCN-8s on MobileNetV2, 21 classes, random weights, generated images. Every run has its own process, and so its own peak
of memory. The table prints the peak beyond the one that the process had when everything was loaded and one small image
was segmented. It includes the image (3 bytes a pixel) and the mask (1 byte). The small image is segmented whole and in
tiles, in turns, for several rounds; the large one in tiles only.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

CLASSES = 21


def main():
    """Runs what the command line asks for and prints a table."""
    arguments = parsed()
    if arguments.run:
        print(json.dumps(measured(*arguments.run[:3], mask_path=arguments.mask)))
        return
    small, large = arguments.small, arguments.large
    rows = [(small, 0), *((small, tile) for tile in arguments.tile)]
    results = {row_name(*row): [] for row in rows}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.rounds):
            for size, tile in rows:
                results[row_name(size, tile)].append(in_process(size, tile, folder))
        agreements = {row_name(*row): agreement(folder, small, row[1]) for row in rows}
        if large != [0, 0]:
            for tile in arguments.tile:
                results[row_name(large, tile)] = [in_process(large, tile, folder)]
    print_table(results, agreements)


def parsed():
    """The arguments. The program calls itself with ``--run``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tile", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument(
        "--small", type=int, nargs=2, default=[3700, 5000], help="also segmented whole, which takes about 6 GB"
    )
    parser.add_argument("--large", type=int, nargs=2, default=[6000, 8000], help="0 0 leaves it out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", type=int, nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--mask", help=argparse.SUPPRESS)
    return parser.parse_args()


def row_name(size, tile):
    """The first two columns of the table."""
    return f"{size[0]:,} × {size[1]:,}", f"tile={tile}" if tile else "whole"


def in_process(size, tile, folder):
    """One measurement in its own process, which writes the mask to the folder."""
    command = [sys.executable, __file__, "--run", *map(str, (*size, tile)), "--mask", mask_path(folder, size, tile)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{row_name(size, tile)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def mask_path(folder, size, tile):
    """The file that a run writes its mask to."""
    return os.path.join(folder, f"{size[0]}_{size[1]}_{tile}.npy")


def measured(height, width, tile, mask_path=None):
    """Seconds and peak memory, in MB, of one call of `segment`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import numpy as np

    import fcn_keras

    model = random_model()
    fcn_keras.segment(model, generated(96, 128))
    loaded = peak()
    image = generated(height, width)
    start = time.perf_counter()
    mask = fcn_keras.segment(model, image, tile=tile or None, progress=False)
    seconds = time.perf_counter() - start
    found = {"seconds": seconds, "beyond": peak() - loaded, "loaded": loaded, "classes": len(np.unique(mask))}
    if mask_path:
        np.save(mask_path, mask)
    return found


def peak():
    """Peak of the memory of this process, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if platform.system() == "Darwin" else 1e3)


def random_model():
    """FCN-8s whose weights keep the signal alive, so that the mask has many classes."""
    import keras
    import numpy as np

    import fcn_keras

    keras.utils.set_random_seed(0)
    model = fcn_keras.FCN8s(CLASSES, "mobilenet_v2", weights=None)
    generator = np.random.default_rng(0)
    for layer in [*model.get_layer("backbone").layers, *model.layers]:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            kernel, *biases = layer.get_weights()
            inputs = kernel[..., 0].size if isinstance(layer, keras.layers.Conv2D) else kernel[..., 0, 0].size
            layer.set_weights([generator.normal(scale=(2 / inputs) ** 0.5, size=kernel.shape), *biases])
    return model


def generated(height, width):
    """Waves of many lengths, and noise. It is made in strips, which takes little memory."""
    import numpy as np

    generator, image = np.random.default_rng(0), np.empty((height, width, 3), "uint8")
    columns = np.arange(width, dtype="float32")
    for start in range(0, height, 256):
        rows = np.arange(start, min(start + 256, height), dtype="float32")[:, None]
        for channel in range(3):
            length = 40.0 * (channel + 1)
            waves = np.sin(rows / length + np.sin(columns / (3 * length))) + np.cos(columns / length)
            noise = generator.normal(scale=0.3, size=waves.shape)
            image[start : start + 256, :, channel] = np.clip(127.5 + 55 * (waves + noise), 0, 255)
    return image


def agreement(folder, size, tile):
    """Share of pixels whose label is the one that the whole image gives."""
    import numpy as np

    whole, mask = (np.load(mask_path(folder, size, n), mmap_mode="r") for n in (0, tile))
    return float((whole == mask).mean())


def print_table(results, agreements):
    """Markdown, with the medians over the rounds."""
    loaded = statistics.median(run["loaded"] for runs in results.values() for run in runs)
    print(f"{platform.machine()}, {os.cpu_count()} cores; the loaded runtime holds {loaded:.0f} MB.\n")
    print("| image | run | seconds | peak memory beyond the runtime, MB | pixels labelled as in the whole image |")
    print("|---|---|---|---|---|")
    for name, runs in results.items():
        seconds = [run["seconds"] for run in runs]
        spread = f"{statistics.median(seconds):.1f}" + (f" ({min(seconds):.1f}–{max(seconds):.1f})" if runs[1:] else "")
        memory = statistics.median(run["beyond"] for run in runs)
        share = f"{agreements[name]:.6%}" if name in agreements else ""
        print(f"| {name[0]} | {name[1]} | {spread} | {memory:,.0f} | {share} |")


if __name__ == "__main__":
    main()
