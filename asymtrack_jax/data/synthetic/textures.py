"""Textures of objects and backgrounds: coloured parts of a few large greyscale patterns."""

import functools
import math

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from asymtrack_jax.data.sequences import Frame
from asymtrack_jax.data.synthetic.shapes import Polygon, rotation, shape

Level = UInt8[np.ndarray, "_ _"]

_SIDE = 768  # side of a pattern, pixels
_DRAWN_BITS = 6  # fractional bits of coordinates in OpenCV's drawing


def texture(
    rng: np.random.Generator,
    size: tuple[int, int],
    hue: float,
    zoom: tuple[float, float] = (0.06, 0.4),
) -> Frame:
    """Samples a texture with colours around a hue.

    Args:
        rng: random generator.
        size: height and width of the image.
        hue: mean hue, degrees.
        zoom: minimum and maximum extent of the longer side, over that of a pattern.

    Returns:
        uint8 RGB.
    """
    image = _paint(rng, size, hue, zoom)
    if rng.random() < 0.5:  # a second texture shows through holes in the first
        holes = _window(rng, size, zoom, _patterns()[0]) > rng.uniform(130, 220)
        cv2.copyTo(_paint(rng, size, hue + rng.normal(0, 60), zoom), holes.view(np.uint8), image)
    return image


def backdrop(rng: np.random.Generator, size: tuple[int, int], hue: float, clutter: float) -> Frame:
    """Samples a background.

    Args:
        rng: random generator.
        size: height and width of the image.
        hue: mean hue, degrees.
        clutter: amount of small shapes, from 0 (none) to 1.

    Returns:
        uint8 RGB.
    """
    image = texture(rng, size, hue, (0.3, 0.8))
    for _ in range(round(3 * clutter)):
        things = np.zeros(size, np.uint8)
        for _ in range(rng.integers(2, 4 + round(6 * clutter))):
            centre, scale = rng.random(2) * size[::-1], min(size) * rng.uniform(0.04, 0.15)
            for polygon in shape(rng):
                fill(things, centre + scale * polygon)
        cv2.copyTo(_paint(rng, size, hue + rng.normal(0, 70), (0.2, 0.8)), things, image)
    return image


def fill(image: Level, polygon: Polygon) -> None:
    """Fills a polygon with 255; its points are in continuous pixel coordinates."""
    points = np.rint((polygon - 0.5) * (1 << _DRAWN_BITS)).astype(np.int32)
    cv2.fillPoly(image, [points], 255, cv2.LINE_AA, _DRAWN_BITS)


def _paint(
    rng: np.random.Generator, size: tuple[int, int], hue: float, zoom: tuple[float, float]
) -> Frame:
    """Samples a part of a pattern, its levels mapped to a random colour ramp."""
    count = rng.integers(2, 5)
    hues = (hue + rng.normal(0, 25, count)) % 360
    saturations = np.clip(rng.random() + rng.normal(0, 0.15, count), 0, 1)
    values = np.linspace(rng.uniform(0.1, 0.5), rng.uniform(0.6, 1), count)
    hsv = np.stack([hues, saturations, values], axis=-1, dtype=np.float32)
    colours = 255 * cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)
    ramp = cv2.resize(colours, (256, 1)).reshape(256, 1, 3).astype(np.uint8)
    kinds = _patterns()
    level = _window(rng, size, zoom, kinds[rng.integers(len(kinds))])
    return cv2.applyColorMap(level, ramp)  # pyright: ignore[reportReturnType]


def _window(
    rng: np.random.Generator, size: tuple[int, int], zoom: tuple[float, float], kind: list[Level]
) -> Level:
    """Samples a part of a pattern at a random scale."""
    pattern = kind[rng.integers(len(kind))]
    scale = math.exp(rng.uniform(*np.log(zoom))) * _SIDE / max(size)
    height, width = (math.ceil(scale * side) for side in size)
    y, x = rng.integers(0, [_SIDE - height, _SIDE - width])
    part = pattern[y : y + height, x : x + width]
    return cv2.resize(part, size[::-1], interpolation=cv2.INTER_LINEAR)  # pyright: ignore[reportReturnType]


