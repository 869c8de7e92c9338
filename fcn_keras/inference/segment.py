"""Segments an image of any size, in one run or tile by tile. The memory for tiles does not depend on the image."""

import itertools
import math
import numbers

import keras
import numpy as np

from ..datasets.channels import read_pixels
from ..datasets.progress import make_progress_bar
from ..layers.labels import to_numpy
from .predictor import OUTPUTS, choose_id_type, get_predictor
from .resize import find_source_span, resize_span


def segment(model, image, tile=None, scales=(1.0,), flip=False, progress=None, threshold=None):
    """Assigns a class to every pixel of an image: the class with the largest logit.

    The model runs with an argmax at its end, on the device of the model, so that only the mask is copied back. The
    model keeps the compiled function. TensorFlow compiles it once for images and tiles of every size, unless a layer
    must know the size beforehand. JAX compiles it again for each new size.

    With `tile`, the memory depends on the size of a tile instead of the image; only the image and the mask are held in
    full. The logits equal those of the whole image (see `fcn_keras.inference.tiling`), so there are no seams.

    With `scales` or `flip`, the model sees the image several times. The softmax probabilities are resized to the size
    of the image and averaged before the argmax. This also works with `tile`, and gives the same result.

    Args:
        model: Keras model from images ``(batch, H, W, 3)``, 0–255, to logits ``(batch, H, W, C)``. A model with one
            logit has two classes, see `fcn_keras.layers.labels`. It may take other channels, in other ranges.
        image: Path of an image file, or array or tensor ``(H, W, 3)``, RGB, 0–255, of any size. A `numpy.memmap` of
            ``uint8`` is read tile by tile. For a model that takes other channels: as `fcn_keras.datasets.channels`
            describes.
        tile: Largest side of a tile in pixels, or ``(height, width)``; at least the total stride of the model. The
            model sees a margin around each tile, which is 160 to 288 pixels wide for the nets of this package. So 1024
            is a good size. With None, the model sees the whole image in one run.
        scales: Sizes, relative to the image, in which the model sees it, such as ``(0.75, 1, 1.25)``.
        flip: Whether the model also sees the image mirrored left to right.
        progress: Whether to show a progress bar. By default it is shown if the model runs more than once.
        threshold: Pair of a class and a probability, such as ``("crack", 0.3)``: see `choose_classes`. If the model has
            no class names, the class is an id. By default the largest probability decides.

    Returns:
        Array ``(H, W)`` of class ids in ``[0, C)``, of the size of the image: ``uint8``, or ``int32`` when C > 255.

    Raises:
        ValueError: If `image` is not one RGB image in 0–255, or has other channels than the model takes, if the model
            does not return one logit per class for each pixel, if another argument has a value that is not described
            above, or if `tile` is given for a model that needs the whole image (squeeze-and-excitation, global pooling)
            or that `fcn_keras.geometry` cannot follow.

    Example:

    >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(21, 1)])
    >>> segment(model, np.zeros((5, 7, 3), "uint8")).shape
    (5, 7)
    >>> segment(model, np.zeros((500, 700, 3), "uint8"), tile=256, progress=False).shape
    (500, 700)

    Reference: Long, Shelhamer & Darrell (CVPR 2015), §3: a net of convolutions only takes an input of any size and
    returns an output of corresponding size.
    """
    image, predictor, views = _read(image, model), get_predictor(model), _list_views(scales, flip)
    threshold = find_threshold(threshold, predictor.classes, getattr(model, "class_names", None))
    averaged = views != [(1, False)] or threshold is not None
    mask = np.empty(image.shape[:2], choose_id_type(predictor.classes))
    for region, values in _run_tiles(model, "probabilities" if averaged else "argmax", image, tile, views, progress):
        mask[region] = choose_classes(values, threshold) if averaged else to_numpy(values)
    return mask


