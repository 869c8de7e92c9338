"""The nine forms of the generated scenes, as signed distance functions, and the texture of each form.

Random numbers determine the proportions of a form. The form is then a function of local coordinates ``(u, v)`` in
pixels, which are centred on the form and rotate with it. The function returns the distance to the outline, which is
negative inside. From this distance we compute the mask, the smooth edge, the void rim, the bevel and the shadow, at any
resolution.
"""

import math

import numpy as np


def length(u, v):
    """The Euclidean length. It is faster than `np.hypot`, which also guards against overflow.

    Example:

    >>> float(length(3.0, 4.0))
    5.0
    """
    return np.sqrt(u * u + v * v)


def box(half_u, half_v):
    """The distance to a rectangle with sides along the axes.

    Args:
        half_u, half_v: Half of the rectangle's sides, in pixels.

    Returns:
        Function from arrays ``u``, ``v`` to an array of distances.

    Example:

    >>> float(box(2.0, 1.0)(np.float32(5.0), np.float32(0.0)))
    3.0
    """

    def distance(u, v):
        du, dv = np.abs(u) - half_u, np.abs(v) - half_v
        return length(np.maximum(du, 0), np.maximum(dv, 0)) + np.minimum(np.maximum(du, dv), 0)

    return distance


def polygon(vertices):
    """The distance to the nearest edge of a polygon that does not cross itself. It is negative inside.

    Args:
        vertices: Array ``(n, 2)`` of the corners, in order.

    Returns:
        Function from arrays ``u``, ``v`` to an array of distances.

    Example:

    >>> square = polygon(np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]))
    >>> float(square(np.float32(0.0), np.float32(0.5)))
    -0.5
    """

    def distance(u, v):
        squared, inside = np.float32(np.inf), False
        for (u0, v0), (u1, v1) in zip(vertices, np.roll(vertices, -1, axis=0), strict=True):
            eu, ev = float(u1 - u0), float(v1 - v0)
            along = np.clip(((u - u0) * eu + (v - v0) * ev) / (eu * eu + ev * ev), 0, 1)
            squared = np.minimum(squared, (u - u0 - eu * along) ** 2 + (v - v0 - ev * along) ** 2)
            crosses = (v < v0) != (v < v1)
            inside ^= crosses & ((v - v0) * (eu / (ev or 1.0)) + u0 > u)
        return np.copysign(np.sqrt(squared), np.where(inside, np.float32(-1), np.float32(1)))

    return distance


def _around(angles, radii):
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=-1).astype(np.float32)


def _disc(rng, radius):
    return lambda u, v: length(u, v) - radius


def _box(rng, radius):
    angle = rng.uniform(0.5, 0.9)
    return box(radius * math.cos(angle), radius * math.sin(angle))


def _triangle(rng, radius):
    return polygon(_around(np.arange(3) * 2 * np.pi / 3 + rng.uniform(-0.25, 0.25, 3), radius))


def _star(rng, radius):
    radii = np.where(np.arange(10) % 2, rng.uniform(0.34, 0.44) * radius, radius)
    return polygon(_around(np.arange(10) * np.pi / 5, radii))


def _ring(rng, radius):
    half = min(max(rng.uniform(0.09, 0.15) * radius, 1.5), 4.5)
    return lambda u, v: np.abs(length(u, v) - (radius - half)) - half


def _cross(rng, radius):
    half = max(rng.uniform(0.11, 0.18) * radius, 1.25)
    upright, bar = box(half, radius), box(radius, half)
    return lambda u, v: np.minimum(upright(u, v), bar(u, v))


def _crescent(rng, radius):
    bite, shift = radius * rng.uniform(0.8, 0.92), radius * rng.uniform(0.38, 0.5)
    tip_u = (radius**2 - bite**2 + shift**2) / (2 * shift)
    tip_v = math.sqrt(max(radius**2 - tip_u**2, 0))

    def distance(u, v):
        v = np.abs(v)
        body = np.maximum(length(u, v) - radius, bite - length(u - shift, v))
        beyond_tip = u * tip_v - v * tip_u > shift * np.maximum(tip_v - v, 0)
        return np.where(beyond_tip, length(u - tip_u, v - tip_v), body)

    return distance


