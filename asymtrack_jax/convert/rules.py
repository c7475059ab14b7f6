"""Tables that map published names and layouts to ours, usable in both directions.

A rule maps tensors of the published PyTorch state dict to arrays of our variables, with their
layouts. Rules for one kind of block are written once, relative to the block; `tracker_table` and
`backbone_table` place them according to a configuration. Published tensors without a counterpart,
and variables that a state dict lacks, are listed as exemptions with their reasons. Conversion is
strict: `problems` reports all names that a table does not cover.
"""

import collections
import dataclasses
import functools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import jax.numpy as jnp
import numpy as np

from asymtrack_jax.config import ModelConfig

Arrays = tuple[np.ndarray, ...]
Rules = tuple["Rule", ...]


@dataclasses.dataclass(frozen=True)
class Layout:
    """A conversion from PyTorch's tensors to our arrays, and its exact inverse.

    Attributes:
        to_ours: converts the published tensors of a rule to our arrays.
        to_published: converts our arrays of a rule to the published tensors.
    """

    to_ours: Callable[..., Arrays]
    to_published: Callable[..., Arrays]


def _oihw_to_hwio(weight: np.ndarray) -> np.ndarray:
    return weight.transpose(2, 3, 1, 0)


def _hwio_to_oihw(kernel: np.ndarray) -> np.ndarray:
    return kernel.transpose(3, 2, 0, 1)


SAME = Layout(lambda array: (array,), lambda array: (array,))
TRANSPOSED = Layout(lambda weight: (weight.T,), lambda kernel: (kernel.T,))
CONVOLUTION = Layout(  # also depthwise: both layouts have one input channel per group
    lambda weight: (_oihw_to_hwio(weight),),
    lambda kernel: (_hwio_to_oihw(kernel),),
)
QUERY_KEY_VALUE = Layout(  # published as one linear layer
    lambda weight: tuple(np.split(weight.T, 3, axis=1)),
    lambda *kernels: (np.concatenate(kernels, axis=1).T,),
)
BRANCHES = Layout(  # published as one convolution per branch
    lambda *weights: (np.stack([_oihw_to_hwio(weight) for weight in weights]),),
    lambda branches: tuple(_hwio_to_oihw(kernel) for kernel in branches),
)


@dataclasses.dataclass(frozen=True)
class Rule:
    """A correspondence of published tensors to our arrays.

    Attributes:
        published: names in the state dict, such as `bottleneck.weight`.
        ours: paths in a collection of our variables, such as `neck/kernel`.
        layout: conversion between the layouts.
        collection: collection of our variables, `params` or `batch_stats`.
    """

    published: tuple[str, ...]
    ours: tuple[str, ...]
    layout: Layout = SAME
    collection: str = "params"

    @property
    def paths(self) -> tuple[str, ...]:
        """Our paths with their collection, such as `params/neck/kernel`."""
        return tuple(f"{self.collection}/{path}" for path in self.ours)


@dataclasses.dataclass(frozen=True)
class Exemption:
    """Names without a counterpart, and the reason.

    Attributes:
        name: short description, for summaries.
        pattern: regular expression that matches the names.
        reason: explanation, for summaries.
    """

    name: str
    pattern: str
    reason: str

    def covers(self, name: str) -> bool:
        """Tells whether a published name, or one of our paths, is exempted."""
        return re.fullmatch(self.pattern, name) is not None


@dataclasses.dataclass(frozen=True)
class Table:
    """The complete mapping of one kind of state dict.

    Attributes:
        rules: rules of all converted tensors.
        dropped: published tensors without a counterpart.
        fresh: our paths without a counterpart, which are initialised.
    """

    rules: Rules
    dropped: tuple[Exemption, ...]
    fresh: tuple[Exemption, ...] = ()


def _layer(published: str, ours: str, weight: str, layout: Layout) -> Rules:
    """Returns the rules of a layer's weight, which is called `weight` here, and its bias."""
    return (
        Rule((f"{published}.weight",), (f"{ours}/{weight}",), layout),
        Rule((f"{published}.bias",), (f"{ours}/bias",)),
    )


_linear = functools.partial(_layer, weight="kernel", layout=TRANSPOSED)
_conv = functools.partial(_layer, weight="kernel", layout=CONVOLUTION)
_norm = functools.partial(_layer, weight="scale", layout=SAME)


def _batch_norm(published: str, ours: str) -> Rules:
    return (
        *_norm(published, ours),
        Rule((f"{published}.running_mean",), (f"{ours}/mean",), collection="batch_stats"),
        Rule((f"{published}.running_var",), (f"{ours}/var",), collection="batch_stats"),
    )


PATCH_EMBED: Rules = (*_conv("proj", "conv"), *_norm("norm", "norm"))

