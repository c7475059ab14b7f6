"""Following targets through a video, from frames to an annotated video and a file of boxes."""

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import tqdm
from jaxtyping import Bool, Float, Float64, UInt8

from asymtrack_jax.boxes import iou
from asymtrack_jax.errors import InputError
from asymtrack_jax.files import write_atomically
from asymtrack_jax.video import drawing
from asymtrack_jax.video.sources import FrameSource
from asymtrack_jax.video.writers import GifWriter, VideoWriter

Frame = UInt8[np.ndarray, "H W 3"]

_RATE_WINDOW = 25  # updates that the frame rate shown on the video is taken over


@runtime_checkable
class MultiTracker(Protocol):
    """What is needed of a tracker; `asymtrack_jax.Tracker` is one."""

    def init(self, frame: Any, init_bbox: Any) -> None:
        """Starts on boxes [N, 4], xywh in pixels."""
        ...

    def update(self, frame: Any) -> tuple[Any, Any]:
        """Returns boxes [N, 4] and scores [N]."""
        ...

    @property
    def lost(self) -> Any:
        """Which targets are lost, [N]."""
        ...


class Step(NamedTuple):
    """One frame and where the targets are in it.

    Attributes:
        frame: uint8 RGB.
        bboxes: xywh, pixels.
        scores: 1 in the first frame, whose boxes are given.
        lost: which targets are lost; their boxes are where they were.
        seconds: what the tracker's update took; NaN in the first frame.
    """

    frame: Frame
    bboxes: Float[np.ndarray, "N 4"]
    scores: Float[np.ndarray, " N"]
    lost: Bool[np.ndarray, " N"]
    seconds: float


@dataclasses.dataclass(frozen=True)
class Tracks:
    """Where N targets were in T frames.

    Attributes:
        bboxes: xywh, pixels.
        scores: 1 in the first frame, whose boxes are given.
        fps: the tracker's updates a second. Reading, drawing and writing are not in it, nor is the
            first update, which compiles. NaN if there was no other.
        interrupted: Ctrl-C came before the last frame.
    """

    bboxes: Float64[np.ndarray, "T N 4"]
    scores: Float64[np.ndarray, "T N"]
    fps: float
    interrupted: bool


def follow(
    tracker: MultiTracker, frames: Iterable[Frame], init_bboxes: Float[np.ndarray, "N 4"]
) -> Iterator[Step]:
    """Starts a tracker on the first frame and updates it on all others."""
    for index, frame in enumerate(frames):
        if index == 0:
            tracker.init(frame, init_bboxes)
            scores, lost = np.ones(len(init_bboxes)), np.zeros(len(init_bboxes), bool)
            yield Step(frame, init_bboxes, scores, lost, math.nan)
        else:
            start = time.perf_counter()
            bboxes, scores = tracker.update(frame)
            seconds = time.perf_counter() - start
            yield Step(frame, bboxes, scores, tracker.lost, seconds)


