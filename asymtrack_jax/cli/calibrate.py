"""Calibrates a checkpoint: its scores become the expected overlap (IoU) with the target.

Fits the scores that `asymtrack evaluate` wrote to the overlap of its boxes with the annotation, and
writes a copy of the checkpoint with the calibration. H should be held-out data that resembles the
tracker's use: neither a benchmark nor training data.

  $ asymtrack evaluate --dataset folder --data-dir H --checkpoint C --float-results --output R
  $ asymtrack calibrate --data-dir H --checkpoint C --results R --output D
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from asymtrack_jax.cli.arguments import parse
from asymtrack_jax.evaluation.benchmarks import BenchmarkName, read_sequences
from asymtrack_jax.evaluation.calibration import calibrate


@dataclasses.dataclass(frozen=True)
class CalibrateOptions:
    """Options of `asymtrack calibrate`.

    Attributes:
        checkpoint: directory of the checkpoint that made the results.
        results: output folder of `asymtrack evaluate`.
        output: directory to write.
        dataset: name of the dataset that was tracked.
        data_dir: folder of the dataset; by default a folder in $ASYMTRACK_DATA.
    """

    checkpoint: Path
    results: Path
    output: Path
    dataset: BenchmarkName = "folder"
    data_dir: Path | None = None


def main(arguments: Sequence[str]) -> None:
    """Calibrates the checkpoint, and prints the calibration errors before and after."""
    options = parse(CalibrateOptions, arguments, "calibrate", __doc__)
    sequences = read_sequences(options.dataset, options.data_dir)
    print(calibrate(options.checkpoint, options.results, sequences, options.output))
