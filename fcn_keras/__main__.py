"""``python -m fcn_keras``: the command line of `fcn_keras.cli`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
