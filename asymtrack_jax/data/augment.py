"""Makes a training pair of two annotated frames: jitter, crops and augmentation as published.

In the published order: greyscale and the joint flip apply to whole frames, before cropping (where
crops lose the last column at the right edge only); brightness and the second flip to each crop.
The augmentations of `data.distort` are off by default.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from asymtrack_jax.config import Augmentation, ModelConfig
from asymtrack_jax.data import distort
from asymtrack_jax.data.crop import crop_square
from asymtrack_jax.data.sequences import Frame

Box = Float[np.ndarray, "4"]

# Minimum extent, in crop pixels, of the frame within a crop. The published check samples every
# sixteenth pixel, and so accepts an extent of 8 every other time.
_MIN_VIEW = 8

TRAINING = Augmentation()  # the published augmentation


class Pair(NamedTuple):
    """A training pair.

    Attributes:
        template: RGB crop.
        search: RGB crop.
        box: the target, xywh in normalised coordinates of the search crop; it may reach outside.
    """

    template: UInt8[np.ndarray, "Z Z 3"]
    search: UInt8[np.ndarray, "X X 3"]
    box: Float32[np.ndarray, "4"]


class Batch(NamedTuple):
    """Stacked training pairs, numpy or jax arrays.

    Attributes:
        template: RGB crops.
        search: RGB crops.
        boxes: the targets, xywh in normalised coordinates of the search crops.
    """

    template: UInt8[Any, "B Z Z 3"]
    search: UInt8[Any, "B X X 3"]
    boxes: Float32[Any, "B 4"]


def make_pair(
    rng: np.random.Generator,
    template: tuple[Frame, Box],
    search: tuple[Frame, Box],
    config: ModelConfig,
    augmentation: Augmentation = TRAINING,
) -> Pair | None:
    """Crops and augments two frames of one target.

    Args:
        rng: random generator.
        template: frame, uint8 RGB, and its target, xywh in pixels; w and h are positive.
        search: a later frame, or the same one, and its target.
        config: sizes and factors of the crops.
        augmentation: augmentation of the pair.

    Returns:
        The pair, or None if a crop lies almost wholly outside its frame, which happens if the
        target does.
    """
    frames, boxes = zip(template, search, strict=True)
    grey, flip = rng.random(2) < (augmentation.joint_grey, augmentation.joint_flip)
    if grey:
        frames = [_grey(frame) for frame in frames]
    if flip:
        boxes = [
            flip_in_frame(box, frame.shape[1]) for frame, box in zip(frames, boxes, strict=True)
        ]
        frames = [frame[:, ::-1] for frame in frames]
    if augmentation.rotation or augmentation.shear:
        rotated = distort.rotate(
            *(rng, frames[1], boxes[1], augmentation.rotation, augmentation.shear)
        )
        frames, boxes = zip((frames[0], boxes[0]), rotated, strict=True)
    template_box = boxes[0]
    if augmentation.template_centre_jitter or augmentation.template_scale_jitter:
        template_box = jittered_box(
            *(rng, template_box),
            *(augmentation.template_centre_jitter, augmentation.template_scale_jitter),
        )
    around = (
        template_box,
        jittered_box(rng, boxes[1], augmentation.centre_jitter, augmentation.scale_jitter),
    )
    factors = config.template_factor, config.search_factor
    sizes = config.template_size, config.search_size
    crops = []
    for frame, box, factor, size in zip(frames, around, factors, sizes, strict=True):
        if not _shows_frame(frame.shape[:2], box, factor, size):
            return None
        crops.append(crop_square(frame, box, factor, size))
    box = box_in_crop(boxes[1], around[1], crops[1][1], config.search_size)

    images = [crop for crop, _ in crops]
    if _drawn(rng, augmentation.distractor):
        images[1] = distort.add_distractor(rng, images[1], box)
    if _drawn(rng, augmentation.occlusion):
        images[1] = distort.occlude(rng, images[1], box)
    if _drawn(rng, augmentation.low_resolution):
        factor = distort.draw_reduction(rng)
        images = [distort.reduce_resolution(image, factor) for image in images]
    images = [_distorted(rng, image, augmentation) for image in images]

    gains = rng.uniform(1 - augmentation.brightness, 1 + augmentation.brightness, 2)
    flips = rng.random(2) < augmentation.crop_flip
    images = [_brighten(image, gain) for image, gain in zip(images, gains, strict=True)]
    images = [_flip(image) if flip else image for image, flip in zip(images, flips, strict=True)]
    if flips[1]:
        box[0] = 1 - box[0] - box[2]
    return Pair(images[0], images[1], box.astype(np.float32))


def jittered_box(
    rng: np.random.Generator, box: Box, centre_jitter: float, scale_jitter: float
) -> Box:
    """Draws the box that a search crop is cut around.

    Args:
        rng: random generator.
        box: the target, xywh.
        centre_jitter: range of the centre's uniform offset, in `sqrt(w * h)` of the result.
        scale_jitter: standard deviation of the normally distributed log scale of width and height.

    Returns:
        xywh, float64.
    """
    size = box[2:] * np.exp(scale_jitter * rng.standard_normal(2))
    offset = centre_jitter * np.sqrt(size.prod()) * (rng.random(2) - 0.5)
    return np.concatenate([box[:2] + 0.5 * box[2:] + offset - 0.5 * size, size])


def box_in_crop(box: Box, around: Box, scale: float, size: int) -> Box:
    """Converts a box from a frame's pixels to normalised coordinates of a crop.

    As published, the crop's centre is taken to be at (size - 1) / 2 pixels instead of size / 2, and
    exactly at the centre of the box that the crop was cut around, without rounding.

    Args:
        box: xywh in pixels of the frame.
        around: the box that the crop was cut around, xywh in pixels of the frame.
        scale: crop pixels per frame pixel.
        size: side of the crop, pixels.

    Returns:
        xywh in normalised coordinates of the crop.
    """
    moved = box[:2] + 0.5 * box[2:] - (around[:2] + 0.5 * around[2:])
    side = box[2:] * scale
    corner = (size - 1) / 2 + moved * scale - 0.5 * side
    return np.concatenate([corner, side]) / size


def flip_in_frame(box: Box, width: int) -> Box:
    """Mirrors an xywh box, in pixels, with its frame; as published, one pixel too far left."""
    x, y, w, h = box
    return np.array([width - 1 - x - w, y, w, h], box.dtype)


def _shows_frame(shape: tuple[int, ...], around: Box, factor: float, size: int) -> bool:
    side = np.sqrt(around[2:].prod()) * factor
    low = around[:2] + 0.5 * around[2:] - 0.5 * side
    view = np.minimum(low + side, shape[::-1]) - np.maximum(low, 0)
    return bool((view * size / side >= _MIN_VIEW).all())


def _drawn(rng: np.random.Generator, probability: float) -> bool:
    """Draws a Bernoulli variable; without using the generator if the probability is 0.

    So further augmentations that are off do not change the pairs of the published recipe.
    """
    return probability > 0 and rng.random() < probability


def _distorted(rng: np.random.Generator, image: Frame, augmentation: Augmentation) -> Frame:
    """Applies motion blur, colour jitter and JPEG compression, in a camera's order."""
    if _drawn(rng, augmentation.motion_blur):
        image = distort.motion_blur(rng, image)
    if augmentation.colour_jitter:
        image = distort.jitter_colours(rng, image, augmentation.colour_jitter)
    if _drawn(rng, augmentation.jpeg):
        image = distort.compress_jpeg(rng, image)
    return image


def _grey(frame: Frame) -> Frame:
    return cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)  # pyright: ignore[reportReturnType]


def _flip(image: Frame) -> Frame:
    return cv2.flip(image, 1)  # NumPy takes ten times as long  # pyright: ignore[reportReturnType]


def _brighten(crop: Frame, gain: float) -> Frame:
    # The published code keeps floats; uint8 takes a quarter of the bytes to move to the device.
    return cv2.convertScaleAbs(crop, alpha=gain)  # pyright: ignore[reportReturnType]
