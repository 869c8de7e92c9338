"""The time and memory of every part, beside its peers and the machine's limit.

    python -m benchmarks.speed [--gpu] [--only WORD …] [--rounds 5] [--directory runs/speed]

Run it from the project's root, or with ``make bench``. Each case is measured in interleaved rounds and writes one JSON
file. A case whose file exists is not measured again, so you can stop the command at any time. At the end it writes
table.md and chart.png. PyTorch takes part if it is installed (pip install torch). README.md in this folder says more.
"""

import argparse
import os
import pathlib
import platform
import re
import shutil
import sys

from fcn_keras._files import write_json
from fcn_keras.training.logs import describe_environment

from . import report
from .cases import cases, gpu_cases
from .rounds import Race


def main(arguments=None):
    """Runs what the command line asks for and prints the table; returns the exit status."""
    found = parsed(arguments)
    every = list(gpu_cases() if found.gpu else cases())
    chosen = [case for case in every if not found.only or any(word in case[0] for word in found.only)]
    if not chosen:
        print(f"speed: no case has {' or '.join(found.only)} in its name; --list shows all.", file=sys.stderr)
        return 2
    if found.list:
        print("\n".join(name for name, _, _ in chosen))
        return 0
    if found.gpu and shutil.which("nvidia-smi") is None:
        print(
            "speed: found no NVIDIA GPU (no nvidia-smi). Fix: leave --gpu out; see fcn-keras doctor.", file=sys.stderr
        )
        return 2
    if not found.gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the engines inherit it
    race = Race(found.rounds)
    try:
        for number, case in enumerate(chosen, 1):
            measure(race, *case, found, f"{number}/{len(chosen)}")
    except KeyboardInterrupt:
        print("Stopped. Run the same command again to continue after the last case.", file=sys.stderr)
        return 130
    finally:
        race.close()
    print(report.write(found.directory, [name for name, _, _ in every]), end="")
    return 0


def parsed(arguments):
    """The arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpu", action="store_true", help="the cases for a GPU; without it, GPUs are not used")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="cases with one of these words in their name")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--directory", type=pathlib.Path, default="runs/speed", help="default: %(default)s")
    parser.add_argument("--again", action="store_true", help="measure again the cases that have a file")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and end")
    return parser.parse_args(arguments)


def measure(race, name, case, contestants, found, place):
    """Measures one case, unless its file exists, and writes the file."""
    path = report.path_of(found.directory, name)
    if path.exists() and not found.again:
        return
    there = [contestant for contestant in contestants if contestant.is_here()]
    print(f"{place} {name}", file=sys.stderr, flush=True)
    results = race.run(case, there)
    about = describe_environment() | {"processor": processor()}
    write_json(path, {"name": name, "case": case, "results": results, "environment": about})


def processor():
    """The name of the processor, and its instructions for half precision."""
    path = pathlib.Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor() or platform.machine()
    text = path.read_text()
    names = re.findall(r"^model name\s*: (.*)$", text, re.MULTILINE)
    switches = [switch for switch in ("avx512_bf16", "amx_bf16") if switch in text]
    return ", ".join([*names[:1], *switches]) or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
