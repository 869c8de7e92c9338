"""``python -m fcn_keras``: the command line of `fcn_keras.cli`."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
