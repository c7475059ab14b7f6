"""Fits a checkpoint's scores to the overlap (IoU) with the target that is to be expected."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asymtrack_jax.data import sequences as data
from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import results
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


def calibrate(
    source: Path, results_dir: Path, sequences: Sequence[data.Sequence], output: Path
) -> str:
    """Writes a copy of a checkpoint with the calibration that its results on sequences give.

    Args:
        source: the checkpoint's directory.
        results_dir: output folder of the evaluation that made the results.
        sequences: annotated, which were tracked.
        output: directory to write.

    Returns:
        A summary for people.

    Raises:
        InputError: the checkpoint is calibrated already, or did not make the results; see `fit`.
    """
    loaded = checkpoint.read(source)
    if KEY in loaded.metadata:
        raise InputError(f"{source} is calibrated; take the one that it was made of")
    directory = results_dir / results.BOXES
    manifest = results.read_manifest(directory)
    made_by = manifest.get("checkpoint_sha256"), manifest.get("recovery")
    if made_by != (checkpoint.sha256(source), None):
        raise InputError(
            f"{directory} holds results of another checkpoint than {source}, or of "
            "recovery: evaluate this one, without"
        )
    origin = results.read_origin(directory, 0)
    frames = collect(results.ResultFolder(source.name, directory, origin), sequences)
    calibration = fit(frames)
    metadata = {**loaded.metadata, KEY: dataclasses.asdict(calibration)}
    path = checkpoint.save(output, loaded.config, loaded.variables, metadata)
    after = dataclasses.replace(frames, scores=calibration(frames.scores))
    return (
        f"{path}: {calibration}, of {len(frames.scores)} frames. Calibration error "
        f"{frames.error():.3f}, now {after.error():.3f}; hits (IoU over 0.5) are told from misses "
        f"with an area under the ROC curve of {frames.auroc():.3f}"
    )
