"""Recovery from target loss: when a target is lost, where it is searched, when it is found again.

It is off by default, as in benchmarks: boxes are then the network's, whatever their scores.
"""

import dataclasses

import numpy as np
from flax import struct
from jaxtyping import Bool, Float, Int

from asymtrack_jax.errors import InputError
from asymtrack_jax.tracking.model import Model


@struct.dataclass
class Targets:
    """State of N targets between two frames; a pytree.

    Attributes:
        bboxes: current boxes, xywh in pixels; for a lost target its last confident box.
        last_confident: last confident boxes (see `Recovery`), xywh in pixels.
        num_low_score: number of consecutive frames since, whose boxes were not confident.
    """

    bboxes: Float[np.ndarray, "N 4"]
    last_confident: Float[np.ndarray, "N 4"]
    num_low_score: Int[np.ndarray, " N"]

    @classmethod
    def at(cls, bboxes: Float[np.ndarray, "N 4"]) -> "Targets":
        """Returns the state of targets at the given boxes, xywh in pixels."""
        return cls(bboxes, bboxes, np.zeros(len(bboxes), int))


@dataclasses.dataclass(frozen=True)
class Recovery:
    """Settings of the recovery from target loss.

    A box is confident if its score is at least `threshold`. After `patience` consecutive frames
    without a confident box the target is lost: its box is reset to the last confident one and stays
    there, and the side of the search crop around it grows by the factor `growth` per frame, up to
    `max_search_scale` times the usual side. The target is found again at the first box whose score
    is at least `recover_threshold`.

    Scores should be calibrated (`tracking.calibration`).

    Attributes:
        threshold: minimum score of a confident box; with 0 targets are never lost.
        patience: number of consecutive frames before a target is lost, at least 1.
        recover_threshold: minimum score of a confident box of a lost target.
        growth: growth factor of the search crop's side per frame, at least 1.
        max_search_scale: maximum side of the search crop over the usual one, at least 1.

    Raises:
        InputError: a setting is out of its range.
    """

    threshold: float = 0.35
    patience: int = 3
    recover_threshold: float = 0.45
    growth: float = 1.1
    max_search_scale: float = 1.5

    def __post_init__(self):
        if not 0 <= self.threshold <= self.recover_threshold <= 1:
            raise InputError(
                "recovery's threshold and recover_threshold must be in [0, 1] and in this order, "
                f"got {self.threshold} and {self.recover_threshold}"
            )
        if min(self.patience, self.growth, self.max_search_scale) < 1:
            raise InputError(
                "recovery's patience, growth and max_search_scale must be at least 1, "
                f"got {self.patience}, {self.growth} and {self.max_search_scale}"
            )

    def lost(self, targets: Targets) -> Bool[np.ndarray, " N"]:
        """Returns whether each target is lost."""
        return targets.num_low_score >= self.patience

    def search_scale(self, targets: Targets) -> Float[np.ndarray, " N"]:
        """Returns the side of each target's next search crop over the usual one, 1 if not lost."""
        frames_lost = np.maximum(targets.num_low_score - self.patience + 1, 0)
        return np.exp(np.minimum(frames_lost * np.log(self.growth), np.log(self.max_search_scale)))

    def update(
        self,
        targets: Targets,
        bboxes: Float[np.ndarray, "N 4"],
        scores: Float[np.ndarray, " N"],
    ) -> Targets:
        """Returns the state of the targets after a frame.

        Args:
            targets: state before the frame.
            bboxes: predicted boxes in the frame, xywh in pixels.
            scores: scores of the predicted boxes.
        """
        confident = scores >= np.where(self.lost(targets), self.recover_threshold, self.threshold)
        last_confident = np.where(confident[:, None], bboxes, targets.last_confident)
        num_low_score = np.where(confident, 0, targets.num_low_score + 1)
        lost = num_low_score >= self.patience
        bboxes = np.where(lost[:, None], last_confident, bboxes)
        return Targets(bboxes, last_confident, num_low_score)


OFF = Recovery(threshold=0.0)


def choose_recovery(recover: bool, model: Model) -> Recovery:
    """Returns the default `Recovery` if `recover` is set, otherwise `OFF`.

    Raises:
        InputError: `recover` is set, but the model's scores are not calibrated, so that the default
            thresholds do not apply to them.
    """
    if recover and model.calibration is None:
        raise InputError(
            "recovery needs calibrated scores, and this checkpoint's are not calibrated: see "
            "asymtrack calibrate --help"
        )
    return Recovery() if recover else OFF
