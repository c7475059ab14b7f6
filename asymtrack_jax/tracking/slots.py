"""Tracking of several videos at once: each slot tracks one target in its own video.

On accelerators the slots are the rows of a batch (`BatchedSlots`). Rounding depends on the batch
size there, so that boxes differ from those of one video at a time: by some thousandths of a pixel,
and by more once such a difference moves a crop by a pixel. On CPUs batching does not speed up this
network, and slows XLA's program down (docs/performance.md): each slot runs its own steps in a
thread (`ThreadedSlots`), and results are exactly those of one video at a time.
"""

import functools
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from asymtrack_jax.data.sequences import Frame
from asymtrack_jax.models.efficientmod import Modulation
from asymtrack_jax.tracking.model import Model
from asymtrack_jax.tracking.tracker import (
    TrackerState,
    advance,
    boxes_in_frame,
    check_frame,
    search_crops,
    start,
)

StepResults = dict[int, tuple[Float[np.ndarray, "4"], float]]


def make_batch_tracker(model: Model, count: int) -> "BatchedSlots | ThreadedSlots":
    """Returns the tracker of several videos that is faster on the default backend.

    Args:
        model: the network and its weights.
        count: number of videos at once, at least 1.
    """
    kind = ThreadedSlots if jax.default_backend() == "cpu" else BatchedSlots
    return kind(model, count)


class ThreadedSlots:
    """Slots that step independently, in as many threads as there are slots or CPU cores.

    Attributes:
        count: number of slots.
    """

    def __init__(self, model: Model, count: int):
        self.count = count
        self._model = model
        self._states: dict[int, TrackerState] = {}
        self._map = _parallel_map(count)

    def start(self, slot: int, frame: Frame, init_bbox: Float[np.ndarray, "4"]) -> None:
        """Initialises a slot on the first frame of a video, in place of its earlier target.

        Args:
            slot: index of the slot, from 0.
            frame: first frame, uint8 RGB.
            init_bbox: box of the target in it, xywh in pixels.

        Raises:
            InputError: see `tracker.start`; the slot then keeps its earlier target.
        """
        self._states[slot] = start(self._model, frame, init_bbox[None])

    def advance(self, frames: Mapping[int, Frame]) -> StepResults:
        """Tracks the targets of some slots in the next frames; other slots do not change.

        Args:
            frames: next frame by slot, of slots that were started.

        Returns:
            By slot, the box (xywh, pixels; NaN if the network's output is not finite) and its
            score (see `Prediction`).

        Raises:
            InputError: a frame is not uint8 RGB.
        """

        def step(slot: int) -> tuple[Float[np.ndarray, "4"], float]:
            state = self._states[slot]
            try:
                state, scores = advance(self._model, state, frames[slot])
            except FloatingPointError:
                return np.full(4, np.nan), 0.0
            self._states[slot] = state
            return state.bboxes[0], float(scores[0])

        return dict(zip(frames, self._map(step, frames), strict=True))


class BatchedSlots:
    """Slots that are the rows of a batch; a slot can be restarted while others are tracking.

    A step compiles once, and its cost does not depend on the number of slots in use.

    Attributes:
        count: number of slots.
    """

    def __init__(self, model: Model, count: int):
        self.count = count
        self._model = model
        self._bboxes: dict[int, Float[np.ndarray, "1 4"]] = {}  # by slot
        self._modulation: Modulation | None = None
        self._map = _parallel_map(count)

    def start(self, slot: int, frame: Frame, init_bbox: Float[np.ndarray, "4"]) -> None:
        """Initialises a slot; see `ThreadedSlots.start`."""
        state = start(self._model, frame, init_bbox[None])
        if self._modulation is None or self.count == 1:
            self._modulation = _repeat(state.modulation, self.count)
        else:
            self._modulation = _replace(self._modulation, state.modulation, slot)
        self._bboxes[slot] = state.bboxes

    def advance(self, frames: Mapping[int, Frame]) -> StepResults:
        """Tracks the targets of some slots; see `ThreadedSlots.advance`."""
        for frame in frames.values():
            check_frame(frame)
        side = self._model.config.search_size
        searches, scales = np.zeros((self.count, side, side, 3), np.uint8), np.empty(self.count)

        def crop(slot: int) -> None:
            row = slice(slot, slot + 1)
            searches[row], scales[row] = search_crops(self._model, self._bboxes[slot], frames[slot])

        list(self._map(crop, frames))
        assert self._modulation is not None
        prediction = self._model.step(self._modulation, searches)
        boxes, scores = jax.device_get((prediction.boxes, prediction.scores))
        found = {}
        for slot, frame in frames.items():
            if not np.isfinite(boxes[slot]).all():
                found[slot] = np.full(4, np.nan), 0.0
                continue
            row = slice(slot, slot + 1)
            self._bboxes[slot] = boxes_in_frame(
                self._model, self._bboxes[slot], frame, boxes[row], scales[row]
            )
            found[slot] = self._bboxes[slot][0], float(scores[slot])
        return found


def _parallel_map(count: int) -> Callable[..., Iterable[Any]]:
    """Returns `map`, or the `map` of a thread pool for more than one slot."""
    if count == 1:
        return map
    return ThreadPoolExecutor(min(count, os.cpu_count() or 1)).map


@functools.partial(jax.jit, static_argnums=1)
def _repeat(modulation: Modulation, count: int) -> Modulation:
    return jax.tree.map(lambda leaf: jnp.repeat(leaf, count, axis=0), modulation)


@jax.jit
def _replace(modulation: Modulation, one: Modulation, slot: int) -> Modulation:
    return jax.tree.map(lambda all_, leaf: all_.at[slot].set(leaf[0]), modulation, one)
