"""Optimiser (paper, section 4.1): AdamW with a lower learning rate for the backbone.

Its other constants (betas, epsilon) are PyTorch's defaults.
"""

import functools
from collections.abc import Hashable
from typing import Any

import jax
import optax

from asymtrack_jax.config import TrainConfig


def learning_rate_schedule(config: TrainConfig) -> optax.Schedule:
    """Returns the learning rate of neck and head as a function of the step; see `TrainConfig`."""
    rate, warmup = config.learning_rate, config.warmup_steps
    if config.schedule == "cosine":
        after = optax.cosine_decay_schedule(rate, config.num_steps - warmup)
    else:
        boundary = config.decay_epoch * config.steps_per_epoch - warmup
        after = optax.piecewise_constant_schedule(rate, {boundary: config.decay_factor})
    if not warmup:
        return after
    # The first of n warm-up steps has 1/n of the learning rate, not 0.
    return optax.join_schedules(
        [optax.linear_schedule(rate / warmup, rate, warmup - 1), after], [warmup]
    )


def make_optimizer(config: TrainConfig) -> optax.GradientTransformationExtraArgs:
    """Returns the optimiser of `params`.

    Gradients are clipped by their global norm over all parameters; then each group of
    `parameter_groups` is updated by AdamW with its own learning rate. As in PyTorch's AdamW, the
    weight decay is the learning rate times `weight_decay`, for norms and biases too.
    """
    schedule = learning_rate_schedule(config)

    coupling = config.coupling_multiplier
    multipliers = {
        "backbone": config.backbone_multiplier,
        "coupling": config.backbone_multiplier if coupling is None else coupling,
        "head": 1.0,
    }

    def adamw(multiplier: float) -> optax.GradientTransformation:
        return optax.adamw(
            lambda count: multiplier * schedule(count), weight_decay=config.weight_decay
        )

    groups: dict[Hashable, optax.GradientTransformation] = {
        name: adamw(multiplier) for name, multiplier in multipliers.items()
    }
    groups["frozen"] = optax.set_to_zero()
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.partition(groups, functools.partial(parameter_groups, config.frozen_stages)),
    )


def parameter_groups(frozen_stages: int, params: Any) -> Any:
    """Returns each parameter's group: `backbone`, `coupling`, `head` (with the neck) or `frozen`.

    No gradient reaches `template_assignment`. PyTorch does not update parameters without a
    gradient; here they are frozen, since weight decay would change them otherwise.

    Args:
        frozen_stages: number of the backbone's first stages that are frozen; see `TrainConfig`.
        params: parameters of the training form.

    Returns:
        A pytree of group names with the structure of `params`.
    """
    frozen = ("patch_embed", "stage1")[: 2 * frozen_stages]

    def group(path: tuple[Any, ...], _: Any) -> str:
        names = [key.key for key in path]
        if "template_assignment" in names or (names[0] == "backbone" and names[1] in frozen):
            return "frozen"
        if names[0] != "backbone":
            return "head"
        return "coupling" if "modulation" in names or "attention" in names else "backbone"

    return jax.tree_util.tree_map_with_path(group, params)
