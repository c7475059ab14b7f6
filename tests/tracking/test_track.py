import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import asymtrack_jax
from asymtrack_jax import TrackedVideo, Tracker, track
from asymtrack_jax.errors import InputError
from asymtrack_jax.video import drawing, window
from asymtrack_jax.video.sources import FrameSource, open_source, source_of
from asymtrack_jax.video.tracks import read_track
from tests.tracking.test_tracker import BBOX, frame
from tests.video.frames import FakeTracker, plain, write_video

FRAMES = [plain(value) for value in (10, 60, 120, 180)]
BOX = np.array([10.0, 12.0, 20.0, 16.0])


@pytest.fixture
def video() -> TrackedVideo:
    return TrackedVideo(FakeTracker(), source_of(FRAMES), BOX, lambda: source_of(FRAMES))


@pytest.fixture
def read_once() -> TrackedVideo:
    return TrackedVideo(FakeTracker(), source_of(iter(FRAMES)), BOX)


@pytest.mark.parametrize("of", [np.stack, iter], ids=["array", "iterator"])
def test_boxes_are_those_of_a_tracker(model, of):
    frames = [frame(seed=seed) for seed in range(3)]
    tracker = Tracker(model)
    tracker.init(frames[0], BBOX)
    expected = [tracker.update(each) for each in frames[1:]]
    found = track(of(frames), BBOX, model=model)
    np.testing.assert_array_equal(found.boxes, [BBOX, *(bbox for bbox, _ in expected)])
    np.testing.assert_array_equal(found.scores, [1, *(score for _, score in expected)])
    np.testing.assert_array_equal(found.lost, found.scores < 0.25)


def test_frames_are_tracked_when_they_are_asked_for(video):
    for index, step in enumerate(video):
        assert step.frame is FRAMES[index]
        if index == 1:
            break
    assert repr(video) == "TrackedVideo(2 of 4 frames tracked)"
    assert [step.bboxes[0, 0] for step in video] == [12.0, 13.0]  # goes on
    assert video.boxes[:, 0].tolist() == [10.0, 11.0, 12.0, 13.0]
    assert video.lost.tolist() == [False, False, True, False]
    assert not list(video)


def failing_in_frame_2(error: BaseException) -> TrackedVideo:
    def fail(index):
        if index == 2:
            raise error

    return TrackedVideo(FakeTracker(fail), source_of(FRAMES), BOX, lambda: source_of(FRAMES))


def test_a_video_ends_before_a_frame_that_cannot_be_read():
    video = failing_in_frame_2(InputError("truncated"))
    with pytest.raises(InputError, match="truncated"):
        _ = video.boxes
    assert video.boxes.shape == (2, 4)


