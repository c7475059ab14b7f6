"""The network's boxes back to the frame."""

from typing import Any

from jaxtyping import Float

from asymtrack_jax.boxes import cxcywh_to_xywh


def crop_to_frame(
    boxes: Float[Any, "*b 4"], bbox: Float[Any, "*b 4"], scale: Float[Any, "*b"], size: int
) -> Float[Any, "*b 4"]:
    """Predicted boxes in the frame, numpy or jax: the inverse of `data.crop.crop_square`.

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
    xp = boxes.__array_namespace__()
    in_frame = xp.concat([in_pixels[..., :2] + corner, in_pixels[..., 2:]], axis=-1)
    return cxcywh_to_xywh(in_frame)
