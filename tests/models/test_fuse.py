import jax
import jax.numpy as jnp
import numpy as np

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.models.asymtrack import AsymTrack, abstract_variables
from asymtrack_jax.models.fuse import fuse


def test_the_result_is_what_the_fused_network_expects(variables):
    fused, expected = fuse(variables), abstract_variables(VARIANTS["testing"], fused=True)
    assert jax.tree.structure(fused) == jax.tree.structure(expected)
    assert jax.tree.map(np.shape, fused) == jax.tree.map(np.shape, expected)


def test_the_source_is_left_alone(variables):
    before = jax.tree.map(np.copy, variables)
    fuse(variables)
    jax.tree.map(np.testing.assert_array_equal, variables, before)


def test_both_forms_are_the_same_function(variables):
    """In float64, so that only the rounding of the fused weights is left between them."""
    config = VARIANTS["testing"]
    with jax.enable_x64(True):
        images = [
            jax.random.normal(jax.random.key(side), (2, side, side, 3), jnp.float64)
            for side in (config.template_size, config.search_size)
        ]
        training, fused = (
            jax.jit(AsymTrack(config, is_fused).apply)(
                jax.tree.map(lambda array: jnp.asarray(array, jnp.float64), tree), *images
            )
            for is_fused, tree in ((False, variables), (True, fuse(variables)))
        )
    np.testing.assert_allclose(fused.boxes, training.boxes, rtol=0, atol=1e-5)
    np.testing.assert_allclose(fused.scores, training.scores, rtol=1e-4)
