"""Cases (a network at one batch size and precision), and the backends that run them."""

import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FUNCTIONS = ("init_template", "step", "tracking", "video")
OURS = "asymtrack_jax"
BASELINES = ("onnxruntime", "torch", "torch.compile", "xla")  # xla: without native kernels
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclasses.dataclass(frozen=True)
class BenchmarkCase:
    """A network, batch size and precision that all backends run.

    Attributes:
        network: folder written by `network.write`.
        batch_size: images per call.
        precision: one of `config.PRECISIONS`.
        functions: functions to time, a selection of `FUNCTIONS`.
    """

    network: Path
    batch_size: int
    precision: str
    functions: tuple[str, ...] = FUNCTIONS

    def images(self) -> tuple[np.ndarray, np.ndarray]:
        """Reads template and search crops, uint8 RGB, [B, Z, Z, 3] and [B, X, X, 3]."""
        with np.load(self.network / f"images_{self.batch_size}.npz") as arrays:
            return arrays["template"], arrays["search"]

    def to_json(self) -> str:
        """Serialises the case for another process."""
        return json.dumps(dataclasses.asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> "BenchmarkCase":
        """Restores the case that `to_json` serialised."""
        fields = json.loads(text)
        return cls(**{**fields, "network": Path(fields["network"])})


@dataclasses.dataclass(frozen=True)
class Backend:
    """A network that is ready to run.

    Attributes:
        functions: functions by name, which return when their computation is complete.
        outputs: `boxes` [B, 4] (cxcywh, normalised coordinates) and `scores` [B] of the case's
            images, for comparison.
        facts: versions, device and settings.
        measured: measurements by function: `first_call_s` (seconds, compilation included),
            `operations` (floating point operations per call), `frames` (per call and target, if not
            one).
        device_bytes: returns the peak memory in use on the device, or None if unknown.
    """

    functions: dict[str, Callable[[], Any]]
    outputs: dict[str, np.ndarray]
    facts: dict[str, Any]
    measured: dict[str, dict[str, float]]
    device_bytes: Callable[[], int | None] = lambda: None


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Calls a function; returns its result and the duration in seconds."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start
