from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asymtrack_jax.config import VARIANTS, TrainConfig
from asymtrack_jax.data.augment import Batch
from asymtrack_jax.errors import InputError
from asymtrack_jax.models import layers
from asymtrack_jax.training.state import TrainState, create_state, update_ema
from asymtrack_jax.training.step import TrainStep, accumulate, make_train_step

MODEL = VARIANTS["testing"]
PLAIN = TrainConfig(weight_decay=0.5)
# Everything that can be switched on.
RICH = TrainConfig(weight_decay=0.5, bfloat16=True, grad_accum_steps=2, ema_decay=0.5)


@pytest.fixture(scope="module")
def batch() -> Any:
    """Pixels of two pairs, each twice, so that both parts of a batch hold the same pairs."""
    rng = np.random.default_rng(0)

    def pixels(side: int) -> np.ndarray:
        return rng.integers(0, 256, (2, side, side, 3), np.uint8)

    pairs = Batch(
        template=pixels(MODEL.template_size),
        search=pixels(MODEL.search_size),
        boxes=np.array([[0.3, 0.4, 0.25, 0.25], [0.5, 0.3, 0.2, 0.3]], np.float32),
    )
    return jax.tree.map(lambda array: array.repeat(2, axis=0), pairs)


def compile_step(config: TrainConfig) -> TrainStep:
    step = jax.jit(make_train_step(MODEL, config), donate_argnums=0)

    def run(state: TrainState, batch: Batch) -> tuple[TrainState, dict]:
        with pytest.MonkeyPatch.context() as patch:  # quicker to compile
            patch.setattr(layers, "depthwise_conv", layers.depthwise_conv_grouped)
            return step(state, batch)

    return run


@pytest.fixture(scope="module")
def start(variables: dict) -> dict:
    """Weights whose corner distributions are not so sharp that their gradients vanish."""

    def soften(path: tuple, leaf: np.ndarray) -> np.ndarray:
        return 0.1 * leaf if any(key.key == "score" for key in path) else leaf

    return jax.tree_util.tree_map_with_path(soften, variables)


@pytest.fixture(scope="module")
def plain(start: dict, batch: Any) -> list[tuple[TrainState, dict]]:
    """States and metrics of some steps on the same batch, which the last one finds spoilt."""
    step, state, history = compile_step(PLAIN), create_state(start, PLAIN), []
    spoilt = batch._replace(boxes=np.full_like(batch.boxes, np.nan))
    for pairs in (batch, batch, batch, spoilt):
        state, metrics = step(state, pairs)
        history.append(jax.tree.map(np.array, (state, metrics)))  # copied before it is donated
    return history


@pytest.fixture(scope="module")
def rich(start: dict, batch: Any) -> tuple[TrainState, dict]:
    return jax.tree.map(np.array, compile_step(RICH)(create_state(start, RICH), batch))


def assignments(params) -> list[np.ndarray]:
    stages = (params["backbone"][stage]["modulation"] for stage in ("stage2", "stage3"))
    return [leaf for stage in stages for leaf in jax.tree.leaves(stage["template_assignment"])]


def test_learns_a_batch_by_heart(plain):
    totals = [metrics["total"] for _, metrics in plain[:3]]
    assert totals[0] > totals[1] > totals[2]
    assert [int(state.step) for state, _ in plain] == [1, 2, 3, 4]


def test_metrics(plain):
    for _, metrics in plain[:3]:
        assert set(metrics) == {
            *("total", "giou", "l1", "iou", "inverted", "grad_norm", "learning_rate", "finite")
        }
        assert all(np.shape(value) == () for value in metrics.values())
        assert metrics["finite"]
        assert metrics["learning_rate"] == np.float32(PLAIN.learning_rate)


def test_says_so_when_something_is_not_finite(plain):
    assert not plain[3][1]["finite"]


def test_what_gets_no_gradient_neither_moves_nor_decays(plain, rich, start):
    for state in (plain[2][0], rich[0]):
        for after, before in zip(
            assignments(state.params), assignments(start["params"]), strict=True
        ):
            np.testing.assert_array_equal(after, before)


def test_everything_else_moves(plain, start):
    params = plain[0][0].params
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), params, start["params"])
    assert sum(not leaf for leaf in jax.tree.leaves(moved)) == len(assignments(params))


def test_bfloat16_in_two_parts_is_about_the_same_step(plain, rich):
    """Both parts hold the pairs that the whole batch holds, so their mean gradient is its."""
    (_, expected), (state, metrics) = plain[0], rich
    assert metrics["finite"]
    for name in ("total", "giou", "l1"):
        np.testing.assert_allclose(metrics[name], expected[name], rtol=0.05, err_msg=name)
    np.testing.assert_allclose(metrics["grad_norm"], expected["grad_norm"], rtol=0.2)
    trees = (state.params, state.batch_stats, state.ema_params, state.opt_state)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(trees)} <= {"float32", "int32"}


