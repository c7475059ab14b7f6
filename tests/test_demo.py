"""What the demo's page calls; tests/browser has the page itself."""

from pathlib import Path

import numpy as np
import pytest

gr = pytest.importorskip("gradio", reason="needs the extra [demo]")
from asymtrack_jax import demo  # noqa: E402
from asymtrack_jax.video.writers import open_writer  # noqa: E402


@pytest.fixture
def video(tmp_path) -> str:
    frames = np.random.default_rng(0).integers(0, 256, (9, 60, 80, 3), np.uint8)
    with open_writer(tmp_path / "clip.mp4", 25) as writer:
        for frame in frames:
            writer.write(frame)
    return str(tmp_path / "clip.mp4")


def test_two_corners_in_any_order_make_a_box(video):
    session = demo.open_session(video)
    assert not len(session.bboxes)
    session.corners += [(30, 20), (10, 50), (40, 5)]
    np.testing.assert_array_equal(session.bboxes, [[10, 20, 20, 30]])
    assert not np.array_equal(session.picture(), session.first_frame)


def test_stopping_keeps_what_was_tracked(video, model, tmp_path):
    session = demo.open_session(video)
    session.corners += [(10, 10), (40, 40)]
    for steps, drawn in demo.track(model, session, tmp_path):
        assert session.tracking
        assert drawn.shape == session.first_frame.shape
        session.tracking = len(steps) < 3
    assert not session.tracking
    assert len((tmp_path / "track.csv").read_text().splitlines()) == 1 + 3
    assert (tmp_path / "track.mp4").is_file()
    assert list(demo.score_curve(steps)["frame"]) == [0, 1, 2]


def test_what_cannot_be_tracked_is_said(video, model, tmp_path):
    with pytest.raises(gr.Error, match="Click two opposite corners"):
        next(demo.track(model, demo.open_session(video), tmp_path))
    Path(video).write_bytes(b"\0" * 1000)
    with pytest.raises(gr.Error, match="is not a video that OpenCV can read"):
        demo.open_session(video)
