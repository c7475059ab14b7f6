"""Reliability of scores: how well a tracker's score predicts the overlap with the target."""

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
    """Scores and overlaps of tracked frames, without the first frame of each sequence.

    Attributes:
        scores: the tracker's scores, in [0, 1].
        overlaps: IoU with the annotated boxes, in [0, 1]; 0 where the target is absent.
    """

    scores: Float[np.ndarray, " frames"]
    overlaps: Float[np.ndarray, " frames"]

    def binned(self) -> list["ScoredFrames"]:
        """Returns the frames in `NUM_BINS` equal bins of the score; bins may be empty."""
        number = np.minimum((self.scores * NUM_BINS).astype(int), NUM_BINS - 1)
        parts = [number == index for index in range(NUM_BINS)]
        return [ScoredFrames(self.scores[part], self.overlaps[part]) for part in parts]

    def error(self) -> float:
        """Returns the expected calibration error.

        It is the absolute difference of mean score and mean overlap, averaged over the bins with
        their numbers of frames as weights (Guo et al., ICML 2017, with the IoU as the accuracy).
        """
        differences = [abs((part.scores - part.overlaps).sum()) for part in self.binned()]
        return float(sum(differences)) / len(self.scores)

    def auroc(self) -> float:
        """Returns the area under the ROC curve of scores that classify hits (IoU above 0.5).

        It is NaN if there are only hits, or only misses.
        """
        hit = self.overlaps > 0.5
        hits, misses = int(hit.sum()), int((~hit).sum())
        if not hits or not misses:
            return math.nan
        _, place, counts = np.unique(self.scores, return_inverse=True, return_counts=True)
        ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # equal scores share their mean rank
        return float((ranks[hit].sum() - hits * (hits + 1) / 2) / (hits * misses))


def collect(folder: ResultFolder, sequences: Iterable[Sequence]) -> ScoredFrames:
    """Collects the scored frames of all sequences whose results have boxes and scores.

    Args:
        folder: results of a tracker.
        sequences: annotated sequences; those without scores in the folder are skipped.

    Raises:
        InputError: a file is damaged, or its length differs from that of its sequence.
    """
    scores, overlaps = [np.empty(0)], [np.empty(0)]
    for sequence in sequences:
        found = folder.read_scores(sequence.name)
        if found is None:
            continue
        errors = protocols.frame_errors(
            folder.read(sequence.name),
            sequence.boxes,
            sequence.visible,
            protocols.ONE_PASS["lasot"],
        )
        if len(found) != len(errors.overlap):
            raise InputError(
                f"{folder.find(sequence.name)} has {len(found)} scores, but the sequence has "
                f"{len(errors.overlap)} frames"
            )
        scores.append(found[1:])
        overlaps.append(np.maximum(errors.overlap[1:], 0))  # -1 where the target is absent
    return ScoredFrames(np.concatenate(scores), np.concatenate(overlaps))
