"""Mapping of predicted boxes from the search crop to the frame."""

from typing import Any

from jaxtyping import Float

from asymtrack_jax.boxes import cxcywh_to_xywh


def crop_to_frame(
    boxes: Float[Any, "*b 4"], bbox: Float[Any, "*b 4"], scale: Float[Any, "*b"], size: int
) -> Float[Any, "*b 4"]:
    """Maps predicted boxes from the crops to the frame: the inverse of `data.crop.crop_square`.

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
