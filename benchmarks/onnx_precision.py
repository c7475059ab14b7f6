"""Measures speed, size and error of `asymtrack export --precision` in ONNX Runtime on a CPU.

`python -m benchmarks.onnx_precision` exports the packaged weights in each precision, and also with
every operator quantised, convolutions included, as `quantize_dynamic` does by default. Times are
processor times of `step` on one thread, the least of 50 runs: other processes matter little.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.quantization import quantize_dynamic

from asymtrack_jax.export.onnx import build_graphs, export_onnx
from asymtrack_jax.export.precision import precision_error
from asymtrack_jax.models import checkpoint
from asymtrack_jax.models.fuse import fuse
from asymtrack_jax.tracking.calibration import read_calibration
from asymtrack_jax.weights import TINY

RUNS = 50


def main() -> None:
    """Prints a row per precision."""
    loaded = checkpoint.read(TINY)
    variables, calibration = fuse(loaded.variables), read_calibration(loaded.metadata)
    graphs = build_graphs(loaded.config, variables, calibration)
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("float32", "float16", "int8"):
            directory = Path(folder, precision)
            export_onnx(loaded.config, variables, directory, calibration, precision)
        everything = Path(folder, "int8 with convolutions")
        everything.mkdir()
        for name, graph in graphs.items():
            quantize_dynamic(graph, everything / f"{name}.onnx")
        for directory in sorted(Path(folder).iterdir()):
            path = directory / "step.onnx"
            error = precision_error(loaded.config, graphs, directory)
            milliseconds = 1e3 * step_seconds(path)
            size = path.stat().st_size / 1e6
            print(f"{directory.name}: {size:.1f} MB, {milliseconds:.1f} ms; {error}", flush=True)
    print(f"onnxruntime {onnxruntime.__version__}, one thread")


def step_seconds(path: Path) -> float:
    """Returns the minimum processor time of one run, in seconds."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    inputs = {
        value.name: random.integers(0, 256, (1, *value.shape[1:]), np.uint8)
        if value.type == "tensor(uint8)"
        else random.standard_normal((1, *value.shape[1:]), np.float32)
        for value in session.get_inputs()
    }
    seconds = []
    for _ in range(RUNS):
        start = time.process_time()
        session.run(None, inputs)
        seconds.append(time.process_time() - start)
    return min(seconds)


if __name__ == "__main__":
    main()
