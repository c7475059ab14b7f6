"""Square crops around a target, bit for bit the published ones, and the way back to the frame."""

import math
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from asymtrack_jax.boxes import cxcywh_to_xywh

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def crop_square(
    frame: UInt8[np.ndarray, "H W 3"], bbox: Float[np.ndarray, "4"], factor: float, size: int
) -> tuple[UInt8[np.ndarray, "size size 3"], float]:
    """Cuts a square around a target, black outside the frame, and resizes it.

    The published geometry, quirks included: the side is `ceil(sqrt(w * h) * factor)`, the corner is
    rounded half to even, and a square that reaches the right or the bottom edge loses the frame's
    last column or row.

    Args:
        frame: RGB.
        bbox: the target, xywh in the frame's pixels; w and h are positive.
        factor: side of the square over `sqrt(w * h)`.
        size: side of the result, pixels.

    Returns:
        The crop and its scale, crop pixels per frame pixel.
    """
    H, W, _ = frame.shape
    x, y, w, h = (float(value) for value in bbox)
    side = math.ceil(math.sqrt(w * h) * factor)
    left = round(x + 0.5 * w - 0.5 * side)
    top = round(y + 0.5 * h - 0.5 * side)
    right, bottom = left + side, top + side
    inside_left, inside_right = max(left, 0), min(right, W - 1)
    inside_top, inside_bottom = max(top, 0), min(bottom, H - 1)
    if inside_left >= inside_right or inside_top >= inside_bottom:
        return np.zeros((size, size, 3), np.uint8), size / side
    square = cv2.copyMakeBorder(
        frame[inside_top:inside_bottom, inside_left:inside_right],
        inside_top - top,
        bottom - inside_bottom,
        inside_left - left,
        right - inside_right,
        cv2.BORDER_CONSTANT,
    )
    return cv2.resize(square, (size, size)), size / side


def map_back(
    boxes: Float[np.ndarray, "*b 4"],
    bbox: Float[np.ndarray, "*b 4"],
    scale: Float[np.ndarray, "*b"],
    size: int,
) -> Float[np.ndarray, "*b 4"]:
    """Predicted boxes in the frame: the inverse of `crop_square`.

    As published, around the target's exact centre, although the crop was cut around a rounded one.

    Args:
        boxes: cxcywh in sides of the crop.
        bbox: the box that each crop was cut around, xywh in pixels.
        scale: each crop's scale, crop pixels per frame pixel.
        size: side of the crop, pixels.

    Returns:
        xywh in the frame's pixels.
    """
    side = (size / scale)[..., None]
    corner = bbox[..., :2] + 0.5 * bbox[..., 2:] - 0.5 * side
    in_pixels = boxes * side
    in_frame = np.concat([in_pixels[..., :2] + corner, in_pixels[..., 2:]], axis=-1)
    return cxcywh_to_xywh(in_frame)


def normalise(pixels: Any) -> Any:
    """RGB pixels, 0 to 255 on the last axis, as the network wants them; numpy or jax arrays."""
    xp = pixels.__array_namespace__()
    mean, std = (xp.asarray(value, dtype=xp.float32) for value in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels.astype(xp.float32) / 255 - mean) / std
