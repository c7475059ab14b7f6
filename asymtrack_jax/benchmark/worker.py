"""The process of a backend: `python -m asymtrack_jax.benchmark.worker BACKEND CASE`.

It sets the backend up and prints outputs, facts and measurements as a line of JSON; then, per
function name on standard input, the seconds of some calls; and at the end of input the peak memory.
The interpreter needs numpy and the backend's library.
"""

import importlib.util
import json
import os
import resource
import sys
from typing import Any

from asymtrack_jax.benchmark.case import OURS, Backend, BenchmarkCase
from asymtrack_jax.benchmark.timing import time_calls

LIBRARIES = {"torch": ("torch", "onnx"), "onnxruntime": ("onnxruntime",)}


def setup(name: str, case: BenchmarkCase) -> Backend:
    """Sets a backend up, and imports its library."""
    if name == "onnxruntime":
        from asymtrack_jax.benchmark import onnxruntime_backend

        return onnxruntime_backend.setup(case)
    if name.startswith("torch"):
        from asymtrack_jax.benchmark import torch_backend

        return torch_backend.setup(case, compiled=name == "torch.compile")
    from asymtrack_jax.benchmark import jax_backend

    return jax_backend.setup(case)


def serve(name: str, case: BenchmarkCase, requests: Any, answers: Any) -> None:
    """Sets a backend up, and answers one request per line until the end of input."""

    def answer(value: Any) -> None:
        print(json.dumps(value), file=answers, flush=True)

    libraries = LIBRARIES.get(name.partition(".")[0], ())
    missing = [library for library in libraries if not importlib.util.find_spec(library)]
    if missing:
        return answer({"error": f"{sys.executable} has no {' and no '.join(missing)}"})
    backend = setup(name, case)
    wanted = (*case.functions, *(["matmul"] if name == OURS else []))
    ready = {
        "functions": [name for name in backend.functions if name.split()[0] in wanted],
        "outputs": {name: array.tolist() for name, array in backend.outputs.items()},
        "facts": backend.facts,
        "measured": backend.measured,
    }
    answer(ready)
    for line in requests:
        answer(time_calls(backend.functions[line.strip()]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux
    answer({"peak_bytes": peak * 1024, "device_bytes": backend.device_bytes()})


if __name__ == "__main__":
    private = os.fdopen(os.dup(1), "w")  # other output to stdout is redirected to stderr
    os.dup2(2, 1)
    serve(sys.argv[1], BenchmarkCase.from_json(sys.argv[2]), sys.stdin, private)
