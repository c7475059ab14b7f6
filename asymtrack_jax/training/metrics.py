"""Logging of a training run: scalars and images, as JSON lines and TensorBoard events."""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import jax
import numpy as np
from jaxtyping import UInt8
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

from asymtrack_jax.files import write_atomically


class MetricsWriter:
    """Writer of `metrics.jsonl`, `pictures/` and TensorBoard's `tensorboard/` in `workdir`.

    Every method flushes, so that a killed run loses nothing. A resumed run first discards the
    entries of steps that it will repeat. Only the first process of a run writes.

    Each line of `metrics.jsonl` is an object: `step`, `time` (seconds since 1970), and the values
    by name; a value that is not finite is null.

    Args:
        workdir: the run's directory, created if it does not exist.
        start: step that the run resumes from; entries of later steps are discarded.
    """

    def __init__(self, workdir: Path, start: int = 0):
        self._writes = jax.process_index() == 0
        if not self._writes:
            return
        self._pictures = workdir / "pictures"
        self._pictures.mkdir(parents=True, exist_ok=True)
        lines = workdir / "metrics.jsonl"
        if lines.exists():
            _discard_after(lines, start)
        self._lines = lines.open("a")
        events = workdir / "tensorboard"
        events.mkdir(exist_ok=True)
        # Not tensorboardX's SummaryWriter, which writes later, in a thread.
        self._events = EventsWriter(str(events / "events"), f".{time.time_ns()}")
        log = SessionLog(status=SessionLog.START)
        self._write_event(Event(step=start + 1, wall_time=time.time(), session_log=log))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._writes:
            self._lines.close()
            self._events.close()

    def scalars(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes scalars (numbers or arrays of one element) by name."""
        if not self._writes:
            return
        now = time.time()
        numbers = {name: float(value) for name, value in values.items()}
        finite = {name: v if math.isfinite(v) else None for name, v in numbers.items()}
        self._lines.write(json.dumps({"step": step, "time": now} | finite) + "\n")
        self._lines.flush()
        entries = [Summary.Value(tag=name, simple_value=v) for name, v in numbers.items()]
        self._write_event(Event(step=step, wall_time=now, summary=Summary(value=entries)))

    def image(self, step: int, name: str, image: UInt8[np.ndarray, "H W 3"]) -> None:
        """Writes an RGB image, to TensorBoard and to `pictures/NAME_STEP.png`."""
        if not self._writes:
            return
        _, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        png, (height, width, _) = encoded.tobytes(), image.shape
        write_atomically(self._pictures / f"{name}_{step:08d}.png", png)
        picture = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
        entry = Summary.Value(tag=name, image=picture)
        self._write_event(Event(step=step, wall_time=time.time(), summary=Summary(value=[entry])))

    def _write_event(self, event: Event) -> None:
        self._events.write_event(event)
        self._events.flush()


def _discard_after(path: Path, start: int) -> None:
    """Removes the lines of steps after `start`, and an incomplete last line."""
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if line.endswith(b"\n") and json.loads(line)["step"] <= start]
    write_atomically(path, b"".join(kept))
