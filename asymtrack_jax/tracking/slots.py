"""Tracking of several videos at once, as the rows of a batch: each slot tracks one target.

It is for accelerators: rounding depends on the batch size there, so that boxes differ from those of
one video at a time, by some thousandths of a pixel, and by more once such a difference moves a crop
by a pixel. On CPUs batching does not speed up this network.
"""

import functools
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from asymtrack_jax.data.sequences import Frame
from asymtrack_jax.models.efficientmod import Modulation
from asymtrack_jax.tracking.model import Model
from asymtrack_jax.tracking.tracker import boxes_in_frame, check_frame, search_crops, start


class BatchTracker:
    """Slots, each of which can be restarted while others are tracking.

    A step compiles once, and its cost does not depend on the number of slots in use.

    Args:
        model: the network and its weights.
        count: number of slots, at least 1.
    """

    def __init__(self, model: Model, count: int):
        self.count = count
        self._model = model
        self._bboxes: dict[int, Float[np.ndarray, "1 4"]] = {}  # by slot
        self._modulation: Modulation | None = None
        self._map = ThreadPoolExecutor(min(count, os.cpu_count() or 1)).map if count > 1 else map

    def start(self, slot: int, frame: Frame, init_bbox: Float[np.ndarray, "4"]) -> None:
        """Initialises a slot on the first frame of a video, in place of its earlier target.

        Args:
            slot: index of the slot, from 0.
            frame: first frame, uint8 RGB.
            init_bbox: box of the target in it, xywh in pixels.

        Raises:
            InputError: see `tracker.start`; the slot then keeps its earlier target.
        """
        state = start(self._model, frame, init_bbox[None])
        if self._modulation is None or self.count == 1:
            self._modulation = _repeat(state.modulation, self.count)
        else:
            self._modulation = _replace(self._modulation, state.modulation, slot)
        self._bboxes[slot] = state.bboxes

    def advance(
        self, frames: Mapping[int, Frame]
    ) -> dict[int, tuple[Float[np.ndarray, "4"], float]]:
        """Tracks the targets of some slots in the next frames; other slots do not change.

        Args:
            frames: next frame by slot, of slots that were started.

        Returns:
            By slot, the box (xywh, pixels; NaN if the network's output is not finite) and its
            score (see `Prediction`).

        Raises:
            InputError: a frame is not uint8 RGB.
        """
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


@functools.partial(jax.jit, static_argnums=1)
def _repeat(modulation: Modulation, count: int) -> Modulation:
    return jax.tree.map(lambda leaf: jnp.repeat(leaf, count, axis=0), modulation)


@jax.jit
def _replace(modulation: Modulation, one: Modulation, slot: int) -> Modulation:
    return jax.tree.map(lambda all_, leaf: all_.at[slot].set(leaf[0]), modulation, one)
