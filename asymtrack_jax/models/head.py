"""The corner head (paper, section 3.4): where the target's two corners are."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from asymtrack_jax.boxes import xyxy_to_cxcywh
from asymtrack_jax.models.layers import BatchNorm, conv


@struct.dataclass
class Prediction:
    """Where the target is in the search crop.

    Attributes:
        boxes: cxcywh, in sides of the search crop: [0, 1] is inside it.
        scores: the network's own, above 0 and at most 1 up to rounding: how much of each corner's
            distribution lies within some two by two cells, the geometric mean of both corners. It
            falls when a corner is uncertain, but is no probability and not comparable between
            checkpoints. Of a `tracking.model.Model` with a calibration: the overlap (IoU) to be
            expected.
    """

    boxes: Float[Array, "B 4"]
    scores: Float[Array, "B"]


class CornerTower(nn.Module):
    """Five convolutions from features to the score map of one corner.

    The fused form has each batch norm in the convolution before it.
    """

    fused: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B S S C"], *, train: bool) -> Float[Array, "B S S"]:
        """The score map, before softmax."""
        C = x.shape[-1]
        for i, channels in enumerate((C, C // 2, C // 4, C // 8), start=1):
            x = conv(x.shape[-1], channels, 3, name=f"conv{i}")(x)
            if not self.fused:
                x = BatchNorm(name=f"norm{i}")(x, train=train)
            x = nn.relu(x)
        return conv(x.shape[-1], 1, 1, name="score")(x)[..., 0]


class CornerHead(nn.Module):
    """Two towers, one for each corner."""

    fused: bool = False

    def setup(self):
        """Builds both towers."""
        self.top_left = CornerTower(self.fused)
        self.bottom_right = CornerTower(self.fused)

    def __call__(
        self, x: Float[Array, "B S S C"], *, train: bool = False
    ) -> Float[Array, "B 2 S S"]:
        """Score maps of the top-left and the bottom-right corner, before softmax."""
        towers = (self.top_left, self.bottom_right)
        return jnp.stack([tower(x, train=train) for tower in towers], axis=1)


def decode(score_maps: Float[Array, "B 2 S S"]) -> Prediction:
    """Boxes as the expected corners under the softmax of each score map, in float32 at least.

    Corners are sums and not matrix products, which accelerators compute in fewer digits by default:
    too few to tell pixels apart. A cell stands for its own top-left corner, without the usual half
    cell, so the largest coordinate is (S - 1) / S. Early in training the corners may be inverted:
    sizes are then negative.
    """
    score_maps = score_maps.astype(jnp.promote_types(score_maps.dtype, jnp.float32))
    B, _, S, _ = score_maps.shape
    probabilities = jax.nn.softmax(score_maps.reshape(B, 2, S * S)).reshape(B, 2, S, S)
    positions = jnp.arange(S, dtype=score_maps.dtype) / S
    x = (probabilities.sum(2) * positions).sum(-1)
    y = (probabilities.sum(3) * positions).sum(-1)
    corners = jnp.stack([x, y], axis=-1).reshape(B, 4)
    # Four cells, since a corner between cells is spread over as many however certain it is.
    padded = jnp.pad(probabilities, ((0, 0), (0, 0), (0, 1), (0, 1)))
    rows = padded[..., 1:, :] + padded[..., :-1, :]
    windows = rows[..., 1:] + rows[..., :-1]
    scores = jnp.sqrt(windows.max((-2, -1)).prod(-1))
    return Prediction(xyxy_to_cxcywh(corners), scores)
