"""What several commands share: a model, data, scales, and a quiet start of TensorFlow."""

import contextlib
import os
import pathlib
import sys
import tempfile
from typing import Annotated

import typer

Data = Annotated[str, typer.Argument(help="A data set (shapes, camvid, voc, pets), or a folder of images/ and masks/.")]
Source = Annotated[str | None, typer.Option(help="Folder that a data set is read from; needed the first time.")]
DataDir = Annotated[str | None, typer.Option(help="Folder of the prepared data; by default data/.")]
Model = Annotated[pathlib.Path, typer.Argument(help="A .keras file, such as runs/mine/best.keras.")]
Scales = Annotated[list[float] | None, typer.Option("--scale", help="Average the predictions at these scales.")]
Flip = Annotated[bool, typer.Option("--flip", help="Also average with the prediction for the mirrored image.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text.")]


def redirect_progress(as_json):
    """With ``--json``, progress goes to the error stream, so that the output is nothing but JSON.

    Example:

    >>> with redirect_progress(as_json=True):
    ...     print("Preparing shapes")
    """
    return contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()


@contextlib.contextmanager
def silence_tensorflow():
    """Holds back what TensorFlow writes about the machine when it is imported.

    It writes these lines whatever ``TF_CPP_MIN_LOG_LEVEL`` says (https://github.com/tensorflow/tensorflow/issues/100442).
    They are shown if the import fails, and nothing is held back if that variable is set.

    Example:

    >>> with silence_tensorflow():
    ...     import tensorflow
    """
    asked = "TF_CPP_MIN_LOG_LEVEL" in os.environ
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for later: the search for a driver, XLA
    with contextlib.nullcontext() if asked or sys.__stderr__ is None else hide_output(sys.__stderr__.fileno()):
        yield


@contextlib.contextmanager
def hide_output(descriptor):
    """What any library writes to a file descriptor meanwhile is shown only if an exception ends the block.

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
