"""What every backend provides."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Backend:
    """A network that is ready to run.

    Attributes:
        functions: by name; each returns when its work is done.
        outputs: `boxes` [B, 4] and `scores` [B] of the case's images, to compare.
        facts: versions, device and settings.
        measured: by function: `first_call_s` (compilation included), `operations` (floating point
            operations per call), `frames` (per call and target, where it is not one).
        device_bytes: returns the peak of memory in use on the device, None where it is not counted.
    """

    functions: dict[str, Callable[[], Any]]
    outputs: dict[str, np.ndarray]
    facts: dict[str, Any]
    measured: dict[str, dict[str, float]]
    device_bytes: Callable[[], int | None] = lambda: None


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Calls a function; returns its result and the seconds that it took."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start
