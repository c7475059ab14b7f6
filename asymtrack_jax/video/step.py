"""Interface of trackers of several targets, and the result of one frame."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from asymtrack_jax.data.sequences import Frame

# A target counts as lost while its calibrated score, the expected overlap (IoU), is lower.
LOST_SCORE = 0.25
NO_FRAME: Frame = np.zeros((0, 0, 3), np.uint8)  # placeholder in steps stored without frames


@runtime_checkable
class MultiTracker(Protocol):
    """A tracker of several targets, such as `asymtrack_jax.Tracker`."""

    def init(self, frame: Any, init_bbox: Any) -> None:
        """Starts tracking boxes [N, 4], xywh in pixels, with the ids 0 to N - 1."""
        ...

    def update(self, frame: Any) -> tuple[Any, Any]:
        """Returns boxes [N, 4] and scores [N], in the order of `ids`."""
        ...

    def add(self, frame: Any, bbox: Any) -> int:
        """Adds a target with its box, xywh in pixels, and returns its id."""
        ...

    def remove(self, target: int) -> None:
        """Removes a target by its id."""
        ...

    def reinit(self, target: int, frame: Any, bbox: Any) -> None:
        """Restarts a target from a box, xywh in pixels."""
        ...

    @property
    def ids(self) -> list[int]:
        """Ids of the targets."""
        ...


class Step(NamedTuple):
    """One frame and the targets' boxes in it.

    Attributes:
        frame: uint8 RGB.
        targets: ids of the targets.
        bboxes: xywh in pixels.
        scores: scores of the boxes; 1 where the box was given by the user.
        seconds: duration of the tracker's update; NaN in the first frame.
    """

    frame: Frame
    targets: Int[np.ndarray, " N"]
    bboxes: Float[np.ndarray, "N 4"]
    scores: Float[np.ndarray, " N"]
    seconds: float

    @property
    def lost(self) -> Bool[np.ndarray, " N"]:
        """Whether each score is below `LOST_SCORE`."""
        return self.scores < LOST_SCORE

    def without(self, target: int) -> "Step":
        """Returns the step without a target."""
        rows = self.targets != target
        return self._replace(
            targets=self.targets[rows],
            bboxes=self.bboxes[rows],
            scores=self.scores[rows],
        )

    def with_box(self, target: int, bbox: Float[np.ndarray, "4"]) -> "Step":
        """Returns the step with a user's box for a new or existing target."""
        rest = self.without(target)
        place = int(np.searchsorted(rest.targets, target))
        return rest._replace(
            targets=np.insert(rest.targets, place, target),
            bboxes=np.insert(rest.bboxes, place, bbox, axis=0),
            scores=np.insert(rest.scores, place, 1.0),
        )
