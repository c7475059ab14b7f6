"""The mean of checkpoints."""

import jax
import numpy as np
import pytest

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.errors import InputError
from asymtrack_jax.models import checkpoint
from recipes.packaged_weights.average import main


def test_every_weight_is_the_mean_and_the_steps_are_told(variables, tmp_path):
    for step, factor in ((1, 1.0), (2, 3.0)):
        scaled = jax.tree.map(lambda array, factor=factor: factor * np.asarray(array), variables)
        folder = tmp_path / str(step)
        checkpoint.save(folder, VARIANTS["testing"], scaled, {"kind": "trained", "step": step})
    main([str(tmp_path / "1"), str(tmp_path / "2"), f"--output={tmp_path / 'mean'}"])
    mean = checkpoint.read(tmp_path / "mean")
    assert mean.metadata["mean_of_steps"] == [1, 2]
    jax.tree.map(
        lambda one, mean: np.testing.assert_allclose(mean, 2 * one, rtol=1e-6),
        variables,
        mean.variables,
    )


def test_networks_of_other_sizes_are_refused(variables, tmp_path):
    checkpoint.save(tmp_path / "1", VARIANTS["testing"], variables, {})
    packaged = "asymtrack_jax/weights/tiny"
    with pytest.raises(InputError, match="is of another network than"):
        main([packaged, str(tmp_path / "1"), f"--output={tmp_path / 'mean'}"])
