"""Draws lit, textured scenes of simple forms with exact masks: data that needs no download.

Everything is a function of continuous scene coordinates (pixels of the base size), and no random draw depends on the
resolution: the same generator state gives the same scene at one, two or four times the base size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .render import RIM, Canvas, Placement
from .sdf import FORMS, PEBBLE

CLASS_NAMES = ("background", *FORMS)
# Okabe and Ito's colours, brown and violet: told apart with the common kinds of colour blindness too.
PALETTE = np.array(
    [
        [0, 0, 0],
        [230, 159, 0],
        [140, 70, 30],
        [0, 158, 115],
        [240, 228, 66],
        [0, 114, 178],
        [213, 94, 0],
        [204, 121, 167],
        [150, 90, 220],
        [86, 180, 233],
    ],
    np.uint8,
)

# How often a class is drawn, and its radius range as a share of the frame. Poles are thin, so there are many.
_FREQUENCY = np.array([0.9, 1.0, 1.1, 1.3, 1.5, 1.3, 1.3, 2.2, 1.4])
_RADIUS = dict.fromkeys(CLASS_NAMES[1:], (0.05, 0.36)) | {
    "ring": (0.08, 0.40),
    "cross": (0.08, 0.44),
    "pole": (0.35, 0.80),
    "fence": (0.25, 0.55),
}
_COUNT = [0.02, 0.04, 0.06, 0.10, 0.26, 0.52]  # of two to seven objects a scene


@dataclass(frozen=True)
class Scene:
    """An image and its two masks.

    Attributes:
        image: `uint8` (H, W, 3), RGB.
        segmentation_mask: `uint8` (H, W), class ids 0-9, void 255.
        instance_mask: `uint8` (H, W), 0 background, 1..n objects in drawing order, void 255. The number of an
            object that later ones cover wholly is missing (about one scene in a thousand).
    """

    image: np.ndarray
    segmentation_mask: np.ndarray
    instance_mask: np.ndarray


def draw_scene(rng: np.random.Generator, size: int = 128, render_scale: int = 1, rim: float = RIM) -> Scene:
    """Draws two to seven objects over a textured ground, with occlusion, shadows and exact masks.

    Args:
        rng: source of every random draw; the same state gives the same scene at every `render_scale`.
        size: height and width of the scene in pixels, 32 or more.
        render_scale: whole number; the images come out `size * render_scale` pixels wide.
        rim: width of the void rim outside every outline in the masks, in pixels of the base size; 0 leaves no void.

    Returns:
        A `Scene` of `(size * render_scale)` by `(size * render_scale)` pixels.

    Raises:
        ValueError: `size` is below 32 or `render_scale` is below 1.

    Example:
        >>> scene = draw_scene(np.random.default_rng(0))
        >>> scene.image.shape, scene.segmentation_mask.shape
        ((128, 128, 3), (128, 128))
    """
    canvas = Canvas(rng, size, render_scale, rim)
    for instance, thing in enumerate(_layout(rng, size), start=1):
        canvas.paint(rng, thing, FORMS[CLASS_NAMES[thing.label]], instance)
    return Scene(canvas.image(), canvas.segmentation_mask, canvas.instance_mask)


def draw_object(rng: np.random.Generator, label: int, size: int = 96) -> np.ndarray:
    """Draws one object among clutter that belongs to no class, for a classifier of the nine object classes.

    Args:
        rng: source of every random draw.
        label: 0-8, the class id minus one.
        size: height and width in pixels, 32 or more.

    Returns:
        The image, `uint8` (size, size, 3).

    Raises:
        ValueError: `label` is not in 0-8, or `size` is below 32.

    Example:
        >>> draw_object(np.random.default_rng(0), label=3).shape
        (96, 96, 3)
    """
    if not 0 <= label < len(FORMS):
        raise ValueError(
            f"label is {label}, expected 0-{len(FORMS) - 1}: the class id minus one, without the background"
        )
    canvas = Canvas(rng, size, 1)
    radius = 0.5 * size * rng.uniform(0.35, 0.95)
    slack = (0.5 * size - radius) * 0.8 + 0.04 * size
    x, y = (0.5 * size + rng.uniform(-slack, slack, 2)).tolist()
    thing = Placement(label + 1, x, y, rng.uniform(0, 2 * math.pi), radius)

    def clutter(count, low, high):
        for _ in range(count):
            away, reach = rng.uniform(0, 2 * math.pi), radius * rng.uniform(0.8, 1.2)
            where = x + reach * math.cos(away), y + reach * math.sin(away)
            where = [min(max(c, 2), size - 2) for c in where]
            canvas.paint(rng, Placement(0, *where, away, size * rng.uniform(low, high)), PEBBLE)

    clutter(rng.integers(0, 3), 0.05, 0.16)
    canvas.paint(rng, thing, FORMS[CLASS_NAMES[label + 1]], 1)
    clutter(rng.integers(0, 3), 0.04, 0.10)
    return canvas.image()


def _layout(rng, size):
    """Places the objects so that no other one hides any wholly; now and then two of a class touch."""
    placed = []
    for _ in range(rng.choice([2, 3, 4, 5, 6, 7], p=_COUNT)):
        twin = bool(placed) and rng.random() < 0.15
        label = placed[-1].label if twin else 1 + int(rng.choice(len(FORMS), p=_FREQUENCY / _FREQUENCY.sum()))
        low, high = _RADIUS[CLASS_NAMES[label]]
        for attempt in range(50):
            radius = size * (low + (high - low) * rng.uniform() ** 0.7)
            x, y = rng.uniform(0.04 * size, 0.96 * size, 2).tolist()
            angle, away = rng.uniform(0, 2 * math.pi, 2).tolist()
            if twin and attempt < 20:
                reach = 0.95 * (radius + placed[-1].radius)
                x, y = placed[-1].x + reach * math.cos(away), placed[-1].y + reach * math.sin(away)
            thing = Placement(label, x, y, angle, radius)
            inside = 0.04 * size <= min(x, y) and max(x, y) <= 0.96 * size
            if inside and all(_apart(thing, other, size) for other in placed):
                placed.append(thing)
                break
    return placed


def _apart(a, b, size):
    """Whether the smaller object sticks out from under the larger; a pole covers next to nothing."""
    bulk = [0.08 * size if CLASS_NAMES[o.label] == "pole" else o.radius for o in (a, b)]
    return math.hypot(a.x - b.x, a.y - b.y) > 0.85 * max(bulk) + 0.25 * min(bulk)
