"""Layers that the network is made of, with PyTorch's constants.

Features are NHWC, so linear layers and norms act on the last axis.

With `fused`, all initialisers are zeros: the fused form's variables are computed from the training
form's, never drawn, but Flax traces each initialiser in each call to compare shapes, which takes
three times as long for random ones (docs/performance.md, Start-up).
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Flax's faster variance, E[x^2] - E[x]^2, is too inexact for parity with PyTorch.
LayerNorm = functools.partial(nn.LayerNorm, epsilon=1e-5, use_fast_variance=False)

# A norm whose scale and bias are folded into the layers after it.
PlainNorm = functools.partial(LayerNorm, use_scale=False, use_bias=False)

# PyTorch draws a convolution's kernel and bias from U(-b, b), b = 1 / sqrt(fan_in).
uniform_fan_in = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Applies the exact GELU, x times the normal distribution function, by `erf` as PyTorch does.

    Flax's calls `erfc`, which XLA computes by two series and an exponential; `erf` fuses with
    neighbouring operations, compiles faster and runs faster on CPUs (docs/performance.md).
    """
    return 0.5 * x * (1 + jax.lax.erf(x * 0.5**0.5))


def uniform_bias(fan_in: int) -> nn.initializers.Initializer:
    """Returns PyTorch's initialiser of the bias of a layer with `fan_in` inputs per output."""

    def init(key, shape, dtype=jnp.float32, out_sharding=None) -> Array:
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def dense(
    features: int, *, fused: bool, use_bias: bool = True, name: str | None = None
) -> nn.Dense:
    """Returns a linear layer with the backbone's initialisers."""
    init = nn.initializers.zeros if fused else nn.initializers.normal(0.02)
    return nn.Dense(features, use_bias=use_bias, kernel_init=init, name=name)


def conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    *,
    fused: bool,
    name: str | None = None,
) -> nn.Conv:
    """Returns a convolution with a square kernel, padded by half of it on every side.

    The padding is explicit because at stride 2 'SAME' pads other sides than PyTorch does.
    """
    return nn.Conv(
        out_channels,
        (kernel_size, kernel_size),
        strides=stride,
        padding=kernel_size // 2,
        kernel_init=nn.initializers.zeros if fused else uniform_fan_in,
        bias_init=nn.initializers.zeros if fused else uniform_bias(in_channels * kernel_size**2),
        name=name,
    )


class PatchEmbed(nn.Module):
    """A strided convolution and a LayerNorm: the network's first layer and its downsampling."""

    out_channels: int
    kernel_size: int
    stride: int
    fused: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        """Downsamples the features by the stride."""
        size, stride, fused = self.kernel_size, self.stride, self.fused
        x = conv(x.shape[-1], self.out_channels, size, stride, fused=fused, name="conv")(x)
        return LayerNorm(name="norm")(x)


class DepthwiseConv(nn.Module):
    """Depthwise convolution, 7 x 7 by default, padded to keep the size."""

    kernel_size: int = 7
    fused: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        """Filters each channel separately."""
        size, channels = self.kernel_size, x.shape[-1]
        kernel_init, bias_init = uniform_fan_in, uniform_bias(size**2)
        if self.fused:
            kernel_init = bias_init = nn.initializers.zeros
        kernel = self.param("kernel", kernel_init, (size, size, 1, channels))
        bias = self.param("bias", bias_init, (channels,))
        return depthwise_conv(x, kernel) + bias


def depthwise_conv(
    x: Float[Array, "B H W C"], kernel: Float[Array, "k k 1 C"]
) -> Float[Array, "B H W C"]:
    """Depthwise convolution in the form that is fast on the platform it is compiled for."""
    return jax.lax.platform_dependent(
        x, kernel, cpu=depthwise_conv_shifted, default=depthwise_conv_grouped
    )


def depthwise_conv_grouped(
    x: Float[Array, "B H W C"], kernel: Float[Array, "k k 1 C"]
) -> Float[Array, "B H W C"]:
    """The textbook lowering: XLA's grouped convolution, one group a channel."""
    pad = kernel.shape[0] // 2
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


@jax.custom_vjp
def depthwise_conv_shifted(
    x: Float[Array, "B H W C"], kernel: Float[Array, "k k 1 C"]
) -> Float[Array, "B H W C"]:
    """The same as a sum of shifted products, which XLA fuses into one vectorised loop on a CPU."""
    size, (_, H, W, _) = kernel.shape[0], x.shape
    padded = _pad_sides(x, size // 2)
    out = jnp.zeros_like(x)
    for i in range(size):
        for j in range(size):
            out += padded[:, i : i + H, j : j + W] * kernel[i, j, 0]
    return out


def _shifted_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return depthwise_conv_shifted(x, kernel), (x, kernel)


def _shifted_backward(residuals: tuple[Array, Array], grad: Array) -> tuple[Array, Array]:
    """Gradients written out, since those that JAX derives are slow to compile and run on a CPU.

    The kernel's is a sum over the grid of shifted products, taken strip by strip: one vectorised
    loop again, whose small total stays in cache.
    """
    x, kernel = residuals
    size, (B, H, W, C) = kernel.shape[0], x.shape
    exact = jnp.promote_types(x.dtype, jnp.float32)  # bfloat16 cannot hold so long a sum
    length = max(n for n in range(1, 17) if W % n == 0)  # more makes no better code
    padded = _pad_sides(x, size // 2)

    def add_strip(i: Array, total: Array) -> Array:
        start = (0, i // (W // length), i % (W // length) * length, 0)
        window = jax.lax.dynamic_slice(padded, start, (B, size, length + size - 1, C))
        strip = jax.lax.dynamic_slice(grad, start, (B, 1, length, C)).astype(exact)
        for j in range(length):
            total += window[:, :, j : j + size] * strip[:, :, j : j + 1]
        return total

    total = jnp.zeros((B, size, size, C), exact)
    total = jax.lax.fori_loop(0, H * W // length, add_strip, total)
    kernel_grad = total.sum(0).reshape(kernel.shape).astype(kernel.dtype)
    return depthwise_conv_shifted(grad, kernel[::-1, ::-1]), kernel_grad


depthwise_conv_shifted.defvjp(_shifted_forward, _shifted_backward)


def _pad_sides(x: Float[Array, "B H W C"], pad: int) -> Float[Array, "B h w C"]:
    return jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))


class BatchNorm(nn.Module):
    """Batch normalisation whose running variance is unbiased, as PyTorch's and unlike Flax's.

    The running statistics are `mean` and `var` in the collection `batch_stats`; those of a batch
    are taken over all axes but the last, and over the whole global batch if it is sharded. Computes
    in float32 or wider; the output has the dtype of the input.
    """

    momentum: float = 0.9  # weight of the old statistics, 1 - PyTorch's momentum of 0.1
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B H W C"]:
        """Normalises; with `train` by the batch's statistics, which update the running ones."""
        shape = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape)
        if train:
            axes = tuple(range(x.ndim - 1))
            exact = x.astype(jnp.promote_types(x.dtype, jnp.float32))
            mean, var = exact.mean(axes), exact.var(axes)
            if not self.is_initializing():
                count = x.size // x.shape[-1]
                unbiased = var * count / (count - 1)
                fresh = 1 - self.momentum
                running_mean.value = self.momentum * running_mean.value + fresh * mean
                running_var.value = self.momentum * running_var.value + fresh * unbiased
        else:
            mean, var = running_mean.value, running_var.value
        normed = (x - mean) * (scale * jax.lax.rsqrt(var + self.epsilon)) + bias
        return normed.astype(x.dtype)
