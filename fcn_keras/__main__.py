"""The command line: ``python -m fcn_keras ladder shapes``, ``python -m fcn_keras seg11valid --net fcn8s …``."""

import argparse
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from . import recipes
from .berkeley import seg11valid


def main(arguments=None):
    """Parses a command and runs it.

    Args:
        arguments: Words of the command; by default those of the process.

    Returns:
        Exit status.

    Example:

    >>> main(["ladder", "shapes", "--directory", "runs/shapes"])  # doctest: +SKIP
    """
    found = _parser().parse_args(arguments)
    try:
        print(found.run(found))
    except (ValueError, ImportError) as error:
        print(f"fcn_keras: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"Stopped. The same command goes on behind the last whole {found.unit}.", file=sys.stderr)
        return 130
    return 0


def _parser():
    parser = argparse.ArgumentParser(prog="python -m fcn_keras", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_ladder(commands)
    _add_seg11valid(commands)
    return parser


def _add_ladder(commands):
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
    ladder.set_defaults(run=_ladder, unit="epoch")


def _ladder(found):
    return recipes.ladder(
        found.recipe,
        found.directory or f"runs/{found.recipe}-{found.seed}",
        source=found.source,
        data_dir=found.data_dir,
        seed=found.seed,
        verbose=1 if sys.stdout.isatty() else 2,
    ).run()


def _add_seg11valid(commands):
    command = commands.add_parser(
        "seg11valid",
        help="measure the authors' released weights on their 736 images and print the published numbers beside; goes "
        "on where it was stopped",
    )
    command.add_argument("--net", required=True, choices=seg11valid.NETS, help="the authors' net")
    command.add_argument("--weights", required=True, help="its .caffemodel, .npz, .pth or .weights.h5")
    command.add_argument("--voc", required=True, help="folder VOCdevkit, with VOC2011 in it; VOC2012 with --list")
    lists = command.add_mutually_exclusive_group(required=True)
    lists.add_argument("--sbd", help="folder benchmark_RELEASE, with dataset/train.txt in it")
    lists.add_argument("--list", help="the authors' seg11valid.txt, instead of --sbd")
    command.add_argument("--subset", action="store_true", help="let --list have any length; then nothing compares")
    command.add_argument("--record", help="file of the counts so far (default: runs/seg11valid-NET.json)")
    command.add_argument("--per-class", action="store_true", help="print the IU of each class, too")
    command.set_defaults(run=_seg11valid, unit="image")


def _seg11valid(found):
    evaluation = seg11valid.evaluate_seg11valid(
        found.net,
        found.voc,
        found.sbd,
        weights=found.weights,
        list_file=found.list,
        subset=found.subset,
        record=found.record or f"runs/seg11valid-{found.net}.json",
    )
    return evaluation.table(per_class=found.per_class)


if __name__ == "__main__":
    sys.exit(main())
