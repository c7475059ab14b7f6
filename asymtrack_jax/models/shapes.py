"""Shapes of the network's variables by path, without tracing the network.

`asymtrack.abstract_variables` returns the same by tracing, which takes a second or two: too long
for every process that reads a checkpoint. A test compares them.
"""

from collections.abc import Iterator

from asymtrack_jax.config import ModelConfig
from asymtrack_jax.models.modulation import KERNEL_WIDTH
from asymtrack_jax.models.perception import NUM_BRANCHES

Shape = tuple[int, ...]
Shapes = Iterator[tuple[str, Shape]]


def variable_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Returns the shapes of the training form's variables by path, such as `params/neck/kernel`."""
    c, D = config, config.feature_dim
    found = dict(_under("params/backbone/patch_embed", _patch_embed(7, 3, c.widths[0])))
    for i, (dim, out_dim) in enumerate(zip(c.widths, (*c.widths[1:], D), strict=True)):
        stage = f"params/backbone/stage{i + 1}"
        for j in range(c.depths[i]):
            found |= _under(f"{stage}/blocks_{j}", _basic_block(dim, (1, 6)[j % 2]))
        if i > 0:
            found |= _under(f"{stage}/modulation", _modulation(dim, c.num_kernels[i - 1]))
        found |= _under(f"{stage}/perception", _perception(dim))
        if i == 2:
            inner = c.num_heads * c.head_dim
            found |= _under(f"{stage}/attention", _attention(dim, inner))
        found |= _under(f"{stage}/downsample", _patch_embed(3, dim, out_dim))
    found |= _linear("params/neck", D, D)
    for tower in ("top_left", "bottom_right"):
        channels = (D, D, D // 2, D // 4, D // 8)
        for i in range(1, 5):
            found |= _conv(f"params/head/{tower}/conv{i}", 3, channels[i - 1], channels[i])
            found |= _norm(f"params/head/{tower}/norm{i}", channels[i])
            for statistic in ("mean", "var"):
                found[f"batch_stats/head/{tower}/norm{i}/{statistic}"] = (channels[i],)
        found |= _conv(f"params/head/{tower}/score", 1, channels[4], 1)
    return found


def _under(folder: str, shapes: Shapes) -> Shapes:
    return ((f"{folder}/{name}", shape) for name, shape in shapes)


def _linear(name: str, dim: int, out_dim: int) -> Shapes:
    yield f"{name}/kernel", (dim, out_dim)
    yield f"{name}/bias", (out_dim,)


def _conv(name: str, side: int, in_channels: int, out_channels: int) -> Shapes:
    yield f"{name}/kernel", (side, side, in_channels, out_channels)
    yield f"{name}/bias", (out_channels,)


def _norm(name: str, dim: int) -> Shapes:
    yield f"{name}/scale", (dim,)
    yield f"{name}/bias", (dim,)


def _patch_embed(side: int, in_channels: int, out_channels: int) -> Shapes:
    yield from _conv("conv", side, in_channels, out_channels)
    yield from _norm("norm", out_channels)


def _basic_block(dim: int, expansion: int) -> Shapes:
    yield from _norm("norm", dim)
    yield from _linear("context_in", dim, dim)
    yield from _conv("context_conv", 7, 1, dim)
    yield from _linear("context_out", dim, dim)
    yield from _linear("fc1", dim, expansion * dim)
    yield from _linear("fc2", expansion * dim, dim)
    yield "gamma", (dim,)


def _modulation(dim: int, num_kernels: int) -> Shapes:
    yield from _linear("template_assignment", dim, num_kernels)
    yield from _linear("search_assignment", dim, num_kernels)
    yield from _linear("kernel_weights", dim, KERNEL_WIDTH + num_kernels)
    yield from _norm("prototype_norm", dim)
    yield from _linear("gate", dim, 1)
    yield from _norm("norm", dim)


def _perception(dim: int) -> Shapes:
    yield "branches", (NUM_BRANCHES, 3, 3, dim, dim)
    yield "theta", (1,)
    yield from _norm("norm", dim)
    yield "scale", (dim,)


def _attention(dim: int, inner: int) -> Shapes:
    yield from _norm("norm1", dim)
    for name in ("query", "key", "value"):
        yield f"{name}/kernel", (dim, inner)
    yield from _linear("proj", inner, dim)
    yield from _norm("norm2", dim)
    yield from _linear("fc1", dim, 4 * dim)
    yield from _linear("fc2", 4 * dim, dim)
