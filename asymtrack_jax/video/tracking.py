"""Tracks targets through a video, and writes an annotated video and a file of boxes."""

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tqdm
from jaxtyping import Float, Float64

from asymtrack_jax.boxes import iou
from asymtrack_jax.data.sequences import Frame
from asymtrack_jax.errors import InputError
from asymtrack_jax.video import drawing
from asymtrack_jax.video.sources import FrameSource
from asymtrack_jax.video.step import NO_FRAME, MultiTracker, Step
from asymtrack_jax.video.tracks import Tracks, write_tracks
from asymtrack_jax.video.window import Window, select_bbox
from asymtrack_jax.video.writers import GifWriter, VideoWriter

RATE_WINDOW = 25  # updates over which the displayed frame rate is averaged


@dataclasses.dataclass(frozen=True)
class TrackingResult:
    """Result of tracking a video.

    Attributes:
        tracks: boxes of the targets.
        fps: updates of the tracker per second, without reading, drawing and writing and without the
            first update, which compiles; NaN if there was no other.
        interrupted: whether Ctrl-C ended it before the last frame.
    """

    tracks: Tracks
    fps: float
    interrupted: bool


def track_video(
    tracker: MultiTracker, frames: Iterable[Frame], init_bboxes: Float[np.ndarray, "N 4"]
) -> Iterator[Step]:
    """Initialises a tracker on the first frame and updates it on all others.

    The caller may change the tracker's targets between two frames.

    Args:
        tracker: the tracker.
        frames: frames, uint8 RGB.
        init_bboxes: boxes of the targets in the first frame, xywh in pixels.

    Yields:
        One step per frame.
    """
    for index, frame in enumerate(frames):
        if index == 0:
            tracker.init(frame, init_bboxes)
            scores = np.ones(len(init_bboxes))
            yield Step(frame, np.array(tracker.ids), init_bboxes, scores, math.nan)
        else:
            start = time.perf_counter()
            bboxes, scores = tracker.update(frame)
            seconds = time.perf_counter() - start
            targets = np.array(tracker.ids, int)
            yield Step(frame, targets, bboxes, np.asarray(scores), seconds)


def track_to_files(
    tracker: MultiTracker,
    source: FrameSource,
    init_bboxes: Float[np.ndarray, "N 4"],
    video: VideoWriter | GifWriter,
    boxes: Path,
    *,
    show: bool = False,
) -> TrackingResult:
    """Tracks targets, and writes an annotated video and a file of boxes.

    Frames are read, tracked and written one at a time. Ctrl-C stops after the current frame; then,
    and also after an error, both files hold the frames up to it. Must be called from the main
    thread, which alone receives Ctrl-C.

    Args:
        tracker: the tracker, which is initialised on the first frame.
        source: source of the frames; true boxes are drawn too if it has them.
        init_bboxes: boxes of the targets in the first frame, xywh in pixels.
        video: writer of the annotated frames, which is closed at the end.
        boxes: path of the file of boxes, see `write_tracks`.
        show: show the annotated frames in a `Window` too.

    Raises:
        InputError: a box is invalid, a frame cannot be read, an output cannot be written, or there
            is no display.
    """
    check_output(video.path, source)
    window = Window() if show else None
    steps: list[Step] = []  # without their frames
    seconds: list[float] = []

    def draw(step: Step) -> Frame:
        rate = update_rate(seconds, RATE_WINDOW)
        status = f"#{len(steps)}" + ("" if math.isnan(rate) else f"  {rate:.0f} fps")
        truth = None if source.truth is None else source.truth[len(steps)]
        return drawing.annotate(*step[:4], status, truth)

    progress = tqdm.tqdm(total=source.num_frames, unit="frame", desc="compiling (up to 15 s)")
    with _stop_on_interrupt() as stop, progress, video:
        try:
            for step in track_video(tracker, source.frames, init_bboxes):
                step, go_on = window.present(tracker, step, draw) if window else (step, True)
                video.write(draw(step))
                steps.append(step._replace(frame=NO_FRAME))
                seconds.append(step.seconds)
                if len(steps) == 2:  # both functions of the network are compiled
                    progress.set_description()
                progress.update()
                if stop.is_set() or not go_on:
                    break
        except InputError as error:
            done = f" ({video.path} holds the {len(steps)} frames before it)" if steps else ""
            raise InputError(f"{error}{done}") from error
        finally:
            if steps:
                write_tracks(boxes, tracks_of(steps))
    return TrackingResult(tracks_of(steps), update_rate(seconds), stop.is_set())


def check_output(video: Path, source: FrameSource) -> None:
    """Raises `InputError` if the video to be written is the source's file."""
    if source.path and video.exists() and video.samefile(source.path):
        raise InputError(f"{video} is the input: choose another output")


def tracks_of(steps: Sequence[Step]) -> Tracks:
    """Collects the boxes of all frames of a video in one table."""
    counts = [len(step.targets) for step in steps]
    columns = zip(*(step[1:4] for step in steps), strict=True)
    targets, bboxes, scores = (np.concatenate(column) for column in columns)
    frames = np.repeat(np.arange(len(steps)), counts)
    return Tracks(len(steps), frames, targets, bboxes, scores)


def summary(tracked: TrackingResult, source: FrameSource, video: Path, boxes: Path) -> str:
    """Formats a summary, with the mean IoU if the source has true boxes."""
    tracks = tracked.tracks
    begin = "interrupted: " if tracked.interrupted else ""
    of_all = f" of {source.num_frames}" if source.num_frames else ""
    lines = [
        f"{begin}{tracks.num_frames}{of_all} frames, {tracks.num_targets} target(s): "
        f"{video} and {boxes}"
    ]
    if not math.isnan(tracked.fps):
        lines.append(f"tracker: {tracked.fps:.1f} frames/s (reading and writing not counted)")
    if source.truth is not None:
        rows = (tracks.targets == 0) & (tracks.frames > 0)
        truth = source.truth[tracks.frames[rows]]
        known = (truth[:, 2:] > 0).all(axis=1)  # neither absent nor unknown
        if known.any():
            overlap = iou(tracks.bboxes[rows][known], truth[known]).mean()
            lines.append(f"mean IoU with the true boxes: {overlap:.3f} (first frame not counted)")
    return "\n".join(lines)


def choose_bboxes(texts: Sequence[str], source: FrameSource) -> Float64[np.ndarray, "N 4"]:
    """Returns initial boxes: those given as "x,y,w,h", else the true one, else one drawn by hand.

    Raises:
        InputError: a text is not four numbers, or there is no display to draw on.
    """
    if texts:
        return np.stack([_parse_bbox(text) for text in texts])
    if source.truth is not None:
        return source.truth[:1]
    return select_bbox(source.first_frame)[None]


def _parse_bbox(text: str) -> Float64[np.ndarray, "4"]:
    try:
        x, y, w, h = (float(number) for number in text.split(","))
    except ValueError:
        raise InputError(f"box {text!r}: expected four numbers x,y,w,h in pixels") from None
    return np.array([x, y, w, h])


def update_rate(seconds: Sequence[float], window: int | None = None) -> float:
    """Returns updates per second over the last `window` updates, or all; NaN without any."""
    start = 2 if window is None else max(2, len(seconds) - window)  # 0: init, 1: compilation
    taken = seconds[start:]
    return len(taken) / sum(taken) if taken else math.nan


@contextlib.contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """Makes the first Ctrl-C set the event; a second one interrupts as usual."""
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
