"""Training losses (paper, section 4.1): generalised IoU and the L1 distance of corners."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from asymtrack_jax.boxes import cxcywh_to_xywh, giou, iou, xywh_to_xyxy


@struct.dataclass
class Losses:
    """Losses and overlap, as means over a batch.

    Attributes:
        total: the loss that is minimised: the weighted sum of `giou` and `l1`, and of
            `corner_loss` if its weight is not 0.
        giou: 1 - generalised IoU; 0 for an inverted box (x2 < x1 or y2 < y1).
        l1: absolute difference of corners, in normalised coordinates of the search crop.
        iou: overlap of predicted and true box; 0 for an inverted box.
        inverted: share of inverted boxes.
    """

    total: Float[Array, ""]
    giou: Float[Array, ""]
    l1: Float[Array, ""]
    iou: Float[Array, ""]
    inverted: Float[Array, ""]


def box_losses(
    predicted: Float[Array, "B 4"],
    target: Float[Array, "B 4"],
    *,
    giou_weight: float,
    l1_weight: float,
) -> Losses:
    """Computes the losses of predicted boxes, in normalised coordinates of the search crop.

    Early in training predicted boxes are often inverted (x2 < x1 or y2 < y1), and their overlap is
    undefined: such a box has no GIoU term, only the L1 term. The published loss drops the GIoU of
    the whole batch instead. Here means are always over all boxes, so that a box's contribution
    does not depend on other boxes, on the number of devices or on accumulation steps. Without
    inverted boxes the loss equals the published one.

    Args:
        predicted: predicted boxes, cxcywh.
        target: true boxes, xywh; they are first clipped to the crop.
        giou_weight: weight of `giou` in the total.
        l1_weight: weight of `l1` in the total.
    """
    predicted = cxcywh_to_xywh(predicted)
    corners = xywh_to_xyxy(predicted)
    target_corners = jnp.clip(xywh_to_xyxy(target), 0, 1)
    low, high = target_corners[:, :2], target_corners[:, 2:]
    target = jnp.concatenate([low, high - low], axis=-1)

    inverted = (predicted[:, 2:] < 0).any(-1)
    giou_loss = jnp.where(inverted, 0, 1 - giou(predicted, target)).mean()
    l1_loss = jnp.abs(corners - target_corners).mean()
    # The IoU of two boxes without area is NaN; it counts as 0.
    overlap = jnp.where(inverted, 0, jnp.nan_to_num(iou(predicted, target))).mean()
    return Losses(
        total=giou_weight * giou_loss + l1_weight * l1_loss,
        giou=giou_loss,
        l1=l1_loss,
        iou=overlap,
        inverted=inverted.mean(),
    )


def corner_loss(
    score_maps: Float[Array, "B 2 S S"], target: Float[Array, "B 4"]
) -> Float[Array, ""]:
    """Computes the mean cross-entropy of the corner maps; the published loss has no such term.

    The box losses depend only on the mean position of each map; this one rewards a peak there. Its
    target distributes each corner over the four cells around it with bilinear weights, so that the
    target's mean position is the corner itself.

    Args:
        score_maps: score maps of the top-left and bottom-right corner, before softmax.
        target: true boxes, xywh in normalised coordinates of the search crop; corners outside the
            maps are moved to the nearest cell.
    """
    B, _, S, _ = score_maps.shape
    corners = jnp.clip(S * xywh_to_xyxy(target).reshape(B, 2, 2), 0, S - 1)  # x, y in cells
    distance = jnp.abs(corners[..., None] - jnp.arange(S))
    along_x, along_y = jnp.moveaxis(jnp.maximum(1 - distance, 0), 2, 0)
    share = along_y[..., :, None] * along_x[..., None, :]
    log_probabilities = jax.nn.log_softmax(score_maps, axis=(-2, -1))
    return -(share * log_probabilities).sum((-2, -1)).mean()
