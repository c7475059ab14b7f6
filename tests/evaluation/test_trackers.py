import sys
import types

import cv2
import numpy as np
import pytest

from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import runner, trackers
from asymtrack_jax.evaluation.results import ResultFormat
from tests.evaluation.sequences import write_sequences

FRAME = np.zeros((60, 80, 3), np.uint8)
BBOX = np.array([20.4, 10.6, 16.0, 12.0])


class Still:
    """Gives the first box again, with or without a score."""

    made = 0

    def __init__(self, score=None):
        Still.made += 1
        self.score = score

    def init(self, frame, bbox):
        assert frame.dtype == np.uint8
        self.bbox = bbox

    def update(self, frame):
        return self.bbox.tolist() if self.score is None else (self.bbox, self.score)


class Failing(Still):
    def update(self, frame):
        if frame[0, 0, 0] == 2:
            raise RuntimeError("no third frame")
        return super().update(frame)


@pytest.fixture
def module(monkeypatch):
    made = types.ModuleType("some_trackers")
    made.__dict__.update(Still=Still, Failing=Failing, scored=lambda: Still(0.5), number=3)
    monkeypatch.setitem(sys.modules, "some_trackers", made)


def run(spec, tmp_path, lengths):
    sequences = write_sequences(tmp_path / "data", lengths)
    (tmp_path / "out").mkdir()
    slots = trackers.SingleSlot(trackers.make_factory(spec))
    return runner.run(slots, sequences, tmp_path / "out", ResultFormat(), warm_up=False)


@pytest.mark.parametrize(("name", "scores"), [("Still", False), ("scored", True)])
def test_an_object_of_ones_own_tracks_and_may_give_scores(module, tmp_path, name, scores):
    before = Still.made
    outcome = run(f"some_trackers:{name}", tmp_path, {"a": 4, "b": 3})
    assert (outcome.finished, outcome.failures) == (2, {})
    assert Still.made == before + 2  # one for each sequence
    boxes = np.loadtxt(tmp_path / "out" / "a.txt")
    np.testing.assert_array_equal(boxes, np.tile([5, 6, 10, 12], (4, 1)))
    assert (tmp_path / "out" / "a_score.txt").exists() == scores
    assert (tmp_path / "out" / "a_time.txt").exists()


def test_an_exception_ends_its_sequence_alone(module, tmp_path):
    outcome = run("some_trackers:Failing", tmp_path, {"a": 4, "b": 2})
    assert outcome.failures == {"a": "the tracker raised RuntimeError: no third frame"}
    assert outcome.finished == 1
    assert not (tmp_path / "out" / "a.txt").exists()


def test_what_update_returns_must_be_a_box(monkeypatch):
    slots = trackers.SingleSlot(Still)
    monkeypatch.setattr(Still, "update", lambda *_: [1, 2, 3])
    slots.start(0, FRAME, BBOX)
    with pytest.raises(InputError, match=r"update returned \[1, 2, 3\]: expected x, y, w, h"):
        slots.advance({0: FRAME})


class FakeOpenCV:
    """Looks at the frame's blue, and loses the target in black frames."""

    def init(self, frame, bbox):
        assert all(isinstance(value, int) for value in bbox)
        self.blue, self.bbox = int(frame[0, 0, 0]), bbox

    def update(self, frame):
        return bool(frame[0, 0, 0]), (int(frame[0, 0, 0]), 2, 3, 4)


def test_opencv_gets_bgr_and_integers_and_keeps_the_last_box(monkeypatch):
    parameters = types.SimpleNamespace(use_hog=True, padding=3.0, window_function="hann")
    created = []
    monkeypatch.setattr(cv2, "TrackerCSRT_Params", lambda: parameters, raising=False)
    monkeypatch.setattr(
        cv2,
        "TrackerCSRT_create",
        lambda values: created.append((values, tracker := FakeOpenCV())) or tracker,
        raising=False,
    )
    slots = trackers.SingleSlot(trackers.make_factory("opencv:csrt?use_hog=false&padding=2"))
    blue = FRAME.copy()
    blue[..., 2] = 7
    slots.start(0, blue, BBOX)
    ((values, tracker),) = created
    assert vars(values) == {"use_hog": False, "padding": 2.0, "window_function": "hann"}
    assert (tracker.blue, tracker.bbox) == (7, [20, 11, 16, 12])
    for frame, x in ((FRAME, 20.4), (blue, 7), (FRAME, 7)):
        bbox, score = slots.advance({0: frame})[0]
        assert bbox[0] == x
        assert np.isnan(score)


def test_opencv_takes_what_it_is_given():
    rng = np.random.default_rng(0)
    square = rng.integers(0, 256, (24, 24, 3), np.uint8)
    slots = trackers.SingleSlot(trackers.make_factory("opencv:mil"))
    for step in range(3):
        frame = np.full((90, 120, 3), 90, np.uint8)
        frame[30:54, 40 + 4 * step : 64 + 4 * step] = square
        if step:
            bbox, _ = slots.advance({0: frame})[0]
        else:
            slots.start(0, frame, np.array([40.0, 30, 24, 24]))
    assert abs(bbox[0] - 48) < 12  # pyright: ignore[reportPossiblyUnboundVariable]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("csrt", "expected opencv:NAME, such as opencv:csrt, or MODULE:FACTORY"),
        ("opencv:camshift", "OpenCV's trackers are csrt, dasiamrpn, kcf"),
        ("opencv:nano", r"no file .*onnx; name its models as opencv:nano\?backbone=PATH&neckhead="),
        ("opencv:nano?head=x", "no option head; options: backbone, backend, neckhead, target"),
        ("opencv:mil?samplerInitInRadius=wide", "samplerInitInRadius=wide: expected float"),
        ("nowhere_at_all:f", "no module nowhere_at_all in the current folder or installed"),
        ("some_trackers:f", "has no attribute 'f'"),
        ("some_trackers:number", "number is 3, not a class or function"),
    ],
)
def test_what_cannot_track_is_refused(module, monkeypatch, spec, message):
    with pytest.raises(InputError, match=message):
        trackers.make_factory(spec)


def test_an_opencv_without_a_tracker_says_which_has_it(monkeypatch):
    monkeypatch.delattr(cv2, "TrackerKCF_create", raising=False)
    with pytest.raises(InputError, match="is built without KCF; opencv-contrib-python"):
        trackers.make_factory("opencv:kcf")
