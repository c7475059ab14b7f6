"""Motion and deformation of objects, and the extents of their outlines.

Motion is a function of time, so any frame can be rendered without earlier ones. Points are x, y in
continuous pixel coordinates: pixel i covers [i, i + 1).
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64

from asymtrack_jax.data.synthetic.sprites import Sprite

Times = Float64[np.ndarray, " T"]  # frames
Points = Float32[np.ndarray, "T 2 P"]
Coordinates = Float32[np.ndarray, "H W"]
Trajectory = Callable[[Times], Float64[np.ndarray, "T 2"]]  # an object's centre at given times


@dataclasses.dataclass(frozen=True)
class Oscillations:
    """Curves over time within [-1, 1], each the sum of a slow and a fast sinusoid.

    Attributes:
        rates: frequencies of the sinusoids of C curves, cycles per frame.
        phases: phases at time 0, cycles.
    """

    rates: Float64[np.ndarray, "2 C"]
    phases: Float64[np.ndarray, "2 C"]

    @classmethod
    def sample(
        cls,
        rng: np.random.Generator,
        count: int,
        slow: tuple[float, float] = (60, 180),
        fast: tuple[float, float] = (30, 70),
    ) -> "Oscillations":
        """Samples `count` curves with periods, in frames, in the given ranges."""
        periods = np.stack([rng.uniform(*slow, count), rng.uniform(*fast, count)])
        return cls(1 / periods, rng.random((2, count)))

    def __call__(self, times: Times) -> Float64[np.ndarray, "T C"]:
        """Returns the values of the curves."""
        turns = times[:, None, None] * self.rates + self.phases
        slow, fast = np.sin(2 * np.pi * turns).transpose(1, 0, 2)
        return 0.7 * slow + 0.3 * fast


@dataclasses.dataclass(frozen=True)
class WanderingPath:
    """Trajectory that oscillates about the frame's centre, with growing amplitude.

    Attributes:
        centre: centre of the frame, pixels.
        room: initial amplitude along x and y, pixels.
        excess: final increase of the amplitude, pixels; the object may then leave the frame.
        oscillations: curves of x and y.
    """

    centre: Float64[np.ndarray, "2"]
    room: Float64[np.ndarray, "2"]
    excess: float
    oscillations: Oscillations

    def __call__(self, times: Times) -> Float64[np.ndarray, "T 2"]:
        """Returns positions of the centre."""
        excess = self.excess * (1 - np.exp(-times[:, None] / 20))
        return self.centre + (self.room + excess) * self.oscillations(times)


@dataclasses.dataclass(frozen=True)
class CrossingPath:
    """Trajectory that periodically crosses the target's from outside the frame.

    Attributes:
        target: trajectory of the target.
        period: frames between crossings.
        angle: direction of the first crossing, radians.
        turn: change of direction between crossings, radians.
        distance: distance from the crossing to start and end, pixels.
        miss: lateral distance from the target's centre at the crossing, pixels.
    """

    target: Trajectory
    period: float
    angle: float
    turn: float
    distance: float
    miss: float

    def __call__(self, times: Times) -> Float64[np.ndarray, "T 2"]:
        """Returns positions of the centre."""
        number, phase = np.divmod(times / self.period, 1)
        angle = self.angle + self.turn * number
        along = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        aside = along[:, ::-1] * [-1, 1]
        progress = (2 * phase - 1)[:, None]
        progress = 0.3 * progress + 0.7 * progress**3  # slower at the crossing
        meeting = self.target((number + 0.5) * self.period)
        return meeting + self.distance * progress * along + self.miss * aside


class Poses(NamedTuple):
    """Poses of an object in the frame at T times.

    A point of the sprite, relative to its centre, is displaced by two waves, and then mapped to
    `linear @ point + centre`.

    Attributes:
        centre: position of the sprite's centre, pixels.
        linear: scale, stretch and rotation.
        bends: phases of the waves along x and y, radians.
    """

    centre: Float64[np.ndarray, "T 2"]
    linear: Float64[np.ndarray, "T 2 2"]
    bends: Float64[np.ndarray, "T 2"]


@dataclasses.dataclass(frozen=True)
class MovingObject:
    """An object with its appearance and motion.

    Attributes:
        sprite: appearance of the object.
        path: trajectory of the object's centre.
        oscillations: curves of log scale, log stretch, rotation and the phases of two waves.
        ranges: amplitudes of these; angles in radians.
        amplitude: amplitude of the waves that deform the object, pixels of the sprite.
        wavenumber: wavenumber of these waves, radians per pixel.
    """

    sprite: Sprite
    path: Trajectory
    oscillations: Oscillations
    ranges: Float64[np.ndarray, "5"]
    amplitude: float
    wavenumber: float

    def poses(self, times: Times) -> Poses:
        """Computes the object's poses."""
        scale, stretch, angle, *bends = (self.ranges * self.oscillations(times)).T
        c, s = np.cos(angle), np.sin(angle)
        turn = np.stack([np.stack([c, -s], axis=-1), np.stack([s, c], axis=-1)], axis=-2)
        scales = np.exp(np.stack([scale + stretch, scale - stretch], axis=-1))
        return Poses(self.path(times), turn * scales[:, None], np.stack(bends, axis=-1))

    def to_frame(self, points: Float32[np.ndarray, "2 P"], poses: Poses) -> Points:
        """Maps points of the sprite, relative to its centre, to the frame."""
        centre, linear, bends = (pose.astype(np.float32) for pose in poses)
        x, y = points
        x = x + self.amplitude * np.sin(self.wavenumber * y + bends[:, :1])
        y = y + self.amplitude * np.sin(self.wavenumber * x + bends[:, 1:])
        return linear @ np.stack([x, y], axis=1) + centre[..., None]

    def to_sprite(self, points: Points, poses: Poses) -> Points:
        """Maps points of the frame to the sprite: the inverse of `to_frame`."""
        centre, linear, bends = (pose.astype(np.float32) for pose in poses)
        x, y = (np.linalg.inv(linear) @ (points - centre[..., None])).transpose(1, 0, 2)
        if self.amplitude:  # skipped for rigid objects, which may be large
            y = y - self.amplitude * np.sin(self.wavenumber * x + bends[:, 1:])
            x = x - self.amplitude * np.sin(self.wavenumber * y + bends[:, :1])
        return np.stack([x, y], axis=1)

    def covers(self, points: Points, poses: Poses) -> Bool[np.ndarray, "T P"]:
        """Tells at which points of the frame the object is opaque."""
        x, y = self.to_sprite(points, poses).transpose(1, 0, 2)
        return sample_image(self.sprite.alpha, x, y) > 127

    def bounds(self, poses: Poses) -> Float64[np.ndarray, "T 2 2"]:
        """Computes bounds of the sprite's image in the frame: minimum and maximum x, y."""
        half = np.array(self.sprite.alpha.shape[::-1]) / 2 + self.amplitude
        reach = np.abs(poses.linear) @ half
        return np.stack([poses.centre - reach, poses.centre + reach], axis=1)

    def extent(self, poses: Poses) -> Float64[np.ndarray, "T 2 2"]:
        """Computes the exact extent of the outline, not clipped: minimum and maximum x, y."""
        outline = self.to_frame(self.sprite.outline, poses)
        return np.stack([outline.min(axis=-1), outline.max(axis=-1)], axis=1, dtype=np.float64)


def sample_image(image: np.ndarray, x: Coordinates, y: Coordinates) -> np.ndarray:
    """Samples an image bilinearly at points relative to its centre; 0 outside."""
    height, width = image.shape[:2]
    return cv2.remap(image, x + (width / 2 - 0.5), y + (height / 2 - 0.5), cv2.INTER_LINEAR)
