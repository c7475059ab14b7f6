import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from asymtrack_jax.errors import InputError
from asymtrack_jax.video.sources import DEFAULT_FPS, open_source
from tests.video.frames import write_image, write_video


def test_folder_is_read_in_natural_order(tmp_path):
    for name, value in [("10.png", 100), ("2.png", 20), ("1.PNG", 10), (".3.png", 30)]:
        write_image(tmp_path / name, value)
    (tmp_path / "groundtruth.txt").write_text("1,2,3,4")
    source = open_source(str(tmp_path))
    assert (source.num_frames, source.fps) == (3, 25.0)
    assert [frame[0, 0].tolist() for frame in source.frames] == [
        [10, 0, 0],
        [20, 0, 0],
        [100, 0, 0],
    ]


def test_unreadable_image_is_named_after_the_frames_before_it(tmp_path):
    write_image(tmp_path / "1.png", 10)
    (tmp_path / "2.png").write_bytes((tmp_path / "1.png").read_bytes()[:40])
    frames = open_source(str(tmp_path)).frames
    assert next(frames)[0, 0, 0] == 10
    with pytest.raises(InputError, match=r"2\.png is not an image"):
        next(frames)


def test_refuses_inputs(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("not a video")
    (tmp_path / "damaged.mp4").write_bytes(b"\0" * 1000)
    write_image(tmp_path / "one.png", 0)
    for name, message in [
        ("empty", "holds no images"),
        ("notes.txt", "not a video"),
        ("damaged.mp4", "not a video"),
        ("one.png", "is one image"),
        ("missing.mp4", "no such"),
    ]:
        with pytest.raises(InputError, match=message):
            open_source(str(tmp_path / name))
    with pytest.raises(InputError, match="camera 99 gives no picture"):
        open_source("99")
    with pytest.raises(InputError, match="no such"):
        open_source("12345678901234567890")


def test_default_is_a_clip_with_known_boxes():
    source = open_source(None)
    assert source.truth is not None
    assert source.num_frames == len(source.truth)
    np.testing.assert_array_equal(next(source.frames), source.first_frame)


def write_sequence(folder, count, lines):
    (folder / "img").mkdir(parents=True)
    for index in range(count):
        write_image(folder / "img" / f"{index}.png", index)
    if lines:
        (folder / "groundtruth.txt").write_text("\n".join(lines))


def test_a_sequence_is_its_images_and_true_boxes(tmp_path):
    write_sequence(tmp_path / "all", 3, ["1,2,3,4", "nan,nan,nan,nan", "5,6,7,8"])
    source = open_source(str(tmp_path / "all"))
    assert [int(frame[0, 0, 0]) for frame in source.frames] == [0, 1, 2]
    np.testing.assert_array_equal(source.truth, [[1, 2, 3, 4], [np.nan] * 4, [5, 6, 7, 8]])
    write_sequence(tmp_path / "first", 3, ["1,2,3,4"])
    source = open_source(str(tmp_path / "first"))
    np.testing.assert_array_equal(source.truth, [[1, 2, 3, 4], [np.nan] * 4, [np.nan] * 4])
    write_sequence(tmp_path / "none", 3, [])
    assert open_source(str(tmp_path / "none")).truth is None
    write_sequence(tmp_path / "other", 3, ["1,2,3,4"] * 2)
    with pytest.raises(InputError, match="2 boxes for 3 images"):
        open_source(str(tmp_path / "other"))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


def test_a_video_is_read_from_a_url(tmp_path):
    write_video(tmp_path / "a.avi", [10, 20, 30])
    handler = functools.partial(Quiet, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            base = f"http://127.0.0.1:{server.server_port}"
            source = open_source(f"{base}/a.avi")
            assert len(list(source.frames)) == 3
            assert source.path is None
            with pytest.raises(InputError, match=r"cannot open this URL.*range requests"):
                open_source(f"{base.upper()}/b.avi")
        finally:
            server.shutdown()


def test_a_pipeline_goes_to_gstreamer(monkeypatch):
    pipeline = "videotestsrc num-buffers=3 ! videoconvert ! appsink" + " " * 300
    opened = []

    class Capture:
        def __init__(self, *arguments):
            opened.append(arguments)

        def read(self):
            return False, None

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    with pytest.raises(InputError, match="cannot run this pipeline"):
        open_source(pipeline)
    assert opened == [(pipeline, cv2.CAP_GSTREAMER)]


def test_captures_are_released(tmp_path, monkeypatch):
    write_video(tmp_path / "a.avi", [10, 20, 30])
    (tmp_path / "damaged.mp4").write_bytes(b"\0" * 1000)
    released, Capture = [], cv2.VideoCapture

    class Watched:  # no subclass: OpenCV's class crashes as a parent
        def __init__(self, *arguments):
            self.capture = Capture(*arguments)
            self.read, self.get = self.capture.read, self.capture.get

        def release(self):
            released.append(1)
            self.capture.release()

    monkeypatch.setattr(cv2, "VideoCapture", Watched)
    list(open_source(str(tmp_path / "a.avi")).frames)
    assert len(released) == 1
    source = open_source(str(tmp_path / "a.avi"))
    next(source.frames)
    del source  # before its end
    assert len(released) == 2
    with pytest.raises(InputError, match="not a video"):
        open_source(str(tmp_path / "damaged.mp4"))
    assert len(released) == 3


def test_a_clip_is_chosen_by_a_seed_from_0(monkeypatch):
    with pytest.raises(InputError, match="seed must be at least 0; got -1"):
        open_source(None, seed=-1)


def test_a_clock_is_not_taken_for_a_frame_rate(tmp_path):
    """Browsers record WebM files that claim 1000 frames per second."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 1000, (32, 32))
    for _ in range(3):
        writer.write(np.zeros((32, 32, 3), np.uint8))
    writer.release()
    assert open_source(str(path)).fps == DEFAULT_FPS
