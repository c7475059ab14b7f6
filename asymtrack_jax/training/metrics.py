"""What a run shows of itself: numbers over time, and pictures."""

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
    """Writes `metrics.jsonl`, `pictures/` and TensorBoard's `tensorboard/` in `workdir`.

    Everything is on its way to the disk when a method returns, so that a run that is killed loses
    nothing. A run that goes on takes back what it will write again. Only the first process of a
    run writes.

    Each line of `metrics.jsonl` is an object: `step`, `time` (seconds since 1970), and the values
    by name, null for one that is not finite.

    Args:
        workdir: made if it is not there.
        start: step that the run goes on from; what was written of later ones is taken back.
    """

    def __init__(self, workdir: Path, start: int = 0):
        self._writes = jax.process_index() == 0
        if not self._writes:
            return
        self._pictures = workdir / "pictures"
        self._pictures.mkdir(parents=True, exist_ok=True)
        lines = workdir / "metrics.jsonl"
        if lines.exists():
            _take_back(lines, start)
        self._lines = lines.open("a")
        events = workdir / "tensorboard"
        events.mkdir(exist_ok=True)
        # Directly, since tensorboardX's SummaryWriter hands over to a thread and writes later.
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
        """Writes numbers, or arrays of one, by their names."""
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
        """Writes an RGB picture, as `pictures/NAME_STEP.png` too."""
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


def _take_back(path: Path, start: int) -> None:
    """Removes lines of steps after `start`, and a last line that was not written to its end."""
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if line.endswith(b"\n") and json.loads(line)["step"] <= start]
    write_atomically(path, b"".join(kept))
