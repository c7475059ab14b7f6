import contextlib
import dataclasses
import io
import json
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

import benchmark as script
from asymtrack_jax.benchmark import command, jax_runtime, worker
from asymtrack_jax.benchmark.cell import Cell
from asymtrack_jax.config import VARIANTS
from asymtrack_jax.errors import InputError

CONFIG = "configs/testing.py"


@pytest.fixture
def cell(tmp_path):
    cell = Cell(tmp_path, tmp_path / "cell", dataclasses.asdict(VARIANTS["testing"]), 1, "default")
    cell.write()
    return cell


@pytest.fixture(scope="module")
def entry(model, tmp_path_factory):
    """This package's, which compiles; jax then makes pytrees of descriptions of their leaves."""
    folder = tmp_path_factory.mktemp("network")
    cell = Cell(folder, folder / "cell", dataclasses.asdict(model.config), 1, "default")
    cell.write()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        patch.setattr(jax_runtime, "SIZES", {"48p": (48, 64)})
        patch.setattr(jax_runtime, "CHUNK", 2)
        return jax_runtime.enter_model(model, *cell.images())


def test_our_entry_measures_and_runs(entry, model):
    video = "video 48p, 2 frames"
    assert list(entry.calls) == ["init_template", "step", "tracking 48p", video, "matmul"]
    step = entry.measured["step"]
    assert step["first_call_s"] >= step["trace_s"] + step["compile_s"] > 0
    assert 1e6 < entry.measured["init_template"]["operations"] < step["operations"]
    assert step["program_bytes"] > 3 * model.config.search_size**2
    assert entry.facts["platform"] == "cpu"
    prediction = entry.calls["step"]()
    np.testing.assert_array_equal(prediction.boxes, entry.outputs["boxes"])
    (tracked,), (followed,) = (
        entry.calls["tracking 48p"]()[0].targets.bboxes,
        entry.calls[video]().bboxes,
    )
    for x, y, w, h in (tracked, *followed):
        assert 0 <= x < x + w <= 64
        assert 0 <= y < y + h <= 48
    assert entry.measured[video]["frames"] == 2
    assert entry.measured[video]["operations"] == 2 * step["operations"]


def test_worker_answers(entry, cell, monkeypatch):
    monkeypatch.setattr(worker, "enter", lambda runtime, cell: entry)
    answers = io.StringIO()
    worker.work("jax", Cell.read(cell.folder), io.StringIO("step\ninit_template\n"), answers)
    first, *turns, last = map(json.loads, answers.getvalue().splitlines())
    assert first["functions"] == list(entry.calls)
    assert first["measured"] == entry.measured
    assert [all(seconds > 0 for seconds in turn) for turn in turns] == [True, True]
    assert last["peak_bytes"] > 2**20
    with np.load(cell.folder / "jax.npz") as saved:
        np.testing.assert_array_equal(saved["boxes"], entry.outputs["boxes"])


def test_worker_offers_what_was_asked_for(entry, cell, monkeypatch):
    monkeypatch.setattr(worker, "enter", lambda runtime, cell: entry)
    answers = io.StringIO()
    worker.work("jax", dataclasses.replace(cell, functions=["video"]), io.StringIO(), answers)
    functions = json.loads(answers.getvalue().splitlines()[0])["functions"]
    assert functions == ["video 48p, 2 frames", "matmul"]


def test_worker_says_what_is_missing(cell, monkeypatch):
    monkeypatch.setitem(worker.LIBRARIES, "torch", "no_such_library")
    answers = io.StringIO()
    worker.work("torch", cell, io.StringIO(), answers)
    assert "no_such_library is not installed" in json.loads(answers.getvalue())["missing"]


def test_process_that_fails_is_told(cell):
    python = cell.folder / "python"
    python.write_text("#!/bin/sh\necho the reason >&2\n")
    python.chmod(0o755)
    with pytest.raises(command.MissingError, match="the reason"):
        command.start("torch", cell, str(python)).__enter__()
    with pytest.raises(InputError, match="the reason"):
        command.start("jax", cell, str(python)).__enter__()


