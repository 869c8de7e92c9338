"""The command ``models``: the trained nets that come with the package, and their cards."""

import json
from typing import Annotated

import typer

from ._options import Json


def models(
    name: Annotated[str | None, typer.Argument(help="A net, to print its card; by default all are listed.")] = None,
    as_json: Json = False,
):
    """List the trained nets that come with the package, or print the card of one.

    Commands that take a .keras file also take one of these names, such as
    fcn-keras segment fcn8s_mini_vgg_shapes scene.png.

    Python: fcn_keras.load_model

    Examples:

        fcn-keras models

        fcn-keras models fcn8s_mini_vgg_shapes
    """
    from ..models import shipped

    cards = {found: shipped.card(found) for found in ([name] if name else shipped.names())}
    if as_json:
        about = {found: {"bytes": shipped.path_of(found).stat().st_size, "card": text} for found, text in cards.items()}
        print(json.dumps(about, indent=1))
    elif name:
        print(cards[name])
    else:
        for found, text in cards.items():
            megabytes = shipped.path_of(found).stat().st_size / 1e6
            print(f"{found:<28} {megabytes:4.1f} MB  {text.splitlines()[2]}")
