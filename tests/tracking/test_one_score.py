"""Every way into the package gives the same box and score for the same frame."""

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest
import trax
from jax import export

import asymtrack_jax
from asymtrack_jax import Model, Tracker, compilation
from asymtrack_jax.cli.export import main as export_command
from asymtrack_jax.data.synthetic import render_clip
from asymtrack_jax.export.onnx import export_onnx
from asymtrack_jax.export.stablehlo import from_dict, to_dict
from asymtrack_jax.models import checkpoint
from asymtrack_jax.models.fuse import fuse
from asymtrack_jax.tracking import vot
from asymtrack_jax.tracking.slots import BatchedSlots, ThreadedSlots
from asymtrack_jax.tracking.whole_video import VideoTracker
from asymtrack_jax.weights import TINY

CLIP = render_clip(4, size=(120, 160))
FRAMES, BBOX = np.stack(list(CLIP)), CLIP.boxes[0]
EXAMPLE = Path(__file__).parents[2] / "examples" / "track_onnx.py"


@pytest.fixture(scope="module")
def model() -> Model:
    """The package's weights, which are calibrated, compiled at XLA's default flags."""
    options = {**compilation.fast_options(), "xla_backend_optimization_level": 3}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compilation, "fast_options", lambda: options)
        return asymtrack_jax.load()


@pytest.fixture(scope="module")
def expected(model) -> np.ndarray:
    return by_tracker(Tracker(model))


def by_tracker(tracker: Any) -> np.ndarray:
    """x, y, w, h and the score in each frame after the first."""
    tracker.init(FRAMES[0], BBOX)
    return np.array([np.hstack(tracker.update(frame)) for frame in FRAMES[1:]])


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found[:, :4], expected[:, :4], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found[:, 4], expected[:, 4], rtol=0, atol=1e-5)


def test_onnx_example_and_its_scores_without_calibration(tmp_path, model, expected):
    export_command(["--output", str(tmp_path / "calibrated"), "--format", "onnx"])
    variables = fuse(checkpoint.read(TINY).variables)
    export_onnx(model.config, variables, tmp_path / "not", calibration=None)
    follow = runpy.run_path(str(EXAMPLE))["OnnxTracker"]
    assert_same(by_tracker(follow(tmp_path / "calibrated")), expected)
    scores = model.calibration(by_tracker(follow(tmp_path / "not"))[:, 4])
    np.testing.assert_allclose(scores, expected[:, 4], rtol=0, atol=1e-5)


def test_video_tracker(model, expected):
    tracker = VideoTracker(model, chunk=len(FRAMES) - 1)
    tracker.init(FRAMES[0], BBOX)
    assert_same(np.column_stack(tracker.update(FRAMES[1:])), expected)


@pytest.mark.parametrize("kind", [BatchedSlots, ThreadedSlots])
def test_slots(model, expected, kind):
    slots = kind(model, 1)
    slots.start(0, FRAMES[0], BBOX)
    assert_same(np.array([np.hstack(slots.advance({0: f})[0]) for f in FRAMES[1:]]), expected)


def test_vot_server(tmp_path, model, expected, monkeypatch):
    replies = []

    def ask(kind: Any, index: int, *objects: Any) -> SimpleNamespace:
        path = tmp_path / f"{index}.png"
        cv2.imwrite(str(path), FRAMES[index][..., ::-1])
        image = {"color": trax.FileImage.create(str(path))}
        return SimpleNamespace(type=kind, image=image, objects=objects)

    requests = [
        ask(trax.TraxStatus.INITIALIZE, 0, (trax.Rectangle.create(*BBOX), {})),
        *(ask(trax.TraxStatus.FRAME, index) for index in range(1, len(FRAMES))),
        SimpleNamespace(type=trax.TraxStatus.QUIT),
    ]
    server = SimpleNamespace(wait=iter(requests).__next__, status=replies.append, quit=lambda: 0)
    monkeypatch.setattr(trax, "Server", lambda *args, **kwargs: server)
    vot.serve(model)
    found = [(*region.bounds(), about["confidence"]) for ((region, about),) in replies]
    assert_same(np.array(found[1:]), expected)


def test_stablehlo(tmp_path, model, expected):
    export_command(["--output", str(tmp_path / "e"), "--format", "stablehlo"])
    init_template, step = (
        export.deserialize(bytearray((tmp_path / "e" / f"{name}.jax_export").read_bytes()))
        for name in ("init_template", "step")
    )
    call: Any = step.call
    exported: Any = SimpleNamespace(
        config=model.config,
        init_template=lambda template: from_dict(cast(Any, init_template.call(template))),
        step=lambda modulation, search: SimpleNamespace(**call(to_dict(modulation), search)),
    )
    assert_same(by_tracker(Tracker(exported)), expected)