class Fake:
    """A contestant without a process."""

    def __init__(self, cell, name, functions, boxes):
        self.functions, self.facts = functions, {"platform": "cpu"}
        self.measured = {"matmul": {"operations": 1e9}}
        self.measured["step"] = dict.fromkeys(["trace_s", "compile_s", "first_call_s"], 1.0)
        np.savez(cell.folder / f"{name}.npz", boxes=np.full((1, 4), boxes), scores=np.ones(1))

    def turn(self, function):
        return [0.25]

    def finish(self):
        return {"peak_bytes": 1, "device_bytes": None}


@pytest.fixture
def fakes(monkeypatch):
    """Stands in for all processes; onnxruntime is missing, and torch.compile computes nonsense."""

    @contextlib.contextmanager
    def start(runtime, cell, python):
        if runtime == "onnxruntime":
            raise command.MissingError("it is not there")
        functions = ["step", "matmul"] if runtime == "jax" else ["step"]
        yield Fake(cell, runtime, functions, 0.5 if runtime == "torch.compile" else 0.25)

    monkeypatch.setattr(command, "start", start)
    monkeypatch.setattr(command, "_run", lambda *_: json.dumps({"imports": 1.0}))


@pytest.mark.usefixtures("fakes")
def test_command_measures_each_cell(tmp_path, capsys):
    arguments = ["--config", CONFIG, "--batch-sizes", "1,2", "--rounds", "3"]
    rivals = ["--compare", "torch,torch.compile,onnxruntime", "--output", str(tmp_path / "out")]
    assert script.main([*arguments, *rivals]) == 0
    result = json.loads((tmp_path / "out/benchmark.json").read_text())
    timed = [(row["batch_size"], row["runtime"], row["function"]) for row in result["rows"]]
    kinds = [("jax", "step"), ("torch", "step"), ("jax", "matmul")]
    assert timed == [(size, *kind) for size in (1, 2) for kind in kinds]
    assert {row["latency_ms"]["calls"] for row in result["rows"]} == {3}
    assert result["checks"][1]["boxes"] == 0.25
    assert "torch.compile is not timed" in result["notes"][0]
    assert "onnxruntime is left out: it is not there" in result["notes"][1]
    assert result["start_up"]["testing"] == {"imports": 1.0, "total": 1.0, "cold": 1.0}
    assert "| testing | default | 2 | step | torch |" in capsys.readouterr().out


def test_precisions_are_compared_with_the_highest(cell):
    cells = []
    for precision, batch_size, boxes in (
        ("default", 1, 0.2),
        ("highest", 1, 0.5),
        ("default", 8, 0),
    ):
        folder = cell.folder / f"{precision}_{batch_size}"
        folder.mkdir()
        np.savez(folder / "jax.npz", boxes=np.full((1, 4), boxes))
        changed = {"folder": folder, "precision": precision, "batch_size": batch_size}
        cells.append((dataclasses.replace(cell, **changed), {"precision": precision}))
    (check,) = command.precisions(cells)
    assert check == {"precision": "default", "runtime": "precision highest", "boxes": 0.3}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_sizes": [1, 0]}, "--batch-sizes and --rounds must be"),
        ({"rounds": 0}, "--batch-sizes and --rounds must be"),
        ({"precision": ["double"]}, "--precision: unknown double; there are default, highest"),
        ({"compare": ["torch", "caffe"]}, "--compare: unknown caffe"),
        ({"functions": ["video", "film"]}, "--functions: unknown film"),
        ({"config": [Path("a/tiny.py"), Path("b/tiny.py")]}, "two files of one name"),
        ({"config": [Path("none.py")]}, "there is no configuration file none.py"),
    ],
)
def test_options_that_cannot_be_used_are_told(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        command.benchmark(command.Options(**{"output": tmp_path, **changed}))
