"""The photographs and results that come with the package."""

import numpy as np
import pytest

from fcn_keras.datasets import samples


@pytest.mark.parametrize(
    ("name", "shape"), [("astronaut", (512, 512, 3)), ("cat", (300, 451, 3)), ("coffee", (400, 600, 3))]
)
def test_photographs(name, shape):
    image = samples.photograph(name)
    assert image.shape == shape and image.dtype == np.uint8
    assert image.std() > 30  # a picture, not a plain colour
    assert (samples.FOLDER / f"{name}.jpg").stat().st_size <= 80_000


def test_every_photograph_is_credited():
    credits = (samples.FOLDER / "CREDITS.md").read_text(encoding="utf-8")
    assert samples.PHOTOGRAPHS and all(f"`{name}.jpg`" in credits for name in samples.PHOTOGRAPHS)


def test_unknown_names():
    with pytest.raises(
        ValueError, match="photograph 'cats': expected one of astronaut, cat, coffee.* Did you mean 'cat'?"
    ):
        samples.photograph("cats")
    with pytest.raises(ValueError, match=r"result '\.\./CREDITS': expected one of"):
        samples.result("../CREDITS")
