import dataclasses
from typing import Any

import flax.traverse_util
import numpy as np
import pytest

from asymtrack_jax.config import model_config
from asymtrack_jax.convert import rules
from asymtrack_jax.models.asymtrack import abstract_variables
from tests import published
from tests.convert import efficientmod

VARIANTS = ("tiny", "small", "base")
TINY = model_config("tiny")


def expected(variant: str) -> dict[Any, Any]:
    return flax.traverse_util.flatten_dict(abstract_variables(model_config(variant)), sep="/")


@pytest.mark.parametrize("variant", VARIANTS)
def test_tables_are_complete(variant):
    config = model_config(variant)
    variables = expected(variant)
    tracker = rules.tracker_table(config)
    assert rules.problems(tracker, published.state_dict(variant), variables) == {}
    backbone = rules.backbone_table(config)
    assert rules.problems(backbone, efficientmod.state_dict(), variables) == {}


@pytest.mark.parametrize("variant", VARIANTS)
def test_there_and_back_is_exact_and_complete(variant):
    config = model_config(variant)
    table = rules.tracker_table(config)
    source = published.state_dict(variant)
    ours = rules.to_ours(table, source.__getitem__)
    back = rules.to_published(table, ours.__getitem__)
    unused = rules.unused_tensors(config)
    assert not back.keys() & unused.keys()
    assert {name: (a.shape, a.dtype) for name, a in (back | unused).items()} == {
        name: (a.shape, a.dtype) for name, a in source.items()
    }
    for name, array in back.items():
        np.testing.assert_array_equal(array, source[name], name)
    for name, array in unused.items():
        assert not array.any()
        assert sum(exemption.covers(name) for exemption in table.dropped) == 1
    assert sum(a.size for a in unused.values() if a.dtype == np.float32) == 185_728


@pytest.mark.parametrize(("variant", "blocks"), [("tiny", 1), ("small", 3), ("base", 3)])
def test_backbone_keeps_the_first_blocks_and_the_attention(variant, blocks):
    table = rules.backbone_table(model_config(variant))
    source = efficientmod.state_dict()
    ours = rules.to_ours(table, source.__getitem__)
    stage = "params/backbone/stage3"
    for j in range(blocks):
        np.testing.assert_array_equal(
            ours[f"{stage}/blocks_{j}/fc1/kernel"], source[f"layers.2.blocks.{j}.mlp.fc1.weight"].T
        )
    assert f"{stage}/blocks_{blocks}/fc1/kernel" not in ours
    weights = np.split(source["layers.2.blocks.6.attn.qkv.weight"], 3)
    for name, weight in zip(("query", "key", "value"), weights, strict=True):
        np.testing.assert_array_equal(ours[f"{stage}/attention/{name}/kernel"], weight.T)


def test_all_problems_are_reported_together():
    table = rules.tracker_table(TINY)
    tensors: dict[str, Any] = dict(published.state_dict("tiny"))
    del tensors["bottleneck.bias"]
    tensors["extra.weight"] = np.zeros(3)
    tensors["bottleneck.weight"] = np.zeros((3, 256))
    tensors["backbone.patch_embed.norm.bias"] = np.zeros(32, np.int64)
    variables = expected("tiny")
    variables["params/new/kernel"] = variables.pop("params/backbone/stage1/blocks_0/gamma")
    score = rules.Rule(("box_head.conv5_tl.bias",), ("head/top_left/score/bias",))
    table = dataclasses.replace(
        table,
        rules=(*table.rules, score),
        dropped=(
            *table.dropped,
            rules.Exemption("greedy", r"backbone\.patch_embed\.norm\.w.*", ""),
        ),
        fresh=(rules.Exemption("greedy", "params/neck/kernel", ""),),
    )
    assert rules.problems(table, tensors, variables) == {
        "unknown": ["extra.weight"],
        "missing": ["bottleneck.bias"],
        "matched twice": ["backbone.patch_embed.norm.weight", "box_head.conv5_tl.bias"],
        "not filled by any rule": ["params/new/kernel"],
        "filled twice": ["params/head/top_left/score/bias", "params/neck/kernel"],
        "not in the network": ["params/backbone/stage1/blocks_0/gamma"],
        "of another shape": ["bottleneck.weight (3, 256), not (256, 256)"],
        "not floating point": ["backbone.patch_embed.norm.bias (int64)"],
    }


def test_what_nothing_uses_may_be_absent_but_not_elsewhere():
    table = rules.tracker_table(TINY)
    tensors: dict[str, Any] = dict(published.state_dict("tiny"))
    del tensors["backbone.layers.1.blocks.2.post_kernels.weight"]
    assert rules.problems(table, tensors, expected("tiny")) == {}
    tensors["backbone.layers.0.blocks.2.post_kernels.weight"] = np.zeros(3)
    assert rules.problems(table, tensors, expected("tiny")) == {
        "unknown": ["backbone.layers.0.blocks.2.post_kernels.weight"]
    }
