"""The functions of `AsymTrack(config, fused=True)` with native kernels."""

import dataclasses
from typing import Any

import jax
from jaxtyping import Array, Float

from asymtrack_jax.config import ModelConfig
from asymtrack_jax.models.efficientmod import Modulation
from asymtrack_jax.models.head import Prediction, decode
from asymtrack_jax.models.modulation import KERNEL_WIDTH, DynamicKernels
from asymtrack_jax.native import library
from asymtrack_jax.native.weights import sizes

TOKEN_STRIDE = 16  # template pixels per token along one side

Weights = Float[Array, " W"]  # variables packed by `native.weights.pack`


@dataclasses.dataclass(frozen=True)
class NativeNetwork:
    """The network's functions of packed weights: pure, jittable, for CPUs only.

    They compute in float32 whatever the default matmul precision. The library must have been built
    (`asymtrack native`).

    Attributes:
        config: sizes of the network.
    """

    config: ModelConfig

    def init_template(self, weights: Weights, template: Float[Array, "B Z Z 3"]) -> Modulation:
        """Computes the modulation of a template crop, normalised as in `images.normalise`."""
        c, B = self.config, template.shape[0]
        tokens = _array(B, (c.template_size // TOKEN_STRIDE) ** 2, c.num_heads, c.head_dim)
        kernels = [(_array(B, N, KERNEL_WIDTH), _array(B, N, N)) for N in c.num_kernels]
        results = (*kernels[0], *kernels[1], tokens, tokens)
        arrays = self._call("asymtrack_init_template", results, weights, template)
        return Modulation(DynamicKernels(*arrays[:2]), DynamicKernels(*arrays[2:4]), *arrays[4:])

    def score_maps(
        self, weights: Weights, modulation: Modulation, search: Float[Array, "B X X 3"]
    ) -> Float[Array, "B 2 S S"]:
        """Computes the score maps of the top-left and bottom-right corners, before softmax."""
        S = self.config.grid_size
        result = _array(search.shape[0], 2, S, S)
        arguments = (weights, search, *jax.tree.leaves(modulation))
        return self._call("asymtrack_score_maps", result, *arguments)

    def step(
        self, weights: Weights, modulation: Modulation, search: Float[Array, "B X X 3"]
    ) -> Prediction:
        """Predicts the target's box in a search crop, normalised as in `images.normalise`."""
        return decode(self.score_maps(weights, modulation, search))

    def _call(self, name: str, results: Any, *arguments: Array) -> Any:
        library.register(library.path())
        call = jax.ffi.ffi_call(name, results, vmap_method="sequential")
        return call(*arguments, sizes=sizes(self.config))


def _array(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, "float32")
