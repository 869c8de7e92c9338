"""Renders scenes with a lamp, a textured ground, shadows and bevelled objects, and the masks of the objects."""

import math
from dataclasses import dataclass

import numpy as np

from ...layers.labels import VOID
from .sdf import square_wave

RIM = 1.0  # pixels of void outside every visible outline, by default


@dataclass(frozen=True)
class Placement:
    """Where an object lies.

    Args:
        label: Class id, 0 for clutter.
        x: Centre, in pixels from the left edge of the scene.
        y: Centre, in pixels from the top edge.
        angle: Rotation, in radians.
        radius: Distance from the centre to the farthest point, in pixels. For a fence, it is half of the longer side.

    Example:

    >>> Placement(label=1, x=64.0, y=64.0, angle=0.0, radius=20.0).radius
    20.0
    """

    label: int
    x: float
    y: float
    angle: float
    radius: float


class Renderer:
    """Paints objects on a ground, from back to front. Its pixels hold linear light.

    Args:
        rng: A `np.random.Generator`. The random numbers do not depend on `scale`.
        size: Height and width of the scene in pixels of the base size, 32 or more.
        scale: Rendered pixels for each pixel of the base size, a whole number.
        rim: Width of the void rim outside every visible outline, in pixels of the base size.

    Raises:
        ValueError: If `size` is below 32, or if `scale` is not a whole number above 0.

    Example:

    >>> Renderer(np.random.default_rng(0), size=64, scale=2).image().shape
    (128, 128, 3)
    """

    def __init__(self, rng, size, scale, rim=RIM):
        if size < 32 or scale < 1 or int(scale) != scale:
            raise ValueError(
                f"Found size={size}, render_scale={scale}: expected a size of at least 32 pixels, and a whole number "
                "of at least 1 as render_scale."
            )
        self.size, self.scale, self.rim = size, scale, rim
        pixels = size * scale
        self.segmentation_mask = np.zeros((pixels, pixels), np.uint8)
        self.instance_mask = np.zeros((pixels, pixels), np.uint8)
        light = rng.uniform(0, 2 * math.pi)
        self.light = math.cos(light), math.sin(light)  # points to the lamp
        self.hue, self.lightness = rng.uniform(0, 2 * math.pi), rng.uniform(0.4, 0.75)
        self.pixels = self._paint_ground(rng)

    def image(self):
        """The picture that has been painted so far, as a uint8 array ``(H, W, 3)``."""
        encoded = np.clip(self.pixels, 0, 1) ** (1 / 2.2)
        return np.round(255 * encoded).astype(np.uint8)

    def _cut_window(self, x, y, reach):
        """Two slices of the pixels within `reach` of a point, and the pixels' centres, ``(n, 1)`` and ``(1, m)``."""
        spans = []
        for centre in (y, x):
            low = max(int((centre - reach) * self.scale), 0)
            spans.append(slice(low, min(int((centre + reach) * self.scale) + 2, self.size * self.scale)))
        ys, xs = ((np.arange(s.start, s.stop, dtype=np.float32) + 0.5) / self.scale for s in spans)
        return *spans, ys[:, None], xs[None, :]

    def _paint_ground(self, rng):
        _, _, ys, xs = self._cut_window(self.size / 2, self.size / 2, self.size)
        self.grain = _make_noise(rng, ys, xs, self.size, 4.0, octaves=2)
        rough = _make_noise(rng, ys, xs, self.size, self.size / 2, octaves=4) + self.grain / 16
        tilt, period = rng.uniform(0, 2 * math.pi), rng.uniform(7, 26)
        along = xs * math.cos(tilt) + ys * math.sin(tilt) + rng.uniform(0, 3) * rough
        across = ys * math.cos(tilt) - xs * math.sin(tilt) + rng.uniform(0, 3) * rough
        stripes = square_wave(along, period, self.scale)
        checks = np.abs(stripes - square_wave(across, period, self.scale))
        pattern = (0 * stripes, stripes, checks)[rng.integers(3)]
        mix = 0.35 * rough + rng.uniform(0.1, 0.45) * pattern + rng.uniform(-0.6, 0.6) * along / self.size
        lightness = self.lightness + rng.choice([-1, 1]) * rng.uniform(0.08, 0.16)
        first = _color(self.lightness, rng.uniform(0.02, 0.1), self.hue)
        second = _color(lightness, rng.uniform(0.02, 0.1), self.hue + rng.normal(0, 0.7))
        color = first + np.clip(0.5 + mix, 0, 1)[..., None] * (second - first)
        relief = np.gradient(rough, 1 / self.scale)
        lamp = ((xs / self.size - 0.5) * self.light[0] + (ys / self.size - 0.5) * self.light[1]) * 0.5
        shade = 1 + lamp - rng.uniform(0.1, 0.5) * (relief[1] * self.light[0] + relief[0] * self.light[1])
        return (color * np.clip(shade, 0.3, 1.8)[..., None]).astype(np.float32)

    def paint(self, rng, thing, form, instance=0):
        """Paints the shadow of an object, its texture in the light of the lamp, and its ids in the masks.

        Args:
            rng: A `np.random.Generator`, for proportions and colours.
            thing: A `Placement`.
            form: A pair of an outline and a texture, as in `fcn_keras.datasets.shapes.sdf.FORMS`.
            instance: Id in the instance mask; 0 for clutter, which does not change the masks.
        """
        shape, texture = form
        distance, height = shape(rng, thing.radius), rng.uniform(1.5, 4)
        first, second = self._choose_colors(rng)
        rows, columns, ys, xs = self._cut_window(thing.x, thing.y, 1.15 * thing.radius + 6)
        x, y = xs - thing.x, ys - thing.y
        cos, sin = math.cos(thing.angle), math.sin(thing.angle)

        def local(dx, dy):
            return cos * (x + dx) + sin * (y + dy), cos * (y + dy) - sin * (x + dx)

        u, v = local(0.0, 0.0)
        d = distance(u, v)
        cast = distance(*local(height * self.light[0], height * self.light[1]))
        shade, gloss = self._shade(d, x, y, thing.radius)
        near = (d < 1) | (cast < 0.6 * height)  # the rest of the window does not change
        u, v, noise = u[near], v[near], self.grain[rows, columns][near]
        ink = texture(u, v, noise, thing.radius, self.scale)
        color = first + ink[:, None] * (second - first)
        color = color * (shade[near] * (1 + 0.05 * noise))[:, None] + gloss[near][:, None]
        shadow = 1 - 0.6 * np.clip(0.5 - cast[near] / (1.2 * height), 0, 1) ** 1.5
        below = self.pixels[rows, columns][near] * shadow[:, None]
        alpha = np.clip(0.5 - d[near] * self.scale, 0, 1)[:, None]
        self.pixels[rows, columns][near] = below + alpha * (color - below)
        if instance:
            for mask, inside in ((self.segmentation_mask, thing.label), (self.instance_mask, instance)):
                mask[rows, columns][d < self.rim] = VOID
                mask[rows, columns][d < 0] = inside

    def _choose_colors(self, rng):
        """The two colours of a texture. They differ from those of the ground, and do not depend on the class."""
        lightness = self.lightness + rng.choice([-1, 1]) * rng.uniform(0.12, 0.3)
        hue, contrast = self.hue + rng.uniform(0.8, 2 * math.pi - 0.8), rng.uniform(0.18, 0.3)
        first = _color(lightness, rng.uniform(0.06, 0.16), hue)
        lightness += contrast if lightness < 0.6 else -contrast
        return first, _color(lightness, rng.uniform(0.04, 0.16), hue + rng.normal(0, 0.5))

    def _shade(self, d, x, y, radius):
        """Lambert shading and a highlight, on a bevel that rises from the outline to the inside."""
        bevel = min(6.0, 0.4 * radius, max(float(-d.min()), 0.5))
        dy, dx = np.gradient(d, 1 / self.scale)
        facing = np.clip(1 + d / bevel, 0, 1) * (dx * self.light[0] + dy * self.light[1])
        lamp = (x * self.light[0] + y * self.light[1]) / radius
        return np.clip(0.95 + 0.45 * facing + 0.15 * lamp, 0.25, 1.7), 0.25 * np.clip(facing, 0, 1) ** 4


