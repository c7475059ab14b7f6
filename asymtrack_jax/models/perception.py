"""Object perception enhancement (paper, section 3.3): a learnt mix of content and contrast."""

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from asymtrack_jax.models.layers import LayerNorm, uniform_fan_in

NUM_BRANCHES = 3


class ObjectPerceptionEnhancement(nn.Module):
    """Adds a central-difference convolution of the features, scaled by channel.

    The training form has three 3x3 kernels and `theta`, which decides how much of each kernel's sum
    is taken off its centre. All of it is linear, so one 3x3 kernel does the same: the training form
    makes that kernel on the fly, the fused form stores it.
    """

    fused: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        """Enhanced features."""
        C = x.shape[-1]
        if self.fused:
            kernel = self.param("kernel", uniform_fan_in, (3, 3, C, C))
        else:
            init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform", batch_axis=0)
            branches = self.param("branches", init, (NUM_BRANCHES, 3, 3, C, C))
            kernel = merge_branches(branches, self.param("theta", nn.initializers.zeros, (1,)))
        enhanced = jax.lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(1, 1),
            padding=((1, 1), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        enhanced = nn.relu(LayerNorm(name="norm")(enhanced))
        return x + self.param("scale", nn.initializers.zeros, (C,)) * enhanced


def merge_branches(
    branches: Float[Array, "3 3 3 C C"], theta: Float[Array, "1"]
) -> Float[Array, "3 3 C C"]:
    """The kernel equal to all branches together, less `sigmoid(theta)` of its sum at the centre."""
    kernel = branches.sum(0)
    return kernel.at[1, 1].add(-jax.nn.sigmoid(theta) * kernel.sum((0, 1)))
