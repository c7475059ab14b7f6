"""Measures latency and throughput on this machine, beside other runtimes of the same network.

python benchmark.py --config configs/tiny.py --batch-sizes 1,8
python benchmark.py --checkpoint checkpoints/tiny --compare onnxruntime,torch --compare-python PATH

Times init_template, step (the network alone), tracking (crops on the host, step, boxes in the
frame) and, if asked to, video (many frames in one program on the device) in interleaved rounds.
Writes report.md, benchmark.json and benchmark.png after each case. Measure on an idle machine;
docs/gpu.md says what to run on a GPU.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from asymtrack_jax.benchmark.case import BASELINES, FUNCTIONS
from asymtrack_jax.benchmark.command import BenchmarkOptions, benchmark
from asymtrack_jax.config import PRECISIONS
from asymtrack_jax.errors import run_main


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures as the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = BenchmarkOptions()

    def add(name: str, help: str, **settings) -> None:
        value = getattr(default, name.replace("-", "_"))
        parser.add_argument(f"--{name}", help=help, default=value, **settings)

    def commas(kind: Callable) -> dict[str, Callable]:
        return {"type": lambda text: tuple(kind(part) for part in text.split(","))}

    configs = "configuration files, with random weights; default: configs/tiny.py"
    add("config", configs, type=Path, nargs="+", metavar="FILE")
    checkpoints = "directories of checkpoints to measure instead"
    add("checkpoint", checkpoints, type=Path, nargs="+", metavar="DIR")
    add("batch-sizes", "such as 1,8,64; default: 1", metavar="B,B", **commas(int))
    names = {"metavar": "NAME,NAME", **commas(str)}
    add("precision", f"some of {','.join(PRECISIONS)}; default: default", **names)
    add("functions", f"some of {','.join(FUNCTIONS)}; default: all but video", **names)
    add("rounds", "how many times each function is timed; default: %(default)s", type=int)
    add("compare", f"some of {','.join(BASELINES)}; default: none", **names)
    python = "an interpreter that has them, with numpy and onnx; default: this one"
    add("compare-python", python, metavar="PATH")
    add("output", "default: %(default)s", type=Path)
    benchmark(BenchmarkOptions(**vars(parser.parse_args(arguments))))
    return 0


if __name__ == "__main__":
    run_main(main)
