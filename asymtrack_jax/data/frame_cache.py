"""Decoded frames in memory, for data sets that are small enough to come by again."""

import collections
import threading
from collections.abc import Sequence
from typing import Any

from asymtrack_jax.data.sequences import Frame, Source


class FrameCache:
    """Reads frames of sources and keeps the most recently used ones. Threads may share it.

    Pickled, it travels empty. Frames are shared: do not write to them.
    """

    def __init__(self, sources: Sequence[Source], max_bytes: int):
        """Starts empty.

        Args:
            sources: where frames are read.
            max_bytes: size of the decoded frames that are kept; 0 for none.
        """
        self._sources, self._max_bytes = tuple(sources), max_bytes
        self._frames: collections.OrderedDict[tuple[int, int], Frame] = collections.OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    def read(self, source: int, row: int) -> Frame:
        """The frame in a row of the numbered source; `InputError` if it cannot be read."""
        key = source, row
        with self._lock:
            if key in self._frames:
                self._frames.move_to_end(key)
                return self._frames[key]
        frame = self._sources[source].read(row)
        with self._lock:
            if key not in self._frames:
                self._frames[key] = frame
                self._num_bytes += frame.nbytes
            while self._num_bytes > self._max_bytes:
                self._num_bytes -= self._frames.popitem(last=False)[1].nbytes
        return frame

    def __reduce__(self) -> tuple[Any, ...]:
        return FrameCache, (self._sources, self._max_bytes)