def test_a_video_whose_tracking_was_interrupted_is_not_taken_for_a_short_one():
    video = failing_in_frame_2(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        _ = video.boxes
    with pytest.raises(InputError, match=r"ended in frame 2 .*KeyboardInterrupt.*call track again"):
        _ = video.boxes


def test_an_invalid_box_is_told_each_time(tmp_path):
    video = TrackedVideo(FakeTracker(), source_of(FRAMES), -BOX)
    for _ in range(2):
        with pytest.raises(InputError, match="init_bbox is negative"):
            video.save(tmp_path / "out.mp4")


def test_several_targets():
    video = TrackedVideo(FakeTracker(), source_of(FRAMES), np.stack([BOX, BOX]))
    assert video.boxes.shape == (4, 2, 4)
    assert video.scores.shape == video.lost.shape == (4, 2)


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl"])
def test_saves_boxes(video, tmp_path, suffix):
    video.save(tmp_path / f"boxes{suffix}")
    np.testing.assert_array_equal(read_track(tmp_path / f"boxes{suffix}").bboxes, video.boxes)


@pytest.mark.parametrize("looked", [False, True], ids=["first", "after its boxes"])
def test_saves_the_annotated_video(video, tmp_path, looked):
    if looked:
        assert len(video.boxes) == 4
    video.save(tmp_path / "out.mp4")
    frames = list(open_source(str(tmp_path / "out.mp4")).frames)
    plain_blue = [each[..., 2].max() for each in FRAMES]
    assert len(frames) == 4
    assert all(each[..., 2].max() > 150 for each in frames)  # letters; the frames have no blue
    assert not any(plain_blue)
    assert len(video.boxes) == 4


def test_frames_that_can_be_read_only_once(read_once, tmp_path):
    read_once.save(tmp_path / "out.gif")
    with pytest.raises(InputError, match="only once"):
        read_once.save(tmp_path / "again.gif")
    assert [path.name for path in tmp_path.iterdir()] == ["out.gif"]
    assert len(read_once.boxes) == 4


def test_a_camera_is_not_opened_again(model, monkeypatch, tmp_path):
    opened = []
    camera = FrameSource(FRAMES[0], iter(FRAMES))
    module = sys.modules["asymtrack_jax.tracking.track"]
    monkeypatch.setattr(module, "open_source", lambda name: opened.append(name) or camera)
    found = track(0, BOX, model=model)
    assert found.boxes.shape == (4, 4)
    with pytest.raises(InputError, match="only once"):
        found.save(tmp_path / "out.mp4")
    assert opened == ["0"]


def test_the_input_is_never_overwritten(tmp_path):
    write_video(tmp_path / "clip.mp4", [10, 20])
    source = open_source(str(tmp_path / "clip.mp4"))
    with pytest.raises(InputError, match="is the input"):
        TrackedVideo(FakeTracker(), source, BOX).save(tmp_path / "clip.mp4")


def test_files_are_read_again_and_the_true_box_is_the_default(model, tmp_path, monkeypatch):
    (tmp_path / "img").mkdir()
    for index in range(2):
        cv2.imwrite(str(tmp_path / "img" / f"{index}.png"), frame(seed=index))
    (tmp_path / "groundtruth.txt").write_text("40,30,32,24\n41,30,32,24\n")
    drawn, annotate = [], drawing.annotate
    monkeypatch.setattr(drawing, "annotate", lambda *a: drawn.append(a[-1]) or annotate(*a))
    found = track(tmp_path, model=model)
    assert found.boxes[0].tolist() == BBOX
    assert len(list(found.annotated())) == 2
    np.testing.assert_array_equal(drawn, [[40, 30, 32, 24], [41, 30, 32, 24]])
    drawn.clear()
    assert len(list(track(tmp_path, BBOX, model=model).annotated())) == 2
    assert drawn == [None, None]


@pytest.mark.parametrize(
    ("source", "boxes", "message"),
    [
        (FRAMES, None, "no boxes: pass x, y, w, h"),
        ([], BOX, "there are no frames"),
        (1.5, BOX, "a video's name or its frames, got float"),
        ("missing.mp4", BOX, "no such video file"),
    ],
)
def test_what_cannot_be_tracked_is_told(model, source, boxes, message):
    with pytest.raises(InputError, match=message):
        track(source, boxes, model=model)


def test_shown_inline_in_a_notebook(video, monkeypatch):
    shown = []
    display = SimpleNamespace(display=shown.append, Image=lambda data: data)
    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=True), display=display)
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    video.show()
    assert shown[0].startswith(b"GIF89a")


def test_shown_in_a_window_until_q(video, monkeypatch):
    shown, keys = [], iter([-1, ord("q")])
    monkeypatch.setattr(window, "require_window", lambda instead: None)
    monkeypatch.setattr(cv2, "imshow", lambda name, image: shown.append(image))
    monkeypatch.setattr(cv2, "waitKey", lambda milliseconds: next(keys))
    monkeypatch.setattr(cv2, "destroyWindow", lambda name: None)
    video.show()
    assert len(shown) == 2


def test_the_packaged_weights_are_loaded_once(monkeypatch):
    module = sys.modules["asymtrack_jax.tracking.track"]
    module._packaged_model.cache_clear()
    loaded = []
    monkeypatch.setattr(module, "load", lambda: loaded.append(object()) or loaded[-1])
    for _ in range(2):
        asymtrack_jax.track(FRAMES, BOX)
    module._packaged_model.cache_clear()
    assert len(loaded) == 1
