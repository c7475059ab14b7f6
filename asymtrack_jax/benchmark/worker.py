"""A contestant's process: `python -m asymtrack_jax.benchmark.worker RUNTIME FOLDER`.

It prints what it found out as a line of JSON; then, for each function's name that it reads, the
seconds of a turn, until its input ends; and last the most memory that it took. What cannot be
entered because a library is missing is said in the first line.
"""

import importlib.util
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np

from asymtrack_jax.benchmark.cell import Cell
from asymtrack_jax.benchmark.contest import Entry
from asymtrack_jax.benchmark.timing import turn

LIBRARIES = {  # by runtime
    "jax": "jax",
    "xla": "jax",
    "torch": "torch",
    "torch.compile": "torch",
    "onnxruntime": "onnxruntime",
}


def enter(runtime: str, cell: Cell) -> Entry:
    """Gets a runtime ready; only here is its library imported."""
    if runtime in ("jax", "xla"):
        from asymtrack_jax.benchmark import jax_runtime

        return jax_runtime.enter(cell)
    if runtime == "onnxruntime":
        from asymtrack_jax.benchmark import onnx_runtime

        return onnx_runtime.enter(cell)
    from asymtrack_jax.benchmark import torch_runtime

    return torch_runtime.enter(cell, compiled=runtime == "torch.compile")


def work(runtime: str, cell: Cell, requests: Any, answers: Any) -> None:
    """Answers requests, line by line, until there are no more."""

    def answer(value: Any) -> None:
        print(json.dumps(value), file=answers, flush=True)

    if not importlib.util.find_spec(LIBRARIES[runtime]):
        name = LIBRARIES[runtime]
        return answer({"missing": f"{name} is not installed for {sys.executable}"})
    entry = enter(runtime, cell)
    asked = (*cell.functions, "matmul")
    functions = [function for function in entry.calls if function.split()[0] in asked]
    np.savez(cell.folder / f"{runtime}.npz", allow_pickle=False, **entry.outputs)
    answer({"functions": functions, "facts": entry.facts, "measured": entry.measured})
    for line in requests:
        answer(turn(entry.calls[line.strip()]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux
    answer({"peak_bytes": peak * 1024, "device_bytes": entry.device_memory()})


if __name__ == "__main__":
    private = os.fdopen(os.dup(1), "w")  # libraries that print do not disturb the answers
    os.dup2(2, 1)
    work(sys.argv[1], Cell.read(Path(sys.argv[2])), sys.stdin, private)
