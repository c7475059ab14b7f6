import copy
import json
import sys

import cv2
import pytest

from asymtrack_jax.benchmark import report
from asymtrack_jax.benchmark.case import OURS


def row(function, backend, median, **changed):
    latency = {"min": 0.9 * median, "median": median, "p95": 1.2 * median}
    row = {"function": function, "backend": backend, "latency_ms": latency, "frames_per_s": 50.0}
    return {**row, "peak_bytes": 2**28, "device_bytes": None, **changed}


def relative(median, low, high):
    return {"relative_latency": {"median": median, "low": low, "high": high}}


def case(batch_size=1, **changed):
    rows = [
        row("step", OURS, 20.0, first_call_s=5.5, first_call_cached_s=1.5, peak_fraction=0.5),
        row("step", "torch", 50.0, **relative(2.5, 2.25, 2.75)),
        row("step", "onnxruntime", 10.0, **relative(0.5, 0.4, 0.6)),
        row("step", "xla", 20.2, **relative(1.01, 0.98, 1.04)),
        row("matmul", OURS, 100.0),
    ]
    label = {"network": "tiny", "precision": "default", "batch_size": batch_size}
    differences = {"torch": {"boxes": 1e-7, "scores": 2e-7}}
    return {
        **label,
        "kernels": "XLA",
        "rows": rows,
        "differences": differences,
        "notes": ["gone"],
        **changed,
    }


@pytest.fixture
def result():
    environment = {"cores": 2, "load": 0.1, "device": "a machine", "torch": {"threads": 2}}
    return {"environment": environment, "cases": [case()], "notes": []}


def test_tables_are_aligned_and_of_at_most_eight_columns(result):
    for text in (report.case_section(case()), report.resources(result)):
        lines = [line for line in text.splitlines() if line.startswith("|")]
        bars = {tuple(i for i, letter in enumerate(line) if letter == "|") for line in lines}
        assert len(bars) == 1
        assert len(bars.pop()) <= 9


def test_section_shows_latency_and_its_relation_to_ours():
    lines = [line for line in report.case_section(case()).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len(cells) == 6  # two of header, four backends; the matrix product is no function
    assert cells[2] == ["step", OURS, "20.00", "18.00", "24.00", "50.0", "", "50%"]
    assert cells[3][6] == "2.50 (2.25-2.75)"
    text = report.case_section(case(error={"boxes": 0.03, "scores": 0.01}))
    assert "Note: gone." in text
    assert (
        "torch agrees with this package: boxes (normalised coordinates) differ by at most 1.0e"
        in text
    )
    assert (
        "Against precision highest: boxes (normalised coordinates) differ by at most 3.0e-02"
        in text
    )


def test_verdict_says_who_is_faster_and_which_kernels_ran():
    assert report.verdict(case()).splitlines() == [
        "This package ran on XLA, without native kernels.",
        "step: 2.50 times as fast as torch.",
        "step: onnxruntime is 2.00 times as fast as this package.",
        "step: no measurable difference from xla.",
    ]
    assert "ran on its native kernels" in report.verdict(case(kernels="native"))


def test_a_busy_machine_is_named(result):
    assert report.busy(result) == []
    assert "Warning" not in report.summary(result)
    spread = copy.deepcopy(result)
    spread["cases"][0]["rows"][0]["latency_ms"]["p95"] = 70.0
    assert report.busy(spread) == [
        "the 95th percentile of step is 3.5 times its median (tiny, batch 1, default)"
    ]
    result["environment"]["load"] = 1.6
    assert report.busy(result) == ["load average 1.6 on 2 cores at the start"]
    assert "machine was busy: load average 1.6" in report.summary(result)


@pytest.mark.parametrize("batch_sizes", [(1,), (1, 8)])
def test_files_hold_the_result_and_a_picture(tmp_path, result, batch_sizes):
    result["cases"] = [case(size) for size in batch_sizes]
    written = report.write(result, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(written)
    assert json.loads((tmp_path / "benchmark.json").read_text()) == result
    text = (tmp_path / "report.md").read_text()
    assert "Environment: cores 2, load 0.1, device a machine, torch (threads 2)." in text
    assert all(f"## tiny, batch {size}, precision default" in text for size in batch_sizes)
    image = cv2.imread(str(tmp_path / "benchmark.png"))
    assert image is not None
    assert image.std() > 1


def test_without_matplotlib_there_is_all_but_the_picture(tmp_path, result, monkeypatch):
    monkeypatch.delitem(sys.modules, "asymtrack_jax.benchmark.plot", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    assert report.write(result, tmp_path) == ["report.md", "benchmark.json"]
    assert {path.name for path in tmp_path.iterdir()} == {"report.md", "benchmark.json"}
    assert report.NO_PLOT in (tmp_path / "report.md").read_text()