def choose_classes(probabilities, threshold=None):
    """Chooses the class of every pixel from its probabilities.

    Args:
        probabilities: Array or tensor ``(H, W, C)``, as from `predict_probabilities`.
        threshold: Pair ``(id, p)``. A pixel gets the class ``id`` where its probability is at least ``p``. Elsewhere it
            gets the most probable of the other classes. With None, it gets the most probable class.

    Returns:
        Integer array ``(H, W)`` of class ids.

    Example:

    >>> choose_classes(np.array([[[0.7, 0.3], [0.9, 0.1]]]), (1, 0.3)).tolist()
    [[1, 0]]
    """
    if threshold is None:
        return to_numpy(OUTPUTS["argmax"](probabilities))
    (id_, least), values = threshold, np.array(to_numpy(probabilities))
    chosen = values[..., id_] >= least
    values[..., id_] = -1
    return np.where(chosen, id_, values.argmax(axis=-1)).astype(choose_id_type(values.shape[-1]))


def find_threshold(threshold, classes, class_names=None):
    """Checks a threshold, and turns the name of its class into an id.

    Args:
        threshold: Pair of a class, by its name, or by its id if there are no names, and a probability; or None.
        classes: Number of classes.
        class_names: Names of the classes, or None.

    Returns:
        Pair of an id and a probability; or None.

    Raises:
        ValueError: If there is no such class, or if the probability is not between 0 and 1.

    Example:

    >>> find_threshold(("sky", 0.3), 2, ["road", "sky"])
    (1, 0.3)
    """
    if threshold is None:
        return None
    name, least = threshold
    names = list(class_names or [])
    id_ = names.index(name) if name in names else int(name) if not names and str(name).isdecimal() else -1
    if not 0 <= id_ < classes:
        known = ", ".join(names) or f"ids from 0 to {classes - 1}"
        raise ValueError(f"Found a threshold for the class {name!r}: expected one of {known}.")
    if not 0 < least <= 1:
        raise ValueError(f"Found the threshold {least}: expected a probability above 0, and at most 1.")
    return id_, float(least)


def predict_logits(model, image, tile=None, progress=None):
    """Returns the logits of every pixel of an image: the scores from which `segment` chooses the class.

    Args:
        model, image, tile, progress: As in `segment`.

    Returns:
        Float32 array ``(H, W, C)``. It takes 4 C bytes of memory for each pixel of the image.

    Raises:
        ValueError: As in `segment`.

    Example:

    >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(21, 1)])
    >>> predict_logits(model, np.zeros((5, 7, 3), "uint8")).shape
    (5, 7, 21)
    """
    return _assemble(model, "logits", _read(image, model), tile, [(1, False)], progress)


def predict_probabilities(model, image, tile=None, scales=(1.0,), flip=False, progress=None):
    """Returns the softmax probabilities of every pixel of an image, averaged over scales and mirroring.

    Args:
        model, image, tile, scales, flip, progress: As in `segment`.

    Returns:
        Float32 array ``(H, W, C)`` that sums to 1 over the classes.

    Raises:
        ValueError: As in `segment`.

    Example:

    >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
    >>> image = np.zeros((5, 7, 3), "uint8")
    >>> predict_probabilities(model, image, scales=(0.5, 1), flip=True, progress=False)[0, 0].round(6)
    array([0.5, 0.5], dtype=float32)
    """
    return _assemble(model, "probabilities", _read(image, model), tile, _list_views(scales, flip), progress)


def predict_tiles(model, image, tile=None, scales=(1.0,), flip=False):
    """Yields the probabilities of an image tile by tile, so that those of the whole image need not be held.

    Args:
        model, image, tile, scales, flip: As in `segment`.

    Yields:
        The region of a tile, two slices of the image, and its probabilities ``(height, width, C)``.

    Raises:
        ValueError: As in `segment`.

    Example:

    >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
    >>> [values.shape for region, values in predict_tiles(model, np.zeros((5, 7, 3), "uint8"))]
    [TensorShape([5, 7, 2])]
    """
    yield from _run_tiles(model, "probabilities", _read(image, model), tile, _list_views(scales, flip), False)


