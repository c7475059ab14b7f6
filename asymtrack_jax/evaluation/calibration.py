"""Makes a checkpoint's scores mean something: the overlap with the target that is to be expected.

It compares the scores and boxes that evaluate.py wrote with the annotation, and writes a copy of
the checkpoint that holds what it found:

  python evaluate.py --dataset folder --data-dir H --checkpoint C --float-results --output R
  python -m asymtrack_jax.evaluation.calibration --data-dir H --checkpoint C --results R --output D

H should be like what the tracker is for; neither a benchmark, nor what the checkpoint learned from.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asymtrack_jax.errors import InputError, run_main
from asymtrack_jax.evaluation import results
from asymtrack_jax.evaluation.benchmarks import BENCHMARKS, DATA_VARIABLE, read_sequences
from asymtrack_jax.evaluation.reliability import ScoredFrames, collect
from asymtrack_jax.models import checkpoint
from asymtrack_jax.tracking.calibration import KEY, Calibration, logit

_NEWTON_STEPS = 30


def fit(frames: ScoredFrames) -> Calibration:
    """The likeliest calibration: a logistic regression of the overlaps on the scores' logits.

    Args:
        frames: with the network's own scores.

    Raises:
        InputError: there are no frames, or their overlaps do not rise with the scores.
    """
    inputs = np.stack([logit(frames.scores), np.ones(len(frames.scores))], axis=1)
    ridge = 1e-3 * np.eye(2)  # keeps the weights finite where scores or overlaps are all alike
    weights = np.zeros(2)
    for _ in range(_NEWTON_STEPS):
        expected = 1 / (1 + np.exp(-inputs @ weights))
        gradient = inputs.T @ (frames.overlaps - expected) - ridge @ weights
        curvature = inputs.T @ (inputs * (expected * (1 - expected))[:, None]) + ridge
        weights += np.linalg.solve(curvature, gradient)
    slope, offset = weights.tolist()
    if slope <= 0:
        raise InputError(
            f"in {len(frames.scores)} frames the overlap does not rise with the score: "
            "take more sequences, or a better checkpoint"
        )
    return Calibration(slope, offset)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog="python -m asymtrack_jax.evaluation.calibration",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset", choices=BENCHMARKS, default="folder", help="default: folder")
    data_help = f"its folder; default: a folder in ${DATA_VARIABLE}"
    parser.add_argument("--data-dir", type=Path, help=data_help)
    parser.add_argument("--checkpoint", type=Path, required=True, help="that made the results")
    parser.add_argument("--results", type=Path, required=True, help="an output of evaluate.py")
    parser.add_argument("--output", type=Path, required=True, help="directory to write")
    args = parser.parse_args(argv)

    loaded = checkpoint.read(args.checkpoint)
    if KEY in loaded.metadata:
        raise InputError(f"{args.checkpoint} is calibrated; take the one that it was made of")
    directory = args.results / results.BOXES
    manifest = results.read_manifest(directory)
    made_by = manifest.get("checkpoint_sha256"), manifest.get("recovery")
    if made_by != (checkpoint.sha256(args.checkpoint), None):
        raise InputError(
            f"{directory} holds results of another checkpoint than {args.checkpoint}, or of "
            "recovery: evaluate this one, without"
        )
    sequences = read_sequences(args.dataset, args.data_dir)
    frames = collect(results.ResultFolder(args.checkpoint.name, directory), sequences)
    calibration = fit(frames)
    metadata = {**loaded.metadata, KEY: dataclasses.asdict(calibration)}
    path = checkpoint.save(args.output, loaded.config, loaded.variables, metadata)
    after = dataclasses.replace(frames, scores=calibration(frames.scores))
    print(
        f"{path}: {calibration}, of {len(frames.scores)} frames. Calibration error "
        f"{frames.error():.3f}, now {after.error():.3f}; hits (IoU over 0.5) are told from misses "
        f"with an area under the ROC curve of {frames.auroc():.3f}"
    )


if __name__ == "__main__":
    run_main(main)
