import os
import signal
import weakref
from pathlib import Path

import numpy as np
import pytest

from asymtrack_jax.errors import InputError
from asymtrack_jax.video import drawing
from asymtrack_jax.video.follow import Tracks, choose_bboxes, follow_to_files, summary
from asymtrack_jax.video.sources import FrameSource, open_source
from asymtrack_jax.video.writers import VideoWriter

FRAME = np.full((48, 64, 3), 100, np.uint8)
BOXES = np.array([[10.0, 12.0, 20.25, 16.5], [1.0, 2.0, 30.0, 40.0]])


class FakeTracker:
    """Moves every box right by one pixel a frame; calls `on_update` first."""

    def __init__(self, on_update=lambda index: None):
        self.index, self.on_update = 0, on_update
        self.lost = np.array([False, False])

    def init(self, frame, init_bbox):
        if (init_bbox < 0).any():
            raise InputError("init_bbox is negative")
        self.bboxes = init_bbox.copy()

    def update(self, frame):
        self.index += 1
        self.on_update(self.index)
        self.bboxes = self.bboxes + np.array([1, 0, 0, 0])
        self.lost = np.array([self.index == 2, False])
        return self.bboxes, np.full(len(self.bboxes), 0.5, np.float32)


def source_of(count):
    return FrameSource(FRAME, iter([FRAME] * count), num_frames=count)


def run(tmp_path, tracker, source, boxes=BOXES, **settings):
    video = VideoWriter(tmp_path / "out.mp4", source.fps)
    return follow_to_files(tracker, source, boxes, video, **settings)


def written(tmp_path):
    """The boxes file, and how many frames the video has."""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4", "out.txt"]
    rows = np.loadtxt(tmp_path / "out.txt", delimiter=",", ndmin=2)
    return rows, len(list(open_source(str(tmp_path / "out.mp4")).frames))


def test_boxes_and_video_are_written(tmp_path):
    tracks = run(tmp_path, FakeTracker(), source_of(5))
    expected = BOXES + np.arange(5)[:, None, None] * [1, 0, 0, 0]
    np.testing.assert_array_equal(tracks.bboxes, expected)
    np.testing.assert_array_equal(tracks.scores, [[1, 1]] + [[0.5, 0.5]] * 4)
    assert tracks.fps > 0
    assert not tracks.interrupted
    rows, count = written(tmp_path)
    assert count == 5
    np.testing.assert_array_equal(rows.reshape(5, 2, 5)[..., :4], expected)
    np.testing.assert_array_equal(rows.reshape(5, 2, 5)[..., 4], tracks.scores)
    assert (tmp_path / "out.txt").read_text().splitlines()[0].startswith("10.0000,12.0000,20.2500,")


def test_what_is_lost_is_drawn_so(tmp_path, monkeypatch):
    drawn, annotate = [], drawing.annotate
    monkeypatch.setattr(drawing, "annotate", lambda *a: drawn.append(a[3].tolist()) or annotate(*a))
    run(tmp_path, FakeTracker(), source_of(4))
    assert drawn == [[False, False], [False, False], [True, False], [False, False]]


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
    tracks = run(tmp_path, FakeTracker(interrupt), source_of(9))
    rows, count = written(tmp_path)
    assert tracks.interrupted
    assert len(tracks.bboxes) == len(rows) == count == 4
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


def test_window_stops_on_request(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "require_window", lambda instead: None)
    wanted = iter([True, True, False])
    monkeypatch.setattr(drawing, "show", lambda frame: next(wanted))
    tracks = run(tmp_path, FakeTracker(), source_of(9), show=True)
    assert len(tracks.bboxes) == 3
    assert not tracks.interrupted


def test_summary_gives_what_is_known():
    bboxes = np.array([[[0, 0, 10, 10]], [[0, 0, 10, 10]], [[5, 0, 10, 10]]], float)
    tracks = Tracks(bboxes, np.ones((3, 1)), 12.34, False)
    output = Path("x/out.mp4")
    truth = np.tile([[0.0, 0.0, 10.0, 10.0]], (8, 1))
    text = summary(tracks, FrameSource(FRAME, iter([]), num_frames=8, truth=truth), output)
    assert "3 of 8 frames, 1 target(s): x/out.mp4 and x/out.txt" in text
    assert "12.3 frames a second" in text
    assert "mean IoU with the truth: 0.667" in text
    first_only = Tracks(bboxes[:1], np.ones((1, 1)), np.nan, True)
    text = summary(first_only, FrameSource(FRAME, iter([]), truth=truth), output)
    assert text == "interrupted: 1 frames, 1 target(s): x/out.mp4 and x/out.txt"


def test_boxes_come_from_the_command_the_truth_or_the_person(monkeypatch):
    monkeypatch.setattr(drawing, "select_bbox", lambda frame: BOXES[1])
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
