import threading
import time

import pytest

from asymtrack_jax.data.threads import MapAhead


def test_results_come_in_order_and_reading_ahead_is_bounded():
    started = []

    def double(item):
        started.append(item)
        time.sleep(0.002 * (item % 3))
        return 2 * item

    results = MapAhead(double, iter(range(40)), num_threads=3, ahead=5)
    for expected in range(40):
        assert next(results) == 2 * expected
        assert max(started) <= expected + 5
    assert sorted(started) == list(range(40))
    with pytest.raises(StopIteration):
        next(results)


def test_it_begins_at_once_and_errors_come_out():
    begun = threading.Event()

    def work(item):
        begun.set()
        if item == 1:
            raise ValueError("no one")
        return item

    results = MapAhead(work, [0, 1, 2], num_threads=1, ahead=2)
    assert begun.wait(10)
    assert next(results) == 0
    with pytest.raises(ValueError, match="no one"):
        next(results)
    results.close()


def test_closing_drops_what_has_not_begun():
    gate, done = threading.Event(), []

    def work(item):
        gate.wait(10)
        done.append(item)

    results = MapAhead(work, range(100), num_threads=1, ahead=50)
    threading.Timer(0.05, gate.set).start()
    results.close()
    assert done == [0]
    assert list(results) == []
