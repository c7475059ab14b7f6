import jax
import numpy as np
import pytest

from asymtrack_jax.models.efficientmod import attend


@pytest.mark.parametrize(("dtype", "bar"), [("float32", 1e-6), ("bfloat16", 2e-2)])
def test_attention_is_that_of_jax(dtype: str, bar: float):
    shapes = [(2, 5, 3, 4), (2, 7, 3, 4), (2, 7, 3, 4)]
    keys = jax.random.split(jax.random.key(0), 3)
    # Products far from 0, whose exponentials overflow unless the largest is taken off.
    arrays = [30 * jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]
    arrays = [array.astype(dtype) for array in arrays]
    found, expected = attend(*arrays), jax.nn.dot_product_attention(*arrays)
    assert found.dtype == expected.dtype
    found, expected = (np.asarray(array, np.float32) for array in (found, expected))
    np.testing.assert_allclose(found, expected, atol=bar * 30)
