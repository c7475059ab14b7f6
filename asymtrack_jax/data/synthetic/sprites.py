"""Sprites: images of objects with alpha, rendered or read from files (cut-outs)."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from asymtrack_jax.data.sequences import Frame
from asymtrack_jax.data.synthetic.shapes import Polygon
from asymtrack_jax.data.synthetic.textures import fill, texture
from asymtrack_jax.errors import InputError

Alpha = UInt8[np.ndarray, "h w"]

_NUM_SAMPLES = 96  # points at which a sprite's visibility is tested


@dataclasses.dataclass(frozen=True, eq=False)
class Sprite:
    """An image with transparency; pixels with an alpha above one half belong to the object.

    Attributes:
        alpha: opacity, 255 where opaque.
        colours: renders the RGB image, on first use.
    """

    alpha: Alpha
    colours: Callable[[], Frame]

    @functools.cached_property
    def image(self) -> UInt8[np.ndarray, "h w 4"]:
        """RGB premultiplied by alpha, and alpha."""
        colours = cv2.multiply(self.colours(), cv2.merge([self.alpha] * 3), scale=1 / 255)
        return np.dstack([colours, self.alpha])

    @functools.cached_property
    def outline(self) -> Float32[np.ndarray, "2 points"]:
        """Points where alpha crosses one half: x, y relative to the centre, pixels."""
        alpha = np.pad(self.alpha, 1)
        opaque = alpha > 127
        points = []
        for dy, dx in ((0, 1), (1, 0)):
            height, width = alpha.shape[0] - dy, alpha.shape[1] - dx
            y, x = np.nonzero(opaque[:height, :width] != opaque[dy:, dx:])
            before, after = alpha[y, x].astype(np.float32), alpha[y + dy, x + dx]
            share = (127.5 - before) / (after - before)
            points.append(np.stack([x + dx * share, y + dy * share]))
        return self._about_centre(np.concatenate(points, axis=1) - 1)

    @functools.cached_property
    def samples(self) -> Float32[np.ndarray, "2 samples"]:
        """Points spread evenly over the object: x, y relative to the centre, pixels."""
        y, x = np.nonzero(self.alpha > 127)
        chosen = np.linspace(0, len(x) - 1, _NUM_SAMPLES).astype(int)
        return self._about_centre(np.stack([x, y])[:, chosen])

    @property
    def reach(self) -> float:
        """Half of the image's diagonal, pixels."""
        return math.hypot(*self.alpha.shape) / 2

    def _about_centre(self, pixels: np.ndarray) -> Float32[np.ndarray, "2 points"]:
        height, width = self.alpha.shape
        return (pixels + 0.5 - np.array([[width / 2], [height / 2]])).astype(np.float32)


def rendered(parts: Sequence[Polygon], side: float, hue: float, look: Sequence[int]) -> Sprite:
    """Renders a sprite of polygons.

    Args:
        parts: polygons; later ones cover earlier ones and may differ in colours.
        side: geometric mean of width and height, pixels.
        hue: mean hue, degrees.
        look: random seed of the colours.
    """
    low = np.min([part.min(axis=0) for part in parts], axis=0)
    high = np.max([part.max(axis=0) for part in parts], axis=0)
    scale = side / math.sqrt((high - low).prod())
    width, height = (np.ceil(scale * (high - low)) + 2).astype(int).tolist()
    shift = np.array([width, height]) / 2 - scale * (low + high) / 2
    masks = []
    for part in parts:
        masks.append(np.zeros((height, width), np.uint8))
        fill(masks[-1], scale * part + shift)
    alpha = functools.reduce(np.maximum, masks)

    def colours() -> Frame:
        rng = np.random.default_rng(look)
        image = texture(rng, (height, width), hue)
        if len(masks) > 1:
            surfaces = image.copy(), texture(rng, (height, width), hue + rng.normal(0, 50))
            for part, mask in enumerate(masks):
                cv2.copyTo(surfaces[part % 2], mask, image)
        return _shaded(image, alpha, rng.uniform(0.1, 0.5))

    return Sprite(alpha, colours)


def cutout(path: Path, side: float, longest: float, mirrored: bool = False) -> Sprite:
    """Makes a sprite of an image file.

    Args:
        path: path of an RGBA image.
        side: geometric mean of width and height, pixels.
        longest: maximum width and height, pixels.
        mirrored: whether to mirror it horizontally.

    Raises:
        InputError: the file cannot be read, has no alpha channel, or is transparent everywhere.
    """
    image = _read_cutout(path)[:, :: -1 if mirrored else 1]
    height, width = image.shape[:2]
    scale = min(side / math.sqrt(height * width), longest / max(height, width))
    size = max(2, round(scale * width)), max(2, round(scale * height))
    shrinks = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    image = cv2.resize(image, size, interpolation=shrinks)  # colours are premultiplied
    image *= 255 / image[..., 3].max()  # keeps thin objects opaque somewhere
    colours = image[..., :3] * (255 / np.maximum(image[..., 3:], 1))
    return Sprite(
        np.rint(image[..., 3]).astype(np.uint8),
        lambda: np.clip(np.rint(colours), 0, 255).astype(np.uint8),
    )


@functools.lru_cache(maxsize=256)
def _read_cutout(path: Path) -> Float32[np.ndarray, "h w 4"]:
    """Reads an RGBA image without its empty margin, premultiplied by alpha, in [0, 255]."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    except OSError as error:
        raise InputError(f"cannot read cut-out {path}: {error.strerror}") from error
    except cv2.error as error:  # such as more pixels than OpenCV allows
        raise InputError(f"cannot decode cut-out {path}: {error.err}") from error
    if image is None:
        raise InputError(f"cut-out {path} is not an image, or damaged")
    if image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        raise InputError(f"cut-out {path} has no alpha channel; an 8-bit RGBA image was expected")
    y, x = np.nonzero(image[..., 3] > 127)
    if not len(y):
        raise InputError(f"cut-out {path} is empty: its alpha is below one half everywhere")
    image = image[y.min() : y.max() + 1, x.min() : x.max() + 1, [2, 1, 0, 3]].astype(np.float32)
    image[..., :3] *= image[..., 3:] / 255
    return image


def _shaded(image: Frame, alpha: Alpha, strength: float) -> Frame:
    """Darkens an object towards its edge, as if it were round."""
    near = 1 + min(alpha.shape) // 5  # the mean of alpha around a point on the edge is one half
    mean = cv2.blur(alpha, (near, near), borderType=cv2.BORDER_CONSTANT)
    light = cv2.convertScaleAbs(mean, alpha=2 * strength, beta=255 * (1 - 2 * strength))
    return cv2.multiply(image, cv2.merge([light] * 3), scale=1 / 255)  # pyright: ignore[reportReturnType]
