"""Checks shapes while the tests run, and makes a small network for them."""

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

import pytest  # noqa: E402

from asymtrack_jax.benchmark.network import random_variables  # noqa: E402
from asymtrack_jax.config import VARIANTS  # noqa: E402
from asymtrack_jax.models.fuse import fuse  # noqa: E402
from asymtrack_jax.tracking.model import Model  # noqa: E402


@pytest.fixture(scope="session")
def variables() -> dict:
    """Variables of the `testing` variant's training form, every one of them of some effect."""
    return random_variables(VARIANTS["testing"])


@pytest.fixture(scope="session")
def model(variables: dict) -> Model:
    """The `testing` variant, fused."""
    return Model(VARIANTS["testing"], fuse(variables))
