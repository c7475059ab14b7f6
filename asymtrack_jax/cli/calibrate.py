"""Calibrates a checkpoint: its scores become the expected overlap (IoU) with the target.

Compares the scores and boxes that `asymtrack evaluate` wrote with the annotation, and writes a copy
of the checkpoint that holds the calibration. H should be like what the tracker is for: neither a
benchmark nor training data.

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
    """What to calibrate.

    Attributes:
        checkpoint: directory of the checkpoint that made the results.
        results: an output folder of `asymtrack evaluate`.
        output: directory to write.
        dataset: the dataset that was tracked.
        data_dir: its folder; by default a folder in $ASYMTRACK_DATA.
    """

    checkpoint: Path
    results: Path
    output: Path
    dataset: BenchmarkName = "folder"
    data_dir: Path | None = None


def main(arguments: Sequence[str]) -> None:
    """Calibrates, and prints what was gained."""
    options = parse(CalibrateOptions, arguments, "calibrate", __doc__)
    sequences = read_sequences(options.dataset, options.data_dir)
    print(calibrate(options.checkpoint, options.results, sequences, options.output))