def follow_to_files(
    tracker: MultiTracker,
    source: FrameSource,
    init_bboxes: Float[np.ndarray, "N 4"],
    video: VideoWriter | GifWriter,
    *,
    show: bool = False,
) -> Tracks:
    """Follows targets, and writes an annotated video and, beside it, a file of boxes.

    Frames are read, tracked and written one at a time. Ctrl-C stops after the frame in work; then,
    and also after an error, both files hold the frames that were done. Call it from the main
    thread, as Ctrl-C reaches no other.

    Args:
        tracker: followed with, from the first frame on.
        source: the frames.
        init_bboxes: the targets in the first frame, xywh in pixels.
        video: for the annotated frames; closed here. The boxes (see `write_boxes`) go beside it, to
            the same name in .txt.
        show: show the frames in a window as well, where q or Escape stops.

    Raises:
        InputError: a bad box, a frame that cannot be read, an output that cannot be written, or
            no display to show on.
    """
    if source.path and video.path.exists() and video.path.samefile(source.path):
        raise InputError(f"{video.path} is the input: choose another output")
    if show:
        drawing.require_window("leave out --show")
    bboxes, scores, seconds = [], [], []
    with _stop_on_interrupt() as stop, video:
        try:
            following = follow(tracker, source.frames, init_bboxes)
            for step in tqdm.tqdm(following, total=source.num_frames, unit="frame"):
                rate = _rate(seconds, _RATE_WINDOW)
                status = f"#{len(bboxes)}" + ("" if math.isnan(rate) else f"  {rate:.0f} fps")
                annotated = drawing.annotate(
                    step.frame, step.bboxes, step.scores, step.lost, status
                )
                video.write(annotated)
                bboxes.append(step.bboxes)
                scores.append(step.scores)
                seconds.append(step.seconds)
                if stop.is_set() or (show and not drawing.show(annotated)):
                    break
        except InputError as error:
            done = f" ({video.path} holds the {len(bboxes)} frames before it)" if bboxes else ""
            raise InputError(f"{error}{done}") from error
        finally:
            if bboxes:
                write_boxes(video.path.with_suffix(".txt"), np.stack(bboxes), np.stack(scores))
    return Tracks(np.stack(bboxes), np.stack(scores), _rate(seconds), stop.is_set())


def summary(tracks: Tracks, source: FrameSource, output: Path) -> str:
    """What was done, for people; with the mean IoU where the true boxes are known."""
    frames, targets = tracks.scores.shape
    begin = "interrupted: " if tracks.interrupted else ""
    boxes_path = output.with_suffix(".txt")
    of_all = f" of {source.num_frames}" if source.num_frames else ""
    lines = [f"{begin}{frames}{of_all} frames, {targets} target(s): {output} and {boxes_path}"]
    if not math.isnan(tracks.fps):
        lines.append(f"tracker: {tracks.fps:.1f} frames a second (reading and writing not counted)")
    if source.truth is not None and frames > 1:
        overlap = np.nanmean(iou(tracks.bboxes[1:], source.truth[1:frames, None]))
        lines.append(f"mean IoU with the truth: {overlap:.3f} (first frame not counted)")
    return "\n".join(lines)


def write_boxes(
    path: Path, bboxes: Float[np.ndarray, "T N 4"], scores: Float[np.ndarray, "T N"]
) -> None:
    """Writes a line a frame: x, y, w, h, score of each target in turn, as decimals with commas.

    The first line holds the given boxes with score 1. There is no header: `numpy.loadtxt(path,
    delimiter=",")` reads the file.
    """
    rows = np.concatenate([bboxes, scores[..., None]], axis=-1).reshape(len(bboxes), -1)
    lines = (",".join(f"{number:.4f}" for number in row) + "\n" for row in rows)
    write_atomically(path, "".join(lines).encode())


def choose_bboxes(written: Sequence[str], source: FrameSource) -> Float64[np.ndarray, "N 4"]:
    """Boxes to start on: those written as "x,y,w,h", else the true one, else one the person draws.

    Raises:
        InputError: what is written is not four numbers, or there is nowhere to drawing.
    """
    if written:
        return np.stack([_parse_bbox(text) for text in written])
    if source.truth is not None:
        return source.truth[:1]
    return drawing.select_bbox(source.first_frame)[None]


def _parse_bbox(text: str) -> Float64[np.ndarray, "4"]:
    try:
        x, y, w, h = (float(number) for number in text.split(","))
    except ValueError:
        raise InputError(f"box {text!r}: expected four numbers x,y,w,h in pixels") from None
    return np.array([x, y, w, h])


def _rate(seconds: list[float], window: int | None = None) -> float:
    """Updates a second, of the last `window` or of all, less the first; NaN if there are none."""
    start = 2 if window is None else max(2, len(seconds) - window)  # 0: init, 1: compilation
    taken = seconds[start:]
    return len(taken) / sum(taken) if taken else math.nan


@contextlib.contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """Within, a first Ctrl-C only sets the event; a second one interrupts as usual."""
    stop = threading.Event()
    previous = signal.getsignal(signal.SIGINT)

    def request_stop(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, request_stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)
