"""From two annotated frames to a training pair: jitter, crops and augmentation as published.

The published order matters for exactness: grey and the joint flip are done to whole frames, before
the crops (which lose a column at the right edge only); brightness and the second flip to each crop.
What `data.distort` adds is off unless a configuration asks for it.
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

# Crop pixels of frame that a crop must show each way. The published check looks at every sixteenth
# pixel, and so passes a view of 8 every other time.
_LEAST_VIEW = 8


TRAINING = Augmentation()


class Pair(NamedTuple):
    """What the network trains on.

    Attributes:
        template: RGB crop.
        search: RGB crop.
        box: the target in the search crop, xywh in sides of the crop; parts may lie outside.
    """

    template: UInt8[np.ndarray, "Z Z 3"]
    search: UInt8[np.ndarray, "X X 3"]
    box: Float32[np.ndarray, "4"]


class Batch(NamedTuple):
    """Training pairs, stacked; numpy arrays, or jax arrays once they are on the device.

    Attributes:
        template: RGB crops.
        search: RGB crops.
        boxes: the target in each search crop, xywh in sides of the crop; parts may lie outside.
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
    """Crops and augments a pair of frames of one target.

    Args:
        rng: the only source of chance.
        template: a frame, RGB, and the target in it, xywh in pixels; w and h are positive.
        search: the same, of a later moment or the same one.
        config: sizes and factors of the crops.
        augmentation: how far the pair varies.

    Returns:
        The pair; None if a crop shows hardly anything but the black outside the frame, which
        happens to targets that lie outside themselves. Draw another one then.
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
    if augmentation.turn or augmentation.shear:
        moved = distort.turn(rng, frames[1], boxes[1], augmentation.turn, augmentation.shear)
        frames, boxes = zip((frames[0], boxes[0]), moved, strict=True)
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
    if _drawn(rng, augmentation.look_alike):
        images[1] = distort.add_look_alike(rng, images[1], box)
    if _drawn(rng, augmentation.cover):
        images[1] = distort.cover(rng, images[1], box)
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
    """The box that a search crop is cut around.

    Args:
        rng: chance.
        box: the target, xywh.
        centre_jitter: range of the centre's uniform offset, in `sqrt(w * h)` of the result.
        scale_jitter: standard deviation of the normal logarithm of each side's change.

    Returns:
        xywh, float64.
    """
    size = box[2:] * np.exp(scale_jitter * rng.standard_normal(2))
    offset = centre_jitter * np.sqrt(size.prod()) * (rng.random(2) - 0.5)
    return np.concatenate([box[:2] + 0.5 * box[2:] + offset - 0.5 * size, size])


def box_in_crop(box: Box, around: Box, scale: float, size: int) -> Box:
    """A box in the coordinates of a crop.

    As published, the centre of the crop is at (size - 1) / 2 pixels, half a pixel before its
    middle, and the crop is taken to be exactly around the box that it was cut around.

    Args:
        box: xywh in the frame's pixels.
        around: the box that the crop was cut around, likewise.
        scale: crop pixels per frame pixel.
        size: side of the crop, pixels.

    Returns:
        xywh in sides of the crop.
    """
    moved = box[:2] + 0.5 * box[2:] - (around[:2] + 0.5 * around[2:])
    side = box[2:] * scale
    corner = (size - 1) / 2 + moved * scale - 0.5 * side
    return np.concatenate([corner, side]) / size


def flip_in_frame(box: Box, width: int) -> Box:
    """An xywh box, in pixels, in the mirrored frame; as published, one pixel to the left of it."""
    x, y, w, h = box
    return np.array([width - 1 - x - w, y, w, h], box.dtype)


def _shows_frame(shape: tuple[int, ...], around: Box, factor: float, size: int) -> bool:
    side = np.sqrt(around[2:].prod()) * factor
    low = around[:2] + 0.5 * around[2:] - 0.5 * side
    view = np.minimum(low + side, shape[::-1]) - np.maximum(low, 0)
    return bool((view * size / side >= _LEAST_VIEW).all())


def _drawn(rng: np.random.Generator, probability: float) -> bool:
    """Whether something of this probability happens.

    What cannot happen draws nothing, so that the published recipe makes the same pairs whatever
    else there is to choose.
    """
    return probability > 0 and rng.random() < probability


def _distorted(rng: np.random.Generator, image: Frame, augmentation: Augmentation) -> Frame:
    """Changes of colour, motion blur and the marks of JPEG, in the order of a camera's."""
    if _drawn(rng, augmentation.smear):
        image = distort.smear(rng, image)
    if augmentation.colour:
        image = distort.recolour(rng, image, augmentation.colour)
    if _drawn(rng, augmentation.compress):
        image = distort.compress(rng, image)
    return image


def _grey(frame: Frame) -> Frame:
    return cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)  # pyright: ignore[reportReturnType]


def _flip(image: Frame) -> Frame:
    return cv2.flip(image, 1)  # NumPy takes ten times as long  # pyright: ignore[reportReturnType]


def _brighten(crop: Frame, gain: float) -> Frame:
    # Published as floats; rounded to bytes here, so that batches travel to the device as bytes.
    return cv2.convertScaleAbs(crop, alpha=gain)  # pyright: ignore[reportReturnType]
