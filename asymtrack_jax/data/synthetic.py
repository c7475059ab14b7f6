"""Rendered video with exact ground truth: data that needs no download.

A scene is one textured object that moves, grows and shrinks smoothly over a textured background
seen by a slowly panning camera. Everything follows from the seed, and the first frames of a clip
do not depend on its length.
"""

import math
from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from asymtrack_jax.errors import InputError

Frame = UInt8[np.ndarray, "H W 3"]

_RADIUS = 0.14  # mean radius of the object at scale 1, in shorter sides of the frame
_SCALE_RANGE = 0.4  # the scale swings within exp(-0.4) .. exp(0.4)
_PAN_RANGE = 0.12  # the camera pans by up to this share of the frame each way
_ANGLES = np.linspace(0, 2 * np.pi, 720, endpoint=False)


class Clip:
    """Frames that are rendered when they are asked for, and their boxes.

    Attributes:
        boxes: xywh, pixels: the extent of the object's ideal outline, always within the frame.
    """

    boxes: Float64[np.ndarray, "T 4"]

    def __init__(self, num_frames: int, size: tuple[int, int], seed: int):
        rng = np.random.default_rng(seed)
        height, width = size
        hue = rng.uniform(0, 360)
        self._sprite, outline = _object(rng, _RADIUS * min(size), hue + 180)
        margin = math.ceil(_PAN_RANGE * max(size)) + 1
        self._background = _background(rng, height + 2 * margin, width + 2 * margin, hue)

        # Points are x, y, and continuous: pixel i covers [i, i + 1), where OpenCV centres it on i.
        self._size = np.array([width, height])
        place, scale, pan = np.split(_smooth_paths(rng, num_frames, 5), [2, 3], axis=1)
        self._scales = np.exp(_SCALE_RANGE * scale)
        reach = np.abs(outline).max() * math.exp(_SCALE_RANGE)
        self._centres = self._size / 2 + place * (self._size / 2 - reach)
        self._view_centres = margin + (0.5 + _PAN_RANGE * pan) * self._size
        low = self._centres + self._scales * outline.min(axis=0)
        self.boxes = np.concatenate([low, self._scales * np.ptp(outline, axis=0)], axis=1)

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator[Frame]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Frame:
        """Renders one frame, uint8 RGB."""
        index = range(len(self))[index]
        view = self._view_centres[index] - 0.5
        frame = cv2.getRectSubPix(self._background, self._size.tolist(), view.tolist())
        low, size = np.split(self.boxes[index], 2)
        x1, y1 = np.maximum(np.floor(low) - 2, 0).astype(int).tolist()
        x2, y2 = np.minimum(np.ceil(low + size) + 2, self._size).astype(int).tolist()
        scale, sprite_centre = self._scales[index, 0], len(self._sprite) / 2 - 0.5
        shift = self._centres[index] - 0.5 - scale * sprite_centre - [x1, y1]
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        patch = cv2.warpAffine(self._sprite, matrix, (x2 - x1, y2 - y1))
        behind = frame[y1:y2, x1:x2]
        behind[:] = np.rint(behind * (1 - patch[..., 3:]) + patch[..., :3])
        return frame


def render_clip(num_frames: int, size: tuple[int, int] = (240, 320), seed: int = 0) -> Clip:
    """A clip of frames of `size` (height, width), the same for the same seed.

    Raises:
        InputError: no frames, or a side under 32 pixels.
    """
    if num_frames < 1 or min(size) < 32:
        raise InputError(
            f"a clip needs at least one frame and sides of 32 pixels, got {num_frames} of {size}"
        )
    return Clip(num_frames, size, seed)


def _smooth_paths(
    rng: np.random.Generator, num_frames: int, count: int
) -> Float64[np.ndarray, "{num_frames} {count}"]:
    """Curves within [-1, 1] over the frames, each the sum of a slow and a faster swing."""
    periods = rng.uniform([[90], [45]], [[180], [90]], (2, count))  # frames
    turns = np.arange(num_frames)[:, None, None] / periods + rng.random((2, count))
    return np.tensordot(np.sin(2 * np.pi * turns), [0.75, 0.25], axes=(1, 0))


def _noise(
    rng: np.random.Generator, height: int, width: int
) -> Float64[np.ndarray, "{height} {width}"]:
    """Smooth noise of several octaves, scaled to [0, 1]."""
    total = np.zeros((height, width))
    for octave in range(5):
        cells = rng.random((3 << octave, 3 << octave))
        total += 0.6**octave * cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    return (total - total.min()) / np.ptp(total)


def _colours(
    level: Float64[np.ndarray, "H W"], hues: list[float], saturation: float, values: list[float]
) -> Float32[np.ndarray, "H W 3"]:
    """Colours levels in [0, 1] along a ramp of hues (degrees) and values; RGB in [0, 255]."""
    ramp = np.linspace(0, 1, len(hues))
    hue = np.interp(level, ramp, hues) % 360
    hsv = [hue, np.full_like(level, saturation), np.interp(level, ramp, values)]
    return 255 * cv2.cvtColor(np.stack(hsv, axis=-1).astype(np.float32), cv2.COLOR_HSV2RGB)


def _background(rng: np.random.Generator, height: int, width: int, hue: float) -> Frame:
    """Clouds of neighbouring hues."""
    level = _noise(rng, height, width)
    colours = _colours(level, [hue - 40, hue, hue + 40], 0.45, [0.25, 0.5, 0.8])
    return np.rint(colours).astype(np.uint8)


def _object(
    rng: np.random.Generator, radius: float, hue: float
) -> tuple[Float32[np.ndarray, "S S 4"], Float64[np.ndarray, "points 2"]]:
    """A marbled pebble: its image (RGB in [0, 255] times alpha; alpha) and its outline.

    The outline is in pixels around the image's centre.
    """
    waves, phases = np.array([2, 3, 5]), rng.uniform(0, 2 * np.pi, 3)

    def outline(angle: np.ndarray) -> np.ndarray:
        return radius * (1 + np.cos(angle[..., None] * waves + phases) @ [0.14, 0.08, 0.04])

    side = 2 * math.ceil(1.26 * radius + 2)  # the waves add up to 0.26 at most
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    inside = outline(np.arctan2(y, x)) - np.hypot(x, y)  # about the distance to the outline
    direction = rng.uniform(0, 2 * np.pi)
    along = (x * np.cos(direction) + y * np.sin(direction)) / radius
    level = 0.5 + 0.5 * np.sin(2 * np.pi * (along + 2 * _noise(rng, side, side)))
    colours = _colours(level, [hue - 25, hue, hue + 50], 0.85, [0.45, 0.9, 1.0])
    colours *= (0.35 + 0.65 * np.clip(inside / (0.25 * radius), 0, 1))[..., None]  # a dark rim
    alpha = np.clip(inside + 0.5, 0, 1)[..., None]
    sprite = np.concatenate([colours * alpha, alpha], axis=-1).astype(np.float32)
    points = outline(_ANGLES)[:, None] * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=-1)
    return sprite, points
