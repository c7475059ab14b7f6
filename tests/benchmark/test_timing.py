import numpy as np
import pytest

from asymtrack_jax.benchmark.timing import (
    CALLS_PER_ROUND,
    WARM_UP_SECONDS,
    interleave,
    latency_ms,
    ratio,
    time_calls,
)


class Clock:
    """A clock that calls advance; those in the first `slow` seconds take ten times as long."""

    def __init__(self, seconds: float, slow: float):
        self.now, self._seconds, self._slow = 0.0, seconds, slow

    def call(self) -> None:
        self.now += self._seconds * (10 if self.now < self._slow else 1)

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("seconds", "calls"), [(0.01, CALLS_PER_ROUND), (0.1, 3), (10.0, 1)])
@pytest.mark.parametrize("slow", [1e-9, WARM_UP_SECONDS])
def test_slow_calls_are_fewer_and_those_of_the_warm_up_do_not_count(seconds, calls, slow):
    clock = Clock(seconds, slow)
    np.testing.assert_allclose(time_calls(clock.call, clock), [seconds] * calls)


class Recorder:
    """A backend that records which functions were timed."""

    def __init__(self, name, functions, log):
        self.functions, self._name, self._log = functions, name, log

    def time(self, function):
        self._log.append((function, self._name))
        return [1.0, 2.0]


def test_backends_are_interleaved_and_every_second_round_runs_in_reverse():
    log, rounds = [], []
    backends = {"a": Recorder("a", ["f", "g"], log), "b": Recorder("b", ["g"], log)}
    seconds = interleave(backends, 3, lambda: rounds.append(len(log)))
    order = [("f", "a"), ("g", "a"), ("g", "b")]
    assert log == order + order[::-1] + order
    assert rounds == [3, 6, 9]
    assert seconds == {key: [[1.0, 2.0]] * 3 for key in order}


def test_latency_is_of_all_calls_in_milliseconds():
    numbers = [number / 1000 for number in range(101)]
    assert latency_ms([numbers[:50], numbers[50:]]) == pytest.approx(
        {"min": 0, "median": 50, "p95": 95}
    )


def test_ratio_cancels_what_slows_a_whole_round():
    slowdown = np.random.default_rng(0).uniform(1, 10, 20)
    found = ratio([[3 * s] for s in slowdown], [[2 * s] for s in slowdown])
    assert found == pytest.approx({"median": 1.5, "low": 1.5, "high": 1.5})


def test_interval_of_the_ratio_holds_the_truth_for_noise_in_either():
    noise = np.random.default_rng(0).uniform(0.5, 2, (2, 40, 1)).tolist()
    found = ratio(*noise)
    assert found["low"] < 1 < found["high"]
    assert found["high"] - found["low"] > 0.1
