"""Timing that a noisy machine troubles as little as it can: contestants take short turns."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

CALLS_A_TURN = 5
SECONDS_A_TURN = 0.25


class Contestant(Protocol):
    """Something that can be timed, in this process or in another."""

    @property
    def functions(self) -> Sequence[str]:
        """Names of what it can run."""
        ...

    def turn(self, function: str) -> list[float]:
        """Runs a function a few times; returns the seconds of each."""
        ...


def turn(call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Seconds of some calls in a row, after one that is not counted.

    The uncounted call finds the caches and the clock frequency that the last contestant left. There
    are `CALLS_A_TURN` calls, or fewer if they take more than `SECONDS_A_TURN` together.

    Args:
        call: what to time; it returns only when its work is done.
        clock: seconds.
    """
    call()
    seconds: list[float] = []
    while len(seconds) < CALLS_A_TURN and sum(seconds) < SECONDS_A_TURN:
        start = clock()
        call()
        seconds.append(clock() - start)
    return seconds


def take_turns(
    contestants: Mapping[str, Contestant], rounds: int, progress: Callable[[], Any] = lambda: None
) -> dict[tuple[str, str], list[float]]:
    """Times all functions of all contestants, those of one name next to each other.

    The order is reversed from one round to the next, so that nobody always follows the same one.

    Args:
        contestants: by name.
        rounds: in each of which everybody has one turn a function.
        progress: called after each round.

    Returns:
        Seconds of each call, by contestant and function.
    """
    functions = dict.fromkeys(name for c in contestants.values() for name in c.functions)
    seconds: dict[tuple[str, str], list[float]] = {
        (name, function): []
        for function in functions
        for name, contestant in contestants.items()
        if function in contestant.functions
    }
    order = list(seconds)
    for index in range(rounds):
        for name, function in reversed(order) if index % 2 else order:
            seconds[name, function] += contestants[name].turn(function)
        progress()
    return seconds


def summarise(seconds: Sequence[float]) -> dict[str, float]:
    """Latency in milliseconds: `min`, `median`, `p95`, and how many `calls` they are of."""
    milliseconds = 1e3 * np.asarray(seconds)
    return {
        "min": float(milliseconds.min()),
        "median": float(np.median(milliseconds)),
        "p95": float(np.percentile(milliseconds, 95)),
        "calls": len(milliseconds),
    }
