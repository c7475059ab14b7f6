import contextlib
import json
from pathlib import Path

import numpy as np
import pytest

from asymtrack_jax.benchmark import command, process
from asymtrack_jax.benchmark.case import OURS, BenchmarkCase
from asymtrack_jax.cli import benchmark as cli
from asymtrack_jax.errors import InputError

CONFIG = "testing"


class Fake:
    """A backend without a process; it takes 0.25 s per call, and others than ours twice that."""

    def __init__(self, name, boxes):
        self._seconds = 0.25 if name == OURS else 0.5
        self.functions = ["step", "matmul"] if name == OURS else ["step"]
        self.facts = {"platform": "cpu", "kernels": "XLA"}
        self.measured = {
            "step": {"first_call_s": 1.0, "operations": 1e9},
            "matmul": {"operations": 2e9},
        }
        self.outputs = {"boxes": np.full((1, 4), boxes), "scores": np.ones(1)}

    def time(self, function):
        return [self._seconds]

    def finish(self):
        return {"peak_bytes": 1, "device_bytes": None}


@pytest.fixture
def fakes(monkeypatch):
    """Replaces all processes; `failures` holds the cases whose run fails, and the reason."""
    failures: dict[tuple[int, str], Exception] = {}

    @contextlib.contextmanager
    def start(name, case, python, cache):
        if error := failures.get((case.batch_size, case.precision)):
            raise error
        if name == "onnxruntime":
            raise process.BackendError("it is not there")
        yield Fake(name, 0.5 if name == "torch.compile" or case.precision == "bfloat16" else 0.25)

    monkeypatch.setattr(command, "start", start)
    monkeypatch.setattr(command, "write", lambda *_: None)
    return failures


@pytest.mark.usefixtures("fakes")
def test_each_case_is_measured_beside_the_baselines(tmp_path, capsys):
    arguments = ["--config", CONFIG, "--batch-sizes", "1,2", "--rounds", "3"]
    baselines = ["--compare", "torch,torch.compile,onnxruntime", "--output", str(tmp_path / "out")]
    cli.main([*arguments, *baselines])
    result = json.loads((tmp_path / "out/benchmark.json").read_text())
    assert [case["batch_size"] for case in result["cases"]] == [1, 2]
    case = result["cases"][1]
    assert case["network"] == "testing"
    ours, torch, matmul = case["rows"]
    assert [ours["backend"], torch["backend"], matmul["function"]] == [OURS, "torch", "matmul"]
    assert ours["frames_per_s"] == 2 / 0.25
    assert (ours["operations_per_s"], ours["peak_fraction"]) == (1e9 / 0.25, 0.5)
    assert torch["relative_latency"] == {"median": 2, "low": 2, "high": 2}
    assert case["differences"]["torch.compile"]["boxes"] == 0.25
    assert case["notes"] == [
        "torch.compile is not timed: its outputs differ by more than 0.0001",
        "onnxruntime is left out: it is not there",
    ]
    assert "step: 2.00 times as fast as torch." in capsys.readouterr().out


def test_a_crash_loses_no_case_that_was_measured(tmp_path, fakes):
    fakes[8, "default"] = KeyboardInterrupt()
    options = command.BenchmarkOptions((Path(CONFIG),), batch_sizes=(1, 8), output=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        command.benchmark(options)
    (case,) = json.loads((tmp_path / "benchmark.json").read_text())["cases"]
    assert case["batch_size"] == 1
    assert "batch 1" in (tmp_path / "report.md").read_text()


def test_a_case_that_fails_is_noted_and_the_next_one_measured(tmp_path, fakes):
    fakes[8, "default"] = process.BackendError("out of memory")
    options = command.BenchmarkOptions((Path(CONFIG),), batch_sizes=(8, 1), output=tmp_path)
    result = command.benchmark(options)
    assert [case["batch_size"] for case in result["cases"]] == [1]
    assert result["notes"] == ["testing, batch 8, default: not measured: out of memory"]
    fakes[1, "default"] = process.BackendError("out of luck")
    with pytest.raises(InputError, match="out of luck"):
        command.benchmark(options)


@pytest.mark.usefixtures("fakes")
def test_precisions_are_compared_with_the_highest_whatever_their_order(tmp_path):
    precisions = ("bfloat16", "highest", "default")
    options = command.BenchmarkOptions((Path(CONFIG),), precision=precisions, output=tmp_path)
    cases = command.benchmark(options)["cases"]
    errors = {case["precision"]: case.get("error") for case in cases}
    assert errors == {
        "highest": None,
        "bfloat16": {"boxes": 0.25, "scores": 0},
        "default": {"boxes": 0, "scores": 0},
    }


def test_the_reason_of_a_process_that_fails_is_told(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho the reason >&2\n")
    python.chmod(0o755)
    (tmp_path / "onnx").mkdir()
    case = BenchmarkCase(tmp_path, 1, "default")
    with (
        pytest.raises(process.BackendError, match="its process ended: the reason"),
        process.start("torch", case, str(python), tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_sizes": (1, 0)}, "--batch-sizes and --rounds must be"),
        ({"rounds": 0}, "--batch-sizes and --rounds must be"),
        ({"precision": ("double",)}, "--precision: unknown double; there are "),
        ({"compare": ("torch", "caffe")}, "--compare: unknown caffe"),
        ({"functions": ("video", "film")}, "--functions: unknown film"),
        ({"compare_python": "no/python"}, "--compare-python: there is no program no/python"),
        ({"config": (Path("a/tiny.py"), Path("b/tiny.py"))}, "two networks have the same name"),
        ({"config": (Path("none.py"),)}, "there is no configuration 'none.py'"),
        ({"checkpoint": (Path("none"),)}, "--checkpoint: there is no directory none"),
        ({"config": (Path("x.py"),), "checkpoint": (Path("x"),)}, "give one or the other"),
    ],
)
def test_options_that_are_not_usable_are_named(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        command.benchmark(command.BenchmarkOptions(**{"output": tmp_path, **changed}))
