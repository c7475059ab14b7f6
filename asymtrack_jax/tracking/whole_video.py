"""Tracking of whole videos on the device: crops, network and boxes of many frames in one program.

Only frames are transferred to the device, and only boxes and scores back. That is faster if the
frames are on the device already, or if one call per frame dominates the time; see
docs/whole_video.md. For everything else, such as several targets per frame, use `tracker.Tracker`.

Boxes are float64, on the device too. Each prediction is relative to the previous box, so that
rounding errors accumulate until a crop moves by a pixel; from then on boxes differ by pixels.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Float64, Int, UInt8

from asymtrack_jax.boxes import clip_to_frame
from asymtrack_jax.compilation import Jitted
from asymtrack_jax.data.crop import crop_to_frame
from asymtrack_jax.errors import InputError
from asymtrack_jax.models.efficientmod import Modulation
from asymtrack_jax.tracking.device_crop import crop_squares
from asymtrack_jax.tracking.model import Model
from asymtrack_jax.tracking.tracker import as_bboxes, check_init_bboxes


class Track(NamedTuple):
    """Boxes and scores of the targets of V videos in T frames.

    Attributes:
        predicted: the network's boxes, cxcywh in normalised coordinates of each search crop.
        bboxes: boxes in the frames, xywh in pixels.
        scores: scores of the boxes (see `Prediction`).
        last: boxes in the last frame that is not padding, xywh in pixels.
    """

    predicted: Float32[Array, "V T 4"]
    bboxes: Float[Array, "V T 4"]
    scores: Float32[Array, "V T"]
    last: Float[Array, "V 4"]


def encode_templates(
    model: Model, frames: UInt8[Array, "V H W 3"], bboxes: Float[Array, "V 4"]
) -> Modulation:
    """Crops the templates of V videos and encodes them; a pure function, to be jitted.

    Args:
        model: the network and its weights.
        frames: first frame of each video, RGB.
        bboxes: box of the target in each, xywh in pixels.

    Returns:
        The modulation, batch size V.
    """
    c = model.config
    templates, _ = crop_squares(frames[:, None], 0, bboxes, c.template_factor, c.template_size)
    with jax.enable_x64(False):
        return model.init_template(templates)


def track_frames(
    model: Model,
    modulation: Modulation,
    frames: UInt8[Array, "V T H W 3"],
    bboxes: Float[Array, "V 4"],
    count: Int[Array, ""] | int,
) -> Track:
    """Tracks one target in each of V videos of one frame size; a pure function, to be jitted.

    Call it within `jax.enable_x64(True)`; otherwise boxes are float32.

    Args:
        model: the network and its weights.
        modulation: result of `encode_templates`, batch size V.
        frames: next frames of each video, RGB.
        bboxes: boxes of the targets in the previous frame, xywh in pixels.
        count: number of valid frames; later frames are padding.
    """
    c = model.config
    T, H, W = frames.shape[1:4]

    def step(bboxes: Array, index: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        searches, scales = crop_squares(frames, index, bboxes, c.search_factor, c.search_size)
        with jax.enable_x64(False):
            prediction = model.step(modulation, searches)
        boxes = prediction.boxes.astype(bboxes.dtype)
        bboxes = clip_to_frame(crop_to_frame(boxes, bboxes, scales, c.search_size), H, W)
        return bboxes, (prediction.boxes, bboxes, prediction.scores)

    _, found = jax.lax.scan(step, bboxes, jnp.arange(T, dtype=jnp.int32))
    predicted, tracked, scores = (jnp.moveaxis(array, 0, 1) for array in found)
    return Track(predicted, tracked, scores, tracked[:, count - 1])


class VideoTracker:
    """Tracker of one target in a video, or of one in each of V videos of one frame size.

        tracker = VideoTracker(model)
        tracker.init(frames[0], init_bbox)  # [H, W, 3]; x, y, w, h
        bboxes, scores = tracker.update(frames[1:])  # [T, H, W, 3] -> [T, 4], [T]

    For V videos, `init` takes frames [V, H, W, 3] and boxes [V, 4]; `update` takes frames
    [V, T, H, W, 3] and returns boxes [V, T, 4] and scores [V, T]. Frames are uint8 RGB, numpy or
    jax arrays; `update` may be called again with the frames that follow. Boxes are in the
    coordinates of `tracker.Tracker`.

    It compiles once per frame size and number of videos, so reuse it for the next video. Slicing
    jax arrays of other lengths than `chunk` compiles small programs, once per length.
    """

    def __init__(self, model: Model, chunk: int = 16):
        """Binds the tracker to a model.

        Args:
            model: the network and its weights.
            chunk: frames per call of the compiled program. The last chunk of an `update` is padded.

        Raises:
            InputError: `chunk` is less than 1.
        """
        if chunk < 1:
            raise InputError(f"chunk must be at least 1 frame; got {chunk}")
        self._chunk = chunk
        self._encode = Jitted(functools.partial(encode_templates, model))
        self._track = Jitted(functools.partial(track_frames, model))
        self._modulation: Modulation | None = None
        self._bboxes: Any = None  # [V, 4], float64
        self._single = True
        self._count = 0  # frames since `init`, the first included

    def init(self, frame: UInt8[Any, "*V H W 3"], init_bbox: Float[Any, "*V 4"]) -> None:
        """Initialises the tracker on the first frame, in place of any earlier target.

        Args:
            frame: first frame, or that of each video.
            init_bbox: box of the target in it, or in each, xywh in pixels.

        Raises:
            InputError: a shape or dtype is wrong, or a box is not valid (see `tracker.start`). An
                earlier target is then kept.
        """
        bboxes = as_bboxes(init_bbox)
        single = bboxes.ndim == 1
        _check(frame, "[H, W, 3]" if single else "[V, H, W, 3]")
        if bboxes.shape != (*frame.shape[:-3], 4):
            raise InputError(
                "init_bbox must be x, y, w, h for a frame [H, W, 3], or [V, 4] for [V, H, W, 3]; "
                f"got shapes {bboxes.shape} and {frame.shape}"
            )
        check_init_bboxes(bboxes.reshape(-1, 4), *frame.shape[-3:-1])
        self._single, self._count = single, 1
        self._bboxes = bboxes.reshape(-1, 4)
        with jax.enable_x64(True):
            self._modulation = self._encode(frame[None] if single else frame, self._bboxes)

    def update(
        self, frames: UInt8[Any, "*V T H W 3"]
    ) -> tuple[Float64[np.ndarray, "*V T 4"], Float[np.ndarray, "*V T"]]:
        """Tracks the target in the next frames.

        Returns:
            Boxes, xywh in pixels, and scores (see `Prediction`).

        Raises:
            InputError: `init` was not called, or a shape or dtype is wrong.
            FloatingPointError: the network's output is not finite. The state of the tracker is
                then that before the call.
        """
        if self._modulation is None:
            raise InputError("the tracker has no target yet: call init(frame, init_bbox) first")
        _check(frames, "[T, H, W, 3]" if self._single else "[V, T, H, W, 3]")
        T = frames.shape[-4]
        if not self._single and len(frames) != len(self._bboxes):
            raise InputError(f"there are {len(self._bboxes)} videos; got frames of {len(frames)}")
        if T == 0:
            return np.zeros((*frames.shape[:-3], 4)), np.zeros(frames.shape[:-3], np.float32)
        tracks, last = [], self._bboxes
        for first in range(0, T, self._chunk):
            part = _cut(frames[None] if self._single else frames, first, self._chunk)
            if len(tracks) > 1:
                jax.block_until_ready(tracks[-2])  # limits the frames in device memory
            count = min(self._chunk, T - first)
            with jax.enable_x64(True):
                tracks.append(self._track(self._modulation, part, last, count))
            last = tracks[-1].last
        predicted, bboxes, scores = (
            np.concatenate(arrays, axis=1)[:, :T]
            for arrays in zip(*(jax.device_get(track[:3]) for track in tracks), strict=True)
        )
        self._check_finite(predicted)
        self._bboxes, self._count = last, self._count + T
        return (bboxes[0], scores[0]) if self._single else (bboxes, scores)

    def _check_finite(self, predicted: Float32[np.ndarray, "V T 4"]) -> None:
        broken = np.argwhere(~np.isfinite(predicted).all(axis=-1))
        if len(broken):
            video, index = min(broken.tolist(), key=lambda place: place[1])
            where = f"frame {self._count + index}" + ("" if self._single else f" of video {video}")
            raise FloatingPointError(
                f"the network predicted {predicted[video, index].tolist()} in {where} (counted "
                "from 0): are its weights sound?"
            )


def _cut(frames: UInt8[Any, "V T H W 3"], first: int, count: int) -> UInt8[Any, "V count H W 3"]:
    """Returns `count` frames from `first` on, padded with the last frame."""
    T, on_host = frames.shape[1], isinstance(frames, np.ndarray)
    if count == T:
        return frames
    if first + count <= T:
        return frames[:, first : first + count] if on_host else _slice(frames, first, count)
    indices = np.minimum(np.arange(first, first + count), T - 1)
    return frames[:, indices] if on_host else _take(frames, indices)


@functools.partial(jax.jit, static_argnums=2)
def _slice(frames: UInt8[Array, "V T H W 3"], first: int, count: int) -> Array:
    return jax.lax.dynamic_slice_in_dim(frames, first, count, axis=1)


@jax.jit
def _take(frames: UInt8[Array, "V T H W 3"], indices: Int[Array, " N"]) -> Array:
    return jnp.take(frames, indices, axis=1, mode="clip")


def _check(frames: Any, shape: str) -> None:
    found: tuple = getattr(frames, "shape", ())
    dtype = getattr(frames, "dtype", type(frames).__name__)
    fits = len(found) == shape.count(",") + 1 and found[-1] == 3 and 0 not in found[-3:]
    if not fits or dtype != np.uint8:
        raise InputError(f"frames must be uint8 RGB {shape}; got shape {found}, {dtype}")
