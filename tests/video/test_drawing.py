import cv2
import numpy as np
import pytest

from asymtrack_jax.errors import InputError
from asymtrack_jax.video import drawing

BOX = np.array([[20.0, 40.0, 50.0, 30.0]])
FOLLOWED, LOST = np.array([False]), np.array([True])


def test_annotate_frames_the_target_and_leaves_its_input_alone():
    frame = np.full((120, 160, 3), 128, np.uint8)
    annotated = drawing.annotate(frame, BOX, np.ones(1), FOLLOWED, "#1")
    assert (frame == 128).all()
    for y, x in [(40, 45), (69, 45), (55, 20), (55, 69)]:
        assert annotated[y, x].tolist() == [255, 210, 0]
    np.testing.assert_array_equal(annotated[50:60, 30:60], frame[50:60, 30:60])


def test_annotate_writes_score_and_status():
    frame = np.full((120, 160, 3), 128, np.uint8)
    bare = drawing.annotate(frame, BOX, np.zeros(1), FOLLOWED, "#1")
    assert (bare != drawing.annotate(frame, BOX, np.ones(1), FOLLOWED, "#1")).any()
    assert (bare != drawing.annotate(frame, BOX, np.zeros(1), FOLLOWED, "#2")).any()
    long = drawing.annotate(frame, BOX, np.zeros(1), FOLLOWED, "too long for this frame" * 3)
    y, x = np.nonzero((bare != long).any(axis=-1))
    assert y.min() > 90  # one line
    assert x.max() < 159  # shrunk to fit


def test_a_lost_target_is_grey_and_dashed_and_says_so():
    frame = np.full((120, 160, 3), 128, np.uint8)
    low, high = (drawing.annotate(frame, BOX, np.full(1, s), LOST, "#1") for s in (0.1, 0.9))
    np.testing.assert_array_equal(low, high)  # no score
    edge = low[69, 20:70]
    grey = (edge == 190).all(axis=-1)
    assert 20 < grey.sum() < 40
    assert (edge[~grey] <= 128).all()
    assert grey[[0, 1, -1]].all()
    both = drawing.annotate(frame, np.tile(BOX, (2, 1)), np.ones(2), np.array([True, False]), "#1")
    assert both[69, 45].tolist() == [0, 200, 255]


@pytest.mark.parametrize("size", [(1, 1), (10, 300), (2000, 20)])
@pytest.mark.parametrize("lost", [np.zeros(2, bool), np.ones(2, bool)], ids=["followed", "lost"])
def test_annotate_survives_odd_frames_and_boxes_beyond_them(size, lost):
    boxes = np.array([[-500.0, -500, 2000, 2000], [0, 0, 0.1, 0.1]])
    frame = np.zeros((*size, 3), np.uint8)
    assert drawing.annotate(frame, boxes, np.ones(2), lost, "status").shape == frame.shape


def test_missing_display_is_an_error_not_a_crash(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("QT_QPA_PLATFORM", "none-such")
    with pytest.raises(InputError, match=r"no window can be opened here.*pass --init-bbox"):
        drawing.select_bbox(np.zeros((10, 10, 3), np.uint8))


@pytest.mark.parametrize("drawn", [(3, 4, 5, 6), (0, 0, 0, 0)])
def test_person_draws_the_box_on_true_colours(monkeypatch, drawn):
    shown = []
    monkeypatch.setattr(drawing, "require_window", lambda instead: None)
    monkeypatch.setattr(cv2, "selectROI", lambda window, image: shown.append(image) or drawn)
    monkeypatch.setattr(cv2, "destroyWindow", lambda window: None)
    frame = np.full((10, 10, 3), (1, 2, 3), np.uint8)
    if any(drawn):
        np.testing.assert_array_equal(drawing.select_bbox(frame), drawn)
    else:
        with pytest.raises(InputError, match="no box was drawn"):
            drawing.select_bbox(frame)
    assert shown[0][0, 0].tolist() == [3, 2, 1]
