"""Tracking of targets in video: pure functions of a state, and a class like OpenCV's trackers."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Float, Float64, Int, UInt8

from asymtrack_jax.boxes import clip_to_frame, xywh_to_xyxy
from asymtrack_jax.data.crop import crop_square, crop_to_frame
from asymtrack_jax.data.sequences import Frame
from asymtrack_jax.errors import InputError
from asymtrack_jax.models.efficientmod import Modulation
from asymtrack_jax.tracking.model import Model

MIN_SIDE = 0.1  # pixels; the area of smaller boxes may be rounded to 0


@struct.dataclass
class TrackerState:
    """State of a tracker of N targets between two frames; a pytree of arrays.

    Attributes:
        bboxes: boxes of the targets, xywh in pixels.
        modulation: result of their templates; its batch size is N padded to a power of two, so
            that adding or removing a target seldom compiles anything.
    """

    bboxes: Float[np.ndarray, "N 4"]
    modulation: Modulation


def start(model: Model, frame: Frame, init_bboxes: Float[np.ndarray, "N 4"]) -> TrackerState:
    """Returns the state after the first frame.

    Args:
        model: the network and its weights.
        frame: first frame, uint8 RGB.
        init_bboxes: boxes of the targets in it, xywh in pixels.

    Raises:
        InputError: the frame is not uint8 RGB, or a box is not valid (see `check_init_bboxes`).
    """
    check_frame(frame)
    check_init_bboxes(init_bboxes, frame.shape[0], frame.shape[1])
    c = model.config
    templates, _ = _crops(frame, init_bboxes, c.template_factor, c.template_size)
    return TrackerState(init_bboxes, model.init_template(templates))


def advance(
    model: Model, state: TrackerState, frame: Frame
) -> tuple[TrackerState, Float[np.ndarray, " N"]]:
    """Tracks the targets in the next frame.

    The size of the frame may differ from the last one's: the search crops are around the same pixel
    coordinates, and boxes are clipped to the new frame. As published, every box is at least 10
    pixels wide and high, with at least 10 pixels inside the frame.

    Args:
        model: the network and its weights.
        state: state after the previous frame.
        frame: next frame, uint8 RGB.

    Returns:
        The state after the frame, and each target's score (see `Prediction`).

    Raises:
        InputError: the frame is not uint8 RGB.
        FloatingPointError: the network's output is not finite.
    """
    check_frame(frame)
    searches, scales = search_crops(model, state.bboxes, frame)
    prediction = model.step(state.modulation, searches)
    boxes, scores = jax.device_get((prediction.boxes, prediction.scores))
    boxes, scores = boxes[: len(scales)], scores[: len(scales)]
    if not np.isfinite(boxes).all():
        raise FloatingPointError(f"the network predicted {boxes.tolist()}: are its weights sound?")
    bboxes = boxes_in_frame(model, state.bboxes, frame, boxes, scales)
    return TrackerState(bboxes, state.modulation), scores


def search_crops(
    model: Model, bboxes: Float[np.ndarray, "N 4"], frame: Frame
) -> tuple[UInt8[np.ndarray, "padded S S 3"], Float[np.ndarray, " N"]]:
    """Crops the search regions of N targets from a frame.

    Returns:
        The crops, padded with black ones to a power of two, and the scales of the N crops, in crop
        pixels per frame pixel.
    """
    return _crops(frame, bboxes, model.config.search_factor, model.config.search_size)


def boxes_in_frame(
    model: Model,
    bboxes: Float[np.ndarray, "N 4"],
    frame: Frame,
    boxes: Float[np.ndarray, "N 4"],
    scales: Float[np.ndarray, " N"],
) -> Float64[np.ndarray, "N 4"]:
    """Returns the targets' boxes in a frame, xywh in pixels, from the network's prediction.

    Args:
        model: the model that made the prediction.
        bboxes: boxes around which the search crops were taken, xywh in pixels.
        frame: frame of the search crops.
        boxes: predicted boxes, cxcywh in normalised coordinates of the search crop.
        scales: scales of the search crops, crop pixels per frame pixel.
    """
    boxes = boxes.astype(np.float64)
    in_frame = crop_to_frame(boxes, bboxes, scales, model.config.search_size)
    return clip_to_frame(in_frame, frame.shape[0], frame.shape[1])


def select(states: Sequence[TrackerState], rows: Sequence[int]) -> TrackerState:
    """Concatenates states and selects targets of the result.

    Args:
        states: at least one state.
        rows: indices of the selected targets in the concatenation, at least one.
    """
    counts = [len(state.bboxes) for state in states]
    real = np.concatenate([np.arange(_padded(count)) < count for count in counts])
    places = np.flatnonzero(real)  # rows of the modulations that are not padding
    padded = np.resize(places[rows], _padded(len(rows)))
    bboxes = np.concatenate([state.bboxes for state in states])[rows]
    return TrackerState(bboxes, _gather([state.modulation for state in states], padded))


@jax.jit
def _gather(modulations: Sequence[Modulation], rows: Int[np.ndarray, " padded"]) -> Modulation:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[rows], *modulations)


class Tracker:
    """Tracker of one target, or of several at once, from their boxes in the first frame.

        tracker = Tracker(model)
        tracker.init(frame, init_bbox)
        bbox, score = tracker.update(next_frame)

    Frames are uint8 RGB [H, W, 3] (OpenCV reads BGR: use `cv2.cvtColor`). Boxes are x, y, w, h in
    pixels of the frame, with 0, 0 at the corner of the top-left pixel. `add`, `remove` and `reinit`
    change targets while the others are tracked.

    Args:
        model: the network and its weights.
    """

    def __init__(self, model: Model):
        self._model = model
        self._state: TrackerState | None = None  # None without targets
        self._ids: list[int] | None = None  # None before the first
        self._next_id = 0
        self._single = False

    def __repr__(self) -> str:
        return f"Tracker({self._model!r}, ids={self.ids})"

    def init(
        self, frame: Frame, init_bbox: Float[np.ndarray, "4"] | Float[np.ndarray, "N 4"] | Sequence
    ) -> None:
        """Initialises the tracker on a frame, in place of all earlier targets.

        Args:
            frame: first frame, uint8 RGB.
            init_bbox: box of one target, or boxes [N, 4] of N targets, xywh in pixels. Their ids
                are 0 to N - 1.

        Raises:
            InputError: see `start`; earlier targets are then kept.
        """
        bboxes = as_bboxes(init_bbox)
        if bboxes.shape != (4,) and (bboxes.ndim != 2 or bboxes.shape[1] != 4 or not len(bboxes)):
            raise InputError(f"init_bbox must be x, y, w, h or [N, 4]; got shape {bboxes.shape}")
        self._state = start(self._model, frame, bboxes.reshape(-1, 4))
        self._single, self._next_id = bboxes.ndim == 1, len(bboxes.reshape(-1, 4))
        self._ids = list(range(self._next_id))

    def add(self, frame: Frame, bbox: Float[np.ndarray, "4"] | Sequence) -> int:
        """Adds a target, from its box (xywh, pixels) in the current frame.

        From then on `update` returns arrays [N, 4] and [N] for any number of targets.

        Returns:
            The target's id, which is not reused before the next `init`.

        Raises:
            InputError: see `start`; the tracker is then unchanged.
        """
        states = [self._state] if self._state else []
        states.append(self._start_one(frame, bbox))
        self._state = select(states, range(len(self.ids) + 1))
        self._ids, self._single = [*(self._ids or []), self._next_id], False
        self._next_id += 1
        return self._ids[-1]

    def remove(self, target: int) -> None:
        """Removes a target.

        Raises:
            InputError: there is no such id.
        """
        row = self._row(target)
        rows = [index for index in range(len(self.ids)) if index != row]
        self._state = select([self._started()], rows) if rows else None
        self._ids = [self.ids[index] for index in rows]
        self._single = False

    def reinit(self, target: int, frame: Frame, bbox: Float[np.ndarray, "4"] | Sequence) -> None:
        """Reinitialises a target from a box (xywh, pixels) in the current frame; it keeps its id.

        Raises:
            InputError: there is no such id, or see `start`; the tracker is then unchanged.
        """
        rows = list(range(len(self.ids)))
        rows[self._row(target)] = len(rows)
        self._state = select([self._started(), self._start_one(frame, bbox)], rows)

    @property
    def ids(self) -> list[int]:
        """Ids of the targets, in the order of their boxes."""
        return list(self._ids or [])

    def update(self, frame: Frame) -> tuple[Float[np.ndarray, "*N 4"], Any]:
        """Tracks the targets in the next frame.

        Returns:
            The box (xywh in pixels, float64) and its score, a float (see `Prediction`); for N
            targets arrays [N, 4] and [N], in the order of `ids`.

        Raises:
            InputError: `init` was not called, or the frame is not uint8 RGB.
            FloatingPointError: the network's output is not finite; the tracker is then unchanged.
        """
        if self._ids == []:
            check_frame(frame)
            return np.zeros((0, 4)), np.zeros(0)
        self._state, scores = advance(self._model, self._started(), frame)
        bboxes = self._state.bboxes.copy()
        return (bboxes[0], float(scores[0])) if self._single else (bboxes, scores)

    def _started(self) -> TrackerState:
        if self._state is None:
            raise InputError("the tracker has no target yet: call init(frame, init_bbox) first")
        return self._state

    def _start_one(self, frame: Frame, bbox: object) -> TrackerState:
        bboxes = as_bboxes(bbox)
        if bboxes.shape != (4,):
            raise InputError(f"a box must be x, y, w, h; got shape {bboxes.shape}")
        return start(self._model, frame, bboxes[None])

    def _row(self, target: int) -> int:
        if target not in self.ids:
            raise InputError(f"there is no target {target}; there are {self.ids}")
        return self.ids.index(target)


def as_bboxes(init_bbox: object) -> Float64[np.ndarray, "..."]:
    """Converts a user's box or boxes to float64; raises `InputError` if they are not numbers."""
    try:
        array = np.array(init_bbox)
        if np.iscomplexobj(array):
            raise TypeError(f"got {array.tolist()}")
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"init_bbox must be four numbers x, y, w, h: {error}") from error