def _pole(rng, radius):
    return box(radius, rng.uniform(1.2, 2.0))


def _fence(rng, radius):
    half, pitch = 1.0, np.array(rng.uniform(7.5, 11, 2))
    counts = np.maximum(np.floor(radius * np.array([0.8, rng.uniform(0.5, 0.65)]) / pitch), 1)
    (pitch_u, pitch_v), (count_u, count_v) = pitch.tolist(), counts.tolist()
    slat, rail = box(half, count_v * pitch_v + 2 * half), box(count_u * pitch_u + 2 * half, half)

    def distance(u, v):
        nearest_u = pitch_u * np.clip(np.round(u / pitch_u), -count_u, count_u)
        nearest_v = pitch_v * np.clip(np.round(v / pitch_v), -count_v, count_v)
        return np.minimum(slat(u - nearest_u, v), rail(u, v - nearest_v))

    return distance


def pebble(rng, radius):
    """The approximate distance to an irregular blob, for clutter that belongs to no class.

    Args:
        rng: A `np.random.Generator`, for the outline.
        radius: Distance from the centre to the farthest point, in pixels.

    Returns:
        Function from arrays ``u``, ``v`` to an array of distances.

    Example:

    >>> bool(pebble(np.random.default_rng(0), 5.0)(np.float32(0.0), np.float32(0.0)) < 0)
    True
    """
    waves = [(k, rng.uniform(0, 0.3 / k), rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4)]

    def distance(u, v):
        angle = np.arctan2(v, u)
        swell = 1 + sum(height * np.cos(k * angle + phase) for k, height, phase in waves)
        return (length(u, v) - 0.75 * radius * swell) * 0.85

    return distance


def square_wave(x, period, scale=1):
    """Stripes of 0 and 1 along `x`, whose edges are one rendered pixel wide.

    Args:
        x: Array of coordinates, in pixels of the base size.
        period: Width of two stripes, in pixels of the base size.
        scale: Rendered pixels for each pixel of the base size.

    Returns:
        Array of the shape of `x`, in 0–1.

    Example:

    >>> square_wave(np.arange(4.0) + 0.5, period=4).tolist()
    [1.0, 0.0, 0.0, 1.0]
    """
    turns = x / period
    from_centre = np.abs(turns - np.floor(turns) - 0.5) * period
    return np.clip(0.5 + (from_centre - period / 4) * scale, 0, 1)


# A texture is a function of (u, v, noise, radius, scale) that returns the share of the second colour, 0–1.
def _concentric(u, v, noise, radius, scale):
    return square_wave(length(u, v), min(max(radius / 2.5, 5), 11), scale)


def _checks(u, v, noise, radius, scale):
    period = min(max(radius / 1.6, 6), 16)
    a, b = square_wave(u, period, scale), square_wave(v, period, scale)
    return a + b - 2 * a * b


def _stripes(u, v, noise, radius, scale):
    return square_wave(u, min(max(radius / 2.2, 5), 11), scale)


def _speckles(u, v, noise, radius, scale):
    return np.clip((noise - 0.5) * 4 + 0.3, 0, 1)


def _spokes(u, v, noise, radius, scale):
    count = max(round(2 * np.pi * radius / 12), 5)
    return square_wave(np.arctan2(v, u) * radius, 2 * np.pi * radius / count, scale)


def _waves(u, v, noise, radius, scale):
    return square_wave(u + v + 2 * np.sin((u - v) * 0.6), 7.0, scale)


def _marble(u, v, noise, radius, scale):
    return 0.5 + 0.5 * np.sin(0.35 * v + 2.2 * noise)


def _bands(u, v, noise, radius, scale):
    return square_wave(u, 16.0, scale)


def _plain(u, v, noise, radius, scale):
    return np.clip(0.3 + 0.25 * noise, 0, 1)


# In the order of the class ids 1-9.
FORMS = {
    "disc": (_disc, _concentric),
    "box": (_box, _checks),
    "triangle": (_triangle, _stripes),
    "star": (_star, _speckles),
    "ring": (_ring, _spokes),
    "cross": (_cross, _waves),
    "crescent": (_crescent, _marble),
    "pole": (_pole, _bands),
    "fence": (_fence, _plain),
}
PEBBLE = (pebble, _plain)
