"""The trained nets that come with the package. `fcn_keras.load_model` loads them by name, without a network.

Each is a `.keras` file in the folder ``weights``, with its weights in float16, and a card: what it was trained on, with
which command, how well it does, and what it must not be used for.
"""

import pathlib

FOLDER = pathlib.Path(__file__).parent / "weights"


def names():
    """Returns the names of the shipped nets.

    Example:

    >>> "fcn8s_mini_vgg_shapes" in names()
    True
    """
    return sorted(path.stem for path in FOLDER.glob("*.keras"))


def path_of(name):
    """Returns the path of a shipped net's file, or None if no net has this name.

    Example:

    >>> path_of("fcn8s_mini_vgg_shapes").suffix
    '.keras'
    """
    return FOLDER / f"{name}.keras" if str(name) in names() else None


def card(name):
    """Returns the card of a shipped net: Markdown that starts with a title and one line on what the net does.

    Args:
        name: One of `names`.

    Raises:
        ValueError: If no net has this name.

    Example:

    >>> card("fcn8s_mini_vgg_shapes").splitlines()[0]
    '# fcn8s_mini_vgg_shapes'
    """
    if path_of(name) is None:
        raise ValueError(f"Found model {name!r}: expected one of {', '.join(names())}.")
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")
