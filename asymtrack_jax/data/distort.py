"""Augmentations beyond the published ones, all off by default (`config.Augmentation`).

Each function draws from the generator `rng` alone and returns a new image; images are uint8 RGB.
"""

import math

import cv2
import numpy as np
from jaxtyping import Float, UInt8

Image = UInt8[np.ndarray, "H W 3"]
Box = Float[np.ndarray, "4"]

_MIN_SIDE = 6  # pixels, of a target that is copied or occluded
_ATTEMPTS = 8  # random positions of a distractor
_MAX_OCCLUSION = 0.15  # fraction of the target's area that a distractor may occlude
_MAX_BLUR = 0.05  # length of motion blur over the image's height
_QUALITIES = (15, 70)  # range of JPEG qualities
_REDUCTIONS = (1.5, 4.0)  # range of the reduction of resolution


def jitter_colours(rng: np.random.Generator, image: Image, strength: float) -> Image:
    """Changes contrast, saturation and colour balance.

    Args:
        rng: random generator.
        image: uint8 RGB.
        strength: maximum relative change of contrast and of saturation, uniform; each channel's
            gain changes by up to a third of it.
    """
    contrast, saturation = rng.uniform(1 - strength, 1 + strength, 2)
    balance = rng.uniform(1 - strength / 3, 1 + strength / 3, 3)
    grey = np.array([0.299, 0.587, 0.114])
    mix = contrast * balance[:, None] * (saturation * np.eye(3) + (1 - saturation) * grey)
    middle = (1 - contrast) * balance * image.mean()
    mixed = cv2.transform(image, np.column_stack([mix, middle]))
    return mixed  # pyright: ignore[reportReturnType]


def motion_blur(rng: np.random.Generator, image: Image) -> Image:
    """Applies linear motion blur in a random direction, up to a twentieth of the height long."""
    length = rng.uniform(0, _MAX_BLUR) * len(image)
    angle = rng.uniform(0, np.pi)
    return blur_along(image, length * np.array([math.cos(angle), math.sin(angle)]))


def blur_along(image: np.ndarray, motion: Float[np.ndarray, "2"]) -> np.ndarray:
    """Applies the blur of a linear motion during the exposure.

    Args:
        image: uint8, any number of channels.
        motion: displacement along x and y, pixels; not 0.
    """
    length = math.hypot(*motion)
    reach = math.ceil(length / 2)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along = np.abs(x * motion[0] + y * motion[1]) / length
    across = np.abs(x * motion[1] - y * motion[0]) / length
    kernel = np.clip((length + 1) / 2 - along, 0, 1) * np.clip(1 - across, 0, 1)
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def draw_reduction(rng: np.random.Generator) -> float:
    """Draws a factor from 1.5 to 4, log-uniformly, for `reduce_resolution`."""
    return math.exp(rng.uniform(*np.log(_REDUCTIONS)))


def reduce_resolution(image: Image, factor: float) -> Image:
    """Downsamples an image by `factor` and enlarges it again, like the crop of a small target."""
    size = [max(1, round(side / factor)) for side in image.shape[1::-1]]
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)  # pyright: ignore[reportReturnType]


def compress_jpeg(rng: np.random.Generator, image: Image) -> Image:
    """Adds JPEG compression artefacts, of a quality from 15 to 70."""
    options = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*_QUALITIES, endpoint=True))]
    # RGB is passed as BGR, which hardly changes the artefacts.
    return cv2.imdecode(cv2.imencode(".jpg", image, options)[1], cv2.IMREAD_COLOR)  # pyright: ignore[reportReturnType]


