"""Fitting of a calibration: from a checkpoint's scores to the expected overlap (IoU)."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asymtrack_jax.data import sequences as data
from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import results
from asymtrack_jax.evaluation.reliability import ScoredFrames, collect
from asymtrack_jax.models import checkpoint
from asymtrack_jax.tracking.calibration import KEY, Calibration, logit, read_calibration

_NEWTON_STEPS = 30


def fit(frames: ScoredFrames) -> Calibration:
    """Fits a calibration by logistic regression of the overlaps on the scores' logits.

    Args:
        frames: frames with uncalibrated scores.

    Raises:
        InputError: there are no frames, or the overlap does not rise with the score.
    """
    if not len(frames.scores):
        raise InputError("no frame has a score and a true box: are the results of these sequences?")
    inputs = np.stack([logit(frames.scores), np.ones(len(frames.scores))], axis=1)
    ridge = 1e-3 * np.eye(2)  # finite weights even if all scores or overlaps are equal
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
    """Writes a copy of a checkpoint with a calibration that is fitted to its results.

    If the checkpoint is calibrated already, the fit is of its calibrated scores; the new map is
    that of both, one after the other.

    Args:
        source: directory of the checkpoint.
        results_dir: output folder of the evaluation of this checkpoint.
        sequences: the annotated sequences that were tracked.
        output: directory to write.

    Returns:
        A summary to print: calibration errors before and after, the area under the ROC curve, and
        a hint if the results' boxes are truncated to integers.

    Raises:
        InputError: the results are of another checkpoint; or see `fit`.
    """
    loaded = checkpoint.read(source)
    directory = results_dir / results.BOXES
    manifest = results.read_manifest(directory)
    if manifest.get("checkpoint_sha256") != checkpoint.sha256(source):
        raise InputError(
            f"{directory} holds results of another checkpoint than {source}: evaluate this one"
        )
    origin = results.read_origin(directory, 0)
    frames = collect(results.ResultFolder(source.name, directory, origin), sequences)
    fitted = fit(frames)
    calibration = fitted.after(read_calibration(loaded.metadata))
    metadata = {**loaded.metadata, KEY: dataclasses.asdict(calibration)}
    path = checkpoint.save(output, loaded.config, loaded.variables, metadata)
    hint = ""
    if manifest.get("result_format") == "int":
        hint = (
            "\nThe boxes of the results are truncated to integers, which lowers the overlap of "
            "small targets: asymtrack evaluate --float-results keeps them exact"
        )
    after = dataclasses.replace(frames, scores=fitted(frames.scores))
    return (
        f"{path}: {calibration}, fitted to {len(frames.scores)} frames. Calibration error "
        f"{frames.error():.3f} before and {after.error():.3f} after; area under the ROC curve of "
        f"hits (IoU above 0.5) {frames.auroc():.3f}{hint}"
    )
