"""From crops to the network, and its boxes back to the frame."""

from typing import Any

from jaxtyping import Float

from asymtrack_jax.boxes import cxcywh_to_xywh

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def map_back(
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


def normalise(pixels: Any) -> Any:
    """RGB pixels, 0 to 255 on the last axis, as the network wants them; numpy or jax arrays.

    Centred first and scaled then: such numbers do not depend on whether a compiler joins a product
    and a sum into one operation, and so not on which program this is part of.
    """
    xp = pixels.__array_namespace__()
    mean, std = (
        xp.asarray([255 * part for part in value], dtype=xp.float32)
        for value in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return (pixels.astype(xp.float32) - mean) / std
