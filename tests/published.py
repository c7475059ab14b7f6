"""The published implementation's own numbers, and the weights and images they were made from.

`golden/*.npz` are outputs of the published PyTorch network. Its weights and inputs follow from
their names by `golden_rule`, so they need not be stored.
"""

import functools
from pathlib import Path

import flax.traverse_util
import numpy as np

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.convert import rules
from tests import golden_rule

FOLDER = Path(__file__).parent / "golden"


def golden(name: str) -> dict[str, np.ndarray]:
    """Outputs of the published implementation."""
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return dict(arrays)


@functools.cache
def state_dict(variant: str) -> dict[str, np.ndarray]:
    """The golden weights under their published names, in PyTorch's layout."""
    tensors = {}
    for line in (FOLDER / f"{variant}_state_dict.txt").read_text().splitlines():
        name, sizes = line.split()
        shape = () if sizes == "-" else tuple(int(size) for size in sizes.split(","))
        tensors[name] = golden_rule.tensor(name, shape)
    return tensors


@functools.cache
def variables(variant: str) -> dict:
    """The golden weights as variables of the training form."""
    arrays = rules.to_ours(rules.tracker_table(VARIANTS[variant]), state_dict(variant).__getitem__)
    return flax.traverse_util.unflatten_dict(arrays, sep="/")


def image(name: str, side: int, batch: int = 2) -> np.ndarray:
    """A golden input, NHWC."""
    nchw = golden_rule.generator(name, 0).standard_normal((batch, 3, side, side))
    return np.ascontiguousarray(nchw.astype(np.float32).transpose(0, 2, 3, 1))
