"""Bounding boxes: one implementation for numpy and jax arrays.

Shapes are [..., 4]; formats are `xywh` (left, top, width, height), `xyxy` (left, top, right,
bottom) and `cxcywh` (centre, width, height). Coordinates are continuous: a box covers
[x, x + w) x [y, y + h), and its right and bottom edges are exclusive.
"""

from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float

Boxes = Float[Any, "*b 4"]  # a numpy or a jax array


def _namespace(array: Any) -> ModuleType:
    return array.__array_namespace__()


def xywh_to_xyxy(boxes: Boxes) -> Boxes:
    """Converts boxes from xywh to xyxy."""
    corner, size = boxes[..., :2], boxes[..., 2:]
    return _namespace(boxes).concat([corner, corner + size], axis=-1)


def xyxy_to_cxcywh(boxes: Boxes) -> Boxes:
    """Converts boxes from xyxy to cxcywh."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return _namespace(boxes).concat([(low + high) / 2, high - low], axis=-1)


def cxcywh_to_xywh(boxes: Boxes) -> Boxes:
    """Converts boxes from cxcywh to xywh."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return _namespace(boxes).concat([centre - size / 2, size], axis=-1)


def iou(a: Boxes, b: Boxes) -> Float[Any, "*b"]:
    """Returns the intersection over union (IoU) of xywh boxes, elementwise.

    It is NaN, as undefined, where both boxes have no area.
    """
    xp = _namespace(a)
    corners_a, corners_b = xywh_to_xyxy(a), xywh_to_xyxy(b)
    low = xp.maximum(corners_a[..., :2], corners_b[..., :2])
    high = xp.minimum(corners_a[..., 2:], corners_b[..., 2:])
    shared = xp.prod(xp.maximum(high - low, 0), axis=-1)
    union = xp.prod(a[..., 2:], axis=-1) + xp.prod(b[..., 2:], axis=-1) - shared
    with np.errstate(invalid="ignore"):
        return shared / union


def clip_to_frame(boxes: Boxes, height: int, width: int, margin: float = 10.0) -> Boxes:
    """Clips xywh boxes, in pixels, to a frame, of which they keep at least `margin` pixels.

    As the published tracker does with every prediction: the top-left corner is at least `margin`
    from the right and bottom edges, the bottom-right corner at least `margin` from the left and top
    edges, and width and height are at least `margin`.
    """
    xp = _namespace(boxes)
    corners = xywh_to_xyxy(boxes)
    size = xp.asarray([width, height], dtype=corners.dtype)
    low = xp.minimum(xp.maximum(corners[..., :2], 0), size - margin)
    high = xp.minimum(xp.maximum(corners[..., 2:], margin), size)
    return xp.concat([low, xp.maximum(high - low, margin)], axis=-1)


TINY_AREA = 1e-9  # in normalised coordinates of a crop: some 0.01 x 0.01 pixels


def giou(a: Boxes, b: Boxes) -> Float[Any, "*b"]:
    """Returns the generalised IoU (Rezatofighi et al., CVPR 2019) of xywh boxes, elementwise.

    In [-1, 1] where no size is negative. Denominators are at least `TINY_AREA`, so that values and
    gradients are finite for boxes without area.
    """
    xp = _namespace(a)
    low_a, low_b = a[..., :2], b[..., :2]
    high_a, high_b = low_a + a[..., 2:], low_b + b[..., 2:]
    shared = _area(xp.maximum(xp.minimum(high_a, high_b) - xp.maximum(low_a, low_b), 0))
    hull = _area(xp.maximum(high_a, high_b) - xp.minimum(low_a, low_b))
    union = _area(a[..., 2:]) + _area(b[..., 2:]) - shared
    return shared / xp.maximum(union, TINY_AREA) - (hull - union) / xp.maximum(hull, TINY_AREA)


def _area(sizes: Float[Any, "*b 2"]) -> Float[Any, "*b"]:
    return sizes[..., 0] * sizes[..., 1]
