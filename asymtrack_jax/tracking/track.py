"""`track`: tracking of a video in one call, frame by frame or to its end."""

import dataclasses
import functools
import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from asymtrack_jax.data.sequences import Frame
from asymtrack_jax.errors import InputError
from asymtrack_jax.tracking.model import Model, load
from asymtrack_jax.tracking.tracker import Tracker, as_bboxes
from asymtrack_jax.video import drawing, tracks
from asymtrack_jax.video.sources import FrameSource, open_source, source_of
from asymtrack_jax.video.step import LOST_SCORE, NO_FRAME, MultiTracker, Step
from asymtrack_jax.video.tracking import check_output, track_video, tracks_of
from asymtrack_jax.video.window import play
from asymtrack_jax.video.writers import open_writer


def track(
    source: str | os.PathLike[str] | int | Iterable[Frame] | None = None,
    boxes: Float[np.ndarray, "4"] | Float[np.ndarray, "N 4"] | Sequence | None = None,
    *,
    model: Model | None = None,
) -> "TrackedVideo":
    """Tracks one target or several through a video.

        for step in track("clip.mp4", [120, 80, 60, 90]):
            print(step.bboxes, step.scores)

        track("clip.mp4", [120, 80, 60, 90]).save("out.mp4")

    Args:
        source: a video file, folder, camera or URL (see `video.sources.open_source`); or frames,
            uint8 RGB, as an array [T, H, W, 3] or any iterable of [H, W, 3]; by default a rendered
            clip.
        boxes: the target's box in the first frame, x, y, w, h in pixels, or [N, 4] boxes of N
            targets. By default the first true box, of a source that has one.
        model: the network and its weights; by default the packaged weights.

    Returns:
        The video, which is tracked as it is read.

    Raises:
        InputError: the source cannot be opened or is empty, or there are no boxes.
    """
    if source is None or isinstance(source, str | os.PathLike | int):
        open_again = functools.partial(open_source, None if source is None else str(source))
        opened = open_again()
        readable_again = opened.num_frames is not None or opened.path is not None
    else:
        open_again = functools.partial(source_of, source)
        opened = open_again()
        readable_again = iter(source) is not source
    if boxes is None:
        if opened.truth is None:
            raise InputError("no boxes: pass x, y, w, h of the target in the first frame")
        boxes = opened.truth[0]
    else:
        opened = dataclasses.replace(opened, truth=None)  # the true boxes may be of another target
    tracker = Tracker(_packaged_model() if model is None else model)
    return TrackedVideo(tracker, opened, as_bboxes(boxes), open_again if readable_again else None)


@functools.cache
def _packaged_model() -> Model:
    return load()


class TrackedVideo:
    """A video that is tracked lazily.

    Iteration yields each frame's `Step` as soon as it is tracked; a second loop continues where the
    first one stopped. The properties and methods first track the remaining frames. Frames are not
    kept in memory: `save` and `show` read them again. After an `InputError`, for example of a frame
    that cannot be read, the video ends with the previous frame. If there is none, or after any
    other exception, such as a `KeyboardInterrupt`, further use raises an `InputError`.

    Args:
        tracker: the tracker, which is initialised on the first frame.
        source: the frames.
        init_bboxes: xywh in pixels, [4] for one target or [N, 4].
        open_again: opens the source again; None if it can be read only once.
    """

    def __init__(
        self,
        tracker: MultiTracker,
        source: FrameSource,
        init_bboxes: Float[np.ndarray, "4"] | Float[np.ndarray, "N 4"],
        open_again: Callable[[], FrameSource] | None = None,
    ):
        self._source, self._open_again = source, open_again
        self._single = init_bboxes.ndim == 1
        bboxes = init_bboxes[None] if self._single else init_bboxes
        self._following = track_video(tracker, source.frames, bboxes)
        self._steps: list[Step] = []  # without their frames
        self._failure: BaseException | None = None

    def __iter__(self) -> Iterator[Step]:
        if self._failure is not None:
            raise InputError(
                f"tracking was ended in frame {len(self._steps)} (counted from 0) by "
                f"{self._failure!r}: call track again"
            ) from self._failure
        try:
            for step in self._following:
                self._steps.append(step._replace(frame=NO_FRAME))
                yield step
        except (Exception, KeyboardInterrupt) as error:
            if not (self._steps and isinstance(error, InputError)):
                self._failure = error
            raise

    def __repr__(self) -> str:
        of_all = f" of {self._source.num_frames}" if self._source.num_frames else ""
        return f"TrackedVideo({len(self._steps)}{of_all} frames tracked)"

    @property
    def boxes(self) -> Float[np.ndarray, "T *N 4"]:
        """Boxes in all frames, xywh in pixels: [T, 4] for one target, [T, N, 4] for N."""
        return self._column("bboxes")

    @property
    def scores(self) -> Float[np.ndarray, "T *N"]:
        """Scores of the boxes (see `Prediction`), [T] or [T, N]; 1 in the first frame."""
        return self._column("scores")

    @property
    def lost(self) -> Bool[np.ndarray, "T *N"]:
        """Whether the score is below `LOST_SCORE`, [T] or [T, N]."""
        return self.scores < LOST_SCORE

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the annotated video (.mp4, .mkv, .avi, .gif), or the boxes (.txt, .csv, .jsonl).

        Raises:
            InputError: the suffix is unknown, the file cannot be written or is the source, or the
                frames could be read only once.
        """
        path = Path(path)
        if path.suffix.lower() in tracks.SUFFIXES:
            tracks.write_tracks(path, tracks_of(self._all_steps()))
            return
        check_output(path, self._source)
        with open_writer(path, self._source.fps) as video:
            for frame in self.annotated():
                video.write(frame)

    def show(self) -> None:
        """Plays the annotated video: inline in a notebook, otherwise in a window (q closes it).

        Raises:
            InputError: there is no display, or see `save`.
        """
        if not _in_notebook():
            play(self.annotated(), self._source.fps)
            return
        display = importlib.import_module("IPython.display")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "track.gif"  # browsers do not play the MPEG-4 that OpenCV writes
            self.save(path)
            display.display(display.Image(data=path.read_bytes()))

    def annotated(self) -> Iterator[Frame]:
        """Yields all frames from the first on, with their boxes drawn.

        Raises:
            InputError: the frames could be read only once.
        """
        truth = self._source.truth
        for index, step in enumerate(self._with_frames()):
            true_box = None if truth is None else truth[index]
            yield drawing.annotate(*step[:4], f"#{index}", true_box)

    def _with_frames(self) -> Iterator[Step]:
        if not self._steps:
            yield from self
            return
        if self._open_again is None:
            raise InputError(
                "the frames of this source can be read only once, and were tracked already: save "
                "or show the video first, or pass a list of frames"
            )
        for frame, step in zip(self._open_again().frames, self._all_steps(), strict=False):
            yield step._replace(frame=frame)

    def _all_steps(self) -> list[Step]:
        for _ in self:
            pass
        return self._steps

    def _column(self, name: str) -> Any:
        column = np.stack([getattr(step, name) for step in self._all_steps()])
        return column[:, 0] if self._single else column


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