@functools.cache
def _patterns() -> list[list[Level]]:
    """Returns patterns by kind, identical in every process; the first is soft clouds."""
    rng = np.random.default_rng(0)
    swell, patches = _noise(rng, 2.6), _noise(rng, 1.8)
    fibres = _noise(rng, 1.2, stretch=8.0)
    distance, cells = _cells(rng, 220)
    kinds = [
        [_noise(rng, 2.0)],  # clouds
        [_noise(rng, 1.2), _noise(rng, 0.4)],  # grain
        [fibres, fibres.T],
        [distance, cells],
        [1 - np.abs(2 * patches - 1)],  # veins
        [np.floor(4 * patches) / 4],  # camouflage
    ]
    regular = []
    y, x = np.mgrid[:_SIDE, :_SIDE] / _SIDE
    for angle in (0.0, 0.5, 1.2, 2.2):
        u, v = np.tensordot(rotation(angle), np.stack([x, y]), axes=1)
        tilted = 9 * u + 0.5 * (np.floor(18 * v) % 2)
        bricks = (np.abs(tilted % 1 - 0.5) < 0.45) & (np.abs(18 * v % 1 - 0.5) < 0.4)
        regular.append(
            [
                0.5 + 0.5 * np.sin(2 * np.pi * (4 * u + 3 * swell)),  # marble
                np.sin(2 * np.pi * (16 * u + swell)) > 0.2,  # stripes
                0.5 + 0.5 * np.sin(2 * np.pi * 12 * u),  # bands
                (np.sin(30 * np.pi * u) > 0) ^ (np.sin(30 * np.pi * v) > 0),  # checks
                np.hypot(18 * u % 1 - 0.5, 18 * v % 1 - 0.5) < 0.3,  # dots
                0.7 * bricks + 0.3 * patches,
            ]
        )
    kinds += map(list, zip(*regular, strict=True))
    return [[_soft(level) for level in kind] for kind in kinds]


def _soft(level: np.ndarray) -> Level:
    """Converts levels in [0, 1] to uint8, blurred slightly to avoid aliasing."""
    blurred = cv2.GaussianBlur(255 * level.astype(np.float32), (0, 0), 0.7)
    return np.rint(blurred).astype(np.uint8)


def _noise(
    rng: np.random.Generator, slope: float, stretch: float = 1.0
) -> Float64[np.ndarray, "S S"]:
    """Samples noise in [0, 1] whose amplitude falls with a power of the frequency."""
    frequency = _SIDE * np.fft.fftfreq(_SIDE)
    spectrum = np.fft.fft2(rng.standard_normal((_SIDE, _SIDE)))
    spectrum /= (2 + np.hypot(stretch * frequency[:, None], frequency)) ** slope
    noise = np.fft.ifft2(spectrum).real
    return 1 / (1 + np.exp(-1.7 * noise / noise.std()))  # all levels are about as frequent


def _cells(
    rng: np.random.Generator, count: int
) -> tuple[Float32[np.ndarray, "S S"], Float64[np.ndarray, "S S"]]:
    """Samples Voronoi cells: the distance to the nearest point, and one level per cell."""
    away = np.full((_SIDE, _SIDE), 255, np.uint8)
    away[tuple(rng.integers(0, _SIDE, (2, count)))] = 0
    kind = cv2.DIST_LABEL_PIXEL
    distance, labels = cv2.distanceTransformWithLabels(away, cv2.DIST_L2, 5, labelType=kind)
    levels = rng.random(count + 1)[np.asarray(labels, np.int64)]
    return np.divide(distance, np.max(distance), dtype=np.float32), levels
