"""What a clip shows: things in motion, one of them the target, and the camera."""

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
from asymtrack_jax.data.synthetic.motion import Actor, Pass, Swings, Times, Wander
from asymtrack_jax.data.synthetic.shapes import Polygon, bars, shape
from asymtrack_jax.data.synthetic.sprites import Sprite, cutout, rendered
from asymtrack_jax.data.synthetic.textures import backdrop

VISIBLE_SHARE = 0.2  # the target counts as visible while this share of it shows
MARGIN = 1.3  # size of a backdrop over that of the frame

_GEOMETRY, _LOOK, _BACKDROP = 1, 2, 3  # what a seed is spent on; a 0 would leave it the same

Design = list[Polygon] | Path  # what a thing is made from


@dataclasses.dataclass(frozen=True)
class Camera:
    """Motion, exposure and noise of the camera.

    Attributes:
        swings: of pan to the right and down, the logarithm of contrast, and brightness.
        ranges: how far each of them goes; pans are in shares of the frame.
        shutter: share of a frame's time that it is open.
        noise: standard deviation, grey levels.
    """

    swings: Swings
    ranges: Float64[np.ndarray, "4"]
    shutter: float
    noise: float

    def __call__(self, times: Times) -> Float64[np.ndarray, "T 4"]:
        """Pan to the right and down, the logarithm of contrast, and brightness, grey levels."""
        return self.ranges * self.swings(times)


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """All that a clip shows.

    Attributes:
        key: the seed that all of it comes from.
        size: height and width of the frames.
        surroundings: makes the backdrop, `MARGIN` wider and higher than the frames.
        behind: things that the target may hide.
        target: what is to be tracked.
        before: things that may hide the target.
        camera: its motion, exposure and noise.
    """

    key: tuple[int, ...]
    size: tuple[int, int]
    surroundings: Callable[[], Frame]
    behind: tuple[Actor, ...]
    target: Actor
    before: tuple[Actor, ...]
    camera: Camera

    @functools.cached_property
    def backdrop(self) -> Frame:
        """What does not move."""
        return self.surroundings()

    def annotate(self, times: Times) -> tuple[Float64[np.ndarray, "T 4"], Bool[np.ndarray, " T"]]:
        """The target's extent within the frame, xywh, NaN where it is outside, and if it shows."""
        poses = self.target.poses(times)
        frame = np.array(self.size[::-1], np.float64)
        low, high = np.clip(self.target.extent(poses), 0, frame).transpose(1, 0, 2)
        boxes = np.concatenate([low, high - low], axis=-1)
        boxes[(low >= high).any(axis=-1)] = np.nan

        samples = self.target.to_frame(self.target.sprite.samples, poses)
        shown = ((samples >= 0) & (samples < frame[:, None])).all(axis=1)
        for actor in self.before:
            shown &= ~actor.covers(samples, actor.poses(times))
        return boxes, shown.mean(axis=-1) >= VISIBLE_SHARE


@dataclasses.dataclass(frozen=True)
class Assets:
    """Image files that scenes are made of; where there are none, they are rendered.

    Attributes:
        cutouts: RGBA images of things; those in one folder are of one kind.
        photographs: of surroundings.
    """

    cutouts: tuple[Path, ...] = ()
    photographs: tuple[Path, ...] = ()

    @functools.cached_property
    def kinds(self) -> dict[Path, list[Path]]:
        """The cut-outs of each folder."""
        kinds: dict[Path, list[Path]] = {}
        for path in self.cutouts:
            kinds.setdefault(path.parent, []).append(path)
        return kinds


RENDERED = Assets()


def make_scene(
    key: tuple[int, ...],
    size: tuple[int, int],
    assets: Assets = RENDERED,
    least_difficulty: float = 0.0,
    same_kind: float = 0.0,
) -> Scene:
    """Draws a scene, anything from an easy one to a hard one.

    Args:
        key: seed; the same always makes the same scene.
        size: height and width of the frames.
        assets: what it is made of.
        least_difficulty: of the scene, from 0, where easy ones are drawn too, to 1.
        same_kind: share of what moves beside the target that is a cut-out of its kind, instead of
            first the target itself, then its mirror image, then anything.

    Raises:
        InputError: a cut-out cannot be used. Photographs are not read before the first frame is.
    """
    return _SceneSampler(key, size, assets, least_difficulty, same_kind).make()


