"""AsymTrack (Zhu et al., AAAI 2025, arXiv 2503.00516): the whole network."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from asymtrack_jax.config import ModelConfig
from asymtrack_jax.models.efficientmod import Backbone, Modulation
from asymtrack_jax.models.head import CornerHead, Prediction, decode


class AsymTrack(nn.Module):
    """The network as two streams, `init_template` and `step`, over one set of variables.

    Images are RGB, NHWC, `(pixel / 255 - mean) / std` with ImageNet's mean and deviation. Use it
    through `apply`, naming the method:

        model = AsymTrack(config)
        variables = model.init(key, template, search)
        modulation = model.apply(variables, template, method="init_template")
        prediction = model.apply(variables, modulation, search, method="step")

    Attributes:
        config: sizes of the network.
        fused: the form for tracking, whose variables `models.fuse` makes of the training form's.
        frozen_stages: 1 if no gradient is wanted of the patch embedding and stage 1, else 0.
    """

    config: ModelConfig
    fused: bool = False
    frozen_stages: int = 0

    def setup(self):
        """Builds the layers, which both streams share."""
        self.backbone = Backbone(self.config, self.fused, self.frozen_stages)
        self.neck = nn.Dense(self.config.feature_dim)
        self.head = CornerHead(self.fused)

    def init_template(self, template: Float[Array, "B Z Z 3"]) -> Modulation:
        """What tracking needs of the template; run it once a video."""
        return self.backbone.encode_template(template)

    def template_features(self, template: Float[Array, "B Z Z 3"]) -> Float[Array, "B h w C"]:
        """Features of the template stream at stride 16, before attention."""
        return self.backbone.template_features(template)

    def score_maps(
        self, modulation: Modulation, search: Float[Array, "B X X 3"], *, train: bool = False
    ) -> Float[Array, "B 2 S S"]:
        """Score maps of both corners in the search crop, before softmax."""
        features = self.backbone.encode_search(search, modulation)
        return self.head(self.neck(features), train=train)

    def step(self, modulation: Modulation, search: Float[Array, "B X X 3"]) -> Prediction:
        """Where the target is in a frame's search crop."""
        return decode(self.score_maps(modulation, search))

    def __call__(
        self,
        template: Float[Array, "B Z Z 3"],
        search: Float[Array, "B X X 3"],
        *,
        train: bool = False,
    ) -> Prediction:
        """A training pair; without `train` exactly `init_template`, then `step`.

        With `train` the head's batch norms use the batch's statistics, and `apply` needs
        `mutable=["batch_stats"]` to hand back the updated running ones.
        """
        return decode(self.score_maps(self.init_template(template), search, train=train))


def init_variables(config: ModelConfig, seed: int) -> Any:
    """Fresh variables of the training form."""
    return _init(jax.random.key(seed), config)


# It runs once, so compiling it quickly matters more than running it quickly.
@functools.partial(
    jax.jit, static_argnames="config", compiler_options={"xla_backend_optimization_level": 0}
)
def _init(key: Array, config: ModelConfig) -> Any:
    image = jnp.zeros((1, 32, 32, 3))  # no weight's shape depends on the images' size
    return AsymTrack(config).init(key, image, image)


def abstract_variables(config: ModelConfig, *, fused: bool = False) -> Any:
    """Shapes and dtypes of the network's variables, without computing them."""
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), "float32")
    return jax.eval_shape(AsymTrack(config, fused).init, jax.random.key(0), image, image)
