"""Checks shapes while the tests run, and makes a small network for them."""

import math
import os

import jaxtyping

# Compile quickly rather than well: most programs here run once or twice.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"
# What was built on this machine does not decide what is tested; tests/native builds its own.
os.environ["ASYMTRACK_NATIVE"] = "0"
# Nor does what it has compiled before.
os.environ["ASYMTRACK_CACHE"] = "0"

# All but what checks its input itself, and so must be given bad ones.
CHECKED = ("boxes", "models", "data", "evaluation", "tracking.device_crop")
jaxtyping.install_import_hook([f"asymtrack_jax.{name}" for name in CHECKED], "beartype.beartype")

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from asymtrack_jax.config import VARIANTS  # noqa: E402
from asymtrack_jax.models.asymtrack import abstract_variables  # noqa: E402
from asymtrack_jax.models.fuse import fuse  # noqa: E402
from asymtrack_jax.tracking.model import Model  # noqa: E402


@pytest.fixture(scope="session")
def variables() -> dict:
    """Variables of the `testing` variant's training form, every one of them of some effect."""
    draw = np.random.default_rng(0).standard_normal

    def random(path, leaf) -> np.ndarray:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        noise = draw(leaf.shape, np.float32)
        if name.endswith("/var"):
            return 0.5 + noise**2
        if leaf.ndim == 1:
            return 1 + 0.1 * noise if name.endswith(("/scale", "/gamma")) else 0.1 * noise
        gain = 10 if name.endswith("score/kernel") else 1
        return gain * noise * (2 / math.prod(leaf.shape[:-1])) ** 0.5

    return jax.tree_util.tree_map_with_path(random, abstract_variables(VARIANTS["testing"]))


@pytest.fixture(scope="session")
def model(variables: dict) -> Model:
    """The `testing` variant, fused."""
    return Model(VARIANTS["testing"], fuse(variables))