def rotate(
    rng: np.random.Generator, frame: Image, box: Box, degrees: float, shear: float
) -> tuple[Image, Box]:
    """Rotates and shears a frame about its target's centre.

    Args:
        rng: random generator.
        frame: uint8 RGB.
        box: the target, xywh in pixels.
        degrees: standard deviation of the angle.
        shear: standard deviation of the horizontal shear, pixels per pixel down.

    Returns:
        The frame, of the same size and black outside the original one, and the bounding box, xywh
        in pixels, of the transformed ellipse inscribed in `box`. That is an approximation: some
        percent too small for an object that fills `box`, too large or too small for one along a
        diagonal of it.
    """
    angle, slant = math.radians(degrees) * rng.standard_normal(), shear * rng.standard_normal()
    c, s = math.cos(angle), math.sin(angle)
    linear = np.array([[c, -s], [s, c]]) @ np.array([[1, slant], [0, 1]])
    centre = box[:2] + 0.5 * box[2:]
    pixel = centre - 0.5  # OpenCV has pixel centres on integers
    moved = cv2.warpAffine(
        frame, np.column_stack([linear, pixel - linear @ pixel]), frame.shape[1::-1]
    )
    half = np.sqrt(((linear * (0.5 * box[2:])) ** 2).sum(axis=1))
    return moved, np.concatenate([centre - half, 2 * half])  # pyright: ignore[reportReturnType]


def occlude(rng: np.random.Generator, crop: Image, box: Box) -> Image:
    """Pastes another part of a crop over up to half of the target, from one of its sides.

    Args:
        rng: random generator.
        crop: uint8 RGB.
        box: the target, xywh in normalised coordinates of the crop.

    Returns:
        The changed crop, or `crop` itself if too little of the target is in it.
    """
    region = _region(crop, box)
    if region is None:
        return crop
    low, high = region
    side = high - low
    axis, far = rng.integers(2, size=2)
    extent = side.copy()
    extent[axis] = max(1, round(rng.uniform(0.1, 0.5) * float(side[axis])))
    place = np.where(far, high - extent, low)
    source = rng.integers(0, np.array(crop.shape[1::-1]) - extent, endpoint=True)
    patch = crop[source[1] : source[1] + extent[1], source[0] : source[0] + extent[0]]
    covered = crop.copy()
    covered[place[1] : place[1] + extent[1], place[0] : place[0] + extent[0]] = patch
    return covered


def add_distractor(rng: np.random.Generator, crop: Image, box: Box) -> Image:
    """Pastes a mirrored, recoloured and rescaled copy of the target elsewhere in the crop.

    Args:
        rng: random generator.
        crop: uint8 RGB.
        box: the target, xywh in normalised coordinates of the crop.

    Returns:
        The crop with an oval copy that occludes at most 15 % of the target, or `crop` itself if too
        little of the target is in it or no position was found.
    """
    region = _region(crop, box)
    if region is None:
        return crop
    low, high = region
    copy = jitter_colours(rng, crop[low[1] : high[1], low[0] : high[0]][:, ::-1].copy(), 0.5)
    size = np.maximum(np.rint((high - low) * rng.uniform(0.7, 1.4)), _MIN_SIDE).astype(int)
    room = np.array(crop.shape[1::-1]) - size
    if (room <= 0).any():
        return crop
    for place in rng.integers(0, room, (_ATTEMPTS, 2), endpoint=True):
        overlap = np.minimum(place + size, high) - np.maximum(place, low)
        if np.maximum(overlap, 0).prod() <= _MAX_OCCLUSION * (high - low).prod():
            break
    else:
        return crop
    copy = cv2.resize(copy, size.tolist(), interpolation=cv2.INTER_AREA)
    y, x = (np.abs(2 * (np.arange(n) + 0.5) / n - 1) for n in size[::-1])
    radius = np.sqrt(x**2 + y[:, None] ** 2)
    opacity = np.clip((1.1 - radius) / 0.2, 0, 1)[..., None]
    pasted = crop.copy()
    part = pasted[place[1] : place[1] + size[1], place[0] : place[0] + size[0]]
    part[:] = np.rint(opacity * copy + (1 - opacity) * part)
    return pasted


def _region(crop: Image, box: Box) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the corners of the target within the crop, pixels; None if too little is in it."""
    side = len(crop)
    corners = np.rint(np.stack([box[:2], box[:2] + box[2:]]) * side).astype(int)
    low, high = np.clip(corners, 0, side)
    if ((high - low) < np.maximum(_MIN_SIDE, 0.6 * (corners[1] - corners[0]))).any():
        return None
    return low, high
