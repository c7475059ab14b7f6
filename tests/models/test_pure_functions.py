"""The network as functions of its variables: differentiated, mapped and sharded."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asymtrack_jax import AsymTrack, fuse, load_variables, normalise
from asymtrack_jax.benchmark.network import random_variables
from asymtrack_jax.models import checkpoint
from tests import rounding
from tests.models.sharded_search import CONFIG

ROOT = Path(__file__).parents[2]
NETWORK = AsymTrack(CONFIG, fused=True)
TRAINED = random_variables(CONFIG)
VARIABLES = jax.device_put(fuse(TRAINED))


def images(side: int, batch: int) -> np.ndarray:
    pixels = np.random.default_rng(side).integers(0, 256, (batch, side, side, 3), np.uint8)
    return normalise(pixels)


TEMPLATES, SEARCHES = images(CONFIG.template_size, 3), images(CONFIG.search_size, 3)


def find(variables: Any, template: Any, search: Any) -> Any:
    modulation = NETWORK.apply(variables, template, method="init_template")
    return NETWORK.apply(variables, modulation, search, method="step")


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "training form"])
def test_loaded_variables_are_those_that_were_saved(tmp_path, fused):
    checkpoint.save(tmp_path / "saved", CONFIG, TRAINED, {})
    config, loaded = load_variables(tmp_path / "saved", fused=fused)
    assert config == CONFIG
    expected = VARIABLES if fused else TRAINED
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(loaded))
    jax.tree.map(np.testing.assert_array_equal, loaded, expected)


def test_gradient_of_a_score_with_respect_to_the_template():
    """In float64, along the gradient itself, by a central difference."""
    with jax.enable_x64(True):
        template, search, weights = jax.tree.map(
            jnp.float64, (TEMPLATES[:1], SEARCHES[:1], VARIABLES)
        )

        @jax.jit
        @jax.value_and_grad
        def score(template):
            return find(weights, template, search).scores[0]

        gradient = score(template)[1]
        assert gradient.shape == template.shape
        assert np.isfinite(gradient).all()
        direction = gradient / jnp.linalg.norm(gradient)
        above, below = (score(template + step * direction)[0] for step in (1e-4, -1e-4))
        slope = (above - below) / 2e-4  # closer than the kinks of ReLUs
        assert slope > 0
        np.testing.assert_allclose(jnp.vdot(gradient, direction), slope, rtol=1e-3)


def test_mapped_over_templates_as_in_a_batch():
    @jax.jit
    @jax.vmap
    def mapped(template, search):
        prediction = find(VARIABLES, template[None], search[None])
        return prediction.boxes[0], prediction.scores[0]

    boxes, scores = mapped(TEMPLATES, SEARCHES)
    expected = jax.jit(find)(VARIABLES, TEMPLATES, SEARCHES)
    np.testing.assert_allclose(boxes, expected.boxes, rtol=0, atol=rounding.BETWEEN_TWO)
    np.testing.assert_allclose(scores, expected.scores, rtol=0, atol=rounding.BETWEEN_TWO)


def test_a_batch_over_four_devices_as_on_one():
    flags = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.models.sharded_search"],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
