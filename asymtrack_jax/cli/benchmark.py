"""Measures latency and throughput on this machine, compared with other runtimes of the network.

  $ asymtrack benchmark --config tiny --batch-sizes 1,8
  $ asymtrack benchmark --checkpoint checkpoints/tiny --compare onnxruntime,torch

Times init_template, step (the network alone), tracking (crops on the host, step, boxes in the
frame) and, if asked to, video (many frames in one program on the device) in interleaved rounds.
Writes report.md, benchmark.json and benchmark.png after each case. Measure on an idle machine;
docs/gpu.md lists what to run on a GPU.
"""

import dataclasses
from collections.abc import Sequence

from asymtrack_jax.benchmark.command import BenchmarkOptions, benchmark
from asymtrack_jax.cli.arguments import Integers, Names, parse


@dataclasses.dataclass(frozen=True)
class _Arguments(BenchmarkOptions):
    """Options of `asymtrack benchmark`, with lists written as A,B."""

    batch_sizes: Integers = BenchmarkOptions.batch_sizes
    precision: Names = BenchmarkOptions.precision
    functions: Names = BenchmarkOptions.functions
    compare: Names = BenchmarkOptions.compare


def main(arguments: Sequence[str]) -> None:
    """Runs the benchmark."""
    benchmark(parse(_Arguments, arguments, "benchmark", __doc__))
