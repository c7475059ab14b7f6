from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.models.asymtrack import AsymTrack, abstract_variables
from asymtrack_jax.models.layers import (
    BatchNorm,
    depthwise_conv_grouped,
    depthwise_conv_shifted,
)


@pytest.mark.parametrize("shape", [(2, 8, 8, 4), (1, 5, 9, 3), (1, 3, 3, 2)])
def test_both_forms_of_depthwise_convolution_are_the_same(shape):
    draw = np.random.default_rng(0).standard_normal
    x, kernel = draw(shape, np.float32), draw((7, 7, 1, shape[-1]), np.float32)
    with jax.default_matmul_precision("highest"):
        shifted = depthwise_conv_shifted(jnp.asarray(x), jnp.asarray(kernel))
        grouped = depthwise_conv_grouped(jnp.asarray(x), jnp.asarray(kernel))
    np.testing.assert_allclose(shifted, grouped, rtol=1e-5, atol=1e-5)


# Rows of one strip, of two, and of a width that only strips of one column divide.
@pytest.mark.parametrize("shape", [(3, 9, 6, 4), (2, 5, 32, 3), (1, 4, 17, 2)])
def test_its_gradients_are_those_of_the_textbook_form(shape):
    keys = jax.random.split(jax.random.key(0), 3)
    x, direction = (jax.random.normal(key, shape) for key in keys[:2])
    kernel = jax.random.normal(keys[2], (7, 7, 1, shape[-1]))

    def gradients(form):
        return jax.jit(jax.grad(lambda *args: jnp.sum(form(*args) * direction), (0, 1)))(x, kernel)

    for ours, expected in zip(
        gradients(depthwise_conv_shifted), gradients(depthwise_conv_grouped), strict=True
    ):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


def test_its_kernel_gradient_is_summed_exactly_in_bfloat16():
    """One from each of 512 images: a sum in bfloat16 would stop at 256."""
    x = jnp.ones((512, 1, 1, 1), jnp.bfloat16)
    kernel = jnp.zeros((1, 1, 1, 1), jnp.bfloat16)
    grad = jax.grad(lambda kernel: depthwise_conv_shifted(x, kernel).astype(jnp.float32).sum())
    assert grad(kernel).item() == 512


def test_step_has_no_grouped_convolution_on_a_cpu():
    """XLA runs those an order of magnitude slower than the shifted form."""
    config = VARIANTS["testing"]
    network = AsymTrack(config, fused=True)
    sides = (config.template_size, config.search_size)
    images = [jax.ShapeDtypeStruct((1, side, side, 3), "float32") for side in sides]
    lowered = jax.jit(network.apply).trace(abstract_variables(config, fused=True), *images).lower
    groups = [
        {
            line.split("feature_group_count = ")[1].split(" ")[0]
            for line in text.splitlines()
            if "feature_group_count = " in line
        }
        for text in (lowered(lowering_platforms=(p,)).as_text() for p in ("cpu", "tpu"))
    ]
    assert groups[0] == {"1"}
    assert groups[1] > {"1"}


class TestBatchNorm:
    """Against the formulas of PyTorch's documentation."""

    x = 2 * jax.random.normal(jax.random.key(0), (3, 4, 4, 5)) + 1

    def test_training(self):
        norm = BatchNorm()
        variables = norm.init(jax.random.key(0), self.x, train=True)
        y, updated = norm.apply(variables, self.x, train=True, mutable=["batch_stats"])
        mean, var = self.x.mean((0, 1, 2)), self.x.var((0, 1, 2))
        np.testing.assert_allclose(y, (self.x - mean) / np.sqrt(var + 1e-5), rtol=1e-4, atol=1e-5)
        stats: Any = updated["batch_stats"]
        np.testing.assert_allclose(stats["mean"], 0.1 * mean, rtol=1e-5)
        unbiased = self.x.var((0, 1, 2), ddof=1)
        np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * unbiased, rtol=1e-5)

    def test_initialising_leaves_the_statistics_alone(self):
        stats = BatchNorm().init(jax.random.key(0), self.x, train=True)["batch_stats"]
        np.testing.assert_array_equal(stats["mean"], np.zeros(5))
        np.testing.assert_array_equal(stats["var"], np.ones(5))

    def test_statistics_of_bfloat16_features_are_float32(self):
        """A mean of 3 and a standard deviation of 0.05, of which bfloat16 has three steps."""
        x = (3 + 0.05 * self.x).astype(jnp.bfloat16)
        norm = BatchNorm()
        variables = norm.init(jax.random.key(0), x, train=True)
        y, updated = norm.apply(variables, x, train=True, mutable=["batch_stats"])
        exact = np.asarray(x, np.float64)
        mean, var = exact.mean((0, 1, 2)), exact.var((0, 1, 2))
        assert y.dtype == jnp.bfloat16
        expected = (exact - mean) / np.sqrt(var + 1e-5)
        np.testing.assert_allclose(np.asarray(y, np.float64), expected, rtol=2**-8, atol=1e-3)
        stats: Any = updated["batch_stats"]
        np.testing.assert_allclose(stats["mean"], 0.1 * mean, rtol=1e-6)
