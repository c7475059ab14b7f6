import json

import cv2
import numpy as np

from asymtrack_jax.benchmark import report
from asymtrack_jax.benchmark.command import rows
from tests.benchmark.test_timing import Named


class Measured(Named):
    def __init__(self, measured):
        super().__init__("", [], [])
        self.measured = measured


SECONDS = {("jax", "step"): [0.01, 0.02, 0.03], ("torch", "step"): [0.05], ("jax", "matmul"): [2.0]}
COLD = {"step": {"trace_s": 1.0, "compile_s": 4.0, "first_call_s": 5.5}}


def result(*batch_sizes):
    warm = {
        "step": {"trace_s": 9.0, "compile_s": 0.5, "first_call_s": 1.5, "operations": 1e8},
        "matmul": {"operations": 2e10},
    }
    contestants = {"jax": Measured(warm), "torch": Measured({"step": {"first_call_s": 0.7}})}
    memory = {"jax": {"peak_bytes": 2**28, "device_bytes": None}, "torch": {"peak_bytes": 2**27}}
    found = []
    for size in batch_sizes:
        label = {"config": "tiny", "precision": "default", "batch_size": size}
        found += rows(label, SECONDS, contestants, COLD, memory)
    return {
        "environment": {"device": "a machine", "torch": {"threads": 2}},
        "rows": found,
        "checks": [{**label, "runtime": "torch", "boxes": 1e-7, "scores": 2e-7}],
        "notes": ["onnxruntime is left out"],
        "start_up": {"tiny": {"imports": 0.5, "total": 1.25}},
    }


def test_rows_relate_to_the_peak_and_to_ours():
    ours, theirs, matmul = result(8)["rows"]
    assert ours["frames_per_s"] == 8 / 0.02
    assert ours["operations_per_s"] == 1e8 / 0.02
    np.testing.assert_allclose([ours["peak_fraction"], matmul["peak_fraction"]], [0.5, 1])
    times = ("trace_s", "compile_s", "first_call_s", "first_call_warm_s")
    assert [ours[name] for name in times] == [1.0, 4.0, 5.5, 1.5]
    assert theirs["first_call_s"] == 0.7
    np.testing.assert_allclose(theirs["times_ours"], 2.5)
    assert matmul["frames_per_s"] == 0.5  # not a batch


def test_a_program_of_many_frames_counts_them_all():
    seconds = {("jax", "video"): [0.5], ("jax", "matmul"): [2.0]}
    contestants = {"jax": Measured({"video": {"frames": 16}, "matmul": {"operations": 1}})}
    label = {"config": "tiny", "precision": "default", "batch_size": 8}
    video, _ = rows(label, seconds, contestants, COLD, {"jax": {}})
    assert video["frames_per_s"] == 16 * 8 / 0.5


def test_table_says_it_all():
    lines = report.table(result(1)).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    ours, theirs = (dict(zip(report.COLUMNS, row.split(" | "), strict=True)) for row in table[2:4])
    assert [ours[name] for name in ("median ms", "Gop", "of peak", "compile s", "warm s")] == [
        *("20.00", "0.10", "50%", "4.00", "1.50")
    ]
    assert [ours["process MiB"], ours["device MiB"].strip(" |")] == ["256", ""]
    assert [theirs["runtime"], theirs["x ours"], theirs["compile s"]] == ["torch", "2.50", ""]
    text = "\n".join(lines)
    assert "device a machine, torch (threads 2)" in text
    assert "tiny, from the start of a process to its first box: imports 0.50 s" in text
    assert "note: onnxruntime is left out" in text
    assert "torch's boxes are within 1.0e-07" in text


def test_files_hold_the_result_and_a_plot(tmp_path):
    found = result(1, 8)
    report.write(found, tmp_path)
    assert json.loads((tmp_path / "benchmark.json").read_text()) == found
    image = cv2.imread(str(tmp_path / "benchmark.png"))
    assert image is not None
    assert image.std() > 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["benchmark.json", "benchmark.png"]
