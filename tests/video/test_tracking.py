import os
import signal
import weakref
from pathlib import Path

import numpy as np
import pytest

from asymtrack_jax.errors import InputError
from asymtrack_jax.video import drawing, tracking
from asymtrack_jax.video.sources import FrameSource, open_source
from asymtrack_jax.video.tracking import TrackingResult, choose_bboxes, summary, track_to_files
from asymtrack_jax.video.tracks import Tracks
from asymtrack_jax.video.writers import VideoWriter
from tests.video.frames import FakeTracker

FRAME = np.full((48, 64, 3), 100, np.uint8)
BOXES = np.array([[10.0, 12.0, 20.25, 16.5], [1.0, 2.0, 30.0, 40.0]])


def source_of(count):
    return FrameSource(FRAME, iter([FRAME] * count), num_frames=count)


def run(tmp_path, tracker, source, boxes=BOXES, **settings):
    video = VideoWriter(tmp_path / "out.mp4", source.fps)
    return track_to_files(tracker, source, boxes, video, tmp_path / "out.txt", **settings)


def written(tmp_path):
    """The boxes file, and how many frames the video has."""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4", "out.txt"]
    rows = np.loadtxt(tmp_path / "out.txt", delimiter=",", ndmin=2)
    return rows, len(list(open_source(str(tmp_path / "out.mp4")).frames))


def test_boxes_and_video_are_written(tmp_path):
    tracked = run(tmp_path, FakeTracker(), source_of(5))
    tracks = tracked.tracks
    expected = BOXES + np.arange(5)[:, None, None] * [1, 0, 0, 0]
    np.testing.assert_array_equal(tracks.bboxes, expected.reshape(-1, 4))
    assert tracks.frames.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert tracks.targets.tolist() == [0, 1] * 5
    assert tracks.scores.tolist() == [1, 1, 0.5, 0.5, 0.125, *[0.5] * 5]
    assert tracks.lost.tolist() == [score == 0.125 for score in tracks.scores]
    assert tracked.fps > 0
    assert not tracked.interrupted
    rows, count = written(tmp_path)
    assert count == 5
    np.testing.assert_array_equal(rows.reshape(5, 2, 5)[..., :4], expected)
    np.testing.assert_array_equal(rows.reshape(5, 2, 5)[..., 4].ravel(), tracks.scores)
    assert (tmp_path / "out.txt").read_text().splitlines()[0].startswith("10.0000,12.0000,20.2500,")


def test_frames_are_not_kept(tmp_path):
    alive = []

    def frames():
        for _ in range(20):
            frame = FRAME.copy()
            alive.append(weakref.ref(frame))
            yield frame
            del frame
            assert sum(reference() is not None for reference in alive) <= 2

    run(tmp_path, FakeTracker(), FrameSource(FRAME, frames()))


def test_interrupt_finishes_the_frame_in_work(tmp_path):
    def interrupt(index):
        if index == 3:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    tracked = run(tmp_path, FakeTracker(interrupt), source_of(9))
    rows, count = written(tmp_path)
    assert tracked.interrupted
    assert tracked.tracks.num_frames == len(rows) == count == 4
    assert signal.getsignal(signal.SIGINT) == before