def test_bfloat16_features_have_the_statistics_of_float32(plain, rich, start):
    """Within 6 % of a standard deviation: the features before are rounded, in layer after layer.

    Both parts move the running means, each by a tenth of the way to the same mean.
    """
    before, once = start["batch_stats"], plain[0][0].batch_stats
    for path, twice in jax.tree.leaves_with_path(rich[0].batch_stats):
        if path[-1].key != "mean":
            continue
        norm_before, norm_once = before, once
        for key in path[:-1]:
            norm_before, norm_once = norm_before[key.key], norm_once[key.key]
        mean = 10 * norm_once["mean"] - 9 * norm_before["mean"]
        deviation = np.sqrt(np.maximum(10 * norm_once["var"] - 9 * norm_before["var"], 0))
        expected = 0.81 * norm_before["mean"] + 0.19 * mean
        assert (np.abs(twice - expected) <= 0.06 * 0.19 * deviation).all(), path


def test_the_moving_average_is_what_is_kept(plain, rich, start):
    state, _ = rich
    jax.tree.map(
        lambda kept, before, after: np.testing.assert_allclose(
            kept, 0.1 * before + 0.9 * after, rtol=1e-5, atol=1e-7
        ),
        state.variables["params"],
        start["params"],
        state.params,
    )
    assert plain[0][0].variables["params"] is plain[0][0].params


def test_the_moving_average_slows_down_to_its_decay():
    ema, param = jnp.ones(1), jnp.zeros(1)
    kept = [float(update_ema(ema, param, 0.9, jnp.array(step))[0]) for step in (0, 8, 79, 80, 999)]
    np.testing.assert_allclose(kept, [0.1, 0.5, 80 / 89, 0.9, 0.9], rtol=1e-6)


class TestAccumulate:
    """On a linear model whose `batch_stats` count the parts and keep the last one's mean."""

    BATCH = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    PARAMS = np.array([1.0, 2.0, 3.0], np.float32)

    def run(self, parts: int):
        def loss(params, stats, batch):
            value = (jnp.sin(batch) @ params).mean()
            return value, ({"parts": stats["parts"] + 1, "mean": batch.mean()}, {"total": value})

        stats = {"parts": jnp.array(0), "mean": jnp.array(0.0)}
        return accumulate(jax.grad(loss, has_aux=True), self.PARAMS, stats, self.BATCH, parts)

    @pytest.mark.parametrize("parts", [2, 3, 6])
    def test_is_the_mean_over_the_batch(self, parts: int):
        (grads, _, losses), (expected, _, expected_losses) = self.run(parts), self.run(1)
        np.testing.assert_allclose(grads, expected, rtol=1e-6)
        np.testing.assert_allclose(losses["total"], expected_losses["total"], rtol=1e-5)

    def test_statistics_pass_from_part_to_part(self):
        _, stats, _ = self.run(3)
        assert stats["parts"] == 3
        np.testing.assert_allclose(stats["mean"], self.BATCH[2::3].mean(), rtol=1e-6)

    def test_batch_norms_see_a_part_at_a_time(self):
        """As the published training's two GPUs, each of which normalises its own 64 pairs."""
        norm, images = layers.BatchNorm(), jnp.array(self.BATCH)[:, None, None]
        variables = norm.init(jax.random.key(0), images, train=False)

        def loss(params, stats, batch):
            variables = {"params": params, "batch_stats": stats}
            out, updated = norm.apply(variables, batch, train=True, mutable=["batch_stats"])
            value = jnp.square(out - 1).mean() + jnp.sin(3 * out).mean()
            return value, (updated["batch_stats"], {"total": value})

        gradients = jax.grad(loss, has_aux=True)
        params, stats = variables["params"], variables["batch_stats"]
        found, _, _ = accumulate(gradients, params, stats, images, 2)
        halves = [gradients(params, stats, images[i::2])[0] for i in range(2)]
        whole, _ = gradients(params, stats, images)
        for name in ("scale", "bias"):
            expected = (halves[0][name] + halves[1][name]) / 2
            np.testing.assert_allclose(found[name], expected, rtol=1e-5)
            assert not np.allclose(found[name], whole[name], rtol=1e-2)

    def test_refuses_a_batch_that_does_not_divide(self):
        with pytest.raises(InputError, match="batch of 6 does not divide into 4 parts"):
            self.run(4)
