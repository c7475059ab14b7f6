"""What following needs of a tracker, and what it gives for each frame."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from asymtrack_jax.data.sequences import Frame

NO_FRAME: Frame = np.zeros((0, 0, 3), np.uint8)  # of a step that is kept without its frame


@runtime_checkable
class MultiTracker(Protocol):
    """What is needed of a tracker; `asymtrack_jax.Tracker` is one."""

    def init(self, frame: Any, init_bbox: Any) -> None:
        """Starts on boxes [N, 4], xywh in pixels, with the ids 0 to N - 1."""
        ...

    def update(self, frame: Any) -> tuple[Any, Any]:
        """Returns boxes [N, 4] and scores [N], in the order of `ids`."""
        ...

    def add(self, frame: Any, bbox: Any) -> int:
        """Follows one more target, and returns its id."""
        ...

    def remove(self, target: int) -> None:
        """Forgets a target."""
        ...

    def reinit(self, target: int, frame: Any, bbox: Any) -> None:
        """Starts a target anew from a box."""
        ...

    @property
    def ids(self) -> list[int]:
        """The targets' ids."""
        ...

    @property
    def lost(self) -> Any:
        """Which targets are lost, [N]."""
        ...


class Step(NamedTuple):
    """One frame and where the targets are in it.

    Attributes:
        frame: uint8 RGB.
        targets: ids.
        bboxes: xywh, pixels.
        scores: 1 where the box was given.
        lost: which targets are lost; their boxes are where they were.
        seconds: what the tracker's update took; NaN in the first frame.
    """

    frame: Frame
    targets: Int[np.ndarray, " N"]
    bboxes: Float[np.ndarray, "N 4"]
    scores: Float[np.ndarray, " N"]
    lost: Bool[np.ndarray, " N"]
    seconds: float

    def without(self, target: int) -> "Step":
        """The step less a target."""
        rows = self.targets != target
        return self._replace(
            targets=self.targets[rows],
            bboxes=self.bboxes[rows],
            scores=self.scores[rows],
            lost=self.lost[rows],
        )

    def given(self, target: int, bbox: Float[np.ndarray, "4"]) -> "Step":
        """The step with a given box for a target, new or not."""
        rest = self.without(target)
        place = int(np.searchsorted(rest.targets, target))
        return rest._replace(
            targets=np.insert(rest.targets, place, target),
            bboxes=np.insert(rest.bboxes, place, bbox, axis=0),
            scores=np.insert(rest.scores, place, 1.0),
            lost=np.insert(rest.lost, place, False),
        )
