"""The commands ``python -m benchmarks.super_resolution masks`` and ``… images``, whose results chapter 6 quotes."""

import argparse
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks.super_resolution import comparison
from fcn_keras._files import write_text
from fcn_keras.datasets import get_data_home
from fcn_keras.models.loading import load_model


def main(arguments=None):
    """Parses a command, runs it, writes the results and prints them.

    Returns:
        Exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.super_resolution", description=__doc__)
    parser.add_argument("what", choices=("masks", "images"))
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--photos", help="images: a folder of photographs, instead of the scenes of shapes")
    parser.add_argument("--fcn8s", type=pathlib.Path, help="masks: the net to start from (default: chapter 4's)")
    parser.add_argument("--directory", help="folder of the run (default: runs/superresolution-WHAT-SEED)")
    found = parser.parse_args(arguments)
    directory = pathlib.Path(found.directory or f"runs/superresolution-{found.what}-{found.seed}")
    try:
        results = _masks(found, directory) if found.what == "masks" else _images(found, directory)
    except ValueError as error:
        print(f"fcn_keras: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. Run the same command again to continue after the last finished net.", file=sys.stderr)
        return 130
    text = json.dumps(results, indent=2, ensure_ascii=False) + "\n"
    write_text(directory / "results.json", text)
    print(text, end="")
    return 0


def _masks(found, directory):
    path = found.fcn8s or get_data_home() / "runs" / "chapter4" / "fcn8s.keras"
    if not path.exists():
        raise ValueError(f"Found no trained FCN-8s at {path}. Fix: run chapters 3 and 4, or pass --fcn8s.")
    return comparison.compare_masks(load_model(path), directory, seed=found.seed)


def _images(found, directory):
    if found.photos:
        pictures = comparison.photographs(found.photos)
        held_out = max(1, len(pictures) // 5)
        return comparison.compare_images(pictures[held_out:], pictures[:held_out], directory, seed=found.seed)
    train, held_out = comparison.scenes("train"), comparison.scenes("validation[:100]")
    return comparison.compare_images(train, held_out, directory, seed=found.seed)


if __name__ == "__main__":
    sys.exit(main())
