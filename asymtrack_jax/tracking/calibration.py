"""Calibration of scores: the expected overlap (IoU) with the target as a function of the score."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Array, Float

from asymtrack_jax.errors import InputError

KEY = "calibration"  # in a checkpoint's metadata
MIN_SCORE = 1e-6  # scores are clipped to [MIN_SCORE, 1 - MIN_SCORE] for finite logits

Scores = TypeVar("Scores", Float[np.ndarray, "*b"], Float[Array, "*b"])


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Map from the network's score to the expected IoU: `sigmoid(slope * logit(score) + offset)`.

    The map is monotonic: it keeps the order of scores.

    Attributes:
        slope: factor of the logit; positive.
        offset: expected IoU's logit at a score of 0.5.
    """

    slope: float
    offset: float

    def __call__(self, scores: Scores) -> Scores:
        """Returns the expected IoU, in (0, 1), of the network's scores; numpy or jax arrays."""
        xp = scores.__array_namespace__()
        return 1 / (1 + xp.exp(-(self.slope * logit(scores) + self.offset)))

    def after(self, other: "Calibration | None") -> "Calibration":
        """Returns the map that applies `other` first, up to the clipping of scores."""
        if other is None:
            return self
        return Calibration(self.slope * other.slope, self.slope * other.offset + self.offset)


def logit(scores: Scores) -> Scores:
    """Returns `log(score / (1 - score))` of scores clipped by `MIN_SCORE`; numpy or jax arrays."""
    xp = scores.__array_namespace__()
    clipped = xp.clip(scores, MIN_SCORE, 1 - MIN_SCORE)
    return xp.log(clipped / (1 - clipped))


def read_calibration(metadata: Mapping[str, Any]) -> Calibration | None:
    """Reads the calibration in a checkpoint's metadata; None if there is none.

    Raises:
        InputError: the entry is not a positive slope and a finite offset.
    """
    if KEY not in metadata:
        return None
    try:
        found = Calibration(**metadata[KEY])
        sound = found.slope > 0 and math.isfinite(found.slope) and math.isfinite(found.offset)
    except (TypeError, OverflowError):
        sound = False
    if not sound:
        raise InputError(
            f"the checkpoint's {KEY} should be a positive slope and an offset, "
            f"got {metadata[KEY]!r}: calibrate it again"
        )
    return found
