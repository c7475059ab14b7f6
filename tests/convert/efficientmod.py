"""The ImageNet checkpoint that trackers start from: EfficientMod-xxs as its authors publish it."""

import functools

import numpy as np

from tests import golden_rule


@functools.cache
def state_dict() -> dict[str, np.ndarray]:
    """Values by the golden rule, under the published names and in PyTorch's layout."""
    return {name: golden_rule.tensor(name, shape) for name, shape in _shapes().items()}


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes = {}

    def linear(name, rows, columns):
        shapes[f"{name}.weight"] = (rows, columns)
        shapes[f"{name}.bias"] = (rows,)

    def norm(name, width):
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    def embed(name, inputs, outputs, size):
        shapes[f"{name}.proj.weight"] = (outputs, inputs, size, size)
        shapes[f"{name}.proj.bias"] = (outputs,)
        norm(f"{name}.norm", outputs)

    widths = (32, 64, 128, 256)
    embed("patch_embed", 3, 32, 7)
    for i, (C, basic, attention) in enumerate(zip(widths, (2, 2, 6, 2), (0, 0, 1, 2), strict=True)):
        for j in range(basic):
            block = f"layers.{i}.blocks.{j}"
            shapes[f"{block}.gamma_1"] = (C,)
            norm(f"{block}.norm", C)
            linear(f"{block}.mlp.fc1", (1, 6)[j % 2] * C, C)
            linear(f"{block}.mlp.fc2", C, (1, 6)[j % 2] * C)
            linear(f"{block}.mlp.context_layer.f", C, C)
            linear(f"{block}.mlp.context_layer.g", C, C)
            shapes[f"{block}.mlp.context_layer.context_list.0.weight"] = (C, 1, 7, 7)
            shapes[f"{block}.mlp.context_layer.context_list.0.bias"] = (C,)
        for j in range(basic, basic + attention):
            block = f"layers.{i}.blocks.{j}"
            norm(f"{block}.norm1", C)
            shapes[f"{block}.attn.qkv.weight"] = (3 * 8 * 32, C)
            linear(f"{block}.attn.proj", C, 8 * 32)
            norm(f"{block}.norm2", C)
            linear(f"{block}.mlp.fc1", 4 * C, C)
            linear(f"{block}.mlp.fc2", C, 4 * C)
        if i < 3:
            embed(f"layers.{i}.downsample", C, widths[i + 1], 3)
    norm("norm", 256)
    linear("head", 1000, 256)
    return shapes
