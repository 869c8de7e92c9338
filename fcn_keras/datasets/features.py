"""The features that every segmentation builder shares: one image, its masks, its file name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds

from ..layers.labels import VOID


def mask_feature() -> tfds.features.Image:
    """Returns the feature of one integer mask: `uint8` (H, W, 1), stored as a lossless PNG."""
    return tfds.features.Image(shape=(None, None, 1), dtype=np.uint8, encoding_format="png", use_colormap=True)


def segmentation_features(encoding_format: str = "jpeg", instance_mask: bool = False) -> tfds.features.FeaturesDict:
    """Returns the features of a segmentation data set.

    Args:
        encoding_format: how images are stored, `"jpeg"` or `"png"`. Image files that a builder passes by path are
            stored byte for byte, so name the format they have.
        instance_mask: whether each example also tells objects apart, 0 background, 1..n objects, 255 void.

    Returns:
        A `tfds.features.FeaturesDict` of `image` (H, W, 3), `segmentation_mask` (H, W, 1), with class ids and 255 for
        void, `instance_mask` if asked for, and `file_name`.

    Example:
        >>> sorted(segmentation_features())
        ['file_name', 'image', 'segmentation_mask']
    """
    features = {
        "image": tfds.features.Image(shape=(None, None, 3), encoding_format=encoding_format),
        "segmentation_mask": mask_feature(),
        "file_name": tfds.features.Text(),
    }
    if instance_mask:
        features["instance_mask"] = mask_feature()
    return tfds.features.FeaturesDict(features)


def class_metadata(class_names: Sequence[str], palette: np.ndarray, void: int = VOID) -> tfds.core.MetadataDict:
    """Returns what a loader needs to name and colour the ids, to stand in `builder.info.metadata`.

    Args:
        class_names: one name per id, background first where there is one.
        palette: `uint8` (len(class_names), 3), RGB.
        void: the id that is no class.

    Returns:
        A `tfds.core.MetadataDict` with `class_names`, `palette` (lists of three) and `void`; it is stored beside the
        data as JSON.

    Raises:
        ValueError: `palette` does not hold one RGB colour per class name.

    Example:
        >>> class_metadata(["background", "cat"], [[0, 0, 0], [230, 159, 0]])["void"]
        255
    """
    palette = np.asarray(palette)
    if palette.shape != (len(class_names), 3):
        raise ValueError(
            f"palette has shape {palette.shape}, expected {(len(class_names), 3)}: one RGB colour for each of "
            "the class names"
        )
    return tfds.core.MetadataDict(class_names=list(class_names), palette=palette.tolist(), void=int(void))
