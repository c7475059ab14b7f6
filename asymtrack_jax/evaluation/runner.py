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

from asymtrack_jax.data.sequences import Frame, Frames, Sequence
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
        slots: such as those of `tracking.slots`.
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
            videos = [_Video(sequence, pool, depth) for sequence in todo]
            for video in _Work(slots, outcome, progress).finished(videos):
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
    """A sequence that is being tracked: its frames, and the results so far."""

    def __init__(self, sequence: Sequence, pool: ThreadPoolExecutor, depth: int):
        self.sequence = sequence
        self.frames = _read_ahead(sequence.frames, pool, depth)
        self.boxes: list[np.ndarray] = []  # each [4]
        self.scores: list[float] = []
        self.seconds: list[float] = []

    @property
    def ended(self) -> bool:
        return len(self.boxes) == len(self.sequence.frames)


def _read_ahead(frames: Frames, pool: ThreadPoolExecutor, depth: int) -> Iterator[Frame]:
    """Yields frames in order while threads read up to `depth` further ones.

    Raises:
        InputError: a frame cannot be read.
    """
    ahead: collections.deque[Future[Frame]] = collections.deque()
    for index in range(len(frames)):
        ahead.append(pool.submit(frames.__getitem__, index))
        if len(ahead) > depth:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


class _Work:
    """Assignment of videos to slots."""

    def __init__(self, slots: Slots, outcome: Run, progress: tqdm):
        self._slots, self._outcome, self._progress = slots, outcome, progress
        self._active: dict[int, _Video] = {}

    def finished(self, videos: Iterable[_Video]) -> Iterator[_Video]:
        """Tracks all videos, and yields those that could be tracked to their end."""
        waiting = collections.deque(videos)
        while waiting or self._active:
            free = [slot for slot in range(self._slots.count) if slot not in self._active]
            if free and waiting:
                self._start(free[0], waiting.popleft())
            else:
                self._advance()
            for slot in [slot for slot, video in self._active.items() if video.ended]:
                yield self._active.pop(slot)

    def _start(self, slot: int, video: _Video) -> None:
        bbox = video.sequence.boxes[0]
        try:
            frame = self._read(video)
            start = time.perf_counter()
            self._slots.start(slot, frame, bbox)
        except InputError as error:
            self._fail(video, str(error))
            return
        seconds = time.perf_counter() - start
        self._outcome.tracker_seconds += seconds
        self._active[slot] = video
        self._note(video, bbox, 1.0, seconds)

    def _advance(self) -> None:
        frames = {}
        for slot, video in list(self._active.items()):
            try:
                frames[slot] = self._read(video)
            except InputError as error:
                self._fail(self._active.pop(slot), str(error))
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

    def _read(self, video: _Video) -> Frame:
        """Returns the next frame; raises `InputError` if it cannot be read."""
        start = time.perf_counter()
        try:
            return next(video.frames)
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
        self._outcome.failures[video.sequence.name] = reason
        self._progress.total -= len(video.sequence.frames) - len(video.boxes)
        self._progress.refresh()


def _compile(slots: Slots) -> None:
    """Tracks two untimed frames, since compilation is not part of a frame rate."""
    frame = np.zeros((64, 64, 3), np.uint8)
    for slot in range(min(slots.count, 2)):  # the second start compiles what replaces a slot
        slots.start(slot, frame, np.array([16.0, 16.0, 32.0, 32.0]))
    slots.advance({0: frame})
