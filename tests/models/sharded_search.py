"""Searches a batch sharded over four devices and on one; `test_pure_functions` starts it."""

import dataclasses
import functools

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from asymtrack_jax import AsymTrack, fuse, normalise
from asymtrack_jax.benchmark.network import random_variables
from asymtrack_jax.config import VARIANTS
from tests import rounding

CONFIG = dataclasses.replace(  # quick to compile
    VARIANTS["testing"], template_size=32, depths=(1, 1, 1)
)
BATCH = 8


def main() -> None:
    assert jax.device_count() == 4
    apply = AsymTrack(CONFIG, fused=True).apply
    draw = np.random.default_rng(0).integers
    template, search = (
        normalise(draw(0, 256, (BATCH, side, side, 3), np.uint8))
        for side in (CONFIG.template_size, CONFIG.search_size)
    )
    variables = jax.device_put(fuse(random_variables(CONFIG)))
    init_template, step = (
        jax.jit(functools.partial(apply, method=name)) for name in ("init_template", "step")
    )
    modulation = init_template(variables, template)
    alone = step(variables, modulation, search)

    mesh = Mesh(np.array(jax.devices()), ("batch",))
    split, everywhere = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("batch",), ()))
    sharded = step(*jax.device_put((variables, modulation, search), (everywhere, split, split)))
    assert sharded.boxes.sharding.is_equivalent_to(split, ndim=2), sharded.boxes.sharding
    assert {shard.data.shape for shard in sharded.boxes.addressable_shards} == {(BATCH // 4, 4)}
    for found, expected in zip(*map(jax.tree.leaves, (sharded, alone)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=rounding.BETWEEN_TWO)


if __name__ == "__main__":
    main()
