"""A score that means something: the overlap with the target that is to be expected."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Array, Float

from asymtrack_jax.errors import InputError

KEY = "calibration"  # of a checkpoint's metadata
LEAST_SCORE = 1e-6  # and 1 minus it is the largest: where logits end

Scores = TypeVar("Scores", Float[np.ndarray, "*b"], Float[Array, "*b"])


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The IoU to be expected of a box by the network's score: `sigmoid(slope * logit + offset)`.

    `logit` is that of the network's score. The map keeps the order of scores.

    Attributes:
        slope: positive.
        offset: any number.
    """

    slope: float
    offset: float

    def __call__(self, scores: Scores) -> Scores:
        """The IoU to be expected, in (0, 1), of the network's scores; numpy or jax."""
        xp = scores.__array_namespace__()
        return 1 / (1 + xp.exp(-(self.slope * logit(scores) + self.offset)))


def logit(scores: Scores) -> Scores:
    """`log(score / (1 - score))`, finite for scores of 0 and 1 too; numpy or jax."""
    xp = scores.__array_namespace__()
    clipped = xp.clip(scores, LEAST_SCORE, 1 - LEAST_SCORE)
    return xp.log(clipped / (1 - clipped))


def of_checkpoint(metadata: Mapping[str, Any]) -> Calibration | None:
    """The calibration that a checkpoint's metadata hold, if any.

    Raises:
        InputError: it is not one.
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
