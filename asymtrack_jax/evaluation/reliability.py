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


def scored_frames(
    sequence: Sequence, boxes: Float[np.ndarray, "N 4"], scores: Float[np.ndarray, " N"]
) -> ScoredFrames:
    """Compares a tracker's boxes, xywh in pixels, with the annotation of their sequence."""
    rules = protocols.ONE_PASS["lasot"]
    overlaps = protocols.frame_errors(boxes, sequence.boxes, sequence.visible, rules).overlap
    return ScoredFrames(scores[1:], np.maximum(overlaps[1:], 0))  # -1 where the target is absent


def concatenated(parts: Iterable[ScoredFrames]) -> ScoredFrames:
    """Joins the frames of several sequences."""
    parts = list(parts)
    return ScoredFrames(
        np.concatenate([np.empty(0), *(part.scores for part in parts)]),
        np.concatenate([np.empty(0), *(part.overlaps for part in parts)]),
    )


def collect(folder: ResultFolder, sequences: Iterable[Sequence]) -> ScoredFrames:
    """Collects the scored frames of all sequences whose results have boxes and scores.

    Args:
        folder: results of a tracker.
        sequences: annotated sequences; those without scores in the folder are skipped.

    Raises:
        InputError: a file is damaged, or its length differs from that of its sequence.
    """
    parts = []
    for sequence in sequences:
        scores = folder.read_scores(sequence.name)
        if scores is None:
            continue
        if len(scores) != len(sequence.boxes):
            raise InputError(
                f"{folder.find(sequence.name)} has {len(scores)} scores, but the sequence has "
                f"{len(sequence.boxes)} frames"
            )
        parts.append(scored_frames(sequence, folder.read(sequence.name), scores))
    return concatenated(parts)
