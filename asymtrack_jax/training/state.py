"""The training state: everything that a training step changes, as one pytree."""

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
    """State of a training run: input and output of a step, and the content of a checkpoint.

    Attributes:
        step: number of steps taken.
        params: parameters of the training form, float32.
        batch_stats: running statistics of the head's batch norms.
        opt_state: state of the optimiser.
        ema_params: exponential moving average of `params`; None without one.
    """

    step: Int[Array, ""]
    params: Any
    batch_stats: Any
    opt_state: optax.OptState
    ema_params: Any = None

    @property
    def variables(self) -> dict[str, Any]:
        """Variables to evaluate and export; with an EMA, those of the averaged parameters."""
        params = self.params if self.ema_params is None else self.ema_params
        return {"params": params, "batch_stats": self.batch_stats}


def create_state(variables: Any, config: TrainConfig) -> TrainState:
    """Returns the state of a run before its first step.

    Args:
        variables: `params` and `batch_stats` of the training form; they are copied, so that the
            state can be donated.
        config: optimisation settings of the run.
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
    """Returns the exponential moving average of the parameters after a step.

    The decay is min(decay, (1 + step) / (10 + step)), so that early averages follow the parameters
    closely.

    Args:
        ema_params: average before the step.
        params: parameters after the step.
        decay: decay after many steps, in [0, 1).
        step: number of steps taken before this one.
    """
    kept = jnp.minimum(decay, (1 + step) / (10 + step))
    return optax.incremental_update(params, ema_params, 1 - kept)


def with_layer_scale(params: Any, value: float) -> Any:
    """Returns `params` with every layer scale set to `value`; see `TrainConfig.layer_scale`."""

    def rescale(path: tuple[Any, ...], leaf: Any) -> Any:
        names = [key.key for key in path]
        added = (["perception", "scale"], ["modulation", "norm", "scale"])
        is_scale = names[-1] == "gamma" or any(names[-len(end) :] == end for end in added)
        return jnp.full_like(leaf, value) if is_scale else leaf

    return jax.tree_util.tree_map_with_path(rescale, params)