def check_frame(frame: object) -> None:
    """Raises `InputError` unless the frame is a uint8 array [H, W, 3] with some pixels."""
    if not isinstance(frame, np.ndarray):
        found = type(frame).__name__
    elif frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        found = f"shape {frame.shape}, {frame.dtype}"
    else:
        return
    raise InputError(
        f"a frame must be a uint8 RGB array [H, W, 3]; got {found}. Turn grey and RGBA images into "
        "RGB with cv2.cvtColor, and scale floats to 0..255 and round them"
    )


def check_init_bboxes(bboxes: Float[np.ndarray, "N 4"], height: int, width: int) -> None:
    """Raises `InputError` for the first box that is not a valid initial box.

    A box must be finite, at least `MIN_SIDE` pixels wide and high, touch the frame, and be at most
    twice as wide and high as the frame.
    """
    for bbox in bboxes:
        described = "init_bbox x, y, w, h = " + ", ".join(f"{value:g}" for value in bbox)
        if not np.isfinite(bbox).all():
            raise InputError(f"{described}: all four numbers must be finite")
        if (bbox[2:] < MIN_SIDE).any():
            raise InputError(f"{described}: width and height must be at least {MIN_SIDE} pixels")
        low, high = np.split(xywh_to_xyxy(bbox), 2)
        size = np.array([width, height])
        if (high <= 0).any() or (low >= size).any():
            raise InputError(f"{described}: lies outside the frame of {width} x {height} pixels")
        if (bbox[2:] > 2 * size).any():
            raise InputError(f"{described}: more than twice the frame of {width} x {height} pixels")


def _crops(
    frame: Frame,
    bboxes: Float[np.ndarray, "N 4"],
    factor: float,
    size: int,
) -> tuple[UInt8[np.ndarray, "padded size size 3"], Float[np.ndarray, " N"]]:
    crops = np.zeros((_padded(len(bboxes)), size, size, 3), np.uint8)
    scales = np.empty(len(bboxes))
    for row, bbox in enumerate(bboxes):
        crops[row], scales[row] = crop_square(frame, bbox, factor, size)
    return crops, scales


def _padded(count: int) -> int:
    """Returns the batch size for `count` targets: the next power of two."""
    return 1 << (count - 1).bit_length()
