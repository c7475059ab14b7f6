"""Changes to training crops beyond the published ones: all off by default (`config.Augmentation`).

Each is a function of a generator, which is its only source of chance, and of a crop or frame, which
it leaves as it was. Crops are RGB.
"""

import math

import cv2
import numpy as np
from jaxtyping import Float, UInt8

Image = UInt8[np.ndarray, "H W 3"]
Box = Float[np.ndarray, "4"]

_LEAST_SIDE = 6  # pixels of a target that is copied or covered
_TRIES = 8  # at a place for a look-alike
_MOST_HIDDEN = 0.15  # of the target, by a look-alike
_LONGEST_SMEAR = 0.05  # of the crop's side
_QUALITIES = (15, 70)  # of JPEGs


def recolour(rng: np.random.Generator, image: Image, strength: float) -> Image:
    """Changes contrast, saturation and the balance of colours.

    Args:
        rng: chance.
        image: RGB.
        strength: contrast and saturation are multiplied by 1 +- up to this, and each channel by
            1 +- up to a third of it, uniformly.
    """
    contrast, saturation = rng.uniform(1 - strength, 1 + strength, 2)
    balance = rng.uniform(1 - strength / 3, 1 + strength / 3, 3)
    grey = np.array([0.299, 0.587, 0.114])
    mix = contrast * balance[:, None] * (saturation * np.eye(3) + (1 - saturation) * grey)
    middle = (1 - contrast) * balance * image.mean()
    mixed = cv2.transform(image, np.column_stack([mix, middle]))
    return mixed  # pyright: ignore[reportReturnType]


def smear(rng: np.random.Generator, image: Image) -> Image:
    """Blurs as if the camera moved in a straight line, by up to a twentieth of the side."""
    length = rng.uniform(0, _LONGEST_SMEAR) * len(image)
    angle = rng.uniform(0, np.pi)
    reach = math.ceil(length / 2)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along = np.abs(x * math.cos(angle) + y * math.sin(angle))
    across = np.abs(x * math.sin(angle) - y * math.cos(angle))
    kernel = np.clip((length + 1) / 2 - along, 0, 1) * np.clip(1 - across, 0, 1)
    return cv2.filter2D(image, -1, kernel / kernel.sum())  # pyright: ignore[reportReturnType]


def compress(rng: np.random.Generator, image: Image) -> Image:
    """Leaves the marks of JPEG, of a quality from 15 to 70."""
    options = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*_QUALITIES, endpoint=True))]
    # The channels' order matters little to JPEG, and not at all to what it is used for here.
    return cv2.imdecode(cv2.imencode(".jpg", image, options)[1], cv2.IMREAD_COLOR)  # pyright: ignore[reportReturnType]


def turn(
    rng: np.random.Generator, frame: Image, box: Box, degrees: float, shear: float
) -> tuple[Image, Box]:
    """Turns and shears a frame about its target.

    Args:
        rng: chance.
        frame: RGB.
        box: the target, xywh in pixels.
        degrees: standard deviation of the angle.
        shear: standard deviation of the sideways move of a pixel for each pixel down.

    Returns:
        The frame, of the same size and black where nothing came to lie, and the extent of the
        ellipse in the box, turned and sheared: for a thing that fills its box that is too little
        by some percent, for one on a diagonal of it too much or too little.
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


def cover(rng: np.random.Generator, crop: Image, box: Box) -> Image:
    """Lays another part of a crop over part of the target, from one of its sides.

    Args:
        rng: chance.
        crop: RGB.
        box: the target, xywh in sides of the crop.

    Returns:
        The crop, up to half of its target hidden; the same one if hardly any target is in it.
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


def add_look_alike(rng: np.random.Generator, crop: Image, box: Box) -> Image:
    """Pastes a copy of the target beside it: mirrored, recoloured, and of another size.

    Args:
        rng: chance.
        crop: RGB.
        box: the target, xywh in sides of the crop.

    Returns:
        The crop, with a second, oval target that hides next to nothing of the first; the same one
        if hardly any target is in it, or there is no room.
    """
    region = _region(crop, box)
    if region is None:
        return crop
    low, high = region
    copy = recolour(rng, crop[low[1] : high[1], low[0] : high[0]][:, ::-1].copy(), 0.5)
    size = np.maximum(np.rint((high - low) * rng.uniform(0.7, 1.4)), _LEAST_SIDE).astype(int)
    room = np.array(crop.shape[1::-1]) - size
    if (room <= 0).any():
        return crop
    for place in rng.integers(0, room, (_TRIES, 2), endpoint=True):
        overlap = np.minimum(place + size, high) - np.maximum(place, low)
        if np.maximum(overlap, 0).prod() <= _MOST_HIDDEN * (high - low).prod():
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
    """Corners of the target's part in the crop, pixels; None if it is hardly there."""
    side = len(crop)
    corners = np.rint(np.stack([box[:2], box[:2] + box[2:]]) * side).astype(int)
    low, high = np.clip(corners, 0, side)
    if ((high - low) < np.maximum(_LEAST_SIDE, 0.6 * (corners[1] - corners[0]))).any():
        return None
    return low, high
