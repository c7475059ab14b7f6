"""Reading ahead in threads, which decode images side by side."""

import collections
import concurrent.futures
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class MapAhead(Iterator[Result], Generic[Result]):
    """`map(function, items)` in threads: in order, and at most `ahead` items in advance.

    What `function` raises, `next` raises.
    """

    def __init__(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        num_threads: int,
        ahead: int,
    ):
        """Starts at once."""
        self._pool = concurrent.futures.ThreadPoolExecutor(num_threads)
        self._tasks = (self._pool.submit(function, item) for item in items)
        self._pending = collections.deque(itertools.islice(self._tasks, ahead))

    def __next__(self) -> Result:
        """The next result."""
        if not self._pending:
            self.close()
            raise StopIteration
        result = self._pending.popleft().result()
        self._pending.extend(itertools.islice(self._tasks, 1))
        return result

    def close(self) -> None:
        """Ends the threads, once they have finished what they are at."""
        self._pending.clear()
        self._pool.shutdown(cancel_futures=True)
