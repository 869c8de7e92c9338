"""Explorer: the output of a cell with and without widgets."""

import base64
import io
import sys

import numpy as np
import pytest
from PIL import Image

from fcn_keras.visualization import Explorer
from fcn_keras.visualization.style import canvas


def square(side=2, grey=0.5):
    with canvas(2, 2) as figure:
        figure.subplots().imshow(np.full((side, side), grey), vmin=0, vmax=1)
    return figure


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_sliders_change_the_picture():
    pytest.importorskip("ipywidgets", reason="ipywidgets is not installed")
    explorer = Explorer(square, side=(1, 2, 4), grey=np.linspace(0, 1, 5))
    side, grey, picture = explorer.make_widget().children
    assert (side.value, grey.value) == (2, 0.5)
    before = pixels(picture.value)
    side.value = 4
    assert explorer.values == {"side": 4, "grey": 0.5}
    assert explorer.figure.axes[0].images[0].get_array().shape == (4, 4)
    after = pixels(picture.value)
    assert before.shape[-1] == 4
    assert before.shape != after.shape or np.any(before != after)


def test_a_cell_holds_widget_and_picture():
    pytest.importorskip("ipywidgets", reason="ipywidgets is not installed")
    bundle = Explorer(square, side=range(1, 4), grey=(0.0, 0.5))._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert min(pixels(base64.b64decode(bundle["image/png"])).shape[:2]) > 100
    assert bundle["text/plain"] == "Explorer(side=2, grey=0.5)"


def test_without_ipywidgets_the_picture_stays(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert set(Explorer(square, side=(2,), grey=(0.5,))._repr_mimebundle_()) == {"image/png", "text/plain"}


@pytest.mark.parametrize(
    ("choices", "expected"),
    [({"side": (2, 3)}, r"\['side'\].*\['side', 'grey'\]"), ({"side": (3,), "grey": (0.5,)}, r"side=2 .*\[3\]")],
)
def test_choices_that_do_not_fit(choices, expected):
    with pytest.raises(ValueError, match=expected):
        Explorer(square, **choices)
