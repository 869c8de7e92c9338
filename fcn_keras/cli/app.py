"""The commands, and what they have in common: exit status, errors in one line, Ctrl-C."""

import functools
import sys

import typer

from . import doctor as machine
from ._options import Json
from .check import check
from .evaluate import evaluate
from .export import export
from .seg11valid import seg11valid
from .segment import segment
from .train import train

STOPPED = "Stopped. What is finished is kept. Run the same command again to continue after it."

app = typer.Typer(
    name="fcn-keras",
    help="Semantic segmentation with fully convolutional networks: check data, train, evaluate, segment.",
    epilog="Start with: fcn-keras train shapes --backbone mini_vgg --size 128 128. Each command's --help has examples.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def doctor(as_json: Json = False):
    """Say what this machine has, what it lacks, and how to fix that.

    Exit status 1 if something is broken. Where this command does not start: python -m fcn_keras.cli.doctor

    Python: fcn_keras.cli.doctor.main

    Examples:

        fcn-keras doctor

        fcn-keras doctor --json
    """
    return machine.main(as_json)


def _list_refusals():
    """What the package raises if it is asked for something that cannot be done.

    TensorFlow has an error of its own for labels outside the classes. It need not be imported to be recognised: whoever
    raised it imported it.
    """
    tensorflow = sys.modules.get("tensorflow")
    return ValueError, OSError, FloatingPointError, *([tensorflow.errors.InvalidArgumentError] if tensorflow else [])


def _register(function):
    """Registers a command: what the function returns is its exit status, and what it raises becomes one line."""

    @app.command(function.__name__)
    @functools.wraps(function)
    def run(*args, **kwargs):
        try:
            status = function(*args, **kwargs)
        except ImportError as error:
            fix = "" if "Fix:" in str(error) else " Fix: fcn-keras doctor says what is missing."
            print(f"fcn_keras: {error}{fix}", file=sys.stderr)
            status = 2
        except _list_refusals() as error:
            print(f"fcn_keras: {error}", file=sys.stderr)
            status = 2
        except KeyboardInterrupt:
            print(STOPPED, file=sys.stderr)
            status = 130
        raise typer.Exit(status or 0)


for function in (check, train, evaluate, segment, seg11valid, export, doctor):
    _register(function)
