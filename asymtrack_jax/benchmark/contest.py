"""What a runtime brings to the contest."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Entry:
    """A network that is ready to run.

    Attributes:
        calls: by function's name; each returns when its work is done.
        outputs: `boxes` and `scores` of the cell's images, to compare.
        facts: versions, device and settings.
        measured: by function, what was found out on the way, such as `compile_s`.
        device_memory: the most bytes in use on the device so far, or None where nobody counts.
    """

    calls: dict[str, Callable[[], Any]]
    outputs: dict[str, np.ndarray]
    facts: dict[str, Any]
    measured: dict[str, dict[str, float]]
    device_memory: Callable[[], int | None] = lambda: None


def first_call(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returns, and its seconds."""
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start
