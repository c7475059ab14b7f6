import dataclasses
from typing import Any

import flax.traverse_util
import pytest

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.models.asymtrack import abstract_variables
from asymtrack_jax.models.shapes import variable_shapes

ODD = dataclasses.replace(  # no size twice
    VARIANTS["testing"],
    widths=(8, 24, 40),
    depths=(1, 3, 2),
    num_kernels=(3, 5),
    num_heads=3,
    head_dim=4,
    feature_dim=48,
)


@pytest.mark.parametrize("config", [VARIANTS["small"], ODD], ids=["small", "odd"])
def test_shapes_are_those_of_the_network(config):
    traced: Any = flax.traverse_util.flatten_dict(abstract_variables(config), sep="/")
    assert variable_shapes(config) == {name: leaf.shape for name, leaf in traced.items()}
