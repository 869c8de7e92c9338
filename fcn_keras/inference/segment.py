"""An image of any size in, a mask of the same size out: whole, or tile by tile in bounded memory."""

import itertools
import math
import numbers

import keras
import numpy as np

from ..datasets.images import read_image
from ..layers.labels import to_numpy
from . import predictor
from .resize import resize_span, source_span


def segment(model, image, tile=None, scales=(1.0,), flip=False, progress=None):
    """Labels every pixel of one image: the class with the largest logit.

    The model runs with an argmax at its end, on the model's device, so that only the mask comes
    back. That function is kept on the model. On TensorFlow one trace serves images and tiles of
    every size, unless a layer must know the size beforehand; JAX compiles once for each new size.

    With `tile`, memory goes with the tile and no longer with the image: only the image and the mask
    are held whole. The logits are those of the whole image (see `fcn_keras.inference.tiling`), so there are
    no seams.

    With `scales` or `flip`, the softmax probabilities of several passes, brought back to the size of
    the image, are averaged before the argmax; with `tile`, too, this is what the whole image gives.

    Args:
        model: Keras model from `(B, H, W, 3)` images, 0-255, to logits `(B, H, W, C)`; one logit is
            two classes, see `fcn_keras.layers.labels`.
        image: Path of an image file, or array or tensor `(H, W, 3)`, RGB, 0-255, of any size; a
            `numpy.memmap` of `uint8` is read tile by tile.
        tile: Side of a tile in pixels, or `(height, width)`, at least the model's total stride: what
            one run of the model labels. It sees a halo besides, 160 to 288 pixels on each side for
            the nets of this package, so 1024 is a good size. None: the whole image in one run.
        scales: Sizes, relative to the image, at which the model sees it: `(0.75, 1, 1.25)`, say.
        flip: Whether the model sees the image mirrored left to right, too.
        progress: Whether to show a progress bar; by default where the model runs more than once.

    Returns:
        Array `(H, W)` of class ids in `[0, C)`, at the size of the image: `uint8`, or `int32` when
        C > 255.

    Raises:
        ValueError: `image` is not one RGB image in 0-255, the model does not return one logit per
            class for each of its pixels, another argument is none of the above, or `tile` is given
            for a model that takes in the whole image at once (squeeze-and-excitation, global
            pooling) or that `fcn_keras.geometry` cannot follow.

    Example:
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(21, 1)])
        >>> segment(model, np.zeros((5, 7, 3), "uint8")).shape
        (5, 7)
        >>> segment(model, np.zeros((500, 700, 3), "uint8"), tile=256, progress=False).shape
        (500, 700)

    Reference:
        Long, Shelhamer & Darrell, CVPR 2015, section 3: a net of convolutions only takes an input
        of any size and returns an output of corresponding size.
    """
    image, run, passes = read_image(image), predictor.of(model), _passes(scales, flip)
    averaged = passes != [(1, False)]
    mask = np.empty(image.shape[:2], predictor.id_type(run.classes))
    for place, values in _tiles(model, "probabilities" if averaged else "labels", image, tile, passes, progress):
        mask[place] = to_numpy(predictor.ENDINGS["labels"](values) if averaged else values)
    return mask


def logits(model, image, tile=None, progress=None):
    """The logits of every pixel of one image: what the model says before a class is chosen.

    Args:
        model, image, tile, progress: As in `segment`.

    Returns:
        Float32 array `(H, W, C)`: 4 C bytes for each pixel of the image, in memory at once.

    Raises:
        ValueError: As in `segment`.

    Example:
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(21, 1)])
        >>> logits(model, np.zeros((5, 7, 3), "uint8")).shape
        (5, 7, 21)
    """
    return _assembled(model, "logits", read_image(image), tile, [(1, False)], progress)


def probabilities(model, image, tile=None, scales=(1.0,), flip=False, progress=None):
    """The softmax probabilities of every pixel of one image, averaged over scales and flips.

    Args:
        model, image, tile, scales, flip, progress: As in `segment`.

    Returns:
        Float32 array `(H, W, C)` that sums to 1 over the classes.

    Raises:
        ValueError: As in `segment`.

    Example:
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
        >>> image = np.zeros((5, 7, 3), "uint8")
        >>> probabilities(model, image, scales=(0.5, 1), flip=True, progress=False)[0, 0].round(6)
        array([0.5, 0.5], dtype=float32)
    """
    return _assembled(model, "probabilities", read_image(image), tile, _passes(scales, flip), progress)


