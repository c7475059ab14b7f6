"""3x3 convolution in the form that is fast on the platform it is compiled for.

On a CPU that is F(2x2, 3x3) of A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural
Networks (CVPR 2016), section 4.1: 16 products for each 2x2 outputs where the textbook has 36.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# G of the paper. Its B and A hold only 0, 1 and -1: they are `_four` and `_two`.
_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


def conv3x3(
    x: Float[Array, "B H W C"], kernel: Float[Array, "3 3 C D"], *_: Any, **__: Any
) -> Float[Array, "B H W D"]:
    """Convolution at stride 1, padded to keep the size.

    Winograd's form is for constant kernels, which XLA transforms once, of 32 channels and more; in
    training it is slower (docs/performance.md). It takes what else `nn.Conv` passes to
    `jax.lax.conv_general_dilated`, and leaves it aside.
    """
    pays = min(kernel.shape[2:]) >= 32 and x.dtype != jnp.bfloat16
    fits = x.shape[1] % 2 == 0 and x.shape[2] % 2 == 0
    cpu = conv3x3_winograd if pays and fits else conv3x3_textbook
    return jax.lax.platform_dependent(x, kernel, cpu=cpu, default=conv3x3_textbook)


def conv3x3_textbook(
    x: Float[Array, "B H W C"], kernel: Float[Array, "3 3 C D"]
) -> Float[Array, "B H W D"]:
    """XLA's convolution."""
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def conv3x3_winograd(
    x: Float[Array, "B H W C"], kernel: Float[Array, "3 3 C D"]
) -> Float[Array, "B H W D"]:
    """The same as one batched product over tiles of 2x2 outputs and their 4x4 inputs."""
    (B, H, W, C), D, G = x.shape, kernel.shape[3], _G.astype(kernel.dtype)
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = _four(*(padded[:, i : i + H - 1 : 2] for i in range(4)))
    inputs = [_four(*(row[:, :, j : j + W - 1 : 2] for j in range(4))) for row in rows]
    inputs = jnp.stack([part for parts in inputs for part in parts]).reshape(16, -1, C)
    kernels = jnp.einsum("ai,bj,ijcd->abcd", G, G, kernel).reshape(16, C, D)
    products = (inputs @ kernels).reshape(4, 4, B, H // 2, W // 2, D)
    outputs = [jnp.stack(_two(*row), axis=3) for row in _two(*products)]
    return jnp.stack(outputs, axis=2).reshape(B, H, W, D)


def _four(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, Array, Array, Array]:
    return a - c, b + c, c - b, b - d


def _two(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, Array]:
    return a + b + c, b - c - d
