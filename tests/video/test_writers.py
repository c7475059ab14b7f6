import resource

import cv2
import numpy as np
import pytest

from asymtrack_jax.errors import InputError
from asymtrack_jax.video.sources import open_source
from asymtrack_jax.video.writers import VideoWriter, letterbox, open_writer
from tests.video.frames import plain, write_video


@pytest.mark.parametrize("name", ["a.mp4", "a.AVI", "a.mkv"])
@pytest.mark.parametrize("fps", [25.0, 29.97])
def test_what_is_written_reads_back(tmp_path, name, fps):
    write_video(tmp_path / name, [0, 80, 160, 240], fps)
    source = open_source(str(tmp_path / name))
    frames = list(source.frames)
    assert source.num_frames == len(frames) == 4
    assert source.fps == pytest.approx(fps, abs=0.01)
    assert source.path == tmp_path / name
    np.testing.assert_array_equal(source.first_frame, frames[0])
    for frame, value in zip(frames, [0, 80, 160, 240], strict=True):
        np.testing.assert_allclose(frame, plain(value), atol=8)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_nothing_changes_until_the_video_is_whole(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text("before")
    with VideoWriter(path, 25.0) as video:
        video.write(plain(0))
        assert path.read_text() == "before"
    assert open_source(str(path)).num_frames == 1


def test_without_frames_nothing_is_written(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text("before")
    write_video(path, [])
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_only_one_writer_writes_a_video(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 25.0) as first:
        first.write(plain(0))
        with (
            pytest.raises(InputError, match="being written by another process"),
            VideoWriter(tmp_path / "a.mp4", 25.0) as second,
        ):
            second.write(plain(0))
        first.write(plain(0))
    assert open_source(str(tmp_path / "a.mp4")).num_frames == 2
    assert len(list(tmp_path.iterdir())) == 1
    write_video(tmp_path / "a.mp4", [0])


def test_frames_that_cannot_be_written_leave_nothing(tmp_path):
    with (
        pytest.raises(InputError, match=r"cannot write frames of size \(1, 1\)"),
        VideoWriter(tmp_path / "a.mp4", 25.0) as video,
    ):
        video.write(plain(0, (1, 1)))
    assert not list(tmp_path.iterdir())


def test_frames_of_another_size_are_letterboxed(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 25.0) as video:
        video.write(plain(250))
        video.write(plain(250, (96, 32)))
    frames = list(open_source(str(tmp_path / "a.mp4")).frames)
    assert frames[1].shape == (48, 64, 3)
    np.testing.assert_allclose(frames[1][:, 28:36, 0], 250, atol=20)
    np.testing.assert_allclose(frames[1][:, [5, 58], 0], 0, atol=20)


def test_letterbox_keeps_the_aspect_and_the_centre():
    boxed = letterbox(plain(255, (10, 40)), 40, 40)
    expected = np.zeros((40, 40))
    expected[15:25] = 255
    np.testing.assert_array_equal(boxed[..., 0], expected)
    assert letterbox(plain(255, (4000, 1)), 10, 10).shape == (10, 10, 3)


@pytest.mark.parametrize("name", ["a.mp4", "a.avi"])
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    video = VideoWriter(tmp_path / name, 25.0)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        for _ in range(30):
            video.write(noise)
        with pytest.raises(InputError, match="disk full"):
            video.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.webm", r"\.mp4, \.mkv, \.avi, \.gif"),
        ("a", r"\.mp4, "),
        ("x/a.mp4", "no folder"),
        ("d.mp4", "cannot"),
    ],
)
def test_refuses_outputs_at_once(tmp_path, name, message):
    (tmp_path / "d.mp4").mkdir()
    with pytest.raises(InputError, match=message):
        open_writer(tmp_path / name, 25.0)


def test_an_animation_is_small_enough_for_a_page(tmp_path):
    with open_writer(tmp_path / "a.GIF", 25.0) as video:
        for value in (0, 80, 160, 240, 40):
            video.write(plain(value, (480, 640)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.GIF"]
    read, animation = cv2.imreadanimation(str(tmp_path / "a.GIF"))
    assert read
    assert list(animation.durations) == [80] * 3
    for frame, value in zip(animation.frames, (0, 160, 40), strict=True):
        np.testing.assert_allclose(frame[..., 2::-1], plain(value, (240, 320)), atol=40)


def test_an_animation_of_small_slow_frames_keeps_them_all(tmp_path):
    with open_writer(tmp_path / "a.gif", 5.0) as video:
        for size in ((48, 64), (96, 32)):
            video.write(plain(250, size))
    _, animation = cv2.imreadanimation(str(tmp_path / "a.gif"))
    assert list(animation.durations) == [200] * 2
    assert [frame.shape[:2] for frame in animation.frames] == [(48, 64)] * 2


def test_no_frames_make_no_animation(tmp_path):
    (tmp_path / "a.gif").write_text("before")
    with open_writer(tmp_path / "a.gif", 25.0):
        pass
    assert (tmp_path / "a.gif").read_text() == "before"
