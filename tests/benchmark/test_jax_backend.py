import io
import json

import jaxtyping
import numpy as np
import pytest

from asymtrack_jax.benchmark import jax_backend, worker
from asymtrack_jax.benchmark.case import BenchmarkCase

VIDEO = "video 48p, 2 frames"


@pytest.fixture(scope="module")
def backend(model):
    """This package's, which compiles; jax then makes pytrees of descriptions of their leaves."""
    integers = np.random.default_rng(0).integers
    template, search = (
        integers(0, 256, (1, side, side, 3), np.uint8)
        for side in (model.config.template_size, model.config.search_size)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        patch.setattr(jax_backend, "FRAME_SIZES", {"48p": (48, 64)})
        patch.setattr(jax_backend, "CHUNK", 2)
        patch.setattr(jax_backend, "MATMUL_SIDES", {"cpu": 64})
        return jax_backend.setup_model(model, template, search)


def test_functions_run_and_are_measured(backend):
    assert list(backend.functions) == ["init_template", "step", "tracking 48p", VIDEO, "matmul"]
    step, init_template = backend.measured["step"], backend.measured["init_template"]
    assert step["first_call_s"] > 0
    assert 1e6 < init_template["operations"] < step["operations"]
    assert backend.measured[VIDEO]["frames"] == 2
    assert backend.measured[VIDEO]["operations"] == 2 * step["operations"]
    assert backend.facts["kernels"] == "XLA"
    prediction = backend.functions["step"]()
    np.testing.assert_array_equal(prediction.boxes, backend.outputs["boxes"])
    (tracked,) = backend.functions["tracking 48p"]()[0].bboxes
    (followed,) = backend.functions[VIDEO]().bboxes
    for x, y, w, h in (tracked, *followed):
        assert 0 <= x < x + w <= 64
        assert 0 <= y < y + h <= 48


def test_worker_answers(backend, monkeypatch, tmp_path):
    monkeypatch.setattr(worker, "setup", lambda name, case: backend)
    case, answers = BenchmarkCase(tmp_path, 1, "default", ("step", "video")), io.StringIO()
    worker.serve("asymtrack_jax", case, io.StringIO("step\nmatmul\n"), answers)
    ready, *times, memory = map(json.loads, answers.getvalue().splitlines())
    assert ready["functions"] == ["step", VIDEO, "matmul"]
    assert ready["measured"] == backend.measured
    np.testing.assert_array_equal(np.float32(ready["outputs"]["boxes"]), backend.outputs["boxes"])
    assert [min(seconds) > 0 for seconds in times] == [True, True]
    assert memory["peak_bytes"] > 2**20


def test_worker_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(worker.LIBRARIES, "torch", ("json", "no_such_library"))
    answers = io.StringIO()
    worker.serve("torch.compile", BenchmarkCase(tmp_path, 1, "default"), io.StringIO(), answers)
    assert "has no no_such_library" in json.loads(answers.getvalue())["error"]
