from pathlib import Path

import cv2
import numpy as np
import pytest

from asymtrack_jax.boxes import iou
from asymtrack_jax.data.readers import folder
from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation.trackers import make_factory
from asymtrack_jax.video.writers import open_writer
from recipes.packaged_weights import label_video

BACKGROUND = np.random.default_rng(0).integers(0, 90, (18, 32), np.uint8)
TRUTH = [np.array([20.0 + 6 * t, 40.0, 30.0, 24.0]) for t in range(30)]


def frame_of(bbox: np.ndarray) -> np.ndarray:
    """A bright rectangle over noise, [144, 256, 3]."""
    frame = np.repeat(cv2.resize(BACKGROUND, (256, 144))[..., None], 3, axis=2)
    x, y, w, h = bbox.astype(int)
    frame[y : y + h, x : x + w] = 250
    return frame


def detect(frame: np.ndarray) -> np.ndarray:
    box = cv2.boundingRect((frame[..., 0] > 200).astype(np.uint8))
    return np.array([box], np.float64) if box[2] else np.zeros((0, 4))


class Perfect:
    """Finds the rectangle."""

    def init(self, frame, bbox):
        self.bbox = bbox

    def update(self, frame):
        found = detect(frame)
        return found[0] if len(found) else self.bbox, 1.0


class Still(Perfect):
    """Stays where it was started, confident."""

    def init(self, frame, bbox):
        self.bbox = bbox

    def update(self, frame):
        return self.bbox, 1.0


class Unsure(Perfect):
    """Loses the target at once."""

    def update(self, frame):
        return detect(frame)[0], 0.1


def test_a_target_that_is_tracked_both_ways_is_labelled():
    (track,) = label_video.label([frame_of(bbox) for bbox in TRUTH], detect, Perfect)
    assert iou(track, np.stack(TRUTH)).min() > 0.95


@pytest.mark.parametrize("tracker", [Still, Unsure])
def test_a_target_that_is_lost_is_not_labelled(tracker):
    assert label_video.label([frame_of(bbox) for bbox in TRUTH], detect, tracker) == []


def test_a_target_that_the_detector_does_not_confirm_is_not_labelled():
    frames = [frame_of(bbox) for bbox in TRUTH]
    calls = iter(range(len(frames)))
    first_only = lambda frame: detect(frame) if next(calls) == 0 else np.zeros((0, 4))  # noqa: E731
    assert label_video.label(frames, first_only, Perfect) == []


def test_a_target_that_does_not_move_is_not_labelled():
    assert label_video.label([frame_of(TRUTH[3])] * 30, detect, Perfect) == []


def test_segments_end_at_cuts_and_at_their_length_and_drop_repeats():
    frames = [frame_of(TRUTH[t]) for t in range(20)]
    other = [frame[::-1, ::-1] for frame in frames]
    repeats = [frames[0], *frames, *other]
    assert [len(s) for s in label_video.segments(iter(repeats))] == [20, 20]
    there_and_back = [*range(30), *range(28, -1, -1), *range(1, 7)]
    long = [frame_of(TRUTH[t]) for t in there_and_back]
    assert [len(s) for s in label_video.segments(iter(long))] == [label_video.SEGMENT_FRAMES, 9]


def test_the_result_is_a_dataset(tmp_path: Path, capsys):
    videos = tmp_path / "videos"
    videos.mkdir()
    with open_writer(videos / "clip.mp4", label_video.RATE) as writer:
        for bbox in TRUTH:
            writer.write(frame_of(bbox))
    (videos / "broken.mp4").write_bytes(b"no video")
    assert label_video.label_videos(videos, tmp_path / "out", detect, Perfect) == 1
    assert "passed over" in capsys.readouterr().out
    (sequence,) = folder.read_sequences(tmp_path / "out")
    np.testing.assert_allclose(sequence.boxes, TRUTH, atol=3)
    assert sequence.frames[0].shape == (144, 256, 3)


def test_a_tracker_without_scores_is_refused(tmp_path: Path):
    (tmp_path / "clip.mp4").touch()
    factory = make_factory("opencv:mil")
    with pytest.raises(InputError, match="gives no scores"):
        label_video.label_videos(tmp_path, tmp_path / "out", detect, factory)


def test_an_output_that_exists_is_kept(tmp_path: Path):
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(InputError, match="exists"):
        label_video.label_videos(tmp_path, tmp_path, detect, Perfect)


def test_a_file_that_is_no_detector_is_named(tmp_path: Path):
    (tmp_path / "detector.onnx").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"--detector .*detector.onnx"):
        label_video.yolox(tmp_path / "detector.onnx")


def test_a_folder_without_videos_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="no videos"):
        label_video.label_videos(tmp_path, tmp_path / "out", detect, Perfect)
