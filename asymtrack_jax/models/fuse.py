"""Folds the training form's variables into the inference form: fewer operations, equal outputs."""

from collections.abc import Mapping
from typing import Any

import numpy as np

Tree = Mapping[str, Any]
BATCH_NORM_EPSILON = 1e-5


def fuse(variables: Tree) -> dict[str, Any]:
    """Returns variables of `AsymTrack(config, fused=True)` for those of the training form.

    Folds, each exact in real arithmetic: the three branches and `theta` of an object perception
    enhancement into one kernel, a batch norm into the convolution before it, the scale and bias of
    a layer norm into the linear layers after it, and a block's layer scale into its last layer.

    Args:
        variables: `params` and `batch_stats` of the training form.

    Returns:
        `params` of the fused form, float32 numpy arrays, computed in float64.
    """
    params, stats = variables["params"], variables["batch_stats"]
    backbone = {
        name: _fuse_stage(part) if name.startswith("stage") else part
        for name, part in params["backbone"].items()
    }
    head = {name: _fuse_tower(part, stats["head"][name]) for name, part in params["head"].items()}
    return {"params": _as_float32({**params, "backbone": backbone, "head": head})}


def _fuse_stage(stage: Tree) -> Tree:
    fused = dict(stage)
    for name, part in stage.items():
        if name.startswith("blocks_"):
            fused[name] = _fuse_block(part)
    fused["perception"] = _fuse_perception(stage["perception"])
    if "attention" in stage:
        fused["attention"] = _fuse_attention(stage["attention"])
    return fused


def _fuse_block(block: Tree) -> Tree:
    gamma = _as_float64(block["gamma"])
    fc2 = {name: _as_float64(value) * gamma for name, value in block["fc2"].items()}
    folded = {name: _fold_norm(block["norm"], block[name]) for name in ("fc1", "context_in")}
    kept = {name: block[name] for name in ("context_conv", "context_out")}
    return {**kept, **folded, "fc2": fc2}


def _fuse_attention(block: Tree) -> Tree:
    folded = {name: _fold_norm(block["norm1"], block[name]) for name in ("query", "key", "value")}
    folded["fc1"] = _fold_norm(block["norm2"], block["fc1"])
    return {**folded, "proj": block["proj"], "fc2": block["fc2"]}


def _fold_norm(norm: Tree, linear: Tree) -> Tree:
    """Folds a norm's scale and bias into the linear layer that follows it."""
    kernel = _as_float64(linear["kernel"])
    bias = _as_float64(norm["bias"]) @ kernel + _as_float64(linear.get("bias", 0.0))
    return {"kernel": _as_float64(norm["scale"])[:, None] * kernel, "bias": bias}


def _fuse_perception(perception: Tree) -> Tree:
    kernel = _as_float64(perception["branches"]).sum(0)
    share = 1 / (1 + np.exp(-_as_float64(perception["theta"])))
    kernel[1, 1] -= share * kernel.sum((0, 1))
    return {"kernel": kernel, "norm": perception["norm"], "scale": perception["scale"]}


def _fuse_tower(tower: Tree, stats: Tree) -> Tree:
    fused = {"score": tower["score"]}
    for name in (name for name in tower if name.startswith("conv")):
        norm, running = tower[name.replace("conv", "norm")], stats[name.replace("conv", "norm")]
        std = np.sqrt(_as_float64(running["var"]) + BATCH_NORM_EPSILON)
        factor = _as_float64(norm["scale"]) / std
        bias = (_as_float64(tower[name]["bias"]) - _as_float64(running["mean"])) * factor
        fused[name] = {
            "kernel": _as_float64(tower[name]["kernel"]) * factor,
            "bias": bias + _as_float64(norm["bias"]),
        }
    return fused


def _as_float64(value: Any) -> np.ndarray:
    return np.asarray(value, np.float64)


def _as_float32(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {name: _as_float32(value) for name, value in tree.items()}
    return np.asarray(tree, np.float32)