def _make_noise(rng, ys, xs, extent, cell, octaves):
    """Smooth noise on ``[0, extent]²`` with a standard deviation of about 1: B-splines on random lattices."""
    total = 0
    for octave in range(octaves):
        pitch = cell / 2**octave
        count = int(extent / pitch) + 4
        lattice = rng.standard_normal((count, count), np.float32) * np.float32(2 / 2**octave)
        total = total + _evaluate_spline(_evaluate_spline(lattice, ys.ravel() / pitch).T, xs.ravel() / pitch).T
    return total


def _evaluate_spline(knots, t):
    """Evaluates the cubic B-spline along the rows of `knots` ``(n, m)`` at positions `t` ``(k,)``, to ``(k, m)``."""
    first = np.floor(t)
    t = (t - first)[:, None]
    s = 1 - t
    weights = s**3 / 6, 2 / 3 - t * t * (1 + s) / 2, 2 / 3 - s * s * (1 + t) / 2, t**3 / 6
    rows = first.astype(np.intp)
    return sum(w * knots[rows + k] for k, w in enumerate(weights))


def _color(lightness, chroma, hue):
    """Converts OKLCh to linear sRGB. In OKLCh, colours with the same lightness look equally light."""
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    # fmt: off
    to_lms = np.array([[0.3963377774, 0.2158037573], [-0.1055613458, -0.0638541728], [-0.0894841775, -1.2914855480]])
    to_rgb = np.array([[4.0767416621, -3.3077115913, 0.2309699292], [-1.2684380046, 2.6097574011, -0.3413193965],
                       [-0.0041960863, -0.7034186147, 1.7076147010]])
    # fmt: on
    lms = lightness + to_lms[:, 0] * a + to_lms[:, 1] * b
    return np.clip(to_rgb @ lms**3, 0.005, 1).astype(np.float32)
