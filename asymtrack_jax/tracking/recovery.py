"""When a target counts as lost, how it is searched for, and when it is found again.

Off unless asked for: a box is then what the network says, whatever the score, as in benchmarks.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

from asymtrack_jax.errors import InputError
from asymtrack_jax.tracking.model import Model


@dataclasses.dataclass(frozen=True)
class Targets:
    """What is believed of N targets between two frames.

    Attributes:
        bboxes: where they are, xywh in pixels; of a lost one, where it was last trusted to be.
        trusted: where they were last trusted to be.
        doubts: for how many frames in a row they have not been trusted since.
    """

    bboxes: Float[np.ndarray, "N 4"]
    trusted: Float[np.ndarray, "N 4"]
    doubts: Int[np.ndarray, " N"]

    @classmethod
    def at(cls, bboxes: Float[np.ndarray, "N 4"]) -> "Targets":
        """Targets whose boxes are given, xywh in pixels."""
        return cls(bboxes, bboxes, np.zeros(len(bboxes), int))


@dataclasses.dataclass(frozen=True)
class Recovery:
    """The rules by which a target is lost and found.

    A box is trusted if its score is at least `threshold`. After `patience` frames in a row without
    trust the target is lost: its box goes back to where it was last trusted, and stays; the search
    goes on around it, `growth` times as wide each frame as in the last, up to `widest` times the
    usual width. The first box there whose score is at least `regain` is trusted again.

    The scores are meant to be calibrated (`tracking.calibration`).

    Attributes:
        threshold: least score that is trusted; at 0 no target is ever lost.
        patience: frames in a row, at least 1.
        regain: least score that is trusted of a lost target.
        growth: of the search crop's side, at least 1.
        widest: side of the search crop over the usual one, at most; at least 1.
    """

    threshold: float = 0.35
    patience: int = 3
    regain: float = 0.45
    growth: float = 1.1
    widest: float = 1.5

    def __post_init__(self):
        if not 0 <= self.threshold <= self.regain <= 1:
            raise InputError(
                "recovery's threshold and regain must be in [0, 1] and in this order, "
                f"got {self.threshold} and {self.regain}"
            )
        if min(self.patience, self.growth, self.widest) < 1:
            raise InputError(
                "recovery's patience, growth and widest must be at least 1, "
                f"got {self.patience}, {self.growth} and {self.widest}"
            )

    def lost(self, targets: Targets) -> Bool[np.ndarray, " N"]:
        """Which targets are lost."""
        return targets.doubts >= self.patience

    def widening(self, targets: Targets) -> Float[np.ndarray, " N"]:
        """Side of each target's next search crop over the usual one: 1 unless it is lost."""
        frames_lost = np.maximum(targets.doubts - self.patience + 1, 0)
        return np.exp(np.minimum(frames_lost * np.log(self.growth), np.log(self.widest)))

    def judge(
        self,
        targets: Targets,
        bboxes: Float[np.ndarray, "N 4"],
        scores: Float[np.ndarray, " N"],
    ) -> Targets:
        """What is believed after a frame.

        Args:
            targets: what was believed before it.
            bboxes: what the network found in it, xywh in pixels.
            scores: how sure it is.
        """
        sure = scores >= np.where(self.lost(targets), self.regain, self.threshold)
        trusted = np.where(sure[:, None], bboxes, targets.trusted)
        doubts = np.where(sure, 0, targets.doubts + 1)
        lost = doubts >= self.patience
        return Targets(np.where(lost[:, None], trusted, bboxes), trusted, doubts)


OFF = Recovery(threshold=0.0)


def choose_recovery(recover: bool, model: Model) -> Recovery:
    """The default rules if somebody wants to recover, else `OFF`.

    Raises:
        InputError: the model's scores are not calibrated, so that no threshold suits them.
    """
    if recover and model.calibration is None:
        raise InputError(
            "recovery needs scores that mean something, and this checkpoint's are not calibrated: "
            "see python -m asymtrack_jax.evaluation.calibration --help"
        )
    return Recovery() if recover else OFF
