"""A cache of decoded frames, for datasets small enough that frames are drawn repeatedly."""

import collections
import threading
from collections.abc import Sequence
from typing import Any

from asymtrack_jax.data.sequences import Frame, Source


class FrameCache:
    """Reads frames of sources and keeps the most recently used ones; thread-safe.

    Pickling leaves out the cached frames. Returned frames are shared: do not modify them.
    """

    def __init__(self, sources: Sequence[Source], max_bytes: int):
        """Makes an empty cache.

        Args:
            sources: sources of the frames.
            max_bytes: maximum size of the decoded frames that are kept; 0 for none.
        """
        self._sources, self._max_bytes = tuple(sources), max_bytes
        self._frames: collections.OrderedDict[tuple[int, int], Frame] = collections.OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    def read(self, source: int, row: int) -> Frame:
        """Reads a row of a numbered source; raises `InputError` if it cannot be read."""
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
