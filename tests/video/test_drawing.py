import numpy as np
import pytest

from asymtrack_jax.video import drawing

ONE, BOX = np.array([0]), np.array([[20.0, 40.0, 50.0, 30.0]])


def test_annotate_frames_the_target_and_leaves_its_input_alone():
    frame = np.full((120, 160, 3), 128, np.uint8)
    annotated = drawing.annotate(frame, ONE, BOX, np.ones(1), "#1")
    assert (frame == 128).all()
    for y, x in [(40, 45), (69, 45), (55, 20), (55, 69)]:
        assert annotated[y, x].tolist() == [255, 210, 0]
    np.testing.assert_array_equal(annotated[50:60, 30:60], frame[50:60, 30:60])


def test_annotate_writes_score_and_status():
    frame = np.full((120, 160, 3), 128, np.uint8)
    bare = drawing.annotate(frame, ONE, BOX, np.full(1, 0.3), "#1")
    assert (bare != drawing.annotate(frame, ONE, BOX, np.ones(1), "#1")).any()
    assert (bare != drawing.annotate(frame, ONE, BOX, np.full(1, 0.3), "#2")).any()
    long = drawing.annotate(frame, ONE, BOX, np.full(1, 0.3), "too long for this frame" * 3)
    y, x = np.nonzero((bare != long).any(axis=-1))
    assert y.min() > 90  # one line
    assert x.max() < 159  # shrunk to fit


def test_a_lost_target_is_dashed_in_its_colour_and_keeps_its_score():
    frame = np.full((120, 160, 3), 128, np.uint8)
    low, high = (drawing.annotate(frame, ONE, BOX, np.full(1, s), "#1") for s in (0.1, 0.2))
    assert (low != high).any()
    edge = low[69, 20:70]
    drawn = (edge == (255, 210, 0)).all(axis=-1)
    assert 20 < drawn.sum() < 40
    assert (edge[~drawn] <= 128).all()
    assert drawn[[0, 1, -1]].all()
    followed = drawing.annotate(frame, ONE, BOX, np.full(1, 0.3), "#1")
    assert (low[20:40] != followed[20:40]).any()  # says that it is lost


def test_targets_keep_their_colours_when_others_go():
    frame = np.full((120, 160, 3), 128, np.uint8)
    both = np.array([[80.0, 60, 50, 30], *BOX])
    of_two = drawing.annotate(frame, np.array([0, 1]), both, np.ones(2), "#1")
    alone = drawing.annotate(frame, np.array([1]), BOX, np.ones(1), "#1")
    assert of_two[69, 45].tolist() == alone[69, 45].tolist() == [0, 200, 255]
    np.testing.assert_array_equal(of_two[30:70, 20:60], alone[30:70, 20:60])


def test_the_true_box_is_drawn_where_it_is_known():
    frame = np.full((120, 160, 3), 128, np.uint8)
    bare = drawing.annotate(frame, ONE, BOX, np.ones(1), "#1")
    unknown = drawing.annotate(frame, ONE, BOX, np.ones(1), "#1", np.full(4, np.nan))
    np.testing.assert_array_equal(bare, unknown)
    true = BOX[0] + [70, 10, 0, 0]
    known = drawing.annotate(frame, ONE, BOX, np.ones(1), "#1", true)
    assert known[79, 115].tolist() == [80, 230, 80]


@pytest.mark.parametrize("size", [(1, 1), (10, 300), (2000, 20)])
@pytest.mark.parametrize("score", [0.1, 0.9], ids=["lost", "followed"])
def test_annotate_survives_odd_frames_and_boxes_beyond_them(size, score):
    boxes = np.array([[-500.0, -500, 2000, 2000], [0, 0, 0.1, 0.1]])
    frame = np.zeros((*size, 3), np.uint8)
    assert (
        drawing.annotate(frame, np.arange(2), boxes, np.full(2, score), "status").shape
        == frame.shape
    )