class _SceneSampler:
    """Draws the parts of one scene, all as hard as the scene is to be."""

    def __init__(
        self,
        key: tuple[int, ...],
        size: tuple[int, int],
        assets: Assets,
        least_difficulty: float,
        same_kind: float,
    ):
        self.key, self.size, self.assets, self.same_kind = key, size, assets, same_kind
        self.rng = np.random.default_rng((*key, _GEOMETRY))
        self.difficulty = least_difficulty + (1 - least_difficulty) * self.rng.random()
        self.side = min(size) * math.exp(self.rng.uniform(math.log(0.13), math.log(0.38)))
        self.hue = self.rng.uniform(0, 360)
        self.looks = itertools.count()

    def make(self) -> Scene:
        design = self.design()
        hue = self.hue + 180 + self.upto(0.0, 180.0) * self.rng.choice([-1, 1])
        sprite = self.sprite(design, hue=hue)
        target = self.actor(sprite, self.wander(sprite, self.upto(-1.0, 2.0)))
        behind, before = [], []
        for _ in range(round(self.upto(1.0, 5.0))):
            likeness = self.rng.random()
            if isinstance(design, Path) and likeness < self.same_kind:
                kind = self.assets.kinds[design.parent]
                other = self.sprite(kind[self.rng.integers(len(kind))], self.rng.uniform(0.8, 1.25))
            elif likeness < 0.3:
                other = sprite
            elif likeness < 0.7:
                other = self.sprite(design, hue=hue + self.rng.normal(0, 25), mirrored=True)
            else:
                other = self.sprite(self.design(), self.rng.uniform(0.7, 1.4))
            if self.rng.random() < 0.5:
                behind.append(self.actor(other, self.wander(other)))
            else:
                actor = self.actor(other, self.crossing(target, other, miss=1.0))
                (before if self.rng.random() < 0.3 else behind).append(actor)
        for _ in range(round(self.upto(0.7, 2.5))):
            if self.rng.random() < 0.5:
                before.append(self.barrier(target))
            else:
                other = self.sprite(self.design(), self.rng.uniform(0.4, 1.3))
                before.append(self.actor(other, self.crossing(target, other, miss=0.5)))
        return Scene(
            *(self.key, self.size, self.surroundings()),
            *(tuple(behind), target, tuple(before), self.camera()),
        )

    def upto(self, easy: float, hard: float) -> float:
        """Anything from 0 to a bound that the difficulty sets; 0 where that is negative."""
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

    def actor(self, sprite: Sprite, path: motion.Path) -> Actor:
        bounds = [(0.5, 0.6), (0.1, 0.3), (0.3, 1.5), (1.0, 6.0), (1.0, 6.0)]
        ranges = np.array([self.upto(*bound) for bound in bounds])
        radius = self.side / 2
        bend = radius * max(0.0, self.upto(0.1, 0.35) - 0.03)
        swings = Swings.draw(self.rng, len(ranges))
        return Actor(sprite, path, swings, ranges, bend, self.rng.uniform(1, 2.5) / radius)

    def wander(self, sprite: Sprite, excess: float = 0.0) -> Wander:
        haste = 1 - 0.7 * self.upto(0.0, 1.0)
        swings = Swings.draw(self.rng, 2, (120 * haste, 200 * haste), (45 * haste, 80 * haste))
        centre = np.array(self.size[::-1]) / 2
        reach = 1.1 * sprite.reach
        return Wander(centre, np.maximum(centre - reach, 0), excess * reach, swings)

    def crossing(self, target: Actor, sprite: Sprite, miss: float) -> Pass:
        distance = math.hypot(*self.size) + 3 * sprite.reach
        angle, miss = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(-miss, miss) * self.side
        return Pass(target.path, self.rng.uniform(70, 160), angle, 2.4, distance, miss)

    def barrier(self, target: Actor) -> Actor:
        """Bars higher than the frame, that pass from side to side."""
        parts = bars(self.rng)
        width, height = np.ptp(np.concatenate(parts), axis=0)
        side = 2.4 * self.size[0] * math.sqrt(width / height)
        sprite = self.sprite(parts, side / self.side)
        distance = 1.5 * self.size[1] + sprite.reach
        path = Pass(target.path, self.rng.uniform(70, 160), 0.0, np.pi, distance, 0.0)
        return Actor(sprite, path, Swings.draw(self.rng, 5), np.zeros(5), 0.0, 0.0)

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
        swings = Swings.draw(self.rng, len(ranges))
        return Camera(swings, ranges, self.upto(0.3, 1.0), self.upto(2.0, 12.0))


def _cover(image: Frame, size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """The middle of an image, scaled to fill a size."""
    scale = max(np.array(size) / image.shape[:2])
    height, width = (max(1, math.floor(side / scale)) for side in size)
    y, x = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    shrinks = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image[y : y + height, x : x + width], size[::-1], interpolation=shrinks)  # pyright: ignore[reportReturnType]
