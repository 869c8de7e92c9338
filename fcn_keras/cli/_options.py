"""What several commands share: options, and output that stays free of what libraries print."""

import contextlib
import json
import os
import sys
import tempfile
from typing import Annotated

import typer

from .._files import user_path


def option(kind, text, *flags, **limits):
    """The type of an option with its help, for the signature of a command.

    Args:
        kind: Type of the value.
        text: The help.
        *flags, **limits: As in ``typer.Option``.

    Example:

    >>> option(int, "Images in a batch.", min=1)  # doctest: +ELLIPSIS
    typing.Annotated[int, <typer.models.OptionInfo object at ...>]
    """
    return Annotated[kind, typer.Option(*flags, help=text, **limits)]


Data = Annotated[str, typer.Argument(help="A data set (shapes, camvid, voc, pets), or a folder of images/ and masks/.")]
Source = option(str | None, "Folder that a data set is read from; needed the first time.")
DataDir = option(str | None, "Folder of the prepared data. By default FCN_KERAS_DATA, or data/ if that is not set.")
Binary = option(bool, "The masks hold two values, such as 0 and 255: background and object.", "--binary")
Model = Annotated[str, typer.Argument(help="A .keras file, or a name that `fcn-keras models` lists.")]
Scales = option(list[float] | None, "Average the predictions at these scales.", "--scale")
Flip = option(bool, "Also average with the prediction for the mirrored image.", "--flip")
Json = option(bool, "Print JSON for programs instead of text.", "--json")


def read_run(model):
    """The settings of the run in whose folder a model file lies, or an empty dict.

    Models of the first edition of this package do not hold the names and the colours of their classes. The settings do.

    Args:
        model: Path of the model file.

    Example:

    >>> read_run("model.keras")
    {}
    """
    path = user_path(model).with_name("config.json")
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def redirect_progress(as_json):
    """Sends progress to the error stream if the command prints JSON, so that its output is only JSON.

    Args:
        as_json: Whether the command prints JSON.

    Example:

    >>> with redirect_progress(as_json=True):
    ...     print("Preparing shapes")
    """
    return contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()


@contextlib.contextmanager
def silence_tensorflow():
    """Hides what TensorFlow writes about the machine when it is imported.

    TensorFlow writes some of these lines even if ``TF_CPP_MIN_LOG_LEVEL`` forbids them
    (https://github.com/tensorflow/tensorflow/issues/100442). They are shown if the import fails. If you have set that
    variable, nothing is hidden.

    Example:

    >>> with silence_tensorflow():
    ...     import tensorflow
    """
    asked = "TF_CPP_MIN_LOG_LEVEL" in os.environ
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for what comes after the import
    with contextlib.nullcontext() if asked or sys.__stderr__ is None else hide_output(sys.__stderr__.fileno()):
        yield


@contextlib.contextmanager
def hide_output(descriptor):
    """Hides what libraries write to a file descriptor inside the block, and shows it if an exception ends the block.

    Args:
        descriptor: Number of the file descriptor, such as 2.

    Example:

    >>> with hide_output(sys.__stderr__.fileno()):
    ...     _ = os.write(sys.__stderr__.fileno(), b"not shown")
    """
    shown = os.dup(descriptor)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), descriptor)
        try:
            yield
        except BaseException:
            file.seek(0)
            os.write(shown, file.read())
            raise
        finally:
            os.dup2(shown, descriptor)
            os.close(shown)
