import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.models.asymtrack import AsymTrack, abstract_variables
from asymtrack_jax.models.fuse import fuse
from tests import rounding

CONFIG = VARIANTS["testing"]


def test_the_result_is_what_the_fused_network_expects(variables):
    fused, expected = fuse(variables), abstract_variables(CONFIG, fused=True)
    assert jax.tree.structure(fused) == jax.tree.structure(expected)
    assert jax.tree.map(np.shape, fused) == jax.tree.map(np.shape, expected)


def test_the_fused_form_has_no_random_initialisers():
    # Flax traces each of them in every call; random ones take a tenth of the start-up.
    image = jnp.zeros((1, 64, 64, 3))
    drawn = AsymTrack(CONFIG, fused=True).init(jax.random.key(0), image, image)
    leaves = jax.tree.leaves_with_path(drawn)
    random = [jax.tree_util.keystr(path) for path, leaf in leaves if np.ptp(leaf) > 0]
    assert random == []


def test_the_source_is_left_alone(variables):
    before = jax.tree.map(np.copy, variables)
    fuse(variables)
    jax.tree.map(np.testing.assert_array_equal, variables, before)


IMAGES = tuple(
    np.random.default_rng(side).standard_normal((2, side, side, 3), np.float32)
    for side in (CONFIG.template_size, CONFIG.search_size)
)


@functools.cache
def in_float64(*, fused: bool) -> Callable[[Any], tuple[np.ndarray, np.ndarray]]:
    """Boxes and scores that the network finds in the images, by its variables."""
    apply = jax.jit(AsymTrack(CONFIG, fused).apply)

    def run(variables: Any) -> tuple[np.ndarray, np.ndarray]:
        with jax.enable_x64(True):
            prediction: Any = apply(*jax.tree.map(np.float64, (variables, *IMAGES)))
            return np.asarray(prediction.boxes), np.asarray(prediction.scores)

    return run


def test_both_forms_are_the_same_function(variables):
    """In float64, so that only the rounding of the fused weights is left between them."""
    found, expected = in_float64(fused=True)(fuse(variables)), in_float64(fused=False)(variables)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == np.float64
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=5e-6)


def test_float32_is_as_close_to_float64_as_rounding_allows(variables, model):
    found = model.step(model.init_template(IMAGES[0]), IMAGES[1]).boxes
    run, weights = in_float64(fused=True), fuse(variables)
    allowed = rounding.moved(lambda variables: run(variables)[0], weights)
    assert np.abs(found - run(weights)[0]).max() < allowed < rounding.FROM_EXACT