def _read(image, model):
    return read_pixels(image, get_predictor(model).ranges)


def _list_views(scales, flip):
    """Returns pairs of a scale and whether the image is mirrored."""
    is_list = isinstance(scales, tuple | list) and len(scales) > 0
    if not is_list or not all(isinstance(scale, numbers.Real) and 0 < scale < math.inf for scale in scales):
        raise ValueError(f"Found scales={scales!r}: expected positive numbers, such as (0.75, 1, 1.25), or (1,).")
    if not isinstance(flip, bool | np.bool_):
        raise ValueError(f"Found flip={flip!r}: expected True or False.")
    return [(scale, mirrored) for scale in scales for mirrored in ([False, True] if flip else [False])]


def _assemble(model, output, image, tile, views, progress):
    whole = np.empty((*image.shape[:2], get_predictor(model).classes), "float32")
    for region, values in _run_tiles(model, output, image, tile, views, progress):
        whole[region] = to_numpy(values)
    return whole


def _run_tiles(model, output, image, tile, views, progress):
    """Yields the region of each tile, two slices of the image, and its values, the mean over all views."""
    predictor = get_predictor(model)
    tiling = predictor.get_tiling(model, tile)
    cuts = [tiling.cut(side, axis) for axis, side in enumerate(image.shape[:2])]
    views = [_View(predictor, output, image, tiling, cuts, *view) for view in views]
    if progress not in (None, True, False):
        raise ValueError(f"Found progress={progress!r}: expected True, False or None.")
    steps = len(views) * math.prod(len(axis) for axis in cuts)
    with make_progress_bar(False if steps == 1 and progress is None else progress) as bar:
        task = bar.add_task("tiles", total=steps)
        for spans in itertools.product(*cuts):
            values = None
            for view in views:
                values = view(spans) if values is None else values + view(spans)
                bar.advance(task)
            yield tuple(slice(*span) for span in spans), values / len(views) if len(views) > 1 else values


class _View:
    """The image in one scale, perhaps mirrored. The model sees it through one window for each tile."""

    def __init__(self, predictor, output, image, tiling, cuts, scale, mirrored):
        self.predictor, self.output, self.image, self.mirrored = predictor, output, image, mirrored
        self.size = [max(1, round(scale * side)) for side in image.shape[:2]]
        self.windows = []  # for each axis, a dict from tile to window
        for axis, (old, new) in enumerate(zip(image.shape[:2], self.size, strict=True)):
            needed = [find_source_span(tile, new, old) for tile in cuts[axis]]
            self.windows.append(dict(zip(cuts[axis], tiling.find_windows(needed, new, axis), strict=True)))
        seen = [stop - start for windows in self.windows for start, stop in list(windows.values())[:1]]
        what = "this one is" if seen == [*image.shape[:2]] else "this one, cut or resized, is seen as"
        predictor.require_size(seen, what)

    def __call__(self, spans):
        """Computes the values ``(height, width, …)`` of a tile, which is given by its spans of rows and columns."""
        windows = [windows[span] for windows, span in zip(self.windows, spans, strict=True)]
        pixels = self._read_pixels(windows)
        values = self.predictor(self.output, pixels[:, :, ::-1] if self.mirrored else pixels)
        values = keras.ops.flip(values, axis=2) if self.mirrored else values
        for axis, (span, window) in enumerate(zip(spans, windows, strict=True)):
            values = resize_span(values, axis + 1, span, self.size[axis], self.image.shape[axis], start=window[0])
        return values[0]

    def _read_pixels(self, windows):
        """Returns the part of the image inside a window, resized, as a batch of one."""
        sides = list(zip(windows, self.image.shape[:2], self.size, strict=True))
        sources = [find_source_span(*side) for side in sides]
        pixels = self.image[tuple(slice(*source) for source in sources)][None].astype("float32")
        for axis, (side, source) in enumerate(zip(sides, sources, strict=True)):
            pixels = resize_span(pixels, axis + 1, *side, start=source[0])
        return to_numpy(pixels)
