"""When a target counts as lost, how it is searched for, and when it is found again.

Off unless asked for: a box is then what the network says, whatever the score, as in benchmarks.
"""

import dataclasses

import numpy as np
from flax import struct
from jaxtyping import Bool, Float, Int

from asymtrack_jax.errors import InputError
from asymtrack_jax.tracking.model import Model


@struct.dataclass
class Targets:
    """What is believed of N targets between two frames; a pytree.

    Attributes:
        bboxes: where they are, xywh in pixels; of a lost one, its last confident box.
        last_confident: the last boxes whose score was high enough, xywh in pixels.
        num_low_score: how many frames in a row the score has been too low since.
    """

    bboxes: Float[np.ndarray, "N 4"]
    last_confident: Float[np.ndarray, "N 4"]
    num_low_score: Int[np.ndarray, " N"]

    @classmethod
    def at(cls, bboxes: Float[np.ndarray, "N 4"]) -> "Targets":
        """Targets whose boxes are given, xywh in pixels."""
        return cls(bboxes, bboxes, np.zeros(len(bboxes), int))


@dataclasses.dataclass(frozen=True)
class Recovery:
    """The rules by which a target is lost and found.

    A box is confident if its score is at least `threshold`. After `patience` frames in a row that
    are not, the target is lost: its box goes back to the last confident one, and stays; the search
    goes on around it, `growth` times as wide each frame as in the last, up to `max_search_scale`
    times the usual width. The first box there whose score is at least `recover_threshold` ends it.

    The scores are meant to be calibrated (`tracking.calibration`).

    Attributes:
        threshold: least score of a confident box; at 0 no target is ever lost.
        patience: frames in a row, at least 1.
        recover_threshold: least score of a confident box of a lost target.
        growth: of the search crop's side, at least 1.
        max_search_scale: side of the search crop over the usual one, at most; at least 1.
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
        """Which targets are lost."""
        return targets.num_low_score >= self.patience

    def search_scale(self, targets: Targets) -> Float[np.ndarray, " N"]:
        """Side of each target's next search crop over the usual one: 1 unless it is lost."""
        frames_lost = np.maximum(targets.num_low_score - self.patience + 1, 0)
        return np.exp(np.minimum(frames_lost * np.log(self.growth), np.log(self.max_search_scale)))

    def update(
        self,
        targets: Targets,
        bboxes: Float[np.ndarray, "N 4"],
        scores: Float[np.ndarray, " N"],
    ) -> Targets:
        """What is believed after a frame.

        Args:
            targets: what was believed before it.
            bboxes: what the network found in it, xywh in pixels.
            scores: of these boxes.
        """
        confident = scores >= np.where(self.lost(targets), self.recover_threshold, self.threshold)
        last_confident = np.where(confident[:, None], bboxes, targets.last_confident)
        num_low_score = np.where(confident, 0, targets.num_low_score + 1)
        lost = num_low_score >= self.patience
        bboxes = np.where(lost[:, None], last_confident, bboxes)
        return Targets(bboxes, last_confident, num_low_score)


OFF = Recovery(threshold=0.0)


def choose_recovery(recover: bool, model: Model) -> Recovery:
    """The default rules if somebody wants to recover, else `OFF`.

    Raises:
        InputError: the model's scores are not calibrated, so that no threshold suits them.
    """
    if recover and model.calibration is None:
        raise InputError(
            "recovery needs scores that mean something, and this checkpoint's are not calibrated: "
            "see asymtrack calibrate --help"
        )
    return Recovery() if recover else OFF
