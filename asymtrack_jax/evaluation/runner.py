"""Runs a tracker over sequences, several at once or one at a time."""

import collections
import dataclasses
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from asymtrack_jax.data.sequences import Frame, Sequence
from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import results


@runtime_checkable
class Slots(Protocol):
    """A tracker of one target in each of several videos, such as those of `tracking.slots`."""

    @property
    def count(self) -> int:
        """Number of videos at once."""
        ...

    def start(self, slot: int, frame: Frame, init_bbox: Float[np.ndarray, "4"]) -> None:
        """Starts a slot on the first frame of a video."""
        ...

    def advance(self, frames: Mapping[int, Frame]) -> Mapping[int, tuple[Any, float]]:
        """Returns by slot the box in the next frame and its score, NaN without scores.

        Raises:
            InputError: tracking failed in all of these slots.
        """
        ...


@dataclasses.dataclass
class Run:
    """Result of a run.

    Attributes:
        skipped: number of sequences that were finished before.
        finished: number of sequences that it finished.
        failures: error messages by name of the sequence.
        interrupted: whether Ctrl-C stopped it.
        frames: number of frames of the finished sequences.
        wall_seconds: duration, with reading and writing, without compilation.
        waiting_seconds: part of it spent waiting for frames to be read.
        tracker_seconds: part of it spent in the tracker.
    """

    skipped: int
    finished: int = 0
    failures: dict[str, str] = dataclasses.field(default_factory=dict)
    interrupted: bool = False
    frames: int = 0
    wall_seconds: float = 0.0
    waiting_seconds: float = 0.0
    tracker_seconds: float = 0.0

    @property
    def exit_status(self) -> int:
        """0 if every sequence has its result, 130 after an interruption, else 1."""
        if self.interrupted:
            return 130
        return 1 if self.failures else 0


