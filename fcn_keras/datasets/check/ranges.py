"""Finds the ranges of the channels of a folder, and images that have other channels than the rest."""

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
    """Finds the ranges of the channels, and what is wrong with them.

    Args:
        layout: A `fcn_keras.datasets.check.layouts.Layout`.
        views: The `fcn_keras.datasets.check.inspect.View` of each pair.

    Returns:
        List of the lowest and the highest value of each channel, stated or measured on the training images, as
        `fcn_keras.datasets.channels` describes; and a list of `fcn_keras.datasets.check.report.Finding`. The first is
        None if the images are RGB in 0–255, or if their channels differ.

    Example:

    >>> find_ranges(layout, inspect_all(layout))[0]  # doctest: +SKIP
    [[0.0, 255.0], [0.5, 10.0]]
    """
    views = [view for view in views if view.channels is not None]
    if not views:
        return None, []
    number, dtype = collections.Counter(view.channels for view in views).most_common(1)[0][0]
    number = len(layout.ranges) or number  # ranges.txt has a line for each channel
    other = [view for view in views if view.channels != (number, dtype)]
    if other:
        files = [(view.pair.image, "{} of type {}".format(*view.channels)) for view in other]
        expected = f"{number} of type {dtype}" + (", as ranges.txt has lines" if layout.ranges else "")
        return None, [make_finding("channels", files, expected=expected)]
    levels = [view.levels for view in views if view.pair.split == "train"] or [view.levels for view in views]
    measured = [[0.0, 255.0]] * number if dtype == "uint8" else choose_ranges(levels)
    ranges = layout.ranges or measured
    findings = [make_finding("channels, found", dtype=dtype, ranges=describe_ranges(ranges))]
    low, high = np.min(levels, axis=0)[0], np.max(levels, axis=0)[-1]
    findings += [make_finding("constant", number=i, value=low[i]) for i in np.nonzero(low == high)[0]]
    return ranges, findings
