import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asymtrack_jax.models import winograd


@pytest.mark.parametrize("shape", [(2, 4, 6, 3, 5), (1, 2, 2, 4, 4)])
def test_both_forms_are_the_same(shape: tuple[int, ...]):
    draw = np.random.default_rng(0).standard_normal
    with jax.enable_x64():
        x, kernel = jnp.asarray(draw(shape[:4])), jnp.asarray(draw((3, 3, *shape[3:])))
        found = winograd.conv3x3_winograd(x, kernel)
        np.testing.assert_allclose(found, winograd.conv3x3_textbook(x, kernel), atol=1e-12)


@pytest.mark.parametrize(
    ("side", "channels", "dtype", "fast"),
    [
        (8, 32, "float32", True),
        (7, 32, "float32", False),
        (8, 16, "float32", False),
        (8, 32, "bfloat16", False),
    ],
)
def test_a_cpu_gets_winograds_form_where_it_fits_and_pays(side, channels, dtype, fast):
    x = jax.ShapeDtypeStruct((1, side, side, channels), dtype)
    kernel = jax.ShapeDtypeStruct((3, 3, channels, channels), dtype)
    traced = jax.jit(winograd.conv3x3).trace(x, kernel)
    for platform, textbook in (("cpu", not fast), ("cuda", True), ("tpu", True)):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert ("stablehlo.convolution" in text) == textbook