BASIC_BLOCK: Rules = (
    Rule(("gamma_1",), ("gamma",)),
    *_norm("norm", "norm"),
    *_linear("mlp.context_layer.f", "context_in"),
    *_conv("mlp.context_layer.context_list.0", "context_conv"),
    *_linear("mlp.context_layer.g", "context_out"),
    *_linear("mlp.fc1", "fc1"),
    *_linear("mlp.fc2", "fc2"),
)

TEMPLATE_MODULATION: Rules = (
    *_linear("pre_kernels", "template_assignment"),
    *_linear("pre_kernels_x", "search_assignment"),
    *_linear("conv_att.weight_linear", "kernel_weights"),
    *_norm("conv_att.norm", "prototype_norm"),
    *_linear("proj_Cto1", "gate"),
    *_norm("ln", "norm"),
)

OBJECT_PERCEPTION_ENHANCEMENT: Rules = (
    Rule(tuple(f"rbr_conv.{i}.weight" for i in range(3)), ("branches",), BRANCHES),
    Rule(("theta",), ("theta",)),
    Rule(("ibe_scale",), ("scale",)),
    *_norm("ln", "norm"),
)

ATTENTION_BLOCK: Rules = (
    *_norm("norm1", "norm1"),
    Rule(("attn.qkv.weight",), ("query/kernel", "key/kernel", "value/kernel"), QUERY_KEY_VALUE),
    *_linear("attn.proj", "proj"),
    *_norm("norm2", "norm2"),
    *_linear("mlp.fc1", "fc1"),
    *_linear("mlp.fc2", "fc2"),
)


def _corner_tower(suffix: str) -> Rules:
    rules = [*_conv(f"conv5_{suffix}", "score")]
    for i in (1, 2, 3, 4):
        rules += _conv(f"conv{i}_{suffix}.0", f"conv{i}")
        rules += _batch_norm(f"conv{i}_{suffix}.1", f"norm{i}")
    return tuple(rules)


def _place(published: str, ours: str, rules: Iterable[Rule]) -> Iterator[Rule]:
    """Prefixes the rules of a block with the block's published and our path."""
    for rule in rules:
        yield dataclasses.replace(
            rule,
            published=tuple(f"{published}.{name}" for name in rule.published),
            ours=tuple(f"{ours}/{path}" for path in rule.ours),
        )


def tracker_table(config: ModelConfig) -> Table:
    """Returns the table of a published tracker's state dict `net`.

    The blocks of a published stage are numbered consecutively: basic blocks, template modulation
    (stages 2 and 3), object perception enhancement, attention (stage 3).
    """
    rules = [*_place("backbone.patch_embed", "backbone/patch_embed", PATCH_EMBED)]
    for i, depth in enumerate(config.depths):
        layer, stage = f"backbone.layers.{i}", f"backbone/stage{i + 1}"
        blocks = [(f"blocks_{j}", BASIC_BLOCK) for j in range(depth)]
        if i > 0:
            blocks.append(("modulation", TEMPLATE_MODULATION))
        blocks.append(("perception", OBJECT_PERCEPTION_ENHANCEMENT))
        if i == 2:
            blocks.append(("attention", ATTENTION_BLOCK))
        for j, (name, block) in enumerate(blocks):
            rules += _place(f"{layer}.blocks.{j}", f"{stage}/{name}", block)
        rules += _place(f"{layer}.downsample", f"{stage}/downsample", PATCH_EMBED)
    rules += _linear("bottleneck", "neck")
    for suffix, corner in (("tl", "top_left"), ("br", "bottom_right")):
        rules += _place("box_head", f"head/{corner}", _corner_tower(suffix))
    dropped = (
        Exemption(
            "post_kernels",
            r"backbone\.layers\.[12]\.blocks\.\d+\.post_kernels\.(weight|bias)",
            "a layer of the template modulation that the published network does not use",
        ),
        Exemption(
            "modulation downsample",
            r"backbone\.layers\.[12]\.blocks\.\d+\.downsample\.(proj|norm)\.(weight|bias)",
            "another layer of the template modulation that the published network does not use",
        ),
        Exemption(
            "num_batches_tracked",
            r"box_head\.conv[1-4]_(tl|br)\.1\.num_batches_tracked",
            "steps counted by a batch norm, which one with a fixed momentum does not use",
        ),
    )
    return Table(tuple(rules), dropped)


def unused_tensors(config: ModelConfig) -> dict[str, np.ndarray]:
    """Returns the tensors that `tracker_table` drops as zeros, for strict loading in PyTorch."""
    zeros = {}
    for i in (1, 2):
        C, N = config.widths[i], config.num_kernels[i - 1]
        shapes = {
            "post_kernels.weight": (C, N),
            "post_kernels.bias": (C,),
            "downsample.proj.weight": (C, C, 3, 3),
            "downsample.proj.bias": (C,),
            "downsample.norm.weight": (C,),
            "downsample.norm.bias": (C,),
        }
        for name, shape in shapes.items():
            block = f"backbone.layers.{i}.blocks.{config.depths[i]}"
            zeros[f"{block}.{name}"] = np.zeros(shape, np.float32)
    for i in (1, 2, 3, 4):
        for suffix in ("tl", "br"):
            name = f"box_head.conv{i}_{suffix}.1.num_batches_tracked"
            zeros[name] = np.zeros((), np.int64)
    return zeros


