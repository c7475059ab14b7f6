import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asymtrack_jax import boxes

coordinates = st.floats(-1000, 1000)
sizes = st.floats(1e-2, 1000)
xywh = st.tuples(coordinates, coordinates, sizes, sizes).map(np.array)


@given(xywh)
def test_formats_go_round(box):
    back = boxes.cxcywh_to_xywh(boxes.xyxy_to_cxcywh(boxes.xywh_to_xyxy(box)))
    np.testing.assert_allclose(back, box, atol=1e-9)


@given(xywh, xywh)
def test_iou_is_symmetric_and_a_share(a, b):
    overlap = boxes.iou(a, b)
    assert 0 <= overlap <= 1 + 1e-9
    np.testing.assert_allclose(overlap, boxes.iou(b, a))
    np.testing.assert_allclose(boxes.iou(a, a), 1.0)


def test_iou_by_hand():
    a = np.array([[0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 0, 0]], float)
    b = np.array([[1, 1, 2, 2], [1, 0, 1, 1], [5, 5, 0, 0]], float)
    np.testing.assert_allclose(boxes.iou(a, b), [1 / 7, 0, np.nan])


@given(xywh, st.integers(10, 500), st.integers(10, 500))
def test_a_clipped_box_keeps_a_margin_inside_the_frame(box, height, width):
    x, y, w, h = boxes.clip_to_frame(box, height, width)
    assert w >= 10
    assert h >= 10
    assert 0 <= x <= width - 10
    assert 0 <= y <= height - 10


def test_a_box_well_inside_is_not_clipped():
    box = np.array([20.5, 30.25, 40.0, 50.0])
    np.testing.assert_array_equal(boxes.clip_to_frame(box, 200, 300), box)


@pytest.mark.parametrize(
    "function",
    [boxes.xywh_to_xyxy, boxes.xyxy_to_cxcywh, boxes.cxcywh_to_xywh],
)
def test_jax_arrays_give_the_same(function):
    box = np.random.default_rng(0).random((3, 2, 4), np.float32)
    np.testing.assert_allclose(function(jnp.asarray(box)), function(box), rtol=1e-6)
