"""The command line: ``python -m fcn_keras ladder shapes``."""

import argparse
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from . import recipes


def main(arguments=None):
    """Parses a command and runs it.

    Args:
        arguments: Words of the command; by default those of the process.

    Returns:
        Exit status.

    Example:

    >>> main(["ladder", "shapes", "--directory", "runs/shapes"])  # doctest: +SKIP
    """
    parser = argparse.ArgumentParser(prog="python -m fcn_keras", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    ladder = commands.add_parser(
        "ladder", help="train FCN-32s-fixed, 32s, 16s and 8s and print Table 2; goes on where it was stopped"
    )
    ladder.add_argument("recipe", choices=recipes.RECIPES, help="data set and schedule")
    ladder.add_argument(
        "--source", help="folder of camvid (train, trainannot, …) or voc (VOCdevkit); needed the first time"
    )
    ladder.add_argument("--directory", help="folder of the run (default: runs/RECIPE-SEED)")
    ladder.add_argument("--data-dir", help="folder of the prepared data (default: data/)")
    ladder.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    found = parser.parse_args(arguments)
    try:
        run = recipes.ladder(
            found.recipe,
            found.directory or f"runs/{found.recipe}-{found.seed}",
            source=found.source,
            data_dir=found.data_dir,
            seed=found.seed,
            verbose=1 if sys.stdout.isatty() else 2,
        )
        print(run.run())
    except ValueError as error:
        print(f"fcn_keras: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. The same command goes on behind the last whole epoch.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
