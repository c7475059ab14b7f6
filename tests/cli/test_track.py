import os
import signal

import cv2
import numpy as np
import pytest

import asymtrack_jax
from asymtrack_jax.cli import track
from asymtrack_jax.config import model_config
from asymtrack_jax.data.synthetic import render_clip
from asymtrack_jax.errors import InputError
from asymtrack_jax.models import checkpoint
from asymtrack_jax.models.asymtrack import init_variables
from asymtrack_jax.video import drawing
from asymtrack_jax.video.sources import open_source
from asymtrack_jax.video.writers import VideoWriter
from asymtrack_jax.weights import TINY


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The path of a checkpoint."""
    directory = tmp_path_factory.mktemp("weights") / "testing"
    config = model_config("testing")
    checkpoint.save(directory, config, init_variables(config, 0), {})
    return str(directory)


@pytest.fixture(scope="module")
def model(weights):
    """What it holds, loaded once, so that it is compiled once."""
    return asymtrack_jax.load(weights)


@pytest.fixture
def clip(tmp_path):
    """The path of a video of 12 frames, and its first box as text."""
    clip = render_clip(12, size=(120, 160))
    with VideoWriter(tmp_path / "clip.avi", 30.0) as video:
        for frame in clip:
            video.write(frame)
    return str(tmp_path / "clip.avi"), ",".join(map(str, clip.boxes[0]))


def test_follows_two_targets_in_a_video(tmp_path, clip, weights, capsys):
    path, bbox = clip
    output = tmp_path / "out.mp4"
    arguments = [path, "--init-bbox", bbox, "--init-bbox", "10,10,40,30", "--checkpoint", weights]
    assert track.main([*arguments, "--output", str(output)]) == 0
    source = open_source(str(output))
    assert (source.num_frames, source.fps) == (12, 30.0)
    rows = np.loadtxt(output.with_suffix(".txt"), delimiter=",").reshape(12, 2, 5)
    np.testing.assert_allclose(rows[0, 1], [10, 10, 40, 30, 1])
    assert np.isfinite(rows).all()
    assert (rows[1:, :, 4] < 1).all()
    assert "12 of 12 frames, 2 target(s)" in capsys.readouterr().out


def test_follows_images_of_changing_size(tmp_path, model, monkeypatch):
    monkeypatch.setattr(track, "load", lambda directory: model)
    for index, (frame, side) in enumerate(zip(render_clip(4), [200, 200, 90, 300], strict=True)):
        image = cv2.resize(frame, (side, side))
        cv2.imwrite(str(tmp_path / f"{index}.jpg"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    output = tmp_path / "out.avi"
    bbox = ["--init-bbox=-5,20,80,60"]
    assert track.main([str(tmp_path), *bbox, "--checkpoint", "C", "--output", str(output)]) == 0
    assert {frame.shape for frame in open_source(str(output)).frames} == {(200, 200, 3)}


def test_works_without_any_argument(tmp_path, model, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(track, "load", {TINY: model}.__getitem__)
    assert track.main([]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["track.mp4", "track.txt"]
    assert "mean IoU with the true boxes" in capsys.readouterr().out


def test_an_animation_of_a_chosen_clip(tmp_path, model, monkeypatch):
    monkeypatch.setattr(track, "load", lambda directory: model)
    output = tmp_path / "track.gif"
    arguments = ["--seed", "5", "--output", str(output)]
    assert track.main(arguments) == 0
    rows = np.loadtxt(tmp_path / "track.txt", delimiter=",")
    np.testing.assert_allclose(rows[0, :4], render_clip(1, (360, 480), seed=5).boxes[0], atol=1e-4)
    read, animation = cv2.imreadanimation(str(output))
    assert read
    assert len(animation.frames) == 60


def test_interrupt_ends_with_status_130(tmp_path, clip, model, monkeypatch, capsys):
    path, bbox = clip
    annotate = drawing.annotate
    monkeypatch.setattr(track, "load", lambda directory: model)

    def interrupt(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return annotate(*arguments)

    monkeypatch.setattr(drawing, "annotate", interrupt)
    output = str(tmp_path / "out.mp4")
    arguments = [path, "--init-bbox", bbox, "--checkpoint", "C", "--output", output]
    assert track.main(arguments) == 130
    assert "interrupted: 1 of 12 frames" in capsys.readouterr().out


def test_errors_come_before_any_file(tmp_path, clip, weights):
    path, bbox = clip
    out = str(tmp_path / "out.mp4")
    for arguments, message in [
        (["missing.mp4"], "missing.mp4: no such"),
        ([path, "--init-bbox", bbox, "--output", "out.webm"], r"\.mp4, \.mkv, \.avi, \.gif"),
        ([path, "--init-bbox", bbox, "--output", out, "--checkpoint", "none"], "no checkpoint"),
        ([path, "--init-bbox", "1,2", "--output", out, "--checkpoint", weights], "four numbers"),
        ([path, "--init-bbox", "900,2,9,9", "--output", out, "--checkpoint", weights], "outside"),
        ([path, "--init-bbox", "nan,2,9,9", "--output", out, "--checkpoint", weights], "finite"),
        ([path, "--init-bbox", "1,1,1e-200,1e-200", "--output", out], "at least 0.1 pixels"),
        ([path, "--init-bbox", bbox, "--output", out, "--boxes", "b.xml"], "must end in one of"),
        ([path, "--init-bbox", bbox, "--output", ""], "--output is empty"),
        (["--seed", "-1", "--output", out], "at least 0"),
    ]:
        with pytest.raises(InputError, match=message):
            track.main(arguments)
    assert [item.name for item in tmp_path.iterdir()] == ["clip.avi"]
