"""A tracker over sequences, one frame at a time."""

import dataclasses
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from tqdm import tqdm

from asymtrack_jax.data.sequences import Sequence
from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import results


@runtime_checkable
class Tracker(Protocol):
    """What can be run: `asymtrack_jax.Tracker`, or anything of its shape."""

    def init(self, frame: UInt8[np.ndarray, "H W 3"], init_bbox: Float[np.ndarray, "4"]) -> None:
        """Starts on a target, xywh in pixels."""
        ...

    def update(self, frame: UInt8[np.ndarray, "H W 3"]) -> tuple[Any, Any]:
        """The target's box in the next frame, and a score."""
        ...


@dataclasses.dataclass
class Run:
    """What came of a run.

    Attributes:
        skipped: how many sequences were finished before it.
        finished: how many it finished.
        failures: why a sequence could not be finished, by name.
        interrupted: whether it was stopped by hand.
        frames: frames of the sequences it finished.
        wall_seconds: all it took, images read and results written, less compilation.
    """

    skipped: int
    finished: int = 0
    failures: dict[str, str] = dataclasses.field(default_factory=dict)
    interrupted: bool = False
    frames: int = 0
    wall_seconds: float = 0.0

    @property
    def exit_status(self) -> int:
        """0 if every sequence has its result, 130 after an interruption, else 1."""
        if self.interrupted:
            return 130
        return 1 if self.failures else 0


def run(tracker: Tracker, sequences: Iterable[Sequence], directory: Path, *, floats: bool) -> Run:
    """Tracks every sequence that has no finished result in a folder, and writes its result there.

    A sequence that fails (a frame that is missing or damaged, say) does not stop the others.
    Ctrl-C does, and leaves the results of the finished ones.

    Args:
        tracker: anything of the shape of `asymtrack_jax.Tracker`.
        sequences: with unique names.
        directory: a folder that `results.claim` has opened.
        floats: write boxes as floats instead of truncated integers.

    Raises:
        InputError: see `results.finished`.
    """
    sequences = list(sequences)
    finished = {each.name for each in results.finished(directory, sequences, floats=floats)}
    todo = [sequence for sequence in sequences if sequence.name not in finished]
    outcome = Run(skipped=len(finished))
    if todo:
        _compile(tracker)
    num_frames = sum(len(sequence.frames) for sequence in todo)
    start = time.perf_counter()
    with tqdm(total=num_frames, unit="frame", disable=not todo) as progress:
        try:
            for sequence in todo:
                progress.set_description(sequence.name)
                try:
                    boxes, seconds = run_sequence(tracker, sequence, progress.update)
                except (InputError, FloatingPointError) as error:
                    outcome.failures[sequence.name] = str(error)
                    continue
                results.write_result(directory, sequence.name, boxes, seconds, floats=floats)
                outcome.finished += 1
                outcome.frames += len(boxes)
        except KeyboardInterrupt:
            outcome.interrupted = True
    outcome.wall_seconds = time.perf_counter() - start
    return outcome


def run_sequence(
    tracker: Tracker, sequence: Sequence, on_frame: Callable[[], Any] = lambda: None
) -> tuple[Float[np.ndarray, "N 4"], Float[np.ndarray, " N"]]:
    """Tracks one sequence from its first annotated box.

    Args:
        tracker: anything of the shape of `asymtrack_jax.Tracker`.
        sequence: what to track.
        on_frame: called after every frame.

    Returns:
        One box a frame (xywh, pixels), the first being the annotated one, and the tracker's own
        seconds for each, without the reading of images.

    Raises:
        InputError: a frame cannot be read, or the tracker refuses it or the first box.
        FloatingPointError: the network's output is not finite.
    """
    boxes, seconds = np.empty((len(sequence.frames), 4)), np.empty(len(sequence.frames))
    for index in range(len(sequence.frames)):
        frame = sequence.frames[index]
        start = time.perf_counter()
        if index == 0:
            boxes[0] = sequence.boxes[0]
            tracker.init(frame, boxes[0])
        else:
            boxes[index], _ = tracker.update(frame)
        seconds[index] = time.perf_counter() - start
        on_frame()
    return boxes, seconds


def _compile(tracker: Tracker) -> None:
    """Two frames ahead of the clock: compilation is no part of a frame rate."""
    frame = np.zeros((64, 64, 3), np.uint8)
    tracker.init(frame, np.array([16.0, 16.0, 32.0, 32.0]))
    tracker.update(frame)
