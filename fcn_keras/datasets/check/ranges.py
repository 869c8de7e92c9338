"""Checks that all images of a folder have the same channels, and finds the ranges of their values."""

import collections

import numpy as np

from ..channels import choose_ranges, describe_ranges, find_stated_ranges
from .finding_kinds import make_finding


def find_stated(source, pairs, findings):
    """What `fcn_keras.datasets.channels.find_stated_ranges` finds in a folder.

    Args:
        source: The folder.
        pairs: Its `fcn_keras.datasets.check.layouts.Pair` objects.
        findings: List to which an error in ``ranges.txt`` is added.

    Example:

    >>> find_stated(".", [], []) is None
    True
    """
    try:
        return find_stated_ranges(source, [pair.image for pair in pairs])
    except ValueError as error:
        findings.append(make_finding("ranges.txt", [(source / "ranges.txt", str(error))]))
    return None


def find_ranges(layout, views):
    """The lowest and the highest value of each channel, as `fcn_keras.datasets.channels` describes.

    Args:
        layout: A `fcn_keras.datasets.check.layouts.Layout`.
        views: The `fcn_keras.datasets.check.inspect.View` of each pair.

    Returns:
        List of pairs, stated or measured. None if the images are RGB in 0–255, or if none of them can be read.

    Example:

    >>> find_ranges(layout, inspect_all(layout))  # doctest: +SKIP
    [[0.0, 255.0], [0.5, 10.0]]
    """
    views = [view for view in views if view.channels is not None]
    if layout.ranges or not views:
        return layout.ranges or None
    number, dtype = _find_usual(views)
    if dtype == "uint8":
        return [[0.0, 255.0]] * number
    return choose_ranges([view.levels for view in _choose_training(views, number)])


def check_channels(layout, views):
    """Finds images with other channels than most, and channels that never change.

    Args:
        layout, views: As in `find_ranges`.

    Yields:
        A `fcn_keras.datasets.check.report.Finding` for each problem, and one that says what the channels are.

    Example:

    >>> list(check_channels(layout, inspect_all(layout)))  # doctest: +SKIP
    []
    """
    views = [view for view in views if view.channels is not None]
    if not views:
        return
    number, dtype = usual = _find_usual(views)
    number = len(layout.ranges) or number  # ranges.txt has a line for each channel
    other = [view for view in views if view.channels != (number, usual[1])]
    if other:
        files = [(view.pair.image, "{} of type {}".format(*view.channels)) for view in other]
        expected = f"{number} of type {dtype}" + (", as ranges.txt has lines" if layout.ranges else "")
        yield make_finding("channels", files, expected=expected)
        return
    yield make_finding("channels, found", dtype=dtype, ranges=describe_ranges(find_ranges(layout, views)))
    levels = np.stack([view.levels for view in _choose_training(views, number)])
    low, high = levels[:, 0].min(axis=0), levels[:, 3].max(axis=0)
    for channel in np.nonzero(low == high)[0]:
        yield make_finding("constant", number=channel, value=low[channel])


def _find_usual(views):
    return collections.Counter(view.channels for view in views).most_common(1)[0][0]


def _choose_training(views, number):
    """The training images, or all if no list names one of them."""
    views = [view for view in views if view.channels[0] == number]
    return [view for view in views if view.pair.split == "train"] or views
