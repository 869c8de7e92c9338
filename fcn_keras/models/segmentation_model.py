"""A model that knows the names and the colours of its classes, so that one `.keras` file is all that a user needs."""

import warnings

import keras
import numpy as np

from ..layers.preprocessing import Preprocessing
from .channels import get_ranges

ENOUGH = 8  # images that show which labels the masks hold


@keras.saving.register_keras_serializable(package="fcn_keras")
class SegmentationModel(keras.Model):
    """A Functional model with the names and the colours of its classes. They are part of its `.keras` file.

    Its `fit` warns if the first images are not in 0–255, or if the first masks of a net for two classes hold only 0 and
    255, which is void. This works for arrays, and for a `tf.data.Dataset` of pairs.

    Args:
        inputs, outputs, name: As in `keras.Model`.
        class_names: Names of the classes, by id. A model with one logit has two: background and object.
        palette: Colours of the classes, ``(C, 3)``, 0–255.
        class_ids: The value of each class in mask files, 0–255. By default it is the id of the class. Mask files that
            are made with the model hold these values.
        **kwargs: As in `keras.Model`.

    Raises:
        ValueError: If there are more or fewer names, colours or values than classes.

    Example:

    >>> net = fcn_keras.FCN32s(2, "mini_vgg", weights=None)
    >>> model = SegmentationModel(net.input, net.output, class_names=["road", "sky"])
    >>> model.save("named.keras")
    >>> fcn_keras.load_model("named.keras").class_names
    ['road', 'sky']
    """

    # The same positional arguments as Keras' Functional: this is how Keras recognises that it can revive the graph.
    def __init__(self, inputs, outputs, name=None, *, class_names=None, palette=None, class_ids=None, **kwargs):
        super().__init__(inputs, outputs, name=name, **kwargs)
        self.class_names = None if class_names is None else [str(name) for name in class_names]
        self.palette = None if palette is None else np.asarray(palette).tolist()
        self.class_ids = None if class_ids is None else [int(id_) for id_ in class_ids]
        classes = self.output.shape[-1]
        classes = 2 if classes == 1 else classes
        given = {"class_names": self.class_names, "colours in palette": self.palette, "class_ids": self.class_ids}
        for what, found in given.items():
            if found is not None and len(found) != classes:
                raise ValueError(f"Found {len(found)} {what} for a model of {classes} classes: expected one for each.")

    def fit(self, x=None, y=None, *args, **kwargs):
        if any(isinstance(layer, Preprocessing) for layer in self.layers):
            x = _watch(x, y, 2 if self.output.shape[-1] <= 2 else None, get_ranges(self))
        return super().fit(x, y, *args, **kwargs)

    def get_config(self):
        own = {"class_names": self.class_names, "palette": self.palette, "class_ids": self.class_ids}
        return {**super().get_config(), **own}


def _watch(x, y, classes, ranges=None):
    """Looks at the first of the caller's images and masks. Returns `x`; of a dataset, one that looks as it is read."""
    images, labels = 0, set()

    def look(image, mask):
        nonlocal images
        low, high = np.transpose([(0, 255)] if ranges is None else ranges)
        if not images and (
            0 < np.max((image - low) / (high - low)) <= 1 / 255 or (ranges is None and np.min(image) < 0)
        ):
            warnings.warn(
                f"The first images run from {np.min(image):g} to {np.max(image):g}: expected "
                f"{'0–255' if ranges is None else f'the ranges {ranges}'}. Fix: pass images "
                "without preprocessing, such as a division by 255, because the model itself preprocesses them.",
                stacklevel=4,
            )
        if images < ENOUGH and classes == 2:
            labels.update(np.unique(mask).tolist())
            if images + len(image) >= ENOUGH and labels == {0, 255}:  # in one small batch it may be so by chance
                warnings.warn(
                    "The first masks hold only 0 and 255, and 255 is void, which the loss ignores. Fix: if 255 is the "
                    "object, train on masks == 255; load(…, binary=True) reads such files.",
                    stacklevel=4,
                )
        images += len(image)

    spec = getattr(x, "element_spec", None)
    if isinstance(spec, tuple) and len(spec) > 1 and all(hasattr(part, "shape") for part in spec):
        import tensorflow as tf

        def pass_on(*batch):
            with tf.control_dependencies([tf.numpy_function(look, batch[:2], [])]):
                return tuple(map(tf.identity, batch))

        return x.map(pass_on)
    if hasattr(x, "shape") and hasattr(y, "shape"):
        look(np.asarray(x[: 8 * ENOUGH]), np.asarray(y[: 8 * ENOUGH]))
    return x


def with_classes(model, class_names, palette=None, class_ids=None):
    """The same model, with the names and the colours of its classes.

    Args:
        model: A Functional model from images to logits, such as `fcn_keras.FCN8s` makes.
        class_names, palette, class_ids: As in `SegmentationModel`.

    Returns:
        A `SegmentationModel` that shares its layers with `model`. It is not compiled.

    Raises:
        ValueError: As in `SegmentationModel`.

    Example:

    >>> model = with_classes(fcn_keras.FCN32s(2, "mini_vgg", weights=None), ["road", "sky"])
    >>> model.class_names, model.name
    (['road', 'sky'], 'fcn32s')
    """
    own = {"class_names": class_names, "palette": palette, "class_ids": class_ids}
    return SegmentationModel(model.inputs[0], model.outputs[0], name=model.name, **own)