def _passes(scales, flip):
    """Pairs of a scale and whether the image is mirrored."""
    is_list = isinstance(scales, tuple | list) and len(scales) > 0
    if not is_list or not all(isinstance(scale, numbers.Real) and 0 < scale < math.inf for scale in scales):
        raise ValueError(f"Found scales={scales!r}: expected positive numbers, such as (0.75, 1, 1.25), or (1,).")
    if not isinstance(flip, bool | np.bool_):
        raise ValueError(f"Found flip={flip!r}: expected True or False.")
    return [(scale, mirrored) for scale in scales for mirrored in ([False, True] if flip else [False])]


def _assembled(model, ending, image, tile, passes, progress):
    whole = np.empty((*image.shape[:2], predictor.of(model).classes), "float32")
    for place, values in _tiles(model, ending, image, tile, passes, progress):
        whole[place] = to_numpy(values)
    return whole


def _tiles(model, ending, image, tile, passes, progress):
    """Pairs of a tile's place in the image, two slices, and its values, the mean over all passes."""
    run = predictor.of(model)
    tiling = run.tiling(model, tile)
    cuts = [tiling.tiles(side, axis) for axis, side in enumerate(image.shape[:2])]
    looks = [_Look(run, ending, image, tiling, cuts, *each) for each in passes]
    step = _steps(progress, len(looks) * math.prod(len(axis) for axis in cuts))
    for place in itertools.product(*cuts):
        values = step(looks[0](place))
        for look in looks[1:]:
            values = values + step(look(place))
        yield tuple(slice(*span) for span in place), values / len(looks) if len(looks) > 1 else values


class _Look:
    """The image at one scale, perhaps mirrored, seen through the windows that the tiles need."""

    def __init__(self, run, ending, image, tiling, cuts, scale, mirrored):
        self.run, self.ending, self.image, self.mirrored = run, ending, image, mirrored
        self.size = [max(1, round(scale * side)) for side in image.shape[:2]]
        self.windows = []  # for each axis: from tile to window
        for axis, (old, new) in enumerate(zip(image.shape[:2], self.size, strict=True)):
            needed = [source_span(tile, new, old) for tile in cuts[axis]]
            self.windows.append(dict(zip(cuts[axis], tiling.windows(needed, new, axis), strict=True)))
        seen = [stop - start for windows in self.windows for start, stop in list(windows.values())[:1]]
        run.require_size(seen, "this one is" if seen == [*image.shape[:2]] else "this one, cut or resized, is seen as")

    def __call__(self, place):
        """Values ``(height, width, …)`` of a tile."""
        windows = [windows[tile] for windows, tile in zip(self.windows, place, strict=True)]
        pixels = self._pixels(windows)
        values = self.run(self.ending, pixels[:, :, ::-1] if self.mirrored else pixels)
        values = keras.ops.flip(values, axis=2) if self.mirrored else values
        for axis, (tile, window) in enumerate(zip(place, windows, strict=True)):
            values = resize_span(values, axis + 1, tile, self.size[axis], self.image.shape[axis], start=window[0])
        return values[0]

    def _pixels(self, windows):
        """The image inside a window at this scale, as a batch of one."""
        sides = list(zip(windows, self.image.shape[:2], self.size, strict=True))
        sources = [source_span(*side) for side in sides]
        pixels = self.image[tuple(slice(*source) for source in sources)][None].astype("float32")
        for axis, (side, source) in enumerate(zip(sides, sources, strict=True)):
            pixels = resize_span(pixels, axis + 1, *side, start=source[0])
        return to_numpy(pixels)


def _steps(progress, total):
    """The identity, which draws a progress bar if one is wanted."""
    if progress not in (None, True, False):
        raise ValueError(f"Found progress={progress!r}: expected True, False or None.")
    if not (total > 1 if progress is None else progress):
        return lambda values: values
    bar = keras.utils.Progbar(total, unit_name="tile")

    def step(values):
        bar.add(1)
        return values

    return step
