"""How things move and deform, and where their outlines then are.

All motion is a function of time alone, so any frame can be had without those before it. Points are
x, y in pixels and continuous: pixel i covers [i, i + 1).
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64

from asymtrack_jax.data.synthetic.sprites import Sprite

Times = Float64[np.ndarray, " T"]  # in frames
Points = Float32[np.ndarray, "T 2 P"]
Coordinates = Float32[np.ndarray, "H W"]
Path = Callable[[Times], Float64[np.ndarray, "T 2"]]  # of a thing's centre


@dataclasses.dataclass(frozen=True)
class Swings:
    """Curves within [-1, 1] over time, each the sum of a slow and a faster swing.

    Attributes:
        rates: of the swings, turns a frame.
        phases: turns at time 0.
    """

    rates: Float64[np.ndarray, "2 C"]
    phases: Float64[np.ndarray, "2 C"]

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        count: int,
        slow: tuple[float, float] = (60, 180),
        fast: tuple[float, float] = (30, 70),
    ) -> "Swings":
        """Some curves, their periods between those given, in frames."""
        periods = np.stack([rng.uniform(*slow, count), rng.uniform(*fast, count)])
        return cls(1 / periods, rng.random((2, count)))

    def __call__(self, times: Times) -> Float64[np.ndarray, "T C"]:
        """The curves' values."""
        turns = times[:, None, None] * self.rates + self.phases
        slow, fast = np.sin(2 * np.pi * turns).transpose(1, 0, 2)
        return 0.7 * slow + 0.3 * fast


@dataclasses.dataclass(frozen=True)
class Wander:
    """A path that swings about the frame's centre, and later, it may be, over its edges.

    Attributes:
        centre: of the frame.
        room: the path keeps within so much of the centre at first,
        excess: and within so much more in the end.
        swings: of x and y.
    """

    centre: Float64[np.ndarray, "2"]
    room: Float64[np.ndarray, "2"]
    excess: float
    swings: Swings

    def __call__(self, times: Times) -> Float64[np.ndarray, "T 2"]:
        """Where the centre is."""
        excess = self.excess * (1 - np.exp(-times[:, None] / 20))
        return self.centre + (self.room + excess) * self.swings(times)


@dataclasses.dataclass(frozen=True)
class Pass:
    """A path that comes from out of the frame, crosses the target's and leaves; again and again.

    Attributes:
        target: the path that is crossed.
        period: frames from one pass to the next.
        angle: direction of the first pass, radians.
        turn: from the direction of a pass to that of the next.
        distance: to where it starts and ends, from where it meets the target.
        miss: by how much it misses the target's centre, to the side.
    """

    target: Path
    period: float
    angle: float
    turn: float
    distance: float
    miss: float

    def __call__(self, times: Times) -> Float64[np.ndarray, "T 2"]:
        """Where the centre is."""
        number, phase = np.divmod(times / self.period, 1)
        angle = self.angle + self.turn * number
        along = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        aside = along[:, ::-1] * [-1, 1]
        progress = (2 * phase - 1)[:, None]
        progress = 0.3 * progress + 0.7 * progress**3  # slower where they meet
        meeting = self.target((number + 0.5) * self.period)
        return meeting + self.distance * progress * along + self.miss * aside


class Poses(NamedTuple):
    """How a thing lies in the frame, at each of T times.

    A point of the sprite, about its centre, is bent and then goes to `linear @ point + centre`.
    """

    centre: Float64[np.ndarray, "T 2"]
    linear: Float64[np.ndarray, "T 2 2"]
    bends: Float64[np.ndarray, "T 2"]  # phases of the waves along x and y, radians


@dataclasses.dataclass(frozen=True)
class Actor:
    """A thing in motion.

    Attributes:
        sprite: how it looks.
        path: where it is.
        swings: of the logarithm of scale, that of stretch, the angle, and two waves' phases.
        ranges: how far each of them goes.
        amplitude: of the waves that bend it, pixels of the sprite.
        wavenumber: of these waves, radians a pixel.
    """

    sprite: Sprite
    path: Path
    swings: Swings
    ranges: Float64[np.ndarray, "5"]
    amplitude: float
    wavenumber: float

    def poses(self, times: Times) -> Poses:
        """Where it is and how it is turned."""
        scale, stretch, angle, *bends = (self.ranges * self.swings(times)).T
        c, s = np.cos(angle), np.sin(angle)
        turn = np.stack([np.stack([c, -s], axis=-1), np.stack([s, c], axis=-1)], axis=-2)
        scales = np.exp(np.stack([scale + stretch, scale - stretch], axis=-1))
        return Poses(self.path(times), turn * scales[:, None], np.stack(bends, axis=-1))

    def to_frame(self, points: Float32[np.ndarray, "2 P"], poses: Poses) -> Points:
        """Where points of the sprite, about its centre, come to lie in the frame."""
        centre, linear, bends = (pose.astype(np.float32) for pose in poses)
        x, y = points
        x = x + self.amplitude * np.sin(self.wavenumber * y + bends[:, :1])
        y = y + self.amplitude * np.sin(self.wavenumber * x + bends[:, 1:])
        return linear @ np.stack([x, y], axis=1) + centre[..., None]

    def to_sprite(self, points: Points, poses: Poses) -> Points:
        """The inverse of `to_frame`."""
        centre, linear, bends = (pose.astype(np.float32) for pose in poses)
        x, y = (np.linalg.inv(linear) @ (points - centre[..., None])).transpose(1, 0, 2)
        if self.amplitude:  # else it is rigid, and may be large
            y = y - self.amplitude * np.sin(self.wavenumber * x + bends[:, 1:])
            x = x - self.amplitude * np.sin(self.wavenumber * y + bends[:, :1])
        return np.stack([x, y], axis=1)

    def covers(self, points: Points, poses: Poses) -> Bool[np.ndarray, "T P"]:
        """Which points of the frame it is opaque at."""
        x, y = self.to_sprite(points, poses).transpose(1, 0, 2)
        return look_up(self.sprite.alpha, x, y) > 127

    def bounds(self, poses: Poses) -> Float64[np.ndarray, "T 2 2"]:
        """Least and greatest x, y that any of its image can have."""
        half = np.array(self.sprite.alpha.shape[::-1]) / 2 + self.amplitude
        reach = np.abs(poses.linear) @ half
        return np.stack([poses.centre - reach, poses.centre + reach], axis=1)

    def extent(self, poses: Poses) -> Float64[np.ndarray, "T 2 2"]:
        """Least and greatest x, y of its outline, whatever the frame shows of it."""
        outline = self.to_frame(self.sprite.outline, poses)
        return np.stack([outline.min(axis=-1), outline.max(axis=-1)], axis=1, dtype=np.float64)


def look_up(image: np.ndarray, x: Coordinates, y: Coordinates) -> np.ndarray:
    """An image's values at points about its centre, interpolated; 0 outside."""
    height, width = image.shape[:2]
    return cv2.remap(image, x + (width / 2 - 0.5), y + (height / 2 - 0.5), cv2.INTER_LINEAR)
