import numpy as np
import pytest

from asymtrack_jax.errors import InputError
from asymtrack_jax.video.sources import open_source
from tests.video.frames import write_image


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
