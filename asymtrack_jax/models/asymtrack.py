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
    """The network as two streams with shared weights: `init_template` and `step`.

    Images are float32 RGB, NHWC, normalised with ImageNet's mean and standard deviation
    (`images.normalise`). Call its methods through `apply`:

        model = AsymTrack(config)
        variables = model.init(key, template, search)
        modulation = model.apply(variables, template, method="init_template")
        prediction = model.apply(variables, modulation, search, method="step")

    Attributes:
        config: sizes of the network.
        fused: whether this is the inference form, whose variables `models.fuse.fuse` returns.
        frozen_stages: 1 to stop gradients at the patch embedding and stage 1, 0 for none.
    """

    config: ModelConfig
    fused: bool = False
    frozen_stages: int = 0

    def setup(self):
        """Builds the layers that both streams share."""
        self.backbone = Backbone(self.config, self.fused, self.frozen_stages)
        init = nn.initializers.zeros if self.fused else nn.initializers.lecun_normal()
        self.neck = nn.Dense(self.config.feature_dim, kernel_init=init)
        self.head = CornerHead(self.fused)

    def init_template(self, template: Float[Array, "B Z Z 3"]) -> Modulation:
        """Computes the modulation of a template crop; run once per target."""
        return self.backbone.encode_template(template)

    def template_features(self, template: Float[Array, "B Z Z 3"]) -> Float[Array, "B h w C"]:
        """Computes features of the template stream at stride 16, before attention."""
        return self.backbone.template_features(template)

    def score_maps(
        self, modulation: Modulation, search: Float[Array, "B X X 3"], *, train: bool = False
    ) -> Float[Array, "B 2 S S"]:
        """Computes the score maps of the top-left and bottom-right corners, before softmax."""
        features = self.backbone.encode_search(search, modulation)
        return self.head(self.neck(features), train=train)

    def step(self, modulation: Modulation, search: Float[Array, "B X X 3"]) -> Prediction:
        """Predicts the target's box in a search crop."""
        return decode(self.score_maps(modulation, search))

    def __call__(
        self,
        template: Float[Array, "B Z Z 3"],
        search: Float[Array, "B X X 3"],
        *,
        train: bool = False,
    ) -> Prediction:
        """Predicts boxes for training pairs; equals `init_template`, then `step`.

        With `train` the head's batch norms use the statistics of the batch, and `apply` needs
        `mutable=["batch_stats"]` to return the updated running statistics.
        """
        return decode(self.score_maps(self.init_template(template), search, train=train))


def init_variables(config: ModelConfig, seed: int) -> Any:
    """Returns newly initialised variables of the training form: `params` and `batch_stats`."""
    return _init(jax.random.key(seed), config)


# It runs once, so its compilation time matters more than its run time.
@functools.partial(
    jax.jit, static_argnames="config", compiler_options={"xla_backend_optimization_level": 0}
)
def _init(key: Array, config: ModelConfig) -> Any:
    image = jnp.zeros((1, 32, 32, 3))  # no weight's shape depends on the image size
    return AsymTrack(config).init(key, image, image)


def abstract_variables(config: ModelConfig, *, fused: bool = False) -> Any:
    """Returns the variables as `jax.ShapeDtypeStruct`s, without computing them."""
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), "float32")
    return jax.eval_shape(AsymTrack(config, fused).init, jax.random.key(0), image, image)
