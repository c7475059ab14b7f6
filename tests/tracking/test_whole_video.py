"""Whole videos on the device against one frame at a time from the host."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asymtrack_jax import Tracker
from asymtrack_jax.config import VARIANTS
from asymtrack_jax.data.synthetic import render_clip
from asymtrack_jax.errors import InputError
from asymtrack_jax.models.head import Prediction
from asymtrack_jax.tracking.model import Model
from asymtrack_jax.tracking.whole_video import VideoTracker

T = 11  # frames after the first


class Stub(Model):
    """A network that is quickly compiled: its boxes vary with what it sees; white breaks it."""

    def __init__(self):
        self.config = VARIANTS["testing"]

    def init_template(self, template: Any) -> Any:
        return jnp.mean(template, (1, 2, 3), dtype=jnp.float32) / 255

    def step(self, modulation: Any, search: Any) -> Prediction:
        half = search.shape[1] // 2
        means = jnp.mean(search.reshape(-1, 2, half, 2, half, 3), (2, 4), dtype=jnp.float32) / 255
        moved = 0.5 + 0.2 * (means[:, 0, 0, :2] - means[:, 1, 1, :2])
        size = jnp.clip(0.2 + 0.2 * (modulation[:, None] - means[:, 0, 1, :2]), 0.1, 0.4)
        boxes = jnp.concatenate([moved, size], -1)
        broken = means.min((1, 2, 3)) > 0.99
        return Prediction(jnp.where(broken[:, None], jnp.inf, boxes), means[:, 0, 0, 0])


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    return np.stack([np.stack(list(render_clip(T + 1, (96, 128), seed))) for seed in (0, 1)])


@pytest.fixture(scope="module")
def bboxes() -> np.ndarray:
    return np.stack([render_clip(1, (96, 128), seed).boxes[0] for seed in (0, 1)])


def one_at_a_time(model: Any, clip: np.ndarray, bbox: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    tracker = Tracker(model)
    tracker.init(clip[0], bbox)
    found, scores = zip(*(tracker.update(frame) for frame in clip[1:]), strict=True)
    return np.stack(found), np.array(scores)


def close(ours, theirs, pixels: float = 1e-5) -> None:
    (found, scores), (expected, expected_scores) = ours, theirs
    np.testing.assert_allclose(found, expected, rtol=0, atol=pixels)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5)


def test_boxes_are_the_trackers(model, clips, bboxes):
    """Nothing but the last bits of float64: rounding adds up over the frames of a video."""
    tracker = VideoTracker(model, chunk=4)
    tracker.init(clips[0, 0], bboxes[0])
    found, scores = tracker.update(clips[0, 1:])
    assert (found.shape, found.dtype, scores.shape) == ((T, 4), np.float64, (T,))
    close((found, scores), one_at_a_time(model, clips[0], bboxes[0]), pixels=1e-9)
    assert np.ptp(found, axis=0).max() > 1  # it moved


def test_videos_at_once_are_what_each_is_alone(clips, bboxes):
    tracker = VideoTracker(Stub(), chunk=4)
    tracker.init(clips[:, 0], bboxes)
    found, scores = tracker.update(clips[:, 1:])
    assert (found.shape, scores.shape) == ((2, T, 4), (2, T))
    for video, (clip, bbox) in enumerate(zip(clips, bboxes, strict=True)):
        close((found[video], scores[video]), one_at_a_time(Stub(), clip, bbox))


@pytest.mark.parametrize("chunk", [1, 4, T, 16])
@pytest.mark.parametrize("put", [np.asarray, jnp.asarray])
def test_chunks_change_nothing(clips, bboxes, chunk, put):
    clip, bbox = clips[0], bboxes[0]
    tracker = VideoTracker(Stub(), chunk)
    tracker.init(put(clip[0]), bbox)
    parts = [tracker.update(put(part)) for part in np.split(clip[1:], [5, 5, 6])]
    assert [len(found) for found, _ in parts] == [5, 0, 1, 5]
    found, scores = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    close((found, scores), one_at_a_time(Stub(), clip, bbox))
    tracker.init(put(clip[0]), bbox)
    np.testing.assert_array_equal(tracker.update(put(clip[1:]))[0], found)


@pytest.fixture
def events() -> Iterator[list[str]]:
    """What jax tells of its doings: compiling, among others."""
    told: list[str] = []

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        told.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield told
    jax.monitoring.unregister_event_duration_listener(listen)


def test_another_video_of_the_size_compiles_nothing(clips, bboxes, events):
    tracker = VideoTracker(Stub(), 4)
    for index, length in ((0, T), (1, 7), (1, 4)):
        tracker.init(clips[index, 0], bboxes[index])
        tracker.update(clips[index, 1 : 1 + length])
        assert any("compile" in event for event in events) == (index == 0)
        events.clear()
    tracker.init(clips[0, 0, :90], bboxes[0])
    assert any("compile" in event for event in events)


@pytest.mark.parametrize("many", [False, True])
def test_what_is_not_finite_is_told_and_changes_nothing(clips, bboxes, many):
    tracker, white = VideoTracker(Stub(), 4), clips.copy()
    white[1, 7] = white[0, 8] = 255  # the earlier one is told
    good, bad, box = (clips, white, bboxes) if many else (clips[1], white[1], bboxes[1])
    frames = slice(3, 10)
    before, after = (..., slice(1, 3), *[slice(None)] * 3), (..., frames, *[slice(None)] * 3)
    tracker.init(good[:, 0] if many else good[0], box)
    tracker.update(good[before])
    where = "frame 7 of video 1" if many else "frame 7 "
    with pytest.raises(FloatingPointError, match=rf"\[inf, inf, inf, inf\] in {where}"):
        tracker.update(bad[after])
    found, _ = tracker.update(good[after])
    video = found[1] if many else found
    expected, _ = one_at_a_time(Stub(), clips[1], bboxes[1])
    np.testing.assert_allclose(video, expected[2:9], rtol=0, atol=1e-5)


def test_bad_input_is_refused(clips, bboxes):
    with pytest.raises(InputError, match="chunk must be at least 1"):
        VideoTracker(Stub(), 0)
    tracker = VideoTracker(Stub())
    with pytest.raises(InputError, match="call init"):
        tracker.update(clips[0])
    for frame, bbox, message in (
        (clips[0, 0], bboxes, r"uint8 RGB \[V, H, W, 3\]"),
        (clips[:, 0], bboxes[0], r"uint8 RGB \[H, W, 3\]"),
        (clips[0, 0] / 255, bboxes[0], "float64"),
        (clips[0, 0, :0], bboxes[0], r"got shape \(0, 128, 3\)"),
        (None, bboxes[0], "NoneType"),
        (clips[:, 0], bboxes[:1], r"shapes \(1, 4\) and \(2, 96, 128, 3\)"),
        (clips[0, 0], bboxes[0, :3], r"shapes \(3,\)"),
        (clips[0, 0], "a box", "four numbers"),
        (clips[0, 0], [200, 0, 10, 10], "outside the frame"),
    ):
        with pytest.raises(InputError, match=message):
            tracker.init(frame, bbox)
    tracker.init(clips[:, 0], bboxes)
    with pytest.raises(InputError, match=r"uint8 RGB \[V, T, H, W, 3\]"):
        tracker.update(clips[0])
    with pytest.raises(InputError, match="there are 2 videos; got frames of 1"):
        tracker.update(clips[:1])
