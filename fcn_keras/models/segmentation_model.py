"""A model that knows the names and the colours of its classes, so that one `.keras` file is all that a user needs."""

import keras
import numpy as np


@keras.saving.register_keras_serializable(package="fcn_keras")
class SegmentationModel(keras.Model):
    """A Functional model with the names and the colours of its classes. They are part of its `.keras` file.

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

    def get_config(self):
        own = {"class_names": self.class_names, "palette": self.palette, "class_ids": self.class_ids}
        return {**super().get_config(), **own}


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
    return SegmentationModel(model.input, model.output, name=model.name, **own)
