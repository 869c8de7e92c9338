"""Draws lit, textured scenes of simple forms with exact masks.

Everything is computed from continuous coordinates of the scene, in pixels of the base size. The random numbers do not
depend on the resolution. So the same generator gives the same scene at one, two or four times the base size.
"""

import math
from dataclasses import dataclass

import numpy as np

from .render import RIM, Placement, Renderer
from .sdf import FORMS, PEBBLE

CLASS_NAMES = ("background", *FORMS)
# Okabe and Ito's colours, with brown and violet added. Most people with colour blindness can distinguish them.
PALETTE = np.array([(0, 0, 0), (230, 159, 0), (140, 70, 30), (0, 158, 115), (240, 228, 66), (0, 114, 178),
                    (213, 94, 0), (204, 121, 167), (150, 90, 220), (86, 180, 233)], np.uint8)  # fmt: skip

# How often each class is drawn, and the range of its radius as a share of the scene. Poles are thin, so there are many.
_FREQUENCY = np.array([0.9, 1.0, 1.1, 1.3, 1.5, 1.3, 1.3, 2.2, 1.4])
_RADIUS = dict.fromkeys(CLASS_NAMES[1:], (0.05, 0.36))
_RADIUS |= {"ring": (0.08, 0.40), "cross": (0.08, 0.44), "pole": (0.35, 0.80), "fence": (0.25, 0.55)}
_COUNT = [0.02, 0.04, 0.06, 0.10, 0.26, 0.52]  # probabilities of two to seven objects in a scene


@dataclass(frozen=True)
class Scene:
    """An image and its two masks.

    Args:
        image: uint8 array ``(H, W, 3)``, RGB.
        segmentation_mask: uint8 array ``(H, W)``, class ids 0–9, void 255.
        instance_mask: uint8 array ``(H, W)``: 0 background, 1 to n objects in the order of drawing, void 255. If other
            objects cover an object completely, its id is missing. This happens in about one scene in a thousand.

    Example:

    >>> draw_scene(np.random.default_rng(0)).instance_mask.shape
    (128, 128)
    """

    image: np.ndarray
    segmentation_mask: np.ndarray
    instance_mask: np.ndarray


def draw_scene(rng, size=128, render_scale=1, rim=RIM):
    """Draws two to seven objects on a textured ground. They cast shadows and can partly hide each other.

    Args:
        rng: A `np.random.Generator`. The same state gives the same scene at every `render_scale`.
        size: Height and width of the scene in pixels, 32 or more.
        render_scale: A whole number. Image and masks are ``size * render_scale`` pixels wide and high.
        rim: Width of the void rim outside every outline in the masks, in pixels of the base size. With 0, there is no
            void.

    Returns:
        A `Scene`.

    Raises:
        ValueError: If `size` is below 32, or if `render_scale` is not a whole number above 0.

    Example:

    >>> scene = draw_scene(np.random.default_rng(0))
    >>> scene.image.shape, scene.segmentation_mask.shape
    ((128, 128, 3), (128, 128))
    """
    renderer = Renderer(rng, size, render_scale, rim)
    for instance, thing in enumerate(_place_objects(rng, size), start=1):
        renderer.paint(rng, thing, FORMS[CLASS_NAMES[thing.label]], instance)
    return Scene(renderer.image(), renderer.segmentation_mask, renderer.instance_mask)


def draw_object(rng, label, size=96):
    """Draws one object among clutter that belongs to no class. Classifiers of the nine forms are trained on it.

    Args:
        rng: A `np.random.Generator`.
        label: 0–8, the class id minus one.
        size: Height and width in pixels, 32 or more.

    Returns:
        The image, uint8 array ``(size, size, 3)``.

    Raises:
        ValueError: If `label` is not in 0–8, or if `size` is below 32.

    Example:

    >>> draw_object(np.random.default_rng(0), label=3).shape
    (96, 96, 3)
    """
    if not 0 <= label < len(FORMS):
        raise ValueError(
            f"Found label={label}: expected 0–{len(FORMS) - 1}, the class id minus one, as the background is no object."
        )
    renderer = Renderer(rng, size, 1)
    radius = 0.5 * size * rng.uniform(0.35, 0.95)
    slack = (0.5 * size - radius) * 0.8 + 0.04 * size
    x, y = (0.5 * size + rng.uniform(-slack, slack, 2)).tolist()
    thing = Placement(label + 1, x, y, rng.uniform(0, 2 * math.pi), radius)

    def clutter(count, low, high):
        for _ in range(count):
            away, reach = rng.uniform(0, 2 * math.pi), radius * rng.uniform(0.8, 1.2)
            where = x + reach * math.cos(away), y + reach * math.sin(away)
            where = [min(max(c, 2), size - 2) for c in where]
            renderer.paint(rng, Placement(0, *where, away, size * rng.uniform(low, high)), PEBBLE)

    clutter(rng.integers(0, 3), 0.05, 0.16)
    renderer.paint(rng, thing, FORMS[CLASS_NAMES[label + 1]], 1)
    clutter(rng.integers(0, 3), 0.04, 0.10)
    return renderer.image()


def _place_objects(rng, size):
    """Places the objects so that hardly any is hidden completely. Sometimes two objects of one class touch."""
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
            if inside and all(_are_apart(thing, other, size) for other in placed):
                placed.append(thing)
                break
    return placed


def _are_apart(a, b, size):
    """Whether part of the smaller object stays visible. Poles get a small radius here, because they hide little."""
    bulk = [0.08 * size if CLASS_NAMES[o.label] == "pole" else o.radius for o in (a, b)]
    return math.hypot(a.x - b.x, a.y - b.y) > 0.85 * max(bulk) + 0.25 * min(bulk)
