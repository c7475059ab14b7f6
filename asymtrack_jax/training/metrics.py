"""Logging of a training run: messages, and values as JSON lines and TensorBoard events."""

import contextlib
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping
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
from tqdm import tqdm

from asymtrack_jax.files import write_atomically

_package = logging.getLogger("asymtrack_jax")


class _Console(logging.Handler):
    """Prints messages above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record))


@contextlib.contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Prints the package's messages, and appends them to a file with their times.

    The file also gets messages of level DEBUG, and the error that ends the run. Other processes
    than the first write no file, and print warnings only.
    """
    console, level, propagate = _Console(logging.INFO), _package.level, _package.propagate
    handlers: list[logging.Handler] = [console]
    if jax.process_index() == 0:
        handlers.append(logging.FileHandler(path, encoding="utf-8"))
        handlers[-1].setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    else:
        console.setLevel(logging.WARNING)
    for handler in handlers:
        _package.addHandler(handler)
    _package.setLevel(logging.DEBUG)
    _package.propagate = False  # absl makes the root logger print, too
    try:
        yield
    except Exception as error:
        _package.debug("error: %s", error)
        raise
    finally:
        _package.setLevel(level)
        _package.propagate = propagate
        for handler in handlers:
            _package.removeHandler(handler)
            handler.close()


def read_scalars(workdir: Path, step: int) -> dict[str, float | None]:
    """Reads the values that a run's `MetricsWriter` wrote at a step; empty if there are none."""
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {name: value for line in lines if line["step"] == step for name, value in line.items()}


class MetricsWriter:
    """Writer of `metrics.jsonl`, `pictures/` and TensorBoard's `tensorboard/` in `workdir`.

    Every method flushes, so that a killed run loses nothing. A resumed run first discards the
    entries of steps that it will repeat, and one from the beginning all. Only the first process of
    a run writes.

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
    """Removes the lines of steps after `start` (all if it is 0), and an incomplete last line."""
    lines = path.read_bytes().splitlines(keepends=True) if start else []
    kept = [line for line in lines if line.endswith(b"\n") and json.loads(line)["step"] <= start]
    write_atomically(path, b"".join(kept))
