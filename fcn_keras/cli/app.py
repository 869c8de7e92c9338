"""All commands, and what they share: the exit status, errors in one line, and Ctrl-C."""

import functools
import sys

import typer

from . import doctor as machine
from ._options import Json
from .check import check
from .evaluate import evaluate
from .export import export
from .import_labels import import_labels
from .models import models
from .seg11valid import seg11valid
from .segment import segment
from .train import train

STOPPED = "Stopped. Finished work is kept. Run the same command again to continue."

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
    """Check this machine: what is installed, what is missing, and how to fix it.

    The exit status is 1 if something is broken. If this command does not start, run: python -m fcn_keras.cli.doctor

    Python: fcn_keras.cli.doctor.main

    Examples:

        fcn-keras doctor

        fcn-keras doctor --json
    """
    return machine.main(as_json)


def _list_refusals():
    """The errors of the package that a command prints in one line.

    TensorFlow has its own error for labels outside the classes. It cannot have been raised before TensorFlow is
    imported.
    """
    tensorflow = sys.modules.get("tensorflow")
    return ValueError, OSError, FloatingPointError, *([tensorflow.errors.InvalidArgumentError] if tensorflow else [])


def _register(function):
    """Registers a command. The function returns its exit status; an error that it raises becomes one line."""

    @app.command("import" if function is import_labels else function.__name__)  # `import` is a keyword of Python
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


for function in (import_labels, check, train, evaluate, segment, models, seg11valid, export, doctor):
    _register(function)
