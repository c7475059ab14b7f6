"""The network against the published implementation, layer by layer.

In float64 both are exact for this purpose and must agree far beyond float32's digits: they compute
the same function. In float32, the way they run, each rounds in its own order; the golden float32
boxes are themselves up to 1.1e-5 from the published network's float64 ones. How far ours may be is
decided in float64 (`tests.rounding`). The fused form is compiled at XLA's default flags, as users
have it; the rest quickly, like all tests.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.models.asymtrack import AsymTrack
from asymtrack_jax.models.fuse import fuse
from tests import published, rounding

PUBLISHED = ("tiny", "small", "base")
LAYERS = (
    "etm1_dynamic",
    "etm2_dynamic",
    "template_tokens",
    "stage2",
    "stage3",
    "neck",
    "score_tl",
    "score_br",
)
FRAMES = ("boxes_cxcywh", "boxes2_cxcywh")
EXACT = ("etm1_dynamic", "etm2_dynamic", "score_tl", "score_br", *FRAMES)


@functools.cache
def network(variant: str, form: str) -> Callable[[Any], dict[str, np.ndarray]]:
    """Every golden quantity, computed by our network, as a function of its variables."""
    config = VARIANTS[variant]
    model = AsymTrack(config, fused=form == "fused")
    images = (
        published.image("input.template", config.template_size),
        published.image("input.search", config.search_size),
        published.image("input.search2", config.search_size),
    )

    def run(variables, template, search, search2) -> dict[str, Any]:
        apply: Any = functools.partial(model.apply, variables)
        capture = {
            "capture_intermediates": lambda _, name: name in ("__call__", "encode_search"),
            "mutable": ["intermediates"],
        }
        modulation, left = apply(template, method="init_template", **capture)
        maps, passed = apply(modulation, search, method="score_maps", **capture)
        prediction = apply(modulation, search, method="step")
        first = jax.tree.map(lambda leaf: leaf[:1], modulation)
        prediction2 = apply(first, search2[:1], method="step")
        dynamic = {
            f"etm{i}_dynamic": jnp.concatenate([kernels.depthwise, kernels.pointwise], axis=-1)
            for i, kernels in enumerate((modulation.stage2, modulation.stage3), start=1)
        }
        tokens = left["intermediates"]["backbone"]["stage3"]["perception"]["__call__"][0]
        backbone = passed["intermediates"]["backbone"]
        neck = passed["intermediates"]["neck"]["__call__"][0]
        return {
            **dynamic,
            "template_tokens": tokens.reshape(2, -1, tokens.shape[-1]),
            "stage2": backbone["stage2"]["encode_search"][0],
            "stage3": backbone["stage3"]["encode_search"][0],
            "neck": neck.reshape(2, -1, config.feature_dim),
            "score_tl": maps[:, 0],
            "score_br": maps[:, 1],
            "boxes_cxcywh": prediction.boxes,
            "boxes2_cxcywh": prediction2.boxes,
            "scores": prediction.scores,
        }

    double, level = form == "float64", 3 if form == "fused" else 0
    compiled = jax.jit(run, compiler_options={"xla_backend_optimization_level": level})

    def outputs(variables: Any) -> dict[str, np.ndarray]:
        with jax.enable_x64(double), jax.default_matmul_precision("highest"):
            arguments = jax.tree.map(np.float64 if double else np.float32, (variables, *images))
            return jax.tree.map(np.asarray, compiled(*arguments))

    return outputs


@functools.cache
def outputs(variant: str, form: str) -> dict[str, np.ndarray]:
    """Every golden quantity, computed by our network with the golden weights."""
    variables = published.variables(variant)
    return network(variant, form)(fuse(variables) if form == "fused" else variables)


@functools.cache
def rounding_of_boxes(variant: str) -> float:
    """How far rounding may move them, in sides of the search crop."""
    run = network(variant, "float64")
    return rounding.moved(
        lambda variables: run(variables)["boxes_cxcywh"], published.variables(variant)
    )


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference, in shares of the tensor's scale."""
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize("variant", PUBLISHED)
class TestParity:
    @pytest.mark.parametrize("name", EXACT)
    def test_exact(self, variant: str, name: str):
        """Up to the softmax of the attention, which JAX computes in float32 even so."""
        ours = outputs(variant, "float64")[name]
        theirs = published.golden("float64")[f"{variant}.{name}"]
        assert ours.dtype == np.float64
        assert distance(ours, theirs[: len(ours)]) < 1e-6

    @pytest.mark.parametrize("form", ["training", "fused"])
    @pytest.mark.parametrize("name", LAYERS)
    def test_layer(self, variant: str, form: str, name: str):
        assert distance(outputs(variant, form)[name], published.golden(variant)[name]) < 1e-4

    @pytest.mark.parametrize("form", ["training", "fused"])
    @pytest.mark.parametrize("name", FRAMES)
    def test_boxes(self, variant: str, form: str, name: str):
        """Of a frame in a batch of two, and of a second one alone with the same template.

        Against the published network's float64 boxes, whose float32 ones are 1.1e-5 from them.
        """
        ours, allowed = outputs(variant, form)[name], rounding_of_boxes(variant)
        theirs = published.golden("float64")[f"{variant}.{name}"][: len(ours)]
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=allowed)
        assert rounding.OF_PUBLISHED < allowed < 5e-5

    def test_scores_are_those_of_the_corner_distributions(self, variant: str):
        golden = published.golden(variant)
        peaks = []
        for name in ("score_tl", "score_br"):
            cells = np.exp(golden[name].reshape(2, *[round(golden[name][0].size ** 0.5)] * 2))
            windows = np.lib.stride_tricks.sliding_window_view(cells, (2, 2), (1, 2)).sum((3, 4))
            peaks.append(windows.max((1, 2)) / cells.sum((1, 2)))
        expected = np.sqrt(peaks[0] * peaks[1])
        np.testing.assert_allclose(outputs(variant, "fused")["scores"], expected, rtol=1e-3)
