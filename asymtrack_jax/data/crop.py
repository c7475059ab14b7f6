"""Square crops around a target, bit-identical to the published ones, and the way back."""

import math
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from asymtrack_jax.boxes import cxcywh_to_xywh
from asymtrack_jax.errors import InputError

MAX_SIDE = 2**16  # pixels of the frame


def crop_square(
    frame: UInt8[np.ndarray, "H W 3"], bbox: Float[np.ndarray, "4"], factor: float, size: int
) -> tuple[UInt8[np.ndarray, "size size 3"], float]:
    """Crops a square around a target, black outside the frame, and resizes it.

    The geometry is the published one: the side is `ceil(sqrt(w * h) * factor)`, the top-left corner
    is rounded half to even, and in a square that reaches beyond the right or bottom edge the last
    column or row of the frame is black too.

    Args:
        frame: uint8 RGB.
        bbox: the target, xywh in pixels of the frame.
        factor: side of the square over `sqrt(w * h)`.
        size: side of the crop, pixels.

    Returns:
        The crop, and its scale in crop pixels per frame pixel.

    Raises:
        InputError: the box is not finite, has no positive width and height, or is too large.
    """
    H, W, _ = frame.shape
    x, y, w, h = (float(value) for value in bbox)
    fits = min(w, h) > 0 and w * h * factor**2 <= MAX_SIDE**2  # False if NaN
    if not (fits and math.isfinite(x) and math.isfinite(y)):
        raise InputError(
            f"no crop around x, y, w, h = {x:g}, {y:g}, {w:g}, {h:g}: a box must be finite, with a "
            f"positive width and height, and its crop at most {MAX_SIDE} pixels wide"
        )
    side = max(1, math.ceil(math.sqrt(w * h) * factor))
    left = round(x + 0.5 * w - 0.5 * side)
    top = round(y + 0.5 * h - 0.5 * side)
    right, bottom = left + side, top + side
    inside_left, inside_right = max(left, 0), min(right, W - 1)
    inside_top, inside_bottom = max(top, 0), min(bottom, H - 1)
    if inside_left >= inside_right or inside_top >= inside_bottom:
        return np.zeros((size, size, 3), np.uint8), size / side
    inside = frame[inside_top:inside_bottom, inside_left:inside_right]
    if inside.strides[1] < 0:  # a mirrored view, which OpenCV copies slowly
        inside = cv2.flip(inside[:, ::-1], 1)
    square = cv2.copyMakeBorder(
        inside,
        inside_top - top,
        bottom - inside_bottom,
        inside_left - left,
        right - inside_right,
        cv2.BORDER_CONSTANT,
    )
    return cv2.resize(square, (size, size)), size / side


def crop_to_frame(
    boxes: Float[Any, "*b 4"], bbox: Float[Any, "*b 4"], scale: Float[Any, "*b"], size: int
) -> Float[Any, "*b 4"]:
    """Maps predicted boxes from the crops to the frame: the inverse of `crop_square`.

    Takes numpy or jax arrays. As published, boxes are relative to the exact centre of `bbox`,
    although the crop's corner is rounded to whole pixels.

    Args:
        boxes: cxcywh in normalised coordinates of the crop.
        bbox: box around which each crop was taken, xywh in frame pixels.
        scale: scale of each crop, crop pixels per frame pixel.
        size: side of the crops, pixels.

    Returns:
        Boxes, xywh in frame pixels.
    """
    side = (size / scale)[..., None]
    corner = bbox[..., :2] + 0.5 * bbox[..., 2:] - 0.5 * side
    in_pixels = boxes * side
    xp = boxes.__array_namespace__()
    in_frame = xp.concat([in_pixels[..., :2] + corner, in_pixels[..., 2:]], axis=-1)
    return cxcywh_to_xywh(in_frame)
