"""Timing by many short, interleaved measurements, which is robust to other load."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

WARM_UP_SECONDS = 0.15
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
    """Times a few calls after untimed ones, at least one and for at least `WARM_UP_SECONDS`.

    The untimed ones warm up caches and clock frequency, and outlast what the backend before leaves
    behind: its threads keep a core busy for a while after their last call, and this one's threads
    share the other until the system spreads them (docs/performance.md).

    Stops after `CALLS_PER_ROUND` calls, or when they have taken `SECONDS_PER_ROUND` in total.

    Args:
        function: function that returns when its computation is complete.
        clock: returns the time in seconds.

    Returns:
        Seconds of each call.
    """
    start = clock()
    function()
    while clock() - start < WARM_UP_SECONDS:
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

    A round times each function of all backends consecutively. Every second round is in reverse
    order, so that no backend always follows the same one.

    Args:
        backends: backends by name.
        rounds: number of rounds.
        progress: function that is called after each round.

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
    """Returns `min`, `median` and `p95` (95th percentile) of the latency, in milliseconds."""
    milliseconds = 1e3 * np.concatenate(rounds)
    low, median, high = np.percentile(milliseconds, [0, 50, 95])
    return {"min": float(low), "median": float(median), "p95": float(high)}


def ratio(rounds: Rounds, reference: Rounds) -> dict[str, float]:
    """Compares latencies within rounds, which cancels load that slows both down.

    Args:
        rounds: seconds of each call in each round.
        reference: seconds of each call of the reference, in the same rounds.

    Returns:
        `median` over rounds of the ratio of median latencies, and its 95 % bootstrap interval,
        `low` and `high`.
    """
    medians = [np.median(r) / np.median(s) for r, s in zip(rounds, reference, strict=True)]
    drawn = np.random.default_rng(0).choice(medians, (RESAMPLES, len(medians)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return {"median": float(np.median(medians)), "low": float(low), "high": float(high)}
