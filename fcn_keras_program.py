"""The program ``fcn-keras``, beside the package, since importing anything of the package starts TensorFlow.

Whenever it starts, TensorFlow writes lines about the machine to the error stream, whatever TF_CPP_MIN_LOG_LEVEL says
(https://github.com/tensorflow/tensorflow/issues/100442). They are kept back here; they are shown where the start fails,
or where that variable is set.
"""

import contextlib
import os
import sys
import tempfile


def main():
    """Runs `fcn_keras.cli.main` on the words of the process.

    Returns:
        Its exit status; 130 where Ctrl-C comes before it has started.
    """
    asked = "TF_CPP_MIN_LOG_LEVEL" in os.environ
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for what comes later: the search for a driver, XLA
    try:
        with contextlib.nullcontext() if asked else kept_back(sys.stderr.fileno()):
            from fcn_keras.cli import main as run
    except KeyboardInterrupt:
        return 130
    return run()


@contextlib.contextmanager
def kept_back(descriptor):
    """What any library writes to a file descriptor meanwhile is shown only where an exception ends the block.

    Example:

    >>> with kept_back(sys.__stderr__.fileno()):
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
