import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.models.asymtrack import AsymTrack, abstract_variables
from asymtrack_jax.models.head import decode
from asymtrack_jax.models.modulation import TemplateModulation

CONFIG = VARIANTS["testing"]


@pytest.fixture(scope="module")
def pair() -> tuple[jax.Array, jax.Array]:
    keys, sides = jax.random.split(jax.random.key(0)), (CONFIG.template_size, CONFIG.search_size)
    template, search = (
        jax.random.normal(key, (2, side, side, 3)) for key, side in zip(keys, sides, strict=True)
    )
    return template, search


def test_joint_call_equals_init_template_then_step(variables, pair):
    template, search = pair
    network = AsymTrack(CONFIG)

    @jax.jit
    def joint(variables):
        return network.apply(variables, template, search)

    @jax.jit
    def apart(variables):
        modulation = network.apply(variables, template, method="init_template")
        return network.apply(variables, modulation, search, method="step")

    chex.assert_trees_all_equal(joint(variables), apart(variables))


def test_training_normalises_with_the_batch_and_updates_the_running_statistics(variables, pair):
    network = AsymTrack(CONFIG)

    @jax.jit
    def train(variables):
        return network.apply(variables, *pair, train=True, mutable=["batch_stats"])

    prediction, updated = train(variables)
    assert np.isfinite(prediction.boxes).all()
    before, after = variables["batch_stats"], updated["batch_stats"]
    changed = jax.tree.map(lambda old, new: bool(np.any(old != new)), before, after)
    assert all(jax.tree.leaves(changed)), changed


def test_the_template_assignment_alone_gets_no_gradient():
    """Its value in published checkpoints is the initial one, so ours must not train it either."""
    layer = TemplateModulation(dim=8, num_kernels=2)
    z, x, direction = jax.random.normal(jax.random.key(0), (3, 2, 4, 4, 8))

    def modulate(layer, x, z):
        return layer(x, layer.kernels(z))

    @jax.jit
    @jax.grad
    def gradient(params):
        modulated = nn.apply(modulate, layer)({"params": params}, x, z)
        return jnp.sum(modulated * direction)

    params = nn.init(modulate, layer)(jax.random.key(1), x, z)["params"]
    still = {
        name
        for name, part in gradient(params).items()
        if not np.any(part["kernel" if "kernel" in part else "scale"])
    }
    assert still == {"template_assignment"}


def test_frozen_stages_alone_get_no_gradient(variables, pair):
    network = AsymTrack(CONFIG, frozen_stages=1)

    @jax.jit
    @jax.grad
    def gradient(variables):
        return network.apply(variables, *pair).boxes.sum()  # pyright: ignore[reportAttributeAccessIssue]

    backbone = gradient(variables)["params"]["backbone"]
    still = {name for name, part in backbone.items() if not any(map(np.any, jax.tree.leaves(part)))}
    assert still == {"patch_embed", "stage1"}


@pytest.mark.parametrize(
    ("variant", "training", "fused"),
    [("tiny", 3.626, 3.239), ("small", 3.936, 3.549), ("base", 3.936, 3.549)],
)
def test_sizes_are_the_published_ones(variant, training, fused):
    """Less 185,728 numbers that the published network holds and never uses.

    Our fused form also folds the scales and shifts of norms and layers.
    """

    def millions(**form) -> float:
        params = abstract_variables(VARIANTS[variant], **form)["params"]
        return sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6

    assert millions() == pytest.approx(training - 0.185728, abs=1e-3)
    assert fused - 0.185728 - 0.004 < millions(fused=True) < fused - 0.185728


class TestDecode:
    def test_a_sharp_corner_is_its_cell_without_the_half(self):
        maps = np.zeros((1, 2, 8, 8), np.float32)
        maps[0, 0, 2, 1] = maps[0, 1, 7, 5] = 100.0
        prediction = decode(jnp.asarray(maps))
        np.testing.assert_allclose(prediction.boxes[0] * 8, [3.0, 4.5, 4.0, 5.0], rtol=1e-6)
        np.testing.assert_allclose(prediction.scores, [1.0], rtol=1e-6)

    def test_flat_maps_score_four_cells_in_all(self):
        prediction = decode(jnp.zeros((3, 2, 8, 8)))
        np.testing.assert_allclose(prediction.scores, [4 / 64] * 3, rtol=1e-6)

    def test_a_corner_between_cells_scores_as_one_on_a_cell(self):
        maps = np.zeros((1, 2, 8, 8), np.float32)
        maps[0, 0, 2:4, 1:3] = maps[0, 1, 7, 4:6] = 100.0
        prediction = decode(jnp.asarray(maps))
        np.testing.assert_allclose(prediction.boxes[0] * 8, [3.0, 4.75, 3.0, 4.5], rtol=1e-6)
        np.testing.assert_allclose(prediction.scores, [1.0], rtol=1e-6)

    def test_a_corner_that_may_be_in_two_places_scores_the_likelier(self):
        maps = np.full((1, 2, 8, 8), -100.0, np.float32)
        maps[0, :, 0, 0] = maps[0, :, 7, 7] = 0.0
        maps[0, :, 7, 7] += np.log(3, dtype=np.float32)
        np.testing.assert_allclose(decode(jnp.asarray(maps)).scores, [0.75], rtol=1e-6)

    def test_no_precision_of_matrix_products_touches_it(self):
        """Accelerators compute products in bfloat16 or TF32 by default: half a pixel off."""
        assert "dot_general" not in str(jax.make_jaxpr(decode)(jnp.zeros((1, 2, 8, 8))))

    def test_it_is_float32_of_bfloat16_maps(self):
        maps = jax.random.normal(jax.random.key(0), (2, 2, 8, 8), jnp.bfloat16)
        found, expected = decode(maps), decode(maps.astype(jnp.float32))
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        assert found.boxes.dtype == found.scores.dtype == jnp.float32

    def test_huge_scores_stay_finite(self):
        maps = jnp.stack([jnp.full((2, 8, 8), -1e30), jnp.full((2, 8, 8), 1e30)])
        maps = maps.at[1, 0, 3, 3].set(-1e30)
        prediction = decode(maps)
        assert np.isfinite(prediction.boxes).all()
        assert np.isfinite(prediction.scores).all()
