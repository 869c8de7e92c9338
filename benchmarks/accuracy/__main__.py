"""Accuracy of three FCNs on the same photographs, by the recipes of keras.io, of torchvision and of this package.

    python -m benchmarks.accuracy --source FOLDER [--epochs 40] [--seed 0] [--only NAME] [--directory runs/accuracy]

Run it from the project's root. FOLDER holds CamVid (train, trainannot, val, valannot). All get the same backbone
(MobileNetV2, ImageNet), the same crops in the same order, and the same number of steps. Each runs in its own process
and writes NAME-SEED.json; a contestant that has finished is not run again. At the end, a table is printed. README.md in
this folder says more.
"""

import argparse
import dataclasses
import importlib
import json
import os
import pathlib
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"
# PyTorch's threads spin while they wait. Beside other work, that made its steps five times as slow.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

CONTESTANTS = {"keras.io": "keras_io", "torchvision": "torch_head", "ours": "ours"}
COLUMNS = ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou")


def main(arguments=None):
    """Runs what the command line asks for and prints a table; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    found = parsed(arguments)
    task = task_of(found)
    try:
        if found.run:
            compete(found.run, task, found.directory)
            return 0
        names = [found.only] if found.only else list(CONTESTANTS)
        for name in names:
            if finished(name, task, found.directory) is None:
                command = [sys.executable, "-m", __spec__.parent, *arguments, "--run", name]
                if subprocess.run(command).returncode:
                    print(f"{name} did not finish: see above. Run the same command again to continue.", file=sys.stderr)
                    return 1
    except ValueError as error:
        print(f"accuracy: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. Run the same command again to continue.", file=sys.stderr)
        return 130
    print(table({name: finished(name, task, found.directory) for name in names}), end="")
    return 0


def parsed(arguments):
    """The arguments. The program calls itself with ``--run``."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, help="default: that of the recipe")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--only", choices=CONTESTANTS)
    parser.add_argument("--source", help="folder of CamVid; needed the first time")
    parser.add_argument("--directory", type=pathlib.Path, default="runs/accuracy", help="default: %(default)s")
    parser.add_argument("--data-dir", help="folder for the prepared data (default: data/)")
    parser.add_argument("--splits", nargs=2, default=["train", "validation"], help='"train[:8]" makes a quick trial')
    parser.add_argument("--run", choices=CONTESTANTS, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def task_of(found):
    """The task that the arguments describe."""
    from fcn_keras.training import RECIPES

    from .task import Task

    recipe = RECIPES["light"]
    if found.epochs is not None:
        recipe = dataclasses.replace(recipe, epochs=found.epochs)
    return Task(recipe, found.seed, tuple(found.splits), source=found.source, data_dir=found.data_dir)


def compete(name, task, directory):
    """Runs one contestant in this process and writes its result."""
    from fcn_keras._files import write_json
    from fcn_keras.training.logs import describe_environment

    try:
        contestant = importlib.import_module(f".{CONTESTANTS[name]}", __package__)
    except ModuleNotFoundError as error:
        raise ValueError(f"{name} needs {error.name}, which is not installed. Fix: pip install torch.") from error
    result = contestant.run(task, directory / f"{name}-{task.seed}")
    result |= {"steps": task.steps, "settings": settings(name, task), "environment": describe_environment()}
    write_json(directory / f"{name}-{task.seed}.json", result)


def settings(name, task):
    """The settings that a result depends on. The peers use only the part of the recipe that all share."""
    return json.loads(json.dumps(task.settings(whole_recipe=name == "ours"), default=str))


def finished(name, task, directory):
    """The result of a contestant; None if there is none yet.

    Raises:
        ValueError: If there is one with other settings.
    """
    path = directory / f"{name}-{task.seed}.json"
    if not path.exists():
        return None
    result, ours = json.loads(path.read_text(encoding="utf-8")), settings(name, task)
    there = result["settings"]
    other = [f"{key} is {there.get(key)} there, {ours.get(key)} here" for key in ours if there.get(key) != ours[key]]
    if other:
        raise ValueError(
            f"{path} has other settings: {'; '.join(other)}. Fix: delete it, or choose another --directory."
        )
    return result


def table(results):
    """Markdown, in percent."""
    lines = ["| contestant | pixel acc. | mean acc. | mean IoU | f.w. IoU | steps | seconds per step |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for name, result in results.items():
        shares = " | ".join(f"{100 * result['metrics'][column]:.1f}" for column in COLUMNS)
        lines.append(f"| {name} | {shares} | {result['steps']:,} | {result['seconds_per_step']:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