def backbone_table(config: ModelConfig) -> Table:
    """Returns the table of an ImageNet EfficientMod-xxs checkpoint's `state_dict`.

    Its third stage has six basic blocks and an attention block. The network uses the first
    `config.depths[i]` basic blocks of each stage, and the attention block.
    """
    rules = [*_place("patch_embed", "backbone/patch_embed", PATCH_EMBED)]
    for i, depth in enumerate(config.depths):
        layer, stage = f"layers.{i}", f"backbone/stage{i + 1}"
        for j in range(depth):
            rules += _place(f"{layer}.blocks.{j}", f"{stage}/blocks_{j}", BASIC_BLOCK)
        rules += _place(f"{layer}.downsample", f"{stage}/downsample", PATCH_EMBED)
    rules += _place("layers.2.blocks.6", "backbone/stage3/attention", ATTENTION_BLOCK)
    dropped = (
        Exemption(
            "stage 3, later basic blocks",
            rf"layers\.2\.blocks\.[{config.depths[2]}-5]\..*",
            f"the network's stage 3 has only the first {config.depths[2]} of 6",
        ),
        Exemption("stage 4", r"layers\.3\..*", "the network has only the first three stages"),
        Exemption("classifier", r"(norm|head)\.(weight|bias)", "the network has its own head"),
    )
    fresh = (
        Exemption(
            "modulation",
            r"params/backbone/stage[23]/modulation/.*",
            "the ImageNet network has only one stream",
        ),
        Exemption(
            "perception",
            r"params/backbone/stage[123]/perception/.*",
            "the ImageNet network has no such block",
        ),
        Exemption(
            "neck and head",
            r"params/neck/.*|(params|batch_stats)/head/.*",
            "the ImageNet network has a classifier instead",
        ),
    )
    return Table(tuple(rules), dropped, fresh)


class TensorLike(Protocol):
    """Shape and dtype of a tensor, which need not have been read."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102

    @property
    def dtype(self) -> np.dtype | None: ...  # noqa: D102


def problems(
    table: Table, tensors: Mapping[str, TensorLike], variables: Mapping[str, TensorLike]
) -> dict[str, list[str]]:
    """Checks a state dict against a table; the result is empty if it can be converted.

    Args:
        table: table of the network's configuration.
        tensors: the state dict.
        variables: shapes of the network's variables by path, such as `params/neck/kernel`.

    Returns:
        Affected names by kind of problem.
    """
    found = collections.defaultdict(list)
    names = collections.Counter(name for rule in table.rules for name in rule.published)
    paths = collections.Counter(path for rule in table.rules for path in rule.paths)
    for name in tensors:
        matches = names[name] + sum(exemption.covers(name) for exemption in table.dropped)
        if matches != 1:
            found["matched twice" if matches else "unknown"].append(name)
    for path in variables:
        matches = paths[path] + sum(exemption.covers(path) for exemption in table.fresh)
        if matches != 1:
            found["filled twice" if matches else "not filled by any rule"].append(path)
    found["missing"] += [name for name in names if name not in tensors]
    found["not in the network"] += [path for path in paths if path not in variables]
    for rule in table.rules:
        if not all(path in variables for path in rule.paths):
            continue
        zeros = (np.zeros(variables[path].shape, np.float32) for path in rule.paths)
        for name, expected in zip(rule.published, rule.layout.to_published(*zeros), strict=True):
            if (tensor := tensors.get(name)) is None:
                continue
            if tensor.shape != expected.shape:
                found["of another shape"].append(f"{name} {tensor.shape}, not {expected.shape}")
            if tensor.dtype is None or not jnp.issubdtype(tensor.dtype, jnp.floating):
                found["not floating point"].append(f"{name} ({tensor.dtype or 'unknown type'})")
    return {problem: names for problem, names in found.items() if names}


def to_ours(table: Table, read: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
    """Converts published tensors, which `read` returns by name, to our arrays by path."""
    arrays = {}
    for rule in table.rules:
        converted = rule.layout.to_ours(*map(read, rule.published))
        arrays.update(zip(rule.paths, map(np.ascontiguousarray, converted), strict=True))
    return arrays


def to_published(table: Table, read: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
    """Converts our arrays, which `read` returns by path, to published tensors by name."""
    tensors = {}
    for rule in table.rules:
        converted = rule.layout.to_published(*map(read, rule.paths))
        tensors.update(zip(rule.published, map(np.ascontiguousarray, converted), strict=True))
    return tensors


def count_parameters(arrays: Mapping[str, TensorLike]) -> int:
    """Counts trainable parameters, that is, without the batch norms' running statistics."""
    return sum(math.prod(a.shape) for path, a in arrays.items() if path.startswith("params/"))
