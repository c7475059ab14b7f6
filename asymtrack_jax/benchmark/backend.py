"""The interface of backends."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np


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
