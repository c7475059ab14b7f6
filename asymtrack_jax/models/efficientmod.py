"""The backbone that both streams share: stages 1 to 3 of EfficientMod-xxs (Ma et al., ICLR 2024).

The template branch runs once and returns a `Modulation` that every search step uses: no other
information passes between the streams.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from asymtrack_jax.config import ModelConfig
from asymtrack_jax.models.layers import DepthwiseConv, LayerNorm, PatchEmbed, PlainNorm, dense, gelu
from asymtrack_jax.models.modulation import DynamicKernels, TemplateModulation
from asymtrack_jax.models.perception import ObjectPerceptionEnhancement


@struct.dataclass
class Modulation:
    """Output of the template branch, input of every search step.

    Attributes:
        stage2: dynamic kernels of the template modulation in stage 2.
        stage3: dynamic kernels of the template modulation in stage 3.
        keys: attention keys of the template's tokens in stage 3; B templates, N tokens.
        values: attention values of the same tokens.
    """

    stage2: DynamicKernels
    stage3: DynamicKernels
    keys: Float[Array, "B N heads d"]
    values: Float[Array, "B N heads d"]


class BasicBlock(nn.Module):
    """EfficientMod's block: an expanded linear path times the convolved context.

    In the fused form the norm's scale and bias are folded into `fc1` and `context_in`, and the
    layer scale into `fc2`.

    Attributes:
        expansion: channels of the hidden features over those of the input.
        fused: whether this is the inference form.
    """

    expansion: int
    fused: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        """Computes the output features."""
        C = x.shape[-1]
        normed = PlainNorm()(x) if self.fused else LayerNorm(name="norm")(x)
        context = dense(C, fused=self.fused, name="context_in")(normed)
        context = gelu(DepthwiseConv(fused=self.fused, name="context_conv")(context))
        context = dense(C, fused=self.fused, name="context_out")(context)
        hidden = dense(self.expansion * C, fused=self.fused, name="fc1")(normed)
        if self.expansion > 1:
            hidden = gelu(hidden)
        # Not jnp.tile: XLA does not vectorise loops fused with it on CPUs.
        hidden *= jnp.concatenate([context] * self.expansion, axis=-1)
        out = dense(C, fused=self.fused, name="fc2")(hidden)
        if not self.fused:
            out *= self.param("gamma", nn.initializers.constant(1e-4), (C,))
        return x + out


class AttentionBlock(nn.Module):
    """Transformer block whose search tokens also attend to the template's tokens.

    In the fused form the norms' scales and biases are folded into the linear layers that follow
    them, which gives queries, keys and values a bias.

    Attributes:
        dim: channels of the features.
        num_heads: number of attention heads.
        head_dim: channels of one head.
        mlp_ratio: channels of the MLP's hidden features over `dim`.
        fused: whether this is the inference form.
    """

    dim: int
    num_heads: int
    head_dim: int
    mlp_ratio: int = 4
    fused: bool = False

    def setup(self):
        """Builds the layers that both methods share."""
        norm = PlainNorm if self.fused else LayerNorm
        inner = self.num_heads * self.head_dim
        self.norm1 = norm()
        self.query = dense(inner, fused=self.fused, use_bias=self.fused)
        self.key = dense(inner, fused=self.fused, use_bias=self.fused)
        self.value = dense(inner, fused=self.fused, use_bias=self.fused)
        self.proj = dense(self.dim, fused=self.fused)
        self.norm2 = norm()
        self.fc1 = dense(self.mlp_ratio * self.dim, fused=self.fused)
        self.fc2 = dense(self.dim, fused=self.fused)

    def keys_values(
        self, z: Float[Array, "B h w C"]
    ) -> tuple[Float[Array, "B N heads d"], Float[Array, "B N heads d"]]:
        """Computes attention keys and values of a template's N = h * w tokens."""
        normed = self.norm1(_tokens(z))
        return self._heads(self.key(normed)), self._heads(self.value(normed))

    def __call__(
        self,
        x: Float[Array, "B h w C"],
        template_keys: Float[Array, "B N heads d"],
        template_values: Float[Array, "B N heads d"],
    ) -> Float[Array, "B h w C"]:
        """Applies self-attention, cross-attention to the template, and the MLP."""
        tokens = _tokens(x)
        normed = self.norm1(tokens)
        queries = self._heads(self.query(normed))
        keys = jnp.concatenate([self._heads(self.key(normed)), template_keys], axis=1)
        values = jnp.concatenate([self._heads(self.value(normed)), template_values], axis=1)
        tokens += self.proj(attend(queries, keys, values).reshape(*tokens.shape[:2], -1))
        tokens += self.fc2(gelu(self.fc1(self.norm2(tokens))))
        return tokens.reshape(x.shape)

    def _heads(self, x: Float[Array, "B N I"]) -> Float[Array, "B N heads d"]:
        return x.reshape(*x.shape[:2], self.num_heads, self.head_dim)


def attend(
    queries: Float[Array, "B N heads d"],
    keys: Float[Array, "B M heads d"],
    values: Float[Array, "B M heads d"],
) -> Float[Array, "B N heads d"]:
    """Each head's mean of the values, weighted by softmax over the scaled products with the keys.

    As `jax.nn.dot_product_attention`, but twice as fast on a CPU: the keys' axis goes before the
    queries', so that XLA vectorises the reductions over it, and what is normalised is the mixture,
    which is smaller than the weights (docs/performance.md).
    """
    exact = jnp.promote_types(queries.dtype, jnp.float32)  # bfloat16 cannot hold the sum
    queries *= queries.shape[-1] ** -0.5
    scores = jnp.einsum("bmhd,bnhd->bhmn", keys, queries, preferred_element_type=exact)
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(-2, keepdims=True)))
    mixture = jnp.einsum("bmhd,bhmn->bhdn", values, weights.astype(values.dtype))
    mixture = mixture.astype(exact) / weights.sum(-2, keepdims=True)
    return mixture.astype(values.dtype).transpose(0, 3, 1, 2)


