"""The training step: a pure function of state and batch."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from asymtrack_jax.config import ModelConfig, TrainConfig
from asymtrack_jax.data.augment import Batch
from asymtrack_jax.errors import InputError
from asymtrack_jax.images import normalise
from asymtrack_jax.models.asymtrack import AsymTrack
from asymtrack_jax.models.head import decode
from asymtrack_jax.training.losses import Losses, box_losses, corner_loss
from asymtrack_jax.training.optimizer import learning_rate_schedule, make_optimizer
from asymtrack_jax.training.state import TrainState, update_ema

TrainStep = Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]


def make_train_step(model_config: ModelConfig, config: TrainConfig) -> TrainStep:
    """Returns the training step, a pure function of (state, batch) to be jitted by the caller.

    The state may be donated. Images of a batch are uint8, or float32 normalised by
    `images.normalise`.

    The step returns the new state and scalar metrics: the fields of `losses.Losses`, `grad_norm`
    before clipping, `learning_rate` of the head, and `finite`, whether both the loss and the
    gradient are finite. The update is applied in any case; the caller checks `finite`.

    The step raises `InputError`, when it is traced, if the batch size is not a multiple of
    `config.grad_accum_steps`.
    """
    network = AsymTrack(model_config, frozen_stages=config.frozen_stages)
    optimizer = make_optimizer(config)
    schedule = learning_rate_schedule(config)

    def loss(params: Any, batch_stats: Any, batch: Batch) -> tuple[Array, tuple[Any, Losses]]:
        maps, batch_stats = score_maps(
            network, params, batch_stats, batch, bfloat16=config.bfloat16
        )
        boxes = decode(maps).boxes
        losses = box_losses(
            boxes, batch.boxes, giou_weight=config.giou_weight, l1_weight=config.l1_weight
        )
        if config.corner_weight:
            corners = corner_loss(maps, batch.boxes)
            total = losses.total + config.corner_weight * corners
            losses = dataclasses.replace(losses, total=total)
        return losses.total, (batch_stats, losses)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        grads, batch_stats, losses = accumulate(
            jax.grad(loss, has_aux=True),
            state.params,
            state.batch_stats,
            batch,
            config.grad_accum_steps,
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema_params = state.ema_params
        if ema_params is not None:
            ema_params = update_ema(ema_params, params, config.ema_decay, state.step)
        grad_norm = optax.tree.norm(grads)
        metrics = {
            **vars(losses),
            "grad_norm": grad_norm,
            "learning_rate": jnp.asarray(schedule(state.step)),
            "finite": jnp.isfinite(losses.total) & jnp.isfinite(grad_norm),
        }
        return TrainState(state.step + 1, params, batch_stats, opt_state, ema_params), metrics

    return train_step


def score_maps(
    network: AsymTrack, params: Any, batch_stats: Any, batch: Batch, *, bfloat16: bool
) -> tuple[Float[Array, "B 2 S S"], Any]:
    """Returns the network's score maps in training mode, and the updated running statistics.

    Args:
        network: the network in its training form.
        params: its parameters, float32.
        batch_stats: running statistics of its batch norms.
        batch: images, uint8 or normalised float32; its boxes are not used.
        bfloat16: compute everything up to the score maps in bfloat16. The maps are cast to float32
            in any case: coordinates closer than half a percent are equal in bfloat16.

    Returns:
        Score maps of the top-left and bottom-right corner before softmax, and `batch_stats` after
        the batch.
    """
    template, search = (
        normalise(image) if image.dtype == jnp.uint8 else image
        for image in (batch.template, batch.search)
    )
    if bfloat16:
        params, template, search = jax.tree.map(
            lambda array: array.astype(jnp.bfloat16), (params, template, search)
        )

    def both_streams(network: AsymTrack, template: Array, search: Array) -> Array:
        return network.score_maps(network.init_template(template), search, train=True)

    maps, updated = network.apply(
        {"params": params, "batch_stats": batch_stats},
        template,
        search,
        method=both_streams,
        mutable=["batch_stats"],
    )
    return maps.astype(jnp.promote_types(maps.dtype, jnp.float32)), updated["batch_stats"]


def accumulate(
    gradients: Callable[[Any, Any, Any], tuple[Any, tuple[Any, Any]]],
    params: Any,
    batch_stats: Any,
    batch: Any,
    parts: int,
) -> tuple[Any, Any, Any]:
    """Accumulates gradients over parts of a batch, computed one after the other.

    Each part takes every `parts`-th pair, so that every device holds an equal share of each part.

    Args:
        gradients: maps (params, batch_stats, part) to (gradients, (updated batch_stats, losses)).
        params: parameters, the same for all parts.
        batch_stats: running statistics, updated by each part in turn.
        batch: pytree of arrays whose first axis is the batch.
        parts: number of parts.

    Returns:
        Mean gradients, batch_stats after the last part, and mean losses.

    Raises:
        InputError: the batch size is not a multiple of `parts`.
    """
    if parts == 1:
        grads, (batch_stats, losses) = gradients(params, batch_stats, batch)
        return grads, batch_stats, losses

    def split(array: Array) -> Array:
        if array.shape[0] % parts:
            raise InputError(
                f"a batch of {array.shape[0]} does not divide into {parts} parts; "
                "change the batch size or grad_accum_steps"
            )
        return array.reshape(-1, parts, *array.shape[1:]).swapaxes(0, 1)

    def add_part(carry: tuple[Any, Any], part: Any) -> tuple[tuple[Any, Any], Any]:
        total, batch_stats = carry
        grads, (batch_stats, losses) = gradients(params, batch_stats, part)
        return (jax.tree.map(jnp.add, total, grads), batch_stats), losses

    zeros = jax.tree.map(jnp.zeros_like, params)
    (total, batch_stats), losses = jax.lax.scan(
        add_part, (zeros, batch_stats), jax.tree.map(split, batch)
    )
    grads = jax.tree.map(lambda leaf: leaf / parts, total)
    return grads, batch_stats, jax.tree.map(lambda leaf: leaf.mean(0), losses)
