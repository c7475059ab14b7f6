"""Following targets through a video, from frames to an annotated video and a file of boxes."""

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

_RATE_WINDOW = 25  # updates that the frame rate shown on the video is taken over


@dataclasses.dataclass(frozen=True)
class Followed:
    """What came of following targets.

    Attributes:
        tracks: where they were.
        fps: the tracker's updates per second. Reading, drawing and writing are not in it, nor is
            the first update, which compiles. NaN if there was no other.
        interrupted: Ctrl-C came before the last frame.
    """

    tracks: Tracks
    fps: float
    interrupted: bool


def follow(
    tracker: MultiTracker, frames: Iterable[Frame], init_bboxes: Float[np.ndarray, "N 4"]
) -> Iterator[Step]:
    """Starts a tracker on the first frame and updates it on all others.

    Between two frames the tracker's targets may be changed.
    """
    for index, frame in enumerate(frames):
        if index == 0:
            tracker.init(frame, init_bboxes)
            scores, lost = np.ones(len(init_bboxes)), np.zeros(len(init_bboxes), bool)
            yield Step(frame, np.array(tracker.ids), init_bboxes, scores, lost, math.nan)
        else:
            start = time.perf_counter()
            bboxes, scores = tracker.update(frame)
            seconds = time.perf_counter() - start
            targets = np.array(tracker.ids, int)
            yield Step(frame, targets, bboxes, np.asarray(scores), tracker.lost, seconds)


def follow_to_files(
    tracker: MultiTracker,
    source: FrameSource,
    init_bboxes: Float[np.ndarray, "N 4"],
    video: VideoWriter | GifWriter,
    boxes: Path,
    *,
    show: bool = False,
) -> Followed:
    """Follows targets, and writes an annotated video and a file of boxes.

    Frames are read, tracked and written one at a time. Ctrl-C stops after the frame in work; then,
    and also after an error, both files hold the frames that were done. Call it from the main
    thread, as Ctrl-C reaches no other.

    Args:
        tracker: followed with, from the first frame on.
        source: the frames; true boxes are drawn beside the tracker's.
        init_bboxes: the targets in the first frame, xywh in pixels.
        video: for the annotated frames; closed here.
        boxes: the file of boxes, see `write_tracks`.
        show: show the frames in a `Window` as well.

    Raises:
        InputError: a bad box, a frame that cannot be read, an output that cannot be written, or
            no display to show on.
    """
    check_output(video.path, source)
    window = Window() if show else None
    steps: list[Step] = []  # without their frames
    seconds: list[float] = []

    def draw(step: Step) -> Frame:
        rate = _rate(seconds, _RATE_WINDOW)
        status = f"#{len(steps)}" + ("" if math.isnan(rate) else f"  {rate:.0f} fps")
        truth = None if source.truth is None else source.truth[len(steps)]
        return drawing.annotate(*step[:5], status, truth)

    progress = tqdm.tqdm(total=source.num_frames, unit="frame", desc="compiling (up to 15 s)")
    with _stop_on_interrupt() as stop, progress, video:
        try:
            for step in follow(tracker, source.frames, init_bboxes):
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
    return Followed(tracks_of(steps), _rate(seconds), stop.is_set())


def check_output(video: Path, source: FrameSource) -> None:
    """Raises `InputError` if a video that is to be written is the source's own file."""
    if source.path and video.exists() and video.samefile(source.path):
        raise InputError(f"{video} is the input: choose another output")


def tracks_of(steps: Sequence[Step]) -> Tracks:
    """Collects the boxes of all frames of a video in one table."""
    counts = [len(step.targets) for step in steps]
    columns = zip(*(step[1:5] for step in steps), strict=True)
    targets, bboxes, scores, lost = (np.concatenate(column) for column in columns)
    frames = np.repeat(np.arange(len(steps)), counts)
    return Tracks(len(steps), frames, targets, bboxes, scores, lost)


def summary(followed: Followed, source: FrameSource, video: Path, boxes: Path) -> str:
    """What was done, for people; with the mean IoU where the true boxes are known."""
    tracks = followed.tracks
    begin = "interrupted: " if followed.interrupted else ""
    of_all = f" of {source.num_frames}" if source.num_frames else ""
    lines = [
        f"{begin}{tracks.num_frames}{of_all} frames, {tracks.num_targets} target(s): "
        f"{video} and {boxes}"
    ]
    if not math.isnan(followed.fps):
        lines.append(f"tracker: {followed.fps:.1f} frames/s (reading and writing not counted)")
    if source.truth is not None:
        rows = (tracks.targets == 0) & (tracks.frames > 0)
        truth = source.truth[tracks.frames[rows]]
        known = (truth[:, 2:] > 0).all(axis=1)  # neither absent nor unknown
        if known.any():
            overlap = iou(tracks.bboxes[rows][known], truth[known]).mean()
            lines.append(f"mean IoU with the truth: {overlap:.3f} (first frame not counted)")
    return "\n".join(lines)


def choose_bboxes(written: Sequence[str], source: FrameSource) -> Float64[np.ndarray, "N 4"]:
    """Boxes to start on: those written as "x,y,w,h", else the true one, else one the person draws.

    Raises:
        InputError: what is written is not four numbers, or there is nowhere to draw.
    """
    if written:
        return np.stack([_parse_bbox(text) for text in written])
    if source.truth is not None:
        return source.truth[:1]
    return select_bbox(source.first_frame)[None]


def _parse_bbox(text: str) -> Float64[np.ndarray, "4"]:
    try:
        x, y, w, h = (float(number) for number in text.split(","))
    except ValueError:
        raise InputError(f"box {text!r}: expected four numbers x,y,w,h in pixels") from None
    return np.array([x, y, w, h])


def _rate(seconds: list[float], window: int | None = None) -> float:
    """Updates per second, of the last `window` or of all, less the first; NaN if there are none."""
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
