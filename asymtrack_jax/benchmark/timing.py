"""Timing on a machine that is never quite idle: many short measurements, interleaved."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

CALLS_PER_ROUND = 5
SECONDS_PER_ROUND = 0.25
RESAMPLES = 2000

Rounds = Sequence[Sequence[float]]  # seconds of each call in each round


class Timed(Protocol):
    """A backend whose functions can be timed, in this process or in another."""

    @property
    def functions(self) -> Sequence[str]:
        """Names of its functions."""
        ...

    def time(self, function: str) -> list[float]:
        """Calls a function a few times; returns the seconds of each call."""
        ...


def time_calls(
    function: Callable[[], Any], clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Times a few calls after one that is not counted, which warms caches and the clock frequency.

    There are `CALLS_PER_ROUND` calls, or fewer once they took `SECONDS_PER_ROUND` together.

    Args:
        function: returns only when its work is done.
        clock: seconds.
    """
    function()
    seconds: list[float] = []
    while len(seconds) < CALLS_PER_ROUND and sum(seconds) < SECONDS_PER_ROUND:
        start = clock()
        function()
        seconds.append(clock() - start)
    return seconds


def interleave(
    backends: Mapping[str, Timed], rounds: int, progress: Callable[[], Any] = lambda: None
) -> dict[tuple[str, str], list[list[float]]]:
    """Times all functions of all backends in rounds.

    Within a round the backends' measurements of one function follow each other. Every second round
    runs in reverse, so that no backend always follows the same one.

    Args:
        backends: by name.
        rounds: how many times each function of each backend is timed.
        progress: called after each round.

    Returns:
        Seconds of each call in each round, by function and backend.
    """
    functions = dict.fromkeys(itertools.chain(*(b.functions for b in backends.values())))
    order = [(f, name) for f in functions for name in backends if f in backends[name].functions]
    seconds: dict[tuple[str, str], list[list[float]]] = {key: [] for key in order}
    for index in range(rounds):
        for function, name in reversed(order) if index % 2 else order:
            seconds[function, name].append(backends[name].time(function))
        progress()
    return seconds


def latency_ms(rounds: Rounds) -> dict[str, float]:
    """Summarises latency: `min`, `median` and `p95` (95th percentile), in milliseconds."""
    milliseconds = 1e3 * np.concatenate(rounds)
    low, median, high = np.percentile(milliseconds, [0, 50, 95])
    return {"min": float(low), "median": float(median), "p95": float(high)}


def ratio(rounds: Rounds, reference: Rounds) -> dict[str, float]:
    """Compares latencies round by round, which cancels what slows both down.

    Returns:
        `median` over rounds of the ratio of median latencies, and `low` and `high`, its 95 %
        bootstrap interval.
    """
    medians = [np.median(r) / np.median(s) for r, s in zip(rounds, reference, strict=True)]
    drawn = np.random.default_rng(0).choice(medians, (RESAMPLES, len(medians)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return {"median": float(np.median(medians)), "low": float(low), "high": float(high)}
