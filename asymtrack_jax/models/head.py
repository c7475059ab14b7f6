"""The corner head (paper, section 3.4): score maps of two corners, decoded to a box."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from asymtrack_jax.boxes import xyxy_to_cxcywh
from asymtrack_jax.models.layers import BatchNorm, conv


@struct.dataclass
class Prediction:
    """Predicted boxes and scores.

    Attributes:
        boxes: cxcywh, in normalised coordinates of the search crop: [0, 1] is inside it.
        scores: in (0, 1] up to rounding: the largest probability of a corner in any window of 2 x 2
            cells, the geometric mean over both corners. It is lower for uncertain corners, but is
            not a probability, and not comparable between checkpoints. A `tracking.model.Model`
            with a calibration gives the expected overlap (IoU) instead.
    """

    boxes: Float[Array, "B 4"]
    scores: Float[Array, "B"]


class CornerTower(nn.Module):
    """Five convolutions from features to the score map of one corner.

    In the fused form each batch norm is folded into the convolution before it.

    Attributes:
        fused: whether this is the inference form.
    """

    fused: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B S S C"], *, train: bool) -> Float[Array, "B S S"]:
        """Computes the score map, before softmax."""
        C = x.shape[-1]
        for i, channels in enumerate((C, C // 2, C // 4, C // 8), start=1):
            x = conv(x.shape[-1], channels, 3, fused=self.fused, name=f"conv{i}")(x)
            if not self.fused:
                x = BatchNorm(name=f"norm{i}")(x, train=train)
            x = nn.relu(x)
        return conv(x.shape[-1], 1, 1, fused=self.fused, name="score")(x)[..., 0]


class CornerHead(nn.Module):
    """Two towers, one per corner.

    Attributes:
        fused: whether this is the inference form.
    """

    fused: bool = False

    def setup(self):
        """Builds both towers."""
        self.top_left = CornerTower(self.fused)
        self.bottom_right = CornerTower(self.fused)

    def __call__(
        self, x: Float[Array, "B S S C"], *, train: bool = False
    ) -> Float[Array, "B 2 S S"]:
        """Computes the score maps of the top-left and bottom-right corners, before softmax."""
        towers = (self.top_left, self.bottom_right)
        return jnp.stack([tower(x, train=train) for tower in towers], axis=1)


def decode(score_maps: Float[Array, "B 2 S S"]) -> Prediction:
    """Decodes score maps to boxes: each corner is the mean position under the map's softmax.

    Computes in float32 or wider, with sums instead of matrix products, whose default precision on
    accelerators is below a pixel's. The position of a cell is its top-left corner, without half a
    cell, as published, so the largest coordinate is (S - 1) / S. Early in training corners may be
    inverted (x2 < x1 or y2 < y1): sizes are then negative.
    """
    score_maps = score_maps.astype(jnp.promote_types(score_maps.dtype, jnp.float32))
    B, _, S, _ = score_maps.shape
    probabilities = jax.nn.softmax(score_maps.reshape(B, 2, S * S)).reshape(B, 2, S, S)
    positions = jnp.arange(S, dtype=score_maps.dtype) / S
    x = (probabilities.sum(2) * positions).sum(-1)
    y = (probabilities.sum(3) * positions).sum(-1)
    corners = jnp.stack([x, y], axis=-1).reshape(B, 4)
    # 2 x 2 cells, since the distribution of a corner between cells covers as many.
    padded = jnp.pad(probabilities, ((0, 0), (0, 0), (0, 1), (0, 1)))
    rows = padded[..., 1:, :] + padded[..., :-1, :]
    windows = rows[..., 1:] + rows[..., :-1]
    scores = jnp.sqrt(windows.max((-2, -1)).prod(-1))
    return Prediction(xyxy_to_cxcywh(corners), scores)
