"""All that training changes, as one tree."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Int

from asymtrack_jax.config import TrainConfig
from asymtrack_jax.training.optimizer import make_optimizer


@struct.dataclass
class TrainState:
    """What a step takes and returns, and what a run resumes from.

    Attributes:
        step: steps taken.
        params: the training form's, float32.
        batch_stats: running statistics of the head's batch norms.
        opt_state: the optimiser's.
        ema_params: moving average of `params`, or None if the run keeps none.
    """

    step: Int[Array, ""]
    params: Any
    batch_stats: Any
    opt_state: optax.OptState
    ema_params: Any = None

    @property
    def variables(self) -> dict[str, Any]:
        """The network to evaluate and to keep: of the averaged parameters if there are any."""
        params = self.params if self.ema_params is None else self.ema_params
        return {"params": params, "batch_stats": self.batch_stats}


def create_state(variables: Any, config: TrainConfig) -> TrainState:
    """State of a run before its first step.

    Args:
        variables: the training form's `params` and `batch_stats`; they are copied, so that a step
            to which the state is donated overwrites nobody else's.
        config: of the run.
    """
    params, batch_stats = jax.tree.map(jnp.array, (variables["params"], variables["batch_stats"]))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        opt_state=make_optimizer(config).init(params),
        ema_params=jax.tree.map(jnp.array, params) if config.ema_decay else None,
    )


def update_ema(ema_params: Any, params: Any, decay: float, step: Int[Array, ""]) -> Any:
    """The moving average after a step, which follows closely while there is little to average.

    Args:
        ema_params: the average so far.
        params: parameters after the step.
        decay: share of the old average that is kept, once enough steps were taken.
        step: steps taken before this one; the share is at most (1 + step) / (10 + step).
    """
    kept = jnp.minimum(decay, (1 + step) / (10 + step))
    return optax.incremental_update(params, ema_params, 1 - kept)


def with_layer_scale(params: Any, value: float) -> Any:
    """Parameters whose layer scales all have one value; see `TrainConfig.layer_scale`."""

    def rescale(path: tuple[Any, ...], leaf: Any) -> Any:
        names = [key.key for key in path]
        added = (["perception", "scale"], ["modulation", "norm", "scale"])
        is_scale = names[-1] == "gamma" or any(names[-len(end) :] == end for end in added)
        return jnp.full_like(leaf, value) if is_scale else leaf

    return jax.tree_util.tree_map_with_path(rescale, params)
