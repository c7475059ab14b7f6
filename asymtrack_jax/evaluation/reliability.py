"""What a tracker's score says of the overlap with the target."""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from asymtrack_jax.data.sequences import Sequence
from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import protocols
from asymtrack_jax.evaluation.results import ResultFolder

NUM_BINS = 10


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredFrames:
    """Frames of tracked sequences, without the first ones.

    Attributes:
        scores: what the tracker said, in [0, 1].
        overlaps: what was so: IoU with the annotated box; 0 where the target is absent.
    """

    scores: Float[np.ndarray, " frames"]
    overlaps: Float[np.ndarray, " frames"]

    def binned(self) -> list["ScoredFrames"]:
        """The frames by their scores, in equal parts of [0, 1]; some may be empty."""
        number = np.minimum((self.scores * NUM_BINS).astype(int), NUM_BINS - 1)
        parts = [number == index for index in range(NUM_BINS)]
        return [ScoredFrames(self.scores[part], self.overlaps[part]) for part in parts]

    def error(self) -> float:
        """The expected calibration error: how far a bin's mean score is from its mean overlap."""
        differences = [abs((part.scores - part.overlaps).sum()) for part in self.binned()]
        return float(sum(differences)) / len(self.scores)

    def auroc(self) -> float:
        """How well scores tell hits (IoU over 0.5) from misses: the area under the ROC curve.

        NaN if there are only hits, or only misses.
        """
        hit = self.overlaps > 0.5
        hits, misses = int(hit.sum()), int((~hit).sum())
        if not hits or not misses:
            return math.nan
        _, place, counts = np.unique(self.scores, return_inverse=True, return_counts=True)
        ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # of equal scores the mean
        return float((ranks[hit].sum() - hits * (hits + 1) / 2) / (hits * misses))


def collect(folder: ResultFolder, sequences: Iterable[Sequence]) -> ScoredFrames:
    """All frames, but the first ones, of the sequences that there are boxes and scores of.

    Raises:
        InputError: a file is damaged, or of another length than its sequence.
    """
    scores, overlaps = [np.empty(0)], [np.empty(0)]
    for sequence in sequences:
        said = folder.read_scores(sequence.name)
        if said is None:
            continue
        errors = protocols.frame_errors(
            folder.read(sequence.name),
            sequence.boxes,
            sequence.visible,
            protocols.ONE_PASS["lasot"],
        )
        if len(said) != len(errors.overlap):
            raise InputError(
                f"{folder.find(sequence.name)} has {len(said)} scores, and the sequence "
                f"{len(errors.overlap)} frames"
            )
        scores.append(said[1:])
        overlaps.append(np.maximum(errors.overlap[1:], 0))  # -1 where the target is absent
    return ScoredFrames(np.concatenate(scores), np.concatenate(overlaps))