@pytest.fixture
def pythons_interrupt():
    """Ctrl-C as Python has it, though a shell may have started the tests with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("pythons_interrupt")
def test_second_interrupt_stops_at_once_and_keeps_what_was_done(tmp_path):
    def interrupt_twice(index):
        if index == 3:
            signal.raise_signal(signal.SIGINT)  # in this thread, so that two do not become one
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, FakeTracker(interrupt_twice), source_of(9))
    rows, count = written(tmp_path)
    assert len(rows) == count == 3


def test_bad_frame_keeps_what_was_done_and_says_so(tmp_path):
    def frames():
        yield from [FRAME] * 3
        raise InputError("0004.jpg is not an image")

    with pytest.raises(InputError, match=r"0004\.jpg.*out\.mp4 holds the 3 frames before"):
        run(tmp_path, FakeTracker(), FrameSource(FRAME, frames()))
    rows, count = written(tmp_path)
    assert len(rows) == count == 3


def test_bad_box_leaves_earlier_results_alone(tmp_path):
    (tmp_path / "out.mp4").write_text("before")
    with pytest.raises(InputError, match=r"negative$"):
        run(tmp_path, FakeTracker(), source_of(3), -BOXES)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_text() == "before"


def test_input_is_never_overwritten(tmp_path):
    run(tmp_path, FakeTracker(), source_of(3))
    with pytest.raises(InputError, match="is the input"):
        run(tmp_path, FakeTracker(), open_source(str(tmp_path / "out.mp4")))


class FakeWindow:
    """Adds a target in frame 1, removes the first in frame 2, and stops in frame 4."""

    def __init__(self):
        self.shown = 0

    def present(self, tracker, step, draw):
        index, self.shown = self.shown, self.shown + 1
        if index == 1:
            step = step.with_box(tracker.add(step.frame, BOXES[0]), BOXES[0])
        if index == 2:
            tracker.remove(0)
            step = step.without(0)
        assert draw(step).shape == FRAME.shape
        return step, index < 4


def test_what_is_done_in_the_window_is_tracked_and_written(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "Window", FakeWindow)
    tracked = run(tmp_path, FakeTracker(), source_of(9), show=True)
    assert not tracked.interrupted
    tracks = tracked.tracks
    assert tracks.frames.tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 4]
    assert tracks.targets.tolist() == [0, 1, 0, 1, 2, 1, 2, 1, 2, 1, 2]
    np.testing.assert_array_equal(tracks.bboxes[-1], BOXES[0] + [3, 0, 0, 0])
    rows, count = written(tmp_path)
    assert count == 5
    absent = np.isnan(rows.reshape(5, 3, 5)).all(axis=-1)
    assert absent.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]]


def test_the_true_box_is_drawn_and_compared(tmp_path, monkeypatch):
    drawn, annotate = [], drawing.annotate
    monkeypatch.setattr(drawing, "annotate", lambda *a: drawn.append(a[5].tolist()) or annotate(*a))
    truth = np.array([[0.0, 0, 10, 10], [1, 0, 10, 10], [np.nan] * 4])
    source = FrameSource(FRAME, iter([FRAME] * 3), num_frames=3, truth=truth)
    tracked = run(tmp_path, FakeTracker(), source, truth[:1])
    np.testing.assert_array_equal(drawn, truth)
    text = summary(tracked, source, Path("a.mp4"), Path("a.txt"))
    assert "mean IoU with the true boxes: 1.000" in text


def test_summary_gives_what_is_known():
    bboxes = np.array([[x, 0, 10, 10] for x in (0, 0, 5, 90, 0, 0)], float)
    frames, targets = np.array([0, 1, 2, 2, 3, 4]), np.array([0, 0, 0, 1, 0, 0])
    tracks = Tracks(5, frames, targets, bboxes, np.ones(6))
    paths = Path("x/out.mp4"), Path("x/out.csv")
    truth = np.tile([[0.0, 0.0, 10.0, 10.0]], (8, 1))
    truth[3], truth[4] = 0, np.nan  # absent, unknown
    source = FrameSource(FRAME, iter([]), num_frames=8, truth=truth)
    text = summary(TrackingResult(tracks, 12.34, False), source, *paths)
    assert "5 of 8 frames, 2 target(s): x/out.mp4 and x/out.csv" in text
    assert "12.3 frames/s" in text
    assert "mean IoU with the true boxes: 0.667" in text
    first = Tracks(1, *(column[:1] for column in (frames, targets, bboxes, np.ones(6))))
    source = FrameSource(FRAME, iter([]), truth=truth)
    text = summary(TrackingResult(first, np.nan, True), source, *paths)
    assert text == "interrupted: 1 frames, 1 target(s): x/out.mp4 and x/out.csv"


def test_neither_the_first_frame_nor_compilation_counts_in_a_rate():
    seconds = [np.nan, 9.0, *[0.1] * 3]
    for window in (2, 3, 4, 5, None):
        assert tracking.update_rate(seconds, window) == pytest.approx(10)
    assert np.isnan(tracking.update_rate(seconds[:2]))


def test_boxes_come_from_the_command_the_truth_or_the_person(monkeypatch):
    monkeypatch.setattr(tracking, "select_bbox", lambda frame: BOXES[1])
    known = FrameSource(FRAME, iter([]), truth=BOXES)
    np.testing.assert_array_equal(
        choose_bboxes(["1,2,3.5,4", " 5, 6,7,8 "], known)[0], [1, 2, 3.5, 4]
    )
    np.testing.assert_array_equal(choose_bboxes([], known), BOXES[:1])
    np.testing.assert_array_equal(choose_bboxes([], source_of(1)), BOXES[1:])


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,4,5", "a,b,c,d", "", "1 2 3 4"])
def test_refuses_what_is_not_a_box(text):
    with pytest.raises(InputError, match="expected four numbers x,y,w,h"):
        choose_bboxes([text], source_of(1))
