"""Runs a tracker over a data set and prints the numbers that papers print.

python evaluate.py --dataset folder --data-dir D --checkpoint C --output R
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import asymtrack_jax
from asymtrack_jax.errors import run_main
from asymtrack_jax.evaluation import report, results, runner
from asymtrack_jax.evaluation.benchmarks import BENCHMARKS
from asymtrack_jax.evaluation.protocols import PROTOCOLS


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluates as the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", choices=BENCHMARKS, required=True)
    parser.add_argument("--data-dir", "--data_dir", type=Path, required=True, help="its folder")
    parser.add_argument("--checkpoint", type=Path, required=True, help="a converted checkpoint")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder for the results; sequences that are finished there are skipped",
    )
    parser.add_argument("--protocol", choices=PROTOCOLS, help="default: the data set's own")
    parser.add_argument(
        "--float-results",
        "--float_results",
        action="store_true",
        help="write boxes as floats; by default they are truncated to integers, as published",
    )
    options = parser.parse_args(arguments)

    benchmark = BENCHMARKS[options.dataset]
    protocol = PROTOCOLS[options.protocol or benchmark.protocol]
    floats = options.float_results
    sequences = benchmark.read_sequences(options.data_dir)
    tracker = asymtrack_jax.Tracker(asymtrack_jax.load(options.checkpoint))
    manifest = results.make_manifest(
        options.checkpoint, options.dataset, protocol.name, floats=floats, options=vars(options)
    )
    results.claim(options.output, manifest)
    run = runner.run(tracker, sequences, options.output, floats=floats)
    finished = results.finished(options.output, sequences, floats=floats)
    judged = report.judge(options.output, finished, protocol)
    print(report.render(options.dataset, protocol, len(sequences), judged, run))
    return run.exit_status


if __name__ == "__main__":
    run_main(main)
