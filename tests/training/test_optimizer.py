import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from asymtrack_jax.config import TrainConfig
from asymtrack_jax.errors import InputError
from asymtrack_jax.training.optimizer import learning_rate_schedule, make_optimizer

CONFIG = TrainConfig(
    batch_size=1,
    pairs_per_epoch=3,
    learning_rate=0.01,
    weight_decay=0.5,
    clip_norm=1.0,
    decay_epoch=2,
)
PARAMS = {
    "backbone": {
        "stage2": {"modulation": {"template_assignment": {"bias": np.array([1.0, -2.0])}}},
        "norm": {"scale": np.array([1.0, 0.5])},
    },
    "neck": {"kernel": np.array([[0.3, -0.2], [0.1, 4.0]])},
    "head": {"top_left": {"bias": np.array([-0.7])}},
}


def gradients(seed: int, size: float) -> dict:
    """As the network's: none for `template_assignment`."""
    draw = np.random.default_rng(seed).standard_normal
    grads = jax.tree.map(lambda param: size * draw(param.shape), PARAMS)
    grads["backbone"]["stage2"]["modulation"]["template_assignment"]["bias"][:] = 0
    return grads


def run(config: TrainConfig, grads: list[dict]) -> Any:
    optimizer = make_optimizer(config)
    params = jax.tree.map(jnp.array, PARAMS)
    state = optimizer.init(params)
    for grad in grads:
        updates, state = optimizer.update(jax.tree.map(jnp.array, grad), state, params)
        params = optax.apply_updates(params, updates)
    return params


def by_the_book(config: TrainConfig, grads: list[dict]) -> dict:
    """PyTorch's clip_grad_norm_, AdamW and StepLR, as its documentation has them."""
    flat, tree = jax.tree.flatten_with_path(PARAMS)
    params = [param for _, param in flat]
    m = [np.zeros_like(param) for param in params]
    v = [np.zeros_like(param) for param in params]
    for t, grad in enumerate(grads, start=1):
        leaves = jax.tree.leaves(grad)
        norm = np.sqrt(sum((leaf**2).sum() for leaf in leaves))
        epoch = (t - 1) // config.steps_per_epoch
        for i, (path, _) in enumerate(flat):
            names = jax.tree_util.keystr(path)
            if "template_assignment" in names:  # its grad is None
                continue
            rate = config.learning_rate * (0.1 if epoch >= config.decay_epoch else 1)
            rate *= config.backbone_multiplier if "backbone" in names else 1
            g = leaves[i] * min(1, config.clip_norm / (norm + 1e-6))
            m[i] = 0.9 * m[i] + 0.1 * g
            v[i] = 0.999 * v[i] + 0.001 * g**2
            step = m[i] / (1 - 0.9**t) / (np.sqrt(v[i] / (1 - 0.999**t)) + 1e-8)
            params[i] = params[i] * (1 - rate * config.weight_decay) - rate * step
    return jax.tree.unflatten(tree, params)


@pytest.mark.parametrize("multiplier", [0.1, 1.0])
def test_is_pytorchs_adamw(multiplier: float):
    """Long and short gradients, past the decay of the learning rate."""
    config = dataclasses.replace(CONFIG, backbone_multiplier=multiplier)
    grads = [gradients(seed, (5.0, 0.1)[seed % 2]) for seed in range(9)]
    found, expected = run(config, grads), by_the_book(config, grads)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected)


def test_a_parameter_without_gradient_neither_moves_nor_decays():
    def assignment(params: dict) -> np.ndarray:
        return np.asarray(params["backbone"]["stage2"]["modulation"]["template_assignment"]["bias"])

    params = run(CONFIG, [gradients(seed, 1.0) for seed in range(3)])
    np.testing.assert_array_equal(assignment(params), assignment(PARAMS))


def test_the_learning_rate_drops_after_whole_epochs():
    schedule = learning_rate_schedule(TrainConfig(batch_size=64))
    np.testing.assert_allclose(schedule(400 * 937 - 1), 4e-4, rtol=1e-6)
    np.testing.assert_allclose(schedule(400 * 937), 4e-5, rtol=1e-6)


@pytest.mark.parametrize("name", ["learning_rate", "clip_norm", "grad_accum_steps", "ema_decay"])
def test_bad_settings_are_named(name: str):
    with pytest.raises(InputError, match=name):
        dataclasses.replace(TrainConfig(), **{name: -1})


def test_a_warm_up_longer_than_the_run_is_refused():
    with pytest.raises(InputError, match="warmup_steps must be less than the 4 steps"):
        TrainConfig(batch_size=1, pairs_per_epoch=4, epochs=1, warmup_steps=4, schedule="cosine")


def test_warm_up_then_cosine():
    config = TrainConfig(
        batch_size=1,
        pairs_per_epoch=10,
        epochs=2,
        learning_rate=0.01,
        warmup_steps=4,
        schedule="cosine",
    )
    schedule = learning_rate_schedule(config)
    rates = np.array([schedule(n) for n in range(20)])
    np.testing.assert_allclose(rates[:4], [0.0025, 0.005, 0.0075, 0.01])
    expected = 0.005 * (1 + np.cos(np.pi * np.arange(16) / 16))
    np.testing.assert_allclose(rates[4:], expected, rtol=1e-5)


def test_warm_up_does_not_put_off_the_step():
    config = dataclasses.replace(CONFIG, warmup_steps=3)
    schedule = learning_rate_schedule(config)
    np.testing.assert_allclose(np.array([schedule(n) for n in (2, 3, 5)]), 0.01, rtol=1e-6)
    np.testing.assert_allclose(schedule(6), 0.001, rtol=1e-6)


def test_groups_go_at_their_own_pace():
    names = ("patch_embed", "stage1", "stage2", "attention")
    params = {
        "backbone": {name: {"bias": jnp.ones(1)} for name in names},
        "head": {"bias": jnp.ones(1)},
    }
    config = dataclasses.replace(
        CONFIG, weight_decay=0.0, backbone_multiplier=0.1, coupling_multiplier=0.5, frozen_stages=1
    )
    optimizer = make_optimizer(config)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    moved = {jax.tree_util.keystr(p): float(u[0]) for p, u in jax.tree.leaves_with_path(updates)}
    expected = {"patch_embed": 0, "stage1": 0, "stage2": -0.001, "attention": -0.005}
    for name, value in expected.items():
        assert moved[f"['backbone']['{name}']['bias']"] == pytest.approx(value, rel=1e-4)
    assert moved["['head']['bias']"] == pytest.approx(-0.01, rel=1e-4)
