import numpy as np
import pytest

from asymtrack_jax.benchmark.timing import CALLS_A_TURN, summarise, take_turns, turn


class Clock:
    """A clock that calls move on; the first call is slow."""

    def __init__(self, seconds: float):
        self.now, self._seconds, self._first = 0.0, seconds, 100.0

    def call(self) -> None:
        self.now += self._seconds + self._first
        self._first = 0.0

    def __call__(self) -> float:
        return self.now


def test_turn_leaves_out_its_first_call():
    clock = Clock(0.01)
    np.testing.assert_allclose(turn(clock.call, clock), [0.01] * CALLS_A_TURN)


@pytest.mark.parametrize(("seconds", "calls"), [(0.1, 3), (10.0, 1)])
def test_turn_of_slow_calls_is_short(seconds, calls):
    clock = Clock(seconds)
    np.testing.assert_allclose(turn(clock.call, clock), [seconds] * calls)


class Named:
    """A contestant that notes its turns."""

    def __init__(self, name, functions, log):
        self.functions, self._name, self._log = functions, name, log

    def turn(self, function):
        self._log.append((self._name, function))
        return [1.0, 2.0]


def test_contestants_take_turns_and_turn_around():
    log, rounds = [], []
    contestants = {"a": Named("a", ["f", "g"], log), "b": Named("b", ["g"], log)}
    seconds = take_turns(contestants, 3, lambda: rounds.append(len(log)))
    order = [("a", "f"), ("a", "g"), ("b", "g")]
    assert log == order + order[::-1] + order
    assert rounds == [3, 6, 9]
    assert seconds == {key: [1.0, 2.0] * 3 for key in order}


def test_summary_is_in_milliseconds():
    summary = summarise([number / 1000 for number in range(101)])
    assert summary["calls"] == 101
    np.testing.assert_allclose([summary[k] for k in ("min", "median", "p95")], [0, 50, 95])
