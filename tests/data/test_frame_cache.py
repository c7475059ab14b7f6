import pickle
import threading

import numpy as np
import pytest

from asymtrack_jax.data.frame_cache import FrameCache
from asymtrack_jax.errors import InputError


class Source:
    """Frames of 12 bytes that hold their row; row 9 cannot be read."""

    name = "source"
    offsets = boxes = visible = np.empty(0)

    def __init__(self):
        self.reads = []

    def read(self, row):
        self.reads.append(row)
        if row == 9:
            raise InputError("damaged")
        return np.full((2, 2, 3), row, np.uint8)

    def frame_name(self, row):
        return str(row)


def read(cache, *rows):
    for row in rows:
        np.testing.assert_array_equal(cache.read(0, row), row)


def test_the_frames_used_last_are_kept_within_the_budget():
    source = Source()
    cache = FrameCache([source], max_bytes=12 * 3 + 11)  # pyright: ignore[reportArgumentType]
    read(cache, 0, 1, 2, 0, 1, 2, 0)
    assert source.reads == [0, 1, 2]
    read(cache, 3, 0, 2, 3)  # 1 goes
    assert source.reads == [0, 1, 2, 3]
    read(cache, 1)
    assert source.reads == [0, 1, 2, 3, 1]
    for _ in range(2):
        with pytest.raises(InputError, match="damaged"):
            cache.read(0, 9)
    assert source.reads[-2:] == [9, 9]


def test_sources_are_told_apart_and_no_budget_keeps_nothing():
    first, second = Source(), Source()
    cache = FrameCache([first, second], max_bytes=100)  # pyright: ignore[reportArgumentType]
    cache.read(0, 5)
    cache.read(1, 5)
    assert (first.reads, second.reads) == ([5], [5])
    nothing = FrameCache([first], max_bytes=0)  # pyright: ignore[reportArgumentType]
    read(nothing, 5, 5)
    assert first.reads == [5, 5, 5]


def test_threads_share_it_and_it_travels_empty():
    cache = FrameCache([Source()], max_bytes=60)  # pyright: ignore[reportArgumentType]
    rows = np.random.default_rng(0).integers(0, 9, (4, 300))
    threads = [threading.Thread(target=read, args=(cache, *each.tolist())) for each in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache._num_bytes == sum(frame.nbytes for frame in cache._frames.values()) <= 60
    copy = pickle.loads(pickle.dumps(cache))
    assert not copy._frames
    read(copy, 3)
