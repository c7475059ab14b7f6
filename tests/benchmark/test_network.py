from typing import Any

import flax.traverse_util
import numpy as np
import safetensors.numpy

from asymtrack_jax.benchmark import network
from asymtrack_jax.config import VARIANTS
from asymtrack_jax.models import checkpoint
from asymtrack_jax.models.fuse import fuse


def test_contestants_get_one_network(tmp_path):
    network.write(VARIANTS["testing"], tmp_path)
    read = checkpoint.read(tmp_path / network.CHECKPOINT)
    assert read.config == VARIANTS["testing"]
    assert all(np.abs(array).max() > 1e-3 for array in _flat(read.variables).values())
    fused = safetensors.numpy.load_file(tmp_path / network.FUSED)
    expected = _flat(fuse(read.variables))
    assert fused.keys() == expected.keys()
    for path, array in expected.items():
        np.testing.assert_array_equal(fused[path], array)


def _flat(variables) -> dict[str, np.ndarray]:
    flat: Any = flax.traverse_util.flatten_dict(variables, sep="/")
    return flat
