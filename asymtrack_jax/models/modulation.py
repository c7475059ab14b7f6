"""Efficient template modulation (paper, section 3.2): template kernels filter search features.

The template stream computes a few dynamic one-dimensional convolution kernels. The search stream
pools its features into as many prototypes, filters these with the kernels, and distributes the
result over its grid.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from asymtrack_jax.models.layers import LayerNorm, dense

KERNEL_WIDTH = 3


@struct.dataclass
class DynamicKernels:
    """Dynamic convolution kernels of one modulation, computed from a template.

    Attributes:
        depthwise: one kernel along the channel axis per prototype.
        pointwise: weights that mix prototypes, [batch, output, input].
    """

    depthwise: Float[Array, "B N 3"]
    pointwise: Float[Array, "B N N"]


class TemplateModulation(nn.Module):
    """Computes dynamic kernels from template features and modulates search features with them.

    Attributes:
        dim: channels of the features.
        num_kernels: number of prototypes, and of kernels.
        fused: whether this is the inference form.
    """

    dim: int
    num_kernels: int
    fused: bool = False

    def setup(self):
        """Builds the layers of both streams."""
        self.template_assignment = dense(self.num_kernels, fused=self.fused)
        self.search_assignment = dense(self.num_kernels, fused=self.fused)
        self.kernel_weights = dense(KERNEL_WIDTH + self.num_kernels, fused=self.fused)
        self.prototype_norm = LayerNorm()
        self.gate = dense(1, fused=self.fused)
        self.norm = LayerNorm()

    def kernels(self, z: Float[Array, "B H W C"]) -> DynamicKernels:
        """Computes the dynamic kernels of a template.

        As published, in the training form no gradient flows through the pooled features, so
        `template_assignment` keeps its initial values. The fused form has the true gradient.
        """
        gathered = _gather(self.template_assignment(z), z)
        if not self.fused:
            gathered = jax.lax.stop_gradient(gathered)
        weights = self.kernel_weights(gathered)
        return DynamicKernels(weights[..., :KERNEL_WIDTH], weights[..., KERNEL_WIDTH:])

    def __call__(
        self, x: Float[Array, "B H W C"], kernels: DynamicKernels
    ) -> Float[Array, "B H W C"]:
        """Modulates search features with the kernels of a template."""
        assignment = self.search_assignment(x)
        prototypes = _gather(assignment, x)
        prototypes = nn.relu(_convolve_channels(prototypes, kernels.depthwise))
        prototypes = jnp.einsum("bmn,bnc->bmc", kernels.pointwise, prototypes)
        prototypes = self.prototype_norm(prototypes)
        spread = jnp.einsum("bnc,bhwn->bhwc", prototypes, assignment)
        gate = nn.sigmoid(jnp.einsum("bnd,bnc->bdc", self.gate(prototypes), prototypes))
        return x + nn.relu(self.norm(spread * gate[:, None]))


def _gather(
    assignment: Float[Array, "B H W N"], features: Float[Array, "B H W C"]
) -> Float[Array, "B N C"]:
    """Sums features over the grid, weighted by each prototype's assignment."""
    return jnp.einsum("bhwn,bhwc->bnc", assignment, features)


def _convolve_channels(
    x: Float[Array, "B N C"], kernels: Float[Array, "B N 3"]
) -> Float[Array, "B N C"]:
    """Filters each row along its channels with its own kernel, with zero padding."""
    C, pad = x.shape[-1], KERNEL_WIDTH // 2
    padded = jnp.pad(x, ((0, 0), (0, 0), (pad, pad)))
    taps = [kernels[..., i, None] * padded[..., i : i + C] for i in range(KERNEL_WIDTH)]
    return sum(taps[1:], start=taps[0])
