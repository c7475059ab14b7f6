import itertools

import jax
import jax.numpy as jnp
import numpy as np

from asymtrack_jax.boxes import cxcywh_to_xywh, giou
from asymtrack_jax.models.head import decode
from asymtrack_jax.training.losses import Losses, box_losses, corner_loss

# By hand, as corners: predicted [.0 .0 .4 .4], true [.2 .2 .4 .6], so that they share .2 * .2 of a
# union of .16 + .08 - .04, and the hull is .4 * .6.
PREDICTED, TRUE = [0.2, 0.2, 0.4, 0.4], [0.2, 0.2, 0.2, 0.4]
IOU, L1 = 0.04 / 0.2, (0.2 + 0.2 + 0.0 + 0.2) / 4
GIOU_LOSS = 1 - (IOU - (0.24 - 0.2) / 0.24)
INVERTED = [0.3, 0.4, -0.1, 0.4]  # corners [.35 .2 .25 .6]
INVERTED_L1 = (0.15 + 0.0 + 0.15 + 0.0) / 4


@jax.jit
def evaluate(predicted, target) -> tuple[Losses, jax.Array]:
    def total(predicted):
        found = box_losses(predicted, target, giou_weight=2.0, l1_weight=5.0)
        return found.total, found

    gradient, found = jax.grad(total, has_aux=True)(predicted)
    return found, gradient


def losses(predicted, target) -> Losses:
    return evaluate(jnp.array(predicted), jnp.array(target))[0]


def gradient(predicted, target) -> np.ndarray:
    return np.asarray(evaluate(jnp.array(predicted), jnp.array(target))[1])


def test_by_hand():
    found = losses([PREDICTED], [TRUE])
    np.testing.assert_allclose(found.giou, GIOU_LOSS, rtol=1e-6)
    np.testing.assert_allclose(found.l1, L1, rtol=1e-6)
    np.testing.assert_allclose(found.total, 2 * GIOU_LOSS + 5 * L1, rtol=1e-6)
    np.testing.assert_allclose(found.iou, IOU, rtol=1e-6)
    assert found.inverted == 0


def test_the_truth_is_cut_off_at_the_crop():
    found = losses([[0.9, 0.5, 0.2, 0.2]], [[0.8, 0.4, 0.5, 0.2]])
    np.testing.assert_allclose(found.total, 0, atol=1e-5)
    np.testing.assert_allclose(found.iou, 1, rtol=1e-6)


def test_an_inverted_box_counts_without_a_giou_term():
    found = losses([PREDICTED, INVERTED], [TRUE, TRUE])
    np.testing.assert_allclose(found.giou, GIOU_LOSS / 2, rtol=1e-6)
    np.testing.assert_allclose(found.iou, IOU / 2, rtol=1e-6)
    np.testing.assert_allclose(found.l1, (L1 + INVERTED_L1) / 2, rtol=1e-6)
    assert found.inverted == 0.5


def test_an_inverted_box_learns_from_l1_alone_and_the_others_as_ever():
    alone, both = gradient([PREDICTED], [TRUE]), gradient([PREDICTED, INVERTED], [TRUE, TRUE])
    np.testing.assert_allclose(both[0], alone[0] / 2, rtol=1e-6)
    # Its left side is right of the true one, its right side left of it: cx is pulled both ways, and
    # half of w by each, 5 being the loss's weight and 8 the numbers in the mean.
    np.testing.assert_allclose(both[1, [0, 2]], [0, -5 / 8], atol=1e-6)


def test_degenerate_boxes_give_finite_losses_and_gradients():
    """Without area, as good as without, inverted; on and off each other."""
    sizes, places = (-0.5, -1e-30, 0.0, 1e-30, 1e-7, 0.5), (0.0, 0.25, 1.0)
    cases = np.array(list(itertools.product(places, sizes, sizes, places, sizes[2:])), np.float32)
    x, w, h, target_x, target_size = cases.T
    predicted = np.stack([x, x, w, h], axis=1)
    target = np.stack([target_x, target_x, target_size, target_size], axis=1)
    assert all(np.isfinite(value) for value in vars(losses(predicted, target)).values())
    assert np.isfinite(gradient(predicted, target)).all()


def test_giou_of_numpy_arrays_is_the_same():
    a, b = np.random.default_rng(0).random((2, 9, 4), np.float32)
    np.testing.assert_allclose(giou(a, b), giou(jnp.array(a), jnp.array(b)), rtol=1e-5, atol=1e-6)


class TestCornerLoss:
    TARGET = np.array([[0.3, 0.1, 0.2, 0.5]], np.float32)  # corners .3 .1 and .5 .6
    # Shared out on maps of 4 cells a side: rows y, columns x; the corners are 1.2 .4 and 2.0 2.4.
    TOP_LEFT = np.outer([0.6, 0.4, 0, 0], [0, 0.8, 0.2, 0])
    BOTTOM_RIGHT = np.outer([0, 0, 0.6, 0.4], [0, 0, 1, 0])
    SHARE = np.stack([TOP_LEFT, BOTTOM_RIGHT])[None]

    def test_by_hand(self):
        maps = np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32)
        log_sum = np.log(np.exp(maps).sum((2, 3), keepdims=True))
        expected = -(self.SHARE * (maps - log_sum)).sum() / 2
        np.testing.assert_allclose(
            corner_loss(jnp.array(maps), jnp.array(self.TARGET)), expected, rtol=1e-5
        )

    def test_is_least_where_the_boxes_are_right(self):
        maps = jnp.log(self.SHARE + 1e-12)
        np.testing.assert_allclose(jax.grad(corner_loss)(maps, self.TARGET), 0, atol=1e-6)
        boxes = cxcywh_to_xywh(decode(maps).boxes)
        np.testing.assert_allclose(boxes, self.TARGET, atol=1e-6)

    def test_corners_outside_the_maps_go_to_the_nearest_cell(self):
        outside = np.array([[-0.5, 0.2, 3.0, 0.9]], np.float32)
        nearest = np.array([[0.0, 0.2, 0.75, 0.55]], np.float32)
        maps = np.random.default_rng(1).standard_normal((1, 2, 4, 4)).astype(np.float32)
        np.testing.assert_allclose(
            *(corner_loss(jnp.array(maps), jnp.array(each)) for each in (outside, nearest)),
            rtol=1e-6,
        )
