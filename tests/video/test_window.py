"""Keys and drawn boxes, with OpenCV's windows replaced."""

import cv2
import numpy as np
import pytest

from asymtrack_jax.errors import InputError
from asymtrack_jax.video import window
from asymtrack_jax.video.step import Step
from tests.video.frames import FakeTracker

FRAME = np.full((48, 64, 3), 100, np.uint8)
BOXES = np.array([[10.0, 12.0, 20.25, 16.5], [1.0, 2.0, 30.0, 40.0]])
DRAWN = (3, 4, 5, 6)


@pytest.fixture
def press(monkeypatch):
    """Presents two targets while keys are pressed; returns the tracker, the step and more.

    "." is no key, and "-" cancels a drawing.
    """
    monkeypatch.setattr(window, "require_window", lambda instead: None)
    monkeypatch.setattr(cv2, "imshow", lambda name, image: None)

    def press(keys: str):
        waits, left = [], list(keys)
        monkeypatch.setattr(cv2, "waitKey", lambda ms: waits.append(ms) or _code(left.pop(0)))
        roi = lambda name, image: (0, 0, 0, 0) if left and left[0] == "-" and left.pop(0) else DRAWN  # noqa: E731
        monkeypatch.setattr(cv2, "selectROI", roi)
        tracker = FakeTracker()
        tracker.init(FRAME, BOXES)
        step = Step(FRAME, np.arange(2), BOXES, np.array([0.5, 0.125]), 0.1)
        step, go_on = window.Window().present(tracker, step, lambda step: step.frame.copy())
        assert not left
        assert step.targets.tolist() == tracker.ids
        return tracker, step, go_on, waits

    return press


def _code(key: str) -> int:
    return -1 if key == "." else ord(key)


@pytest.mark.parametrize(
    ("keys", "expected"), [(".", True), ("²", True), ("q", False), ("\x1b", False)]
)
def test_goes_on_until_asked_to_stop(press, keys, expected):
    _, step, go_on, _ = press(keys)
    assert go_on == expected
    np.testing.assert_array_equal(step.bboxes, BOXES)


def test_a_pause_waits_for_a_key(press):
    assert press("  .")[3] == [1, 0, 1]


def test_a_target_is_added(press):
    tracker, step, *_ = press("a.")
    assert tracker.ids == [0, 1, 2]
    np.testing.assert_array_equal(step.bboxes, [*BOXES, DRAWN])
    assert step.scores.tolist() == [0.5, 0.125, 1]
    assert step.lost.tolist() == [False, True, False]
    np.testing.assert_array_equal(tracker.bboxes[2], DRAWN)


def test_the_chosen_target_or_the_last_is_drawn_again(press):
    tracker, step, *_ = press("r.")
    np.testing.assert_array_equal(step.bboxes, [BOXES[0], DRAWN])
    assert step.lost.tolist() == [False, False]
    tracker, step, *_ = press("0r.")
    np.testing.assert_array_equal(step.bboxes, [DRAWN, BOXES[1]])
    assert tracker.ids == [0, 1]


def test_targets_are_removed_and_ids_stay(press):
    assert press("0x.")[0].ids == [1]
    assert press("7x.")[0].ids == [0]
    tracker, step, *_ = press("xxxra.")  # nothing is left to remove or to draw again
    assert tracker.ids == [2]
    np.testing.assert_array_equal(step.bboxes, [DRAWN])


def test_a_cancelled_drawing_changes_nothing(press):
    _, step, *_ = press("a-r-.")
    np.testing.assert_array_equal(step.bboxes, BOXES)


def test_missing_display_is_an_error_not_a_crash(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("QT_QPA_PLATFORM", "none-such")
    with pytest.raises(InputError, match=r"no window can be opened here.*pass --init-bbox"):
        window.select_bbox(np.zeros((10, 10, 3), np.uint8))


@pytest.mark.parametrize("drawn", [(3, 4, 5, 6), (0, 0, 0, 0)])
def test_person_draws_the_box_on_true_colours(monkeypatch, drawn):
    shown = []
    monkeypatch.setattr(window, "require_window", lambda instead: None)
    monkeypatch.setattr(cv2, "selectROI", lambda name, image: shown.append(image) or drawn)
    monkeypatch.setattr(cv2, "destroyWindow", lambda name: None)
    frame = np.full((10, 10, 3), (1, 2, 3), np.uint8)
    if any(drawn):
        np.testing.assert_array_equal(window.select_bbox(frame), drawn)
    else:
        with pytest.raises(InputError, match="no box was drawn"):
            window.select_bbox(frame)
    assert shown[0][0, 0].tolist() == [3, 2, 1]
