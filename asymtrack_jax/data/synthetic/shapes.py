"""Random silhouettes of objects, as polygons whose union is the silhouette."""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

Polygon = Float64[np.ndarray, "_ 2"]  # x, y; about the size of the unit circle

_ANGLES = np.linspace(0, 2 * np.pi, 64, endpoint=False)


def shape(rng: np.random.Generator) -> list[Polygon]:
    """Samples a shape of a random family, rotated and mirrored, as a list of its parts."""
    family = _FAMILIES[rng.integers(len(_FAMILIES))]
    angle = rng.uniform(0, 2 * np.pi)
    turn = rotation(angle) * rng.choice([-1, 1], 2)
    return [polygon @ turn.T for polygon in family(rng)]


def bars(rng: np.random.Generator) -> list[Polygon]:
    """Samples one to three upright bars side by side."""
    count = rng.integers(1, 4)
    width = rng.uniform(0.04, 0.12) / math.sqrt(count)
    pole = np.array([[-width, -1], [width, -1], [width, 1], [-width, 1]])
    gap = rng.uniform(3, 5) * width
    return [pole + np.array([gap * (i - (count - 1) / 2), 0]) for i in range(count)]


def rotation(angle: float) -> Float64[np.ndarray, "2 2"]:
    """Returns the matrix of a rotation by an angle in radians."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s], [s, c]])


def _around(radius: Float64[np.ndarray, " points"], angles: np.ndarray = _ANGLES) -> Polygon:
    return radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _ellipse(centre: tuple[float, float], axes: tuple[float, float], angle: float = 0.0) -> Polygon:
    return _around(np.ones(64)) * axes @ rotation(angle).T + centre


def _blob(rng: np.random.Generator) -> list[Polygon]:
    waves = np.array([2, 3, 5])
    swing = np.cos(_ANGLES[:, None] * waves + rng.uniform(0, 2 * np.pi, 3))
    return [_around(1 + swing @ (rng.uniform(0.4, 1.2) * np.array([0.2, 0.12, 0.07])))]


def _polygon(rng: np.random.Generator) -> list[Polygon]:
    corners = rng.integers(3, 9)
    angles = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * 2 * np.pi / corners
    return [_around(rng.uniform(0.65, 1, corners), angles)]


def _star(rng: np.random.Generator) -> list[Polygon]:
    tips = rng.integers(4, 9)
    radius = np.tile([1, rng.uniform(0.4, 0.7)], tips)
    return [_around(radius, np.arange(2 * tips) * np.pi / tips)]


def _rounded(rng: np.random.Generator) -> list[Polygon]:
    """Samples a superellipse: between an ellipse and a box with round corners."""
    corner = _around(np.ones(64))
    return [np.sign(corner) * np.abs(corner) ** rng.uniform(0.2, 1) * [1, rng.uniform(0.4, 1)]]


def _creature(rng: np.random.Generator) -> list[Polygon]:
    """Samples a body with a head and limbs."""
    long, thick = 0.7, rng.uniform(0.25, 0.45)
    limbs = []
    for foot in np.linspace(-0.55, 0.5, rng.integers(2, 5)):
        width, reach, lean = rng.uniform(0.06, 0.13), rng.uniform(0.7, 1), rng.uniform(-0.2, 0.2)
        x = foot + np.array([-width, width, lean + 0.06, lean - 0.06])
        limbs.append(np.stack([x, [0, 0, reach, reach]], axis=-1))
    head = _ellipse((long, -rng.uniform(0.2, 0.5)), (0.27, 0.22), rng.uniform(-0.6, 0.6))
    return [*limbs, _ellipse((0.0, 0.0), (long, thick)), head]


def _vehicle(rng: np.random.Generator) -> list[Polygon]:
    """Samples a body with a cabin and wheels."""
    rear, front, roof = rng.uniform(-0.9, -0.3), rng.uniform(0.2, 0.8), -rng.uniform(0.45, 0.8)
    body = np.array([[-1, -0.2], [0.95, -0.2], [1, 0.3], [-1, 0.3]])
    cabin = np.array([[rear, -0.15], [rear + 0.1, roof], [front - 0.15, roof], [front, -0.15]])
    size = rng.uniform(0.16, 0.26)
    wheels = [_ellipse((x, 0.3), (size, size)) for x in np.linspace(-0.6, 0.6, rng.integers(2, 4))]
    return [cabin, body, *wheels]


def _plant(rng: np.random.Generator) -> list[Polygon]:
    """Samples leaves around a centre."""
    count, width = rng.integers(4, 9), rng.uniform(0.13, 0.25)
    leaves = []
    for angle in (np.arange(count) + rng.uniform(-0.2, 0.2, count)) * 2 * np.pi / count:
        far = rng.uniform(0.4, 0.6)
        leaves.append(_ellipse((far * np.cos(angle), far * np.sin(angle)), (far, width), angle))
    return [*leaves, _ellipse((0.0, 0.0), (0.25, 0.25))]


_FAMILIES: tuple[Callable[[np.random.Generator], list[Polygon]], ...] = (
    *(_blob, _polygon, _star, _rounded),
    *(_creature, _vehicle, _plant),
)
