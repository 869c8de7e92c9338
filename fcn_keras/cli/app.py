"""The commands, and what all of them do alike: exit status, errors in one line, Ctrl-C."""

import functools
import sys

import tensorflow as tf
import typer

from . import check, evaluate, export, segment, train

STOPPED = "Stopped. What was finished is kept: the same command goes on behind the last whole epoch, image or frame."

# What the package raises where something is asked for that cannot be; TensorFlow's, of labels outside the classes.
REFUSALS = (ValueError, ImportError, OSError, FloatingPointError, tf.errors.InvalidArgumentError)

app = typer.Typer(
    name="fcn-keras",
    help="Semantic segmentation with fully convolutional networks: check data, train, evaluate, segment.",
    epilog="Start with: fcn-keras train shapes --backbone mini_vgg --size 128 128. Each command's --help has examples.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments=None):
    """Runs a command.

    Args:
        arguments: Words of the command; by default those of the process.

    Returns:
        Exit status: 0 done; 1 done, but something was found (errors in data, files that could not be read); 2 refused;
        130 stopped by Ctrl-C.

    Example:

    >>> main(["ladder", "shapes", "--directory", "runs/shapes"])  # doctest: +SKIP
    0
    """
    try:
        app(arguments, prog_name="fcn-keras")
    except SystemExit as end:
        return end.code or 0
    return 0


def _command(function):
    """Registers a command: what it returns is its exit status, and what it raises is told in one line."""

    @app.command(function.__name__)
    @functools.wraps(function)
    def run(*args, **kwargs):
        try:
            status = function(*args, **kwargs)
        except REFUSALS as error:
            print(f"fcn_keras: {error}", file=sys.stderr)
            status = 2
        except KeyboardInterrupt:
            print(STOPPED, file=sys.stderr)
            status = 130
        raise typer.Exit(status or 0)


for function in (
    check.check,
    train.train,
    evaluate.evaluate,
    segment.segment,
    evaluate.ladder,
    evaluate.seg11valid,
    export.export,
    check.doctor,
):
    _command(function)
