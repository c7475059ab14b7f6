"""Object perception enhancement (paper, section 3.3): a learnt mix of content and contrast."""

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from asymtrack_jax.models.layers import LayerNorm

NUM_BRANCHES = 3


class ObjectPerceptionEnhancement(nn.Module):
    """Adds a central-difference convolution of the features, scaled per channel.

    The training form has three 3 x 3 kernels and `theta`: `sigmoid(theta)` times a kernel's sum is
    subtracted from its centre. This is linear, so it equals a convolution with one 3 x 3 kernel,
    which the training form computes in each call and the fused form stores.

    Attributes:
        fused: whether this is the inference form.
    """

    fused: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        """Computes the enhanced features."""
        C = x.shape[-1]
        if self.fused:
            kernel = self.param("kernel", nn.initializers.zeros, (3, 3, C, C))
        else:
            init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform", batch_axis=0)
            branches = self.param("branches", init, (NUM_BRANCHES, 3, 3, C, C))
            kernel = merge_branches(branches, self.param("theta", nn.initializers.zeros, (1,)))
        enhanced = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        enhanced = nn.relu(LayerNorm(name="norm")(enhanced))
        return x + self.param("scale", nn.initializers.zeros, (C,)) * enhanced


def merge_branches(
    branches: Float[Array, "3 3 3 C C"], theta: Float[Array, "1"]
) -> Float[Array, "3 3 C C"]:
    """Merges the branches to one kernel, less `sigmoid(theta)` times its sum at the centre."""
    kernel = branches.sum(0)
    return kernel.at[1, 1].add(-jax.nn.sigmoid(theta) * kernel.sum((0, 1)))