def _tokens(x: Float[Array, "B h w C"]) -> Float[Array, "B N C"]:
    return x.reshape(x.shape[0], -1, x.shape[-1])


class Stage(nn.Module):
    """Blocks at one resolution, template modulation, attention, and downsampling by two.

    Stage 1 has neither modulation nor attention, stage 2 has modulation, stage 3 has both.

    Attributes:
        dim: channels of the input.
        out_channels: channels of the output.
        depth: number of basic blocks.
        num_kernels: dynamic kernels of the template modulation; 0 for none.
        num_heads: heads of the attention block; 0 for none.
        head_dim: channels of one head.
        fused: whether this is the inference form.
    """

    dim: int
    out_channels: int
    depth: int
    num_kernels: int = 0
    num_heads: int = 0
    head_dim: int = 0
    fused: bool = False

    def setup(self):
        """Builds the layers, which both streams share."""
        self.blocks = [BasicBlock((1, 6)[i % 2], self.fused) for i in range(self.depth)]
        if self.num_kernels:
            self.modulation = TemplateModulation(self.dim, self.num_kernels, fused=self.fused)
        self.perception = ObjectPerceptionEnhancement(self.fused)
        if self.num_heads:
            self.attention = AttentionBlock(
                self.dim, self.num_heads, self.head_dim, fused=self.fused
            )
        self.downsample = PatchEmbed(self.out_channels, kernel_size=3, stride=2, fused=self.fused)

    def encode_template(
        self, z: Float[Array, "B H W C"]
    ) -> tuple[Float[Array, "B H W C"], DynamicKernels | None]:
        """Computes template features before attention and downsampling, and dynamic kernels."""
        for block in self.blocks:
            z = block(z)
        kernels = self.modulation.kernels(z) if self.num_kernels else None
        return self.perception(z), kernels

    def encode_search(
        self,
        x: Float[Array, "B H W C"],
        kernels: DynamicKernels | None = None,
        keys_values: tuple[Float[Array, "B N heads d"], Float[Array, "B N heads d"]] | None = None,
    ) -> Float[Array, "B h w D"]:
        """Computes search features for the next stage, with a template's kernels, keys and values.

        Args:
            x: search features.
            kernels: dynamic kernels of the template in this stage, if it has modulation.
            keys_values: attention keys and values of the template, if it has attention.
        """
        for block in self.blocks:
            x = block(x)
        if kernels is not None:
            x = self.modulation(x, kernels)
        x = self.perception(x)
        if keys_values is not None:
            x = self.attention(x, *keys_values)
        return self.downsample(x)


class Backbone(nn.Module):
    """Patch embedding and three stages, as two streams with shared weights.

    Attributes:
        config: sizes of the network.
        fused: whether this is the inference form.
        frozen_stages: 1 to stop gradients at the patch embedding and stage 1, 0 for none.
    """

    config: ModelConfig
    fused: bool = False
    frozen_stages: int = 0

    def setup(self):
        """Builds the layers, which both streams share."""
        c, fused = self.config, self.fused
        self.patch_embed = PatchEmbed(c.widths[0], kernel_size=7, stride=4, fused=fused)
        self.stage1 = Stage(c.widths[0], c.widths[1], c.depths[0], fused=fused)
        self.stage2 = Stage(c.widths[1], c.widths[2], c.depths[1], c.num_kernels[0], fused=fused)
        self.stage3 = Stage(
            c.widths[2],
            c.feature_dim,
            c.depths[2],
            c.num_kernels[1],
            c.num_heads,
            c.head_dim,
            fused=fused,
        )

    def encode_template(self, z: Float[Array, "B Z Z 3"]) -> Modulation:
        """Computes the modulation of a template.

        The template's own attention is not computed, since only its keys and values are used.
        """
        z, stage2, stage3 = self._encode_template(z)
        keys, values = self.stage3.attention.keys_values(z)
        return Modulation(stage2, stage3, keys, values)

    def template_features(self, z: Float[Array, "B Z Z 3"]) -> Float[Array, "B h w C"]:
        """Computes the input of stage 3's attention, at stride 16."""
        return self._encode_template(z)[0]

    def _encode_template(
        self, z: Float[Array, "B Z Z 3"]
    ) -> tuple[Float[Array, "B h w C"], DynamicKernels, DynamicKernels]:
        z, _ = self.stage1.encode_template(self.patch_embed(z))
        z, stage2 = self.stage2.encode_template(
            self._maybe_stop_gradient(self.stage1.downsample(z))
        )
        z, stage3 = self.stage3.encode_template(self.stage2.downsample(z))
        assert stage2 is not None
        assert stage3 is not None
        return z, stage2, stage3

    def encode_search(
        self, x: Float[Array, "B X X 3"], modulation: Modulation
    ) -> Float[Array, "B S S C"]:
        """Computes search features at stride 32."""
        x = self._maybe_stop_gradient(self.stage1.encode_search(self.patch_embed(x)))
        x = self.stage2.encode_search(x, modulation.stage2)
        return self.stage3.encode_search(x, modulation.stage3, (modulation.keys, modulation.values))

    def _maybe_stop_gradient(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        return jax.lax.stop_gradient(x) if self.frozen_stages else x
