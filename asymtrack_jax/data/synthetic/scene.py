"""Scenes: moving objects, one of which is the target, a background and a camera."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float64, UInt8

from asymtrack_jax.data.sequences import Frame, read_frame
from asymtrack_jax.data.synthetic import motion
from asymtrack_jax.data.synthetic.motion import (
    CrossingPath,
    MovingObject,
    Oscillations,
    Times,
    WanderingPath,
)
from asymtrack_jax.data.synthetic.shapes import Polygon, bars, shape
from asymtrack_jax.data.synthetic.sprites import Sprite, cutout, rendered
from asymtrack_jax.data.synthetic.textures import backdrop

MIN_VISIBLE = 0.2  # visible fraction above which the target counts as visible
MARGIN = 1.3  # size of the background over that of the frame

_GEOMETRY, _LOOK, _BACKDROP = 1, 2, 3  # streams of random numbers; 0 would not change the seed

Design = list[Polygon] | Path  # polygons of a rendered object, or the file of a cut-out


@dataclasses.dataclass(frozen=True)
class Camera:
    """Motion, exposure and noise of the camera.

    Attributes:
        oscillations: curves of pan to the right and down, log contrast, and brightness.
        ranges: amplitudes of these: pans in sizes of the frame, brightness in grey levels.
        shutter: exposure time over the time between frames.
        noise: standard deviation of the noise, grey levels.
    """

    oscillations: Oscillations
    ranges: Float64[np.ndarray, "4"]
    shutter: float
    noise: float

    def __call__(self, times: Times) -> Float64[np.ndarray, "T 4"]:
        """Returns pan to the right and down, log contrast, and brightness in grey levels."""
        return self.ranges * self.oscillations(times)


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """A scene.

    Attributes:
        key: random seed.
        size: height and width of the frames.
        surroundings: renders the background, `MARGIN` times as wide and high as the frames.
        behind: objects behind the target.
        target: the target.
        in_front: objects in front of the target, which may occlude it.
        camera: motion, exposure and noise of the camera.
    """

    key: tuple[int, ...]
    size: tuple[int, int]
    surroundings: Callable[[], Frame]
    behind: tuple[MovingObject, ...]
    target: MovingObject
    in_front: tuple[MovingObject, ...]
    camera: Camera

    @functools.cached_property
    def backdrop(self) -> Frame:
        """The static background."""
        return self.surroundings()

    def annotate(self, times: Times) -> tuple[Float64[np.ndarray, "T 4"], Bool[np.ndarray, " T"]]:
        """Computes the target's boxes and visibility.

        Returns:
            Exact bounding boxes, clipped to the frame, xywh in pixels, NaN where the target is
            outside; and whether at least `MIN_VISIBLE` of the target is visible.
        """
        poses = self.target.poses(times)
        frame = np.array(self.size[::-1], np.float64)
        low, high = np.clip(self.target.extent(poses), 0, frame).transpose(1, 0, 2)
        boxes = np.concatenate([low, high - low], axis=-1)
        boxes[(low >= high).any(axis=-1)] = np.nan

        samples = self.target.to_frame(self.target.sprite.samples, poses)
        shown = ((samples >= 0) & (samples < frame[:, None])).all(axis=1)
        for occluder in self.in_front:
            shown &= ~occluder.covers(samples, occluder.poses(times))
        return boxes, shown.mean(axis=-1) >= MIN_VISIBLE


@dataclasses.dataclass(frozen=True)
class Assets:
    """Image files of objects and backgrounds; without them these are rendered.

    Attributes:
        cutouts: RGBA images of objects; those in one folder are of one class.
        photographs: images of backgrounds.
    """

    cutouts: tuple[Path, ...] = ()
    photographs: tuple[Path, ...] = ()

    @functools.cached_property
    def classes(self) -> dict[Path, list[Path]]:
        """Cut-outs by folder."""
        classes: dict[Path, list[Path]] = {}
        for path in self.cutouts:
            classes.setdefault(path.parent, []).append(path)
        return classes


RENDERED = Assets()


def make_scene(
    key: tuple[int, ...],
    size: tuple[int, int],
    assets: Assets = RENDERED,
    min_difficulty: float = 0.0,
    same_class: float = 0.0,
) -> Scene:
    """Samples a scene of random difficulty.

    Args:
        key: random seed, which determines the scene.
        size: height and width of the frames, pixels.
        assets: image files of objects and backgrounds.
        min_difficulty: minimum difficulty, from 0 (easy scenes too) to 1 (hard ones only).
        same_class: fraction of the other objects that are cut-outs of the target's class, if the
            target is a cut-out; the rest are copies of the target, mirrored copies, or any objects.

    Raises:
        InputError: a cut-out is invalid. Photographs are read with the first frame.
    """
    return _SceneSampler(key, size, assets, min_difficulty, same_class).make()


class _SceneSampler:
    """Samples the parts of one scene at one difficulty."""

    def __init__(
        self,
        key: tuple[int, ...],
        size: tuple[int, int],
        assets: Assets,
        min_difficulty: float,
        same_class: float,
    ):
        self.key, self.size, self.assets, self.same_class = key, size, assets, same_class
        self.rng = np.random.default_rng((*key, _GEOMETRY))
        self.difficulty = min_difficulty + (1 - min_difficulty) * self.rng.random()
        self.side = min(size) * math.exp(self.rng.uniform(math.log(0.13), math.log(0.38)))
        self.hue = self.rng.uniform(0, 360)
        self.looks = itertools.count()

    def make(self) -> Scene:
        design = self.design()
        hue = self.hue + 180 + self.upto(0.0, 180.0) * self.rng.choice([-1, 1])
        sprite = self.sprite(design, hue=hue)
        target = self.moving(sprite, self.wander(sprite, self.upto(-1.0, 2.0)))
        behind, in_front = [], []
        for _ in range(round(self.upto(1.0, 5.0))):
            likeness = self.rng.random()
            if isinstance(design, Path) and likeness < self.same_class:
                siblings = self.assets.classes[design.parent]
                chosen = siblings[self.rng.integers(len(siblings))]
                other = self.sprite(chosen, self.rng.uniform(0.8, 1.25))
            elif likeness < 0.3:
                other = sprite
            elif likeness < 0.7:
                other = self.sprite(design, hue=hue + self.rng.normal(0, 25), mirrored=True)
            else:
                other = self.sprite(self.design(), self.rng.uniform(0.7, 1.4))
            if self.rng.random() < 0.5:
                behind.append(self.moving(other, self.wander(other)))
            else:
                crossing = self.moving(other, self.crossing(target, other, miss=1.0))
                (in_front if self.rng.random() < 0.3 else behind).append(crossing)
        for _ in range(round(self.upto(0.7, 2.5))):
            if self.rng.random() < 0.5:
                in_front.append(self.barrier(target))
            else:
                other = self.sprite(self.design(), self.rng.uniform(0.4, 1.3))
                in_front.append(self.moving(other, self.crossing(target, other, miss=0.5)))
        return Scene(
            *(self.key, self.size, self.surroundings()),
            *(tuple(behind), target, tuple(in_front), self.camera()),
        )

    def upto(self, easy: float, hard: float) -> float:
        """Draws from 0 to a bound between `easy` and `hard` by difficulty; 0 if it is negative."""
        bound = easy + (hard - easy) * self.difficulty
        return self.rng.uniform(0, max(0.0, bound))

    def design(self) -> Design:
        cutouts = self.assets.cutouts
        return cutouts[self.rng.integers(len(cutouts))] if cutouts else shape(self.rng)

    def sprite(
        self, design: Design, scale: float = 1.0, hue: float | None = None, mirrored: bool = False
    ) -> Sprite:
        if isinstance(design, Path):
            return cutout(design, scale * self.side, 0.7 * min(self.size), mirrored)
        hue = self.rng.uniform(0, 360) if hue is None else hue
        return rendered(design, scale * self.side, hue, (*self.key, next(self.looks), _LOOK))

    def moving(self, sprite: Sprite, path: motion.Trajectory) -> MovingObject:
        bounds = [(0.5, 0.6), (0.1, 0.3), (0.3, 1.5), (1.0, 6.0), (1.0, 6.0)]
        ranges = np.array([self.upto(*bound) for bound in bounds])
        radius = self.side / 2
        bend = radius * max(0.0, self.upto(0.1, 0.35) - 0.03)
        oscillations = Oscillations.sample(self.rng, len(ranges))
        return MovingObject(
            sprite, path, oscillations, ranges, bend, self.rng.uniform(1, 2.5) / radius
        )

    def wander(self, sprite: Sprite, excess: float = 0.0) -> WanderingPath:
        haste = 1 - 0.7 * self.upto(0.0, 1.0)
        oscillations = Oscillations.sample(
            self.rng, 2, (120 * haste, 200 * haste), (45 * haste, 80 * haste)
        )
        centre = np.array(self.size[::-1]) / 2
        reach = 1.1 * sprite.reach
        return WanderingPath(centre, np.maximum(centre - reach, 0), excess * reach, oscillations)

    def crossing(self, target: MovingObject, sprite: Sprite, miss: float) -> CrossingPath:
        distance = math.hypot(*self.size) + 3 * sprite.reach
        angle, miss = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(-miss, miss) * self.side
        return CrossingPath(target.path, self.rng.uniform(70, 160), angle, 2.4, distance, miss)

    def barrier(self, target: MovingObject) -> MovingObject:
        """Samples bars higher than the frame that cross it horizontally."""
        parts = bars(self.rng)
        width, height = np.ptp(np.concatenate(parts), axis=0)
        side = 2.4 * self.size[0] * math.sqrt(width / height)
        sprite = self.sprite(parts, side / self.side)
        distance = 1.5 * self.size[1] + sprite.reach
        path = CrossingPath(target.path, self.rng.uniform(70, 160), 0.0, np.pi, distance, 0.0)
        return MovingObject(sprite, path, Oscillations.sample(self.rng, 5), np.zeros(5), 0.0, 0.0)

    def surroundings(self) -> Callable[[], Frame]:
        size = math.ceil(MARGIN * self.size[0]), math.ceil(MARGIN * self.size[1])
        clutter = self.rng.uniform(0, 0.4 + 0.6 * self.difficulty)
        photographs, hue, key = self.assets.photographs, self.hue, (*self.key, _BACKDROP)
        if not photographs:
            return lambda: backdrop(np.random.default_rng(key), size, hue, clutter)
        path = photographs[self.rng.integers(len(photographs))]
        return lambda: _cover(read_frame(path), size)

    def camera(self) -> Camera:
        bounds = [(0.05, 0.15), (0.05, 0.15), (0.1, 0.4), (5.0, 35.0)]
        ranges = np.array([self.upto(*bound) for bound in bounds])
        oscillations = Oscillations.sample(self.rng, len(ranges))
        return Camera(oscillations, ranges, self.upto(0.3, 1.0), self.upto(2.0, 12.0))


def _cover(image: Frame, size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """Crops the centre of an image and resizes it to a size."""
    scale = max(np.array(size) / image.shape[:2])
    height, width = (max(1, math.floor(side / scale)) for side in size)
    y, x = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    shrinks = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image[y : y + height, x : x + width], size[::-1], interpolation=shrinks)  # pyright: ignore[reportReturnType]
