"""What an accelerator is given, as far as its lowered program shows."""

import re

import jax
import pytest

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.models.fuse import fuse
from asymtrack_jax.tracking.model import Model

CONFIG = VARIANTS["testing"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_programs_have_no_slow_operation(variables, dtype: str):
    model = Model(CONFIG, fuse(variables), native=False, dtype=dtype)
    template, search = (
        jax.ShapeDtypeStruct((2, side, side, 3), "uint8")
        for side in (CONFIG.template_size, CONFIG.search_size)
    )

    def track(template, search):
        return model.step(model.init_template(template), search)

    traced = jax.jit(track).trace(template, search)
    for platform in ("cuda", "tpu"):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        operations = set(re.findall(r"stablehlo\.(\w+)", text))
        assert "f64" not in text  # which a TPU emulates
        assert not operations & {"custom_call", "gather", "scatter", "while", "dynamic_slice"}
        # Depthwise convolutions are grouped ones, not the shifted sums that suit a CPU.
        assert text.count("stablehlo.convolution") > text.count("stablehlo.pad")