def run(
    slots: Slots,
    sequences: Iterable[Sequence],
    directory: Path,
    result_format: results.ResultFormat,
    *,
    workers: int = 2,
    warm_up: bool = True,
) -> Run:
    """Tracks every sequence that has no finished result in a folder, and writes its result there.

    As many sequences as there are slots share each step, and the next sequence takes the slot of
    one that ends; threads read frames ahead. The longest go first, so that few slots stand idle at
    the end. A sequence that fails, for example because a frame is missing, does not stop the
    others. Ctrl-C does, and leaves the results of the finished ones. With a single slot the seconds
    of every frame are written too.

    Args:
        slots: result of `tracking.slots.make_batch_tracker`, or the like.
        sequences: sequences with unique names.
        directory: folder that `results.open_results_dir` has opened.
        result_format: format of the boxes.
        workers: number of threads that read frames.
        warm_up: whether to track two untimed frames first, so that programs are compiled.

    Raises:
        InputError: see `results.finished`.
    """
    sequences = list(sequences)
    finished = {each.name for each in results.finished(directory, sequences, result_format)}
    todo = [sequence for sequence in sequences if sequence.name not in finished]
    todo.sort(key=lambda sequence: -len(sequence.frames))
    outcome = Run(skipped=len(finished))
    if todo and warm_up:
        print("compiling (up to 15 s)", file=sys.stderr)
        _compile(slots)
    pool = ThreadPoolExecutor(workers)
    start = time.perf_counter()
    num_frames = sum(len(sequence.frames) for sequence in todo)
    with tqdm(total=num_frames, unit="frame", disable=not todo) as progress:
        try:
            # Enough ahead to keep all threads busy, few enough to hold in memory.
            depth = max(2, -(-2 * workers // slots.count))
            work = _Work(slots, [_Video(each, pool, depth) for each in todo], outcome, progress)
            for video in work.finished():
                seconds = np.array(video.seconds) if slots.count == 1 else None
                boxes, scores = np.array(video.boxes), np.array(video.scores)
                scores = None if np.isnan(scores).any() else scores
                name = video.sequence.name
                results.write_result(directory, name, boxes, scores, seconds, result_format)
                outcome.finished += 1
                outcome.frames += len(boxes)
        except KeyboardInterrupt:
            outcome.interrupted = True
        finally:
            pool.shutdown(cancel_futures=True)
    outcome.wall_seconds = time.perf_counter() - start
    return outcome


class _Video:
    """A sequence that is being tracked: its results so far, and its next frames."""

    def __init__(self, sequence: Sequence, pool: ThreadPoolExecutor, depth: int):
        self.sequence = sequence
        self.boxes: list[np.ndarray] = []  # each [4]
        self.scores: list[float] = []
        self.seconds: list[float] = []
        self._pool, self._depth = pool, depth
        self._ahead: collections.deque[Future[Frame]] = collections.deque()
        self._asked = 0

    @property
    def ended(self) -> bool:
        return len(self.boxes) == len(self.sequence.frames)

    def read_ahead(self) -> None:
        """Requests as many of the next frames as may be held."""
        frames = self.sequence.frames
        while len(self._ahead) < self._depth and self._asked < len(frames):
            self._ahead.append(self._pool.submit(frames.__getitem__, self._asked))
            self._asked += 1

    def read(self) -> Frame:
        """Returns the next frame; raises `InputError` if it cannot be read."""
        self.read_ahead()
        future = self._ahead.popleft()
        self.read_ahead()
        return future.result()

    def cancel(self) -> None:
        for future in self._ahead:
            future.cancel()


class _Work:
    """Assignment of videos to slots."""

    def __init__(self, slots: Slots, videos: Iterable[_Video], outcome: Run, progress: tqdm):
        self._slots, self._outcome, self._progress = slots, outcome, progress
        self._waiting = collections.deque(videos)
        self._active: dict[int, _Video] = {}

    def finished(self) -> Iterator[_Video]:
        """Tracks all videos, and yields those that could be tracked to their end."""
        while True:
            for slot in range(self._slots.count):
                while slot not in self._active and self._waiting:
                    self._start(slot, self._waiting.popleft())
                    if slot in self._active and self._active[slot].ended:
                        yield self._active.pop(slot)
            if not self._active:
                return
            self._advance()
            for slot in [slot for slot, video in self._active.items() if video.ended]:
                yield self._active.pop(slot)

    def _start(self, slot: int, video: _Video) -> None:
        if self._waiting:
            self._waiting[0].read_ahead()
        frame = self._read(video)
        if frame is None:
            return
        bbox = video.sequence.boxes[0]
        start = time.perf_counter()
        try:
            self._slots.start(slot, frame, bbox)
        except InputError as error:
            self._fail(video, str(error))
            return
        self._active[slot] = video
        self._note(video, bbox, 1.0, time.perf_counter() - start)
        self._outcome.tracker_seconds += video.seconds[-1]

    def _advance(self) -> None:
        frames = {}
        for slot, video in list(self._active.items()):
            frame = self._read(video)
            if frame is None:
                del self._active[slot]
            else:
                frames[slot] = frame
        if not frames:
            return
        start = time.perf_counter()
        try:
            found = self._slots.advance(frames)
        except InputError as error:
            for slot in frames:
                self._fail(self._active.pop(slot), str(error))
            return
        seconds = time.perf_counter() - start
        self._outcome.tracker_seconds += seconds
        for slot, (bbox, score) in found.items():
            if np.isfinite(bbox).all():
                self._note(self._active[slot], bbox, score, seconds)
            else:
                self._fail(
                    self._active.pop(slot),
                    f"the tracker predicted {np.asarray(bbox).tolist()}: are its weights sound?",
                )

    def _read(self, video: _Video) -> Frame | None:
        """Returns the next frame; None if it cannot be read, and the video has failed."""
        start = time.perf_counter()
        try:
            return video.read()
        except InputError as error:
            self._fail(video, str(error))
            return None
        finally:
            self._outcome.waiting_seconds += time.perf_counter() - start

    def _note(
        self, video: _Video, bbox: Float[np.ndarray, "4"], score: float, seconds: float
    ) -> None:
        video.boxes.append(bbox)
        video.scores.append(score)
        video.seconds.append(seconds)
        self._progress.update()

    def _fail(self, video: _Video, reason: str) -> None:
        video.cancel()
        self._outcome.failures[video.sequence.name] = reason
        self._progress.total -= len(video.sequence.frames) - len(video.boxes)
        self._progress.refresh()


def _compile(slots: Slots) -> None:
    """Tracks two untimed frames, since compilation is not part of a frame rate."""
    frame = np.zeros((64, 64, 3), np.uint8)
    for slot in range(min(slots.count, 2)):  # the second start compiles what replaces a slot
        slots.start(slot, frame, np.array([16.0, 16.0, 32.0, 32.0]))
    slots.advance({0: frame})
