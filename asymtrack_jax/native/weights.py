"""Packs the fused form's variables into the one array that `network.cc` reads."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from asymtrack_jax.config import ModelConfig

Tree = Mapping[str, Any]
PANEL = 32  # columns of a linear layer per panel; as in linear.h
ALIGNMENT = 16  # each array starts at a multiple of this number of floats


def sizes(config: ModelConfig) -> np.ndarray:
    """Returns the network's sizes in the order of `network.cc`, int64."""
    c = config
    heads = (c.num_heads, c.head_dim, c.feature_dim)
    return np.array([*c.widths, *c.depths, *c.num_kernels, *heads], np.int64)


def pack(config: ModelConfig, variables: Tree) -> Float[np.ndarray, " weights"]:
    """Packs all weights, float32, in the order and layout of `network.cc`.

    Args:
        config: sizes of the network.
        variables: `params` of the fused form.
    """
    arrays = (np.asarray(array, np.float32).ravel() for array in _network(config, variables))
    return np.concatenate([np.pad(array, (0, -array.size % ALIGNMENT)) for array in arrays])


def _network(config: ModelConfig, variables: Tree) -> Iterator[np.ndarray]:
    params = variables["params"]
    backbone = params["backbone"]
    yield from _patch_embed(backbone["patch_embed"])
    for i in range(3):
        yield from _stage(backbone[f"stage{i + 1}"], config, i)
    yield from _linear(params["neck"])
    for tower in ("top_left", "bottom_right"):
        for name in ("conv1", "conv2", "conv3", "conv4"):
            yield from _winograd(params["head"][tower][name])
        yield from _linear(params["head"][tower]["score"])


def _stage(stage: Tree, config: ModelConfig, index: int) -> Iterator[np.ndarray]:
    for i in range(config.depths[index]):
        yield from _block(stage[f"blocks_{i}"])
    if "modulation" in stage:
        modulation = stage["modulation"]
        for name in ("template_assignment", "search_assignment", "kernel_weights"):
            yield from _linear(modulation[name])
        yield from _norm(modulation["prototype_norm"])
        yield from _linear(modulation["gate"])
        yield from _norm(modulation["norm"])
    perception = stage["perception"]
    yield from _winograd({"kernel": perception["kernel"]})
    yield from _norm(perception["norm"])
    yield _columns(perception["scale"])
    if "attention" in stage:
        yield from _attention(stage["attention"], config.head_dim)
    yield from _patch_embed(stage["downsample"])


def _block(block: Tree) -> Iterator[np.ndarray]:
    yield from _linear(block["context_in"])
    yield _columns(block["context_conv"]["kernel"])
    yield _columns(block["context_conv"]["bias"])
    yield from _linear(block["context_out"], pad_rows=True)
    yield from _linear(block["fc1"])
    yield from _linear(block["fc2"], pad_rows=True)


def _attention(attention: Tree, head_dim: int) -> Iterator[np.ndarray]:
    yield from _linear({name: value * head_dim**-0.5 for name, value in attention["query"].items()})
    key, value = attention["key"], attention["value"]
    yield from _linear({name: np.concatenate([key[name], value[name]], axis=-1) for name in key})
    yield from _linear(attention["proj"])
    yield from _linear(attention["fc1"])
    yield from _linear(attention["fc2"], pad_rows=True)


def _patch_embed(patch_embed: Tree) -> Iterator[np.ndarray]:
    yield from _linear(patch_embed["conv"])
    yield from _norm(patch_embed["norm"])


def _norm(norm: Tree) -> Iterator[np.ndarray]:
    yield _columns(norm["scale"])
    yield _columns(norm["bias"])


def _linear(layer: Tree, *, pad_rows: bool = False) -> Iterator[np.ndarray]:
    """Yields the bias, then the kernel in panels of columns.

    Args:
        layer: `kernel` [..., in, out], in which a convolution's patch is flattened, and optionally
            `bias`.
        pad_rows: pad the rows for input features that are padded to whole panels.
    """
    kernel = np.asarray(layer["kernel"])
    kernel = kernel.reshape(-1, kernel.shape[-1])
    yield _columns(layer.get("bias", np.zeros(kernel.shape[-1])))
    if pad_rows:
        kernel = np.pad(kernel, ((0, -len(kernel) % PANEL), (0, 0)))
    yield _columns(kernel).reshape(len(kernel), -1, PANEL).swapaxes(0, 1)


def _winograd(layer: Tree) -> Iterator[np.ndarray]:
    """Yields a 3 x 3 convolution transformed for Winograd's F(2x2, 3x3).

    That is the bias, then the panels of one linear layer per position in a 4 x 4 patch.
    """
    transform = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    kernel = np.asarray(layer["kernel"], np.float64)
    yield _columns(layer.get("bias", np.zeros(kernel.shape[-1])))
    for row in transform:
        for column in transform:
            _, panels = _linear({"kernel": np.einsum("i,j,ijcd->cd", row, column, kernel)})
            yield panels


def _columns(array: Any) -> np.ndarray:
    """Pads the last axis with zeros to whole panels."""
    array = np.asarray(array)
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, -array.shape[-1] % PANEL)])
