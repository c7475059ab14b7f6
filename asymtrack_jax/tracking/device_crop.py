"""Crops on the device: `data.crop.crop_square` in JAX, with the rounding of OpenCV."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

_ONE = 2048  # the weight 1: OpenCV interpolates uint8 images with 11-bit fixed-point weights


def crop_squares(
    videos: UInt8[Array, "V T H W 3"],
    index: Int[Array, ""] | int,
    bboxes: Float[Array, "V 4"],
    factor: float,
    size: int,
) -> tuple[UInt8[Array, "V size size 3"], Float[Array, " V"]]:
    """Crops and resizes a square around the target in one frame of each of V videos.

    Equal to `data.crop.crop_square` bit for bit for float64 boxes, which JAX has only within
    `jax.enable_x64(True)`. A float32 box is exact to about 0.0001 pixels, which moves the crop by a
    pixel if its corner or side is that close to a rounding boundary.

    Args:
        videos: frames, RGB.
        index: index of the frame, which is read without a copy.
        bboxes: boxes of the targets, xywh in pixels; w and h are positive.
        factor: side of the square over `sqrt(w * h)`.
        size: side of the resized crop, pixels.

    Returns:
        The crops, and their scales in crop pixels per frame pixel.
    """
    crop = functools.partial(_crop_square, factor=factor, size=size)
    return jax.vmap(crop, (0, None, 0))(videos, index, bboxes)


def _crop_square(
    video: UInt8[Array, "T H W 3"],
    index: Int[Array, ""] | int,
    bbox: Float[Array, "4"],
    factor: float,
    size: int,
) -> tuple[UInt8[Array, "size size 3"], Float[Array, ""]]:
    left, top, side = _square(bbox, factor)
    rows, row_weights = _taps(top, side, video.shape[1], size)
    columns, column_weights = _taps(left, side, video.shape[2], size)
    sampled = []
    for row, row_weight in zip(rows, row_weights, strict=True):
        across = jnp.zeros((size, size, 3), jnp.int32)
        for column, column_weight in zip(columns, column_weights, strict=True):
            pixels = video.at[index, row[:, None], column].get(mode="promise_in_bounds")
            across += column_weight[:, None] * pixels.astype(jnp.int32)
        sampled.append((row_weight[:, None, None] * (across >> 4)) >> 16)
    return ((sampled[0] + sampled[1] + 2) >> 2).astype(jnp.uint8), size / side.astype(bbox.dtype)


def _square(
    bbox: Float[Array, "4"], factor: float
) -> tuple[Int[Array, ""], Int[Array, ""], Int[Array, ""]]:
    """Returns left, top and side of the square around a target, in whole frame pixels."""
    x, y, w, h = bbox
    side = jnp.ceil(jnp.sqrt(w * h) * factor)
    left, top = jnp.round(x + 0.5 * w - 0.5 * side), jnp.round(y + 0.5 * h - 0.5 * side)
    return left.astype(jnp.int32), top.astype(jnp.int32), side.astype(jnp.int32)


def _taps(
    start: Int[Array, ""], side: Int[Array, ""], length: int, size: int
) -> tuple[Int[Array, "2 size"], Int[Array, "2 size"]]:
    """Computes the linear interpolation of a crop along one axis: two frame pixels per crop pixel.

    Args:
        start: first pixel of the square in the frame.
        side: side of the square, frame pixels.
        length: length of the frame along the axis, pixels.
        size: side of the crop, pixels.

    Returns:
        Indices of the two frame pixels, clipped to the frame, and their weights in units of
        1 / `_ONE`; 0 for pixels outside the frame and in its last row or column, which are black.
    """
    position = (
        2 * jnp.arange(size, dtype=jnp.int32) + 1
    ) * side - size  # in 1 / (2 * size) pixels of the square
    low, rest = position // (2 * size), position % (2 * size)
    weight = (_ONE // 2 * rest + size // 2) // size  # rounded
    pixels = start + jnp.clip(jnp.stack([low, low + 1]), 0, side - 1)
    seen = (pixels >= 0) & (pixels < length - 1)
    weights = jnp.where(seen, jnp.stack([_ONE - weight, weight]), 0)
    return jnp.clip(pixels, 0, length - 1), weights
