"""From crops to the network, and its boxes back to the frame."""

from typing import Any

import numpy as np
from jaxtyping import Float

from asymtrack_jax.boxes import cxcywh_to_xywh

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def map_back(
    boxes: Float[np.ndarray, "*b 4"],
    bbox: Float[np.ndarray, "*b 4"],
    scale: Float[np.ndarray, "*b"],
    size: int,
) -> Float[np.ndarray, "*b 4"]:
    """Predicted boxes in the frame: the inverse of `data.crop.crop_square`.

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
